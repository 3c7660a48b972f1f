"""The errors that relay raises: a message, a hint, an exit code, an HTTP status."""

import logging
import traceback


class RelayError(Exception):
    """What happened and where (`message`), and what to do about it (`hint`).

    Each kind has the exit code of a command and the HTTP status and code of an answer.
    """

    exit_code = 1
    status = 500
    code = "internal"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def full_text(self) -> str:
        """Return message and hint as one line."""
        return f"{self.message.removesuffix('.')}; {self.hint}" if self.hint else self.message


class ConfigError(RelayError):
    """One or more mistakes in relay.toml; `problems` has a message for each."""

    exit_code, status, code = 2, 400, "config"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems or (message,)


class UsageError(RelayError):
    """An invalid argument, parameter or body."""

    exit_code, status, code = 2, 400, "bad_request"


class InvalidPayloadError(UsageError):
    """A payload that does not match its schema; `problems` has a message for each field."""

    code = "schema"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems or (message,)


class NotFoundError(RelayError):
    """There is no event, delivery, source or target of that name."""

    status, code = 404, "not_found"


class TargetError(RelayError):
    """An address that relay must not connect to, with the rule that it breaks."""

    exit_code, status, code = 2, 422, "target_refused"


class StoreError(RelayError):
    """The store cannot be opened, read or written.

    `is_outage`: nothing can be written at the moment; the store's watch reports and shows it.
    """

    is_outage = False
    status, code = 503, "store_unavailable"


class StoreBusyError(StoreError):
    """Another relay, or another program, holds the store."""


class TunnelError(RelayError):
    """The tunnel cannot be opened, in one clear message."""

    exit_code, status, code = 3, 502, "tunnel"


class MailError(RelayError):
    """A mail cannot be composed, addressed or handed over."""

    status, code = 422, "mail"


class SentAlreadyError(MailError):
    """An event was mailed by this template already; force sends it again."""

    status, code = 409, "sent_already"


class SigningError(RelayError):
    """A request cannot be signed: no secret, or no key that could."""

    status, code = 422, "signing"


class CatchUpError(RelayError):
    """A provider's past events cannot be fetched: no response, a refusal, or invalid data."""

    status, code = 502, "catch_up"


class ListingNotFoundError(CatchUpError):
    """A provider's API does not know the requested object."""


class CredentialError(CatchUpError):
    """A provider refuses the credential; the message names it but never shows it."""

    exit_code, code = 3, "credential_refused"


class HandlersError(RelayError):
    """A handlers file that cannot be run; `traceback` shows where, in the user's own lines."""

    exit_code, status, code = 2, 422, "handlers"

    def __init__(self, message: str, *, hint: str = "", traceback: str = "") -> None:
        super().__init__(message, hint=hint)
        self.traceback = traceback


class SendError(RelayError):
    """The request got no HTTP response."""

    status, code = 502, "not_sent"


class UnreachableError(SendError):
    """No program accepts a connection at that address."""


class TimedOutError(SendError):
    """No answer came in time."""


class PortError(RelayError):
    """A port is in use, or must not be used."""

    status, code = 500, "port"


class VaultError(RelayError):
    """The vault cannot be read, written or opened; its content is unchanged."""

    status, code = 422, "vault"


class WrongPasswordError(VaultError):
    """The password does not open the vault, or the vault was changed: the cipher cannot tell which."""

    exit_code, status, code = 3, 401, "wrong_password"


class VaultPausedError(VaultError):
    """Too many wrong passwords; the next one is accepted after `seconds`."""

    exit_code, status, code = 3, 429, "vault_paused"

    def __init__(self, message: str, *, hint: str = "", seconds: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds


class VaultLockedError(VaultError):
    """The vault is locked, and the operation needs it unlocked."""

    exit_code, status, code = 3, 423, "vault_locked"


def log_level(error: Exception) -> int:
    """Return the log level for a wait for the store: an outage is logged once, by its watch."""
    return logging.DEBUG if isinstance(error, StoreError) and error.is_outage else logging.WARNING


def log_traceback(log: logging.Logger, what: str, error: Exception) -> None:
    """Log the frames and type of an error, without its message, which may contain captured data."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s\n%s", what, type(error).__name__, frames)
