"""Prints how much of each package the tests ran, and fails where that is too little: `make coverage`."""

import sys
from collections import Counter
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[2]
LEAST_PERCENT = 85


def find_package(path: Path) -> str:
    """Return the package of a file, as `relay/store`; modules directly under relay/ are taken together."""
    inside = path.relative_to(ROOT)
    return "relay" if len(inside.parts) == 2 else "/".join(inside.parts[:2])


def main() -> int:
    """Print the table from the combined data; return 1 where a package is below the least."""
    coverage = Coverage(data_file=ROOT / ".coverage")
    coverage.load()
    lines: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for name in coverage.get_data().measured_files():
        path = Path(name)
        if path.is_relative_to(ROOT / "relay"):
            _, statements, _, missing, _ = coverage.analysis2(name)
            for group in (find_package(path), "total"):
                lines[group] += len(statements)
                missed[group] += len(missing)
    low = []
    for group in [*sorted(set(lines) - {"total"}), "total"]:
        percent = 100 * (1 - missed[group] / max(lines[group], 1))
        sys.stdout.write(f"{group:<20}{lines[group]:>8,} lines {missed[group]:>8,} missed {percent:>6.1f} %\n")
        if percent < LEAST_PERCENT:
            low.append(group)
    if low or not lines:
        sys.stderr.write(f"below {LEAST_PERCENT} %: {', '.join(low) or 'nothing was measured'}\n")
    return 1 if low or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
