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

    A .txt next to the template is the plain part; without it the HTML is converted. `folder` is the project's,
    whose files templates may include; None allows those of the template's folder. `attach` names
    the attachments; `once` sends it once per event; `per_hour` limits the mails sent in an hour.
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

    `insecure` allows a remote server without encryption; `ca_file` contains the CA certificates to trust in
    place of the system's, `verify_tls` says whether the server's certificate is checked. Without `allow_recipients`
    only literal addresses in the configuration get mail. `retry` is for mails sent by hand and for targets with no
    rule of their own. `locked` names credentials whose values are in the vault while that is locked. `blocked` says
    which credential is locked or missing, "" for none: nothing is sent until then.
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
