"""Prints the picture of the layers in docs/architecture.md, as Mermaid, from the contract in pyproject.toml."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def draw_layers() -> str:
    """Return a flowchart of the layers, top to bottom; packages of one layer do not import each other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    nodes = [f'  L{number}["{layer}"]' for number, layer in enumerate(layers)]
    arrows = [f"  L{number} --> L{number + 1}" for number in range(len(layers) - 1)]
    return "\n".join(["flowchart TD", *nodes, *arrows])


if __name__ == "__main__":
    print(draw_layers())  # noqa: T201 - a script
