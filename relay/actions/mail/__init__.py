"""Mail: templates, composing, sending by SMTP, and the outbox of files.

Templates see payloads as data, in a sandbox. Recipients are checked here for all callers.
"""

from dataclasses import field
from pathlib import Path

from relay.model.delivery import RetryPolicy
from relay.model.secret import Secret
from relay.model.values import dataclass

STEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailOptions:
    """A table of [emails]: addresses, `subject` and `text` are Jinja, `template` is a file of HTML (or .txt).

    A .txt beside the template is the plain part; without it the HTML is made into one. `folder` is the project's,
    whose files templates may include; None allows those of the template's own. `attach` names
    what of the event goes with it; `once` sends it once for an event; `per_hour` is how many leave in an hour.
    """

    name: str
    to: tuple[str, ...]
    subject: str
    template: Path | None = None
    folder: Path | None = None
    text: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    attach: tuple[str, ...] = ()
    once: bool = True
    per_hour: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpOptions:
    """The table [smtp]. `security` is starttls, tls or none; `timeout` in seconds for each step.

    `insecure` allows a server elsewhere that offers no encryption; `ca_file` holds the CA certificates to trust in
    place of the system's, `verify_tls` says whether the server's certificate is checked. Without `allow_recipients`
    only addresses written out in the configuration get mail. `retry` is for mails sent by hand and for targets with no
    rule of their own. `locked` names credentials whose values are in the vault while that is locked. `blocked` says
    which credential is locked away or missing, "" for none: nothing is sent meanwhile.
    """

    host: str
    port: int = 587
    security: str = "starttls"
    username: Secret | None = None
    password: Secret | None = None
    sender: str = "relay@localhost"
    allow_recipients: tuple[str, ...] = ()
    insecure: bool = False
    timeout: float = STEP_SECONDS
    ca_file: Path | None = None
    verify_tls: bool = True
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    locked: tuple[str, ...] = ()
    blocked: str = ""

    @property
    def address(self) -> str:
        """Return the server as `host:port`."""
        return f"{self.host}:{self.port}"
