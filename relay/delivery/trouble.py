"""What went wrong inside relay itself, in the log: where, and of what kind, but nothing captured."""

import logging
import traceback


def log_trace(log: logging.Logger, what: str, error: Exception) -> None:
    """Log frames and the kind of an error; its message stays out, for it may hold captured data."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s\n%s", what, type(error).__name__, frames)
