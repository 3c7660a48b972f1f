"""A target of the action `handler`: which file, and how it is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relay.handlers.secrets import FindSecret, find_in_environment

PATIENCE = 30.0  # seconds that a file may take to load


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOptions:
    """The handlers file of the target of that name.

    `folder` is the project's: its process works there, and names in tracebacks start there. `timeout`
    in seconds, for all functions an event is for together. `environ` is the environment it gets, `find_secret`
    what `relay.secret` asks.
    """

    target: str
    path: Path
    folder: Path
    timeout: float = 30.0
    patience: float = PATIENCE
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    find_secret: FindSecret = field(default=find_in_environment, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Return how the file is named to people."""
        try:
            return str(self.path.relative_to(self.folder))
        except ValueError:
            return str(self.path)
