"""The environment for references, completed by a `.env` file."""

import io
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from relay.errors import ConfigError
from relay.model.values import dataclass

_FILE_NAME = ".env"
_MAX_FILE = 1_000_000  # bytes
_BYTE_ORDER_MARKS = (
    (b"\xff\xfe", "utf-16"),  # PowerShell's `>` up to version 5
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Variables by name, the .env file (None without one), the variables from it, and its problems."""

    values: Mapping[str, str] = field(repr=False)
    file: Path | None = None
    from_file: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()


def load_environment(folder: Path, environ: Mapping[str, str]) -> Environment:
    """Return `environ` with the variables of the .env of `folder`; the environment takes precedence.

    Without one in the folder, the nearest one above it is used, up to the root of the Git repository that the
    folder is in and never beyond the home folder. Values are not expanded: `${NAME}` stays unchanged.
    Raises ConfigError for a .env that cannot be read.
    """
    path = _find_env_file(folder, environ.get("HOME", ""))
    if path is None:
        return Environment(values=dict(environ))
    from dotenv.parser import parse_stream  # noqa: PLC0415 - of no use without a .env

    found: dict[str, str] = {}
    notices: list[str] = []
    for binding in parse_stream(io.StringIO(_read_env_file(path))):
        if binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
        elif binding.error or binding.key is not None:
            notices.append(f"{path}: line {binding.original.line} is not NAME=value, so it is left out")
    return Environment(
        values=found | dict(environ),
        file=path,
        from_file=frozenset(found.keys() - environ.keys()),
        notices=tuple(notices),
    )


def _find_env_file(folder: Path, home: str) -> Path | None:
    beside = folder / _FILE_NAME
    if beside.is_file():
        return beside
    above: list[Path] = []
    for place in (folder, *folder.parents):
        above.append(place / _FILE_NAME)
        if (place / ".git").exists():
            return next((path for path in above if path.is_file()), None)
        if str(place) == home:
            break
    return None


def _read_env_file(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="correct its permissions") from None
    if len(raw) > _MAX_FILE:
        raise ConfigError(f"{path} is too large for variables", hint=f"at most {_MAX_FILE} bytes")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8")
    return text
