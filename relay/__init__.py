"""The public API of relay for the user's code; each name is imported at its first use."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.frameworks.sending import send, send_async, sign
    from relay.handlers import Event, Failed, Retry, on, secret, use

__version__ = "0.2.0"

__all__ = ["Event", "Failed", "Retry", "__version__", "on", "secret", "send", "send_async", "sign", "use"]

# The module of each name. Imported late, so that `relay --help` loads none of them.
_MODULES = {
    **dict.fromkeys(("Event", "Failed", "Retry", "on", "secret", "use"), "relay.handlers"),
    **dict.fromkeys(("send", "send_async", "sign"), "relay.frameworks.sending"),
}

if not TYPE_CHECKING:  # a type checker that saw this function would accept any name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_MODULES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
