"""Where ui/ and static/ lie: beside the package in a wheel, one level up in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """Return the folder `ui` or `static`.

    Raises FileNotFoundError when relay was installed without its resources.
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        found = parent / name
        if found.is_dir():
            return found
    message = f"relay was installed without its folder {name!r}"
    raise FileNotFoundError(message)
