"""How a person wants the dashboard: kept beside the data, because it is theirs and not a browser's."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from relay.model.payload import PayloadError, parse_json
from relay.platform import write_private

log = logging.getLogger(__name__)

_FILE_NAME = "preferences.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """Row height, the zone of times, and whether single keys act and arrivals are announced."""

    density: Literal["comfortable", "compact"] = "comfortable"
    zone: Literal["local", "utc"] = "local"
    keys: bool = True
    announcements: bool = True


_ADAPTER = TypeAdapter(Preferences)


def load_preferences(data_dir: Path) -> Preferences:
    """Return what was chosen; the defaults where nothing was, or what was cannot be read."""
    try:
        return _ADAPTER.validate_python(parse_json((data_dir / _FILE_NAME).read_bytes()))
    except (OSError, PayloadError, ValidationError):
        return Preferences()


def save_preferences(data_dir: Path, chosen: Preferences) -> None:
    """Write down what was chosen, so that it lasts; where that fails it lasts until relay stops."""
    try:
        write_private(data_dir / _FILE_NAME, json.dumps(asdict(chosen)).encode())
    except OSError as error:
        log.warning("preferences were not kept: %s", error.strerror)
