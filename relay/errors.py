"""Every error that relay raises on purpose: a sentence, a hint, an exit code, an HTTP status."""


class RelayError(Exception):
    """What happened and where (`sentence`), and what to do about it (`hint`).

    RelayError
      ConfigError          relay.toml or an option is wrong (exit 2, HTTP 400)
      UsageError           a call or a command that makes no sense (exit 2, HTTP 400)
      NotFoundError        no such event, delivery, source, target (exit 1, HTTP 404)
      TargetError          an address relay must not or cannot dial (exit 2, HTTP 422)
      StoreError           the store cannot be opened or written (exit 1, HTTP 503)
        StoreBusyError     another relay or program holds it
      TunnelError          the tunnel cannot be opened (exit 3, HTTP 502)
      MailError            a mail cannot be composed or handed over (exit 1, HTTP 422)
      SigningError         a request cannot be signed (exit 1, HTTP 422)
      CatchUpError         a provider does not give out what it sent before (exit 1, HTTP 502)
        CredentialError    it refuses the credential it was asked with (exit 3, HTTP 502)
      PortError            a port is taken or not allowed (exit 1, HTTP 500)
    """

    exit_code = 1
    status = 500
    code = "internal"

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint


class ConfigError(RelayError):
    """One or more mistakes in relay.toml; `problems` holds a sentence for each."""

    exit_code = 2
    status = 400
    code = "config"

    def __init__(self, sentence: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(sentence, hint=hint)
        self.problems = problems or (sentence,)


class UsageError(RelayError):
    """An argument, parameter or body that makes no sense."""

    exit_code = 2
    status = 400
    code = "bad_request"


class NotFoundError(RelayError):
    """There is no event, delivery, source or target of that name."""

    exit_code = 1
    status = 404
    code = "not_found"


class TargetError(RelayError):
    """An address that relay must not dial, with the rule that it breaks."""

    exit_code = 2
    status = 422
    code = "target_refused"


class StoreError(RelayError):
    """The store cannot be opened, read or written."""

    exit_code = 1
    status = 503
    code = "store_unavailable"


class StoreBusyError(StoreError):
    """Another relay, or another program, holds the store."""


class TunnelError(RelayError):
    """The tunnel cannot be opened, in one clear sentence."""

    exit_code = 3
    status = 502
    code = "tunnel"


class MailError(RelayError):
    """A mail cannot be composed, addressed or handed over."""

    exit_code = 1
    status = 422
    code = "mail"


class SigningError(RelayError):
    """A request cannot be signed: no secret, or no key that could."""

    exit_code = 1
    status = 422
    code = "signing"


class CatchUpError(RelayError):
    """A provider does not give out what it sent before: no answer, a refusal, or nothing that can be read."""

    exit_code = 1
    status = 502
    code = "catch_up"


class CredentialError(CatchUpError):
    """A provider refuses the credential it was asked with; which one is named, never shown."""

    exit_code = 3
    code = "credential_refused"


class PortError(RelayError):
    """A port is taken, or may not be used."""

    exit_code = 1
    status = 500
    code = "port"
