"""How a place in a JSON body is written: a JSON Pointer for programs, a dotted path for people."""

import json
import re
from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z_$][\w$-]*")


def pointer_to(keys: Iterable[str | int]) -> str:
    """Return the JSON Pointer (RFC 6901) that leads along `keys`; "" for the whole body."""
    pointer = ""
    for key in keys:
        pointer = below(pointer, str(key))
    return pointer


def dotted(pointer: str) -> str:
    """Return the path people know for a JSON Pointer: `/data/items/0` is `data.items[0]`."""
    path = ""
    for part in pointer.split("/")[1:]:
        path = join(path, part.replace("~1", "/").replace("~0", "~"), listed=part.isdigit())
    return path


def join(path: str, key: str, *, listed: bool) -> str:
    """Return the path of a member below `path`."""
    if listed:
        return f"{path}[{key}]"
    if not _NAME.fullmatch(key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


def below(pointer: str, key: str) -> str:
    """Return the JSON Pointer of a member below `pointer`."""
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
