"""relay.toml as pydantic models: each key with its type, default and meaning, for validation, editors and the docs."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from relay.config.source_tables import SourceTable
from relay.config.types import (
    BodyLimit,
    ConfigTable,
    Duration,
    Endpoint,
    FilePath,
    HeaderName,
    HeaderNames,
    HeaderValue,
    Name,
    Names,
    Number,
    Pattern,
    Reference,
    Size,
    as_list,
    declare,
    parse_endpoint,
    schema_or_list,
)

_LONGEST_WAIT = 365 * 86400  # seconds; a delivery may be due at most twice as far ahead


class ServerTable(ConfigTable):
    """`[server]`: where relay listens and what it keeps."""

    ingress: Endpoint = declare(
        parse_endpoint("127.0.0.1:8400"),
        "Where webhooks arrive, the only port a tunnel exposes; port `auto` is any free one.",
    )
    dashboard: Endpoint = declare(
        parse_endpoint("127.0.0.1:8401"), "Where dashboard, API and metrics are, for you alone."
    )
    dashboard_auth: Literal["token", "off"] = declare(
        "token", "`off` turns the token off; only for a dashboard on loopback."
    )
    allowed_hosts: Names = declare(
        [], "Additional host names that the dashboard accepts if it does not listen on loopback."
    )
    allow_targets: Names = declare(
        [], "Additional `host:port` that a typed-in URL may reach; loopback and the targets are always allowed."
    )
    data_dir: str = declare(
        ".relay",
        "The folder for events, vault, outbox and log, relative to relay.toml; keep it out of version control.",
    )
    max_body: BodyLimit = declare(25_000_000, "The largest body that is accepted; a larger one gets 413.")
    inbox: bool = declare(True, "Whether `/webhooks/<any other name>` is captured too, unchecked; `false` answers 404.")


class TunnelTable(ConfigTable):
    """`[tunnel]`: how the public side is reached from outside."""

    provider: Literal["auto", "ngrok", "command", "static", "none"] = declare(
        "auto",
        "`auto` is `ngrok` if an authtoken is set, else `none`; `ngrok` needs its agent: `relay tunnel install`; "
        "`command` starts a program of yours, and `static` is a tunnel that you run yourself.",
    )
    authtoken: Reference = declare("env:NGROK_AUTHTOKEN", "The ngrok authtoken.")
    domain: str | None = declare(None, "A reserved domain of your ngrok account.")
    command: str | None = declare(
        None,
        'The command of `provider = "command"`, such as `cloudflared tunnel --url {ingress_url}`; `{host}` '
        "and `{port}` work too.",
    )
    url_pattern: Pattern | None = declare(
        None, "A regular expression that finds the address in the output of `command`; its first group, if it has one."
    )
    public_url: str | None = declare(None, 'The address of the tunnel if `provider = "static"`.')
    forwarded_for: bool | None = declare(
        None, "Whether `X-Forwarded-For` holds the caller's address; by default if the tunnel is known to set it."
    )


class RetryTable(ConfigTable):
    """`retry = {…}`: how often and how far apart."""

    attempts: int = declare(6, "The maximum number of attempts.", ge=1, le=100)
    first: Duration = declare(2.0, "How long to wait before the second attempt.", le=_LONGEST_WAIT)
    factor: Number = declare(3.0, "The factor by which each wait is longer than the one before.", ge=1, le=100)
    max: Duration = declare(3600.0, "The longest wait.", le=_LONGEST_WAIT)
    jitter: Number = declare(0.2, "The fraction of each wait that is random.", ge=0, le=1)


class HeaderRules(ConfigTable):
    """`headers = {…}`: what to set on and take off what is forwarded."""

    set: dict[HeaderName, HeaderValue] = declare({}, "Headers to add or replace.")
    remove: HeaderNames = declare([], "Headers to remove.")


class TargetTable(ConfigTable):
    """`[targets.NAME]`: where events go."""

    forward: str | None = declare(None, "The URL that events are sent to.")
    email: str | None = declare(None, "The table of `[emails]` that events are mailed with.")
    handler: FilePath | None = declare(None, "A Python file whose functions are called with events.")
    timeout: Duration = declare(30.0, "How long a response may take.", gt=0, le=600)
    order: Literal["any", "fifo"] = declare("any", "`fifo` sends the events of a source strictly one after another.")
    concurrency: int = declare(4, "How many events are sent at the same time; 2 for a handler.", ge=1, le=16)
    retry: RetryTable = declare(RetryTable.model_construct(), "How often and at what intervals deliveries are tried.")
    sign: Literal["auto", "original", "fresh"] = declare(
        "auto", "`auto` signs again what would no longer verify, `fresh` everything, `original` nothing."
    )
    sign_url: Literal["target", "public"] | None = declare(
        None, "The URL that is signed, for providers that sign one: the target's or the public one."
    )
    headers: HeaderRules = declare(HeaderRules.model_construct(), "Changes to the headers.")
    verify_tls: bool = declare(True, "Whether the certificate of an https target must be valid.")
    path: Literal["join", "fixed"] = declare(
        "join", "`join` appends what follows the source's path, `fixed` sends everything to the one URL."
    )
    host: Literal["target", "original"] = declare("target", "`original` keeps the Host header that the provider sent.")
    forwarded: bool = declare(False, "Whether `X-Forwarded-*` headers are added.")


class RouteTable(ConfigTable):
    """`[[routes]]`: which events go where."""

    source: Names = declare(["*"], 'The sources of the events, or `"*"` for all.', min_length=1)
    events: Names = declare(
        [], "The event types, with `*`; a request with several events must hold one of them. All types by default."
    )
    when: str = declare(
        "",
        "A condition: a Jinja expression of `event` and `payload`. If a request holds several events, also of "
        "`item`, each of them, and `items`; one that matches is enough.",
    )
    to: Names = Field(description="The targets.")


class EmailTable(ConfigTable):
    """`[emails.NAME]`: a mail rendered from an event."""

    to: Names = Field(description="The recipients: addresses or templates, which may give a list.")
    cc: Names = declare([], "The recipients of a copy.")
    bcc: Names = declare([], "The recipients of a blind copy.")
    reply_to: Names = declare([], "The addresses for replies.")
    subject: str = Field(description="The subject, a template.")
    template: FilePath | None = declare(
        None, "A file with the HTML, a template; a `.txt` next to it is the plain part."
    )
    text: str | None = declare(None, "The plain text, a template, instead of a file.")
    attach: Annotated[
        list[Literal["payload", "body"]], BeforeValidator(as_list), schema_or_list({"enum": ["payload", "body"]})
    ] = declare([], "The parts of the event to attach.")
    once: bool = declare(True, "Whether an event is mailed only once with this template, unless it is forced.")
    per_hour: int = declare(30, "The maximum number of mails per hour; the others wait.", ge=1, le=100_000)


class SmtpTable(ConfigTable):
    """`[smtp]`: the server that takes our mail."""

    host: str = Field(description="The host name of the server.")
    port: int = declare(587, "Its port.", ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = declare("starttls", "How the connection is encrypted.")
    username: Reference | None = declare(None, "The user name. While it is missing, mail waits.")
    password: Reference | None = declare(None, "The password. While it is missing, mail waits.")
    sender: str = Field(description="The sender of the mail: `Shop <shop@example.com>`.")
    allow_recipients: Names = declare([], "The allowed recipients, with `*`; by default only addresses in relay.toml.")
    insecure: bool = declare(False, "Whether an unencrypted connection to another computer is allowed.")
    ca_file: FilePath | None = declare(None, "A file with the CA certificates to trust.")
    verify_tls: bool = declare(True, "Whether the server's certificate must be valid.")
    timeout: Duration = declare(10.0, "How long each step may take.", gt=0, le=600)
    retry: RetryTable = declare(RetryTable.model_construct(), "How often and at what intervals mails are tried.")


class LogTable(ConfigTable):
    """`[log]`: what relay writes down of its own work."""

    level: Literal["error", "warning", "info", "debug"] = declare(
        "info", "The level of `relay.log` in `data_dir`; `debug` logs each step of every event."
    )


class RetentionTable(ConfigTable):
    """`[retention]`: how much is kept."""

    max_age: Duration = declare(30 * 86400.0, "How long events are kept.", gt=0)
    max_events: int = declare(1_000_000, "The maximum number of events.", ge=1, le=1_000_000_000_000)
    max_size: Size = declare(5_000_000_000, "The maximum disk space for events.", ge=1_000_000)


class File(ConfigTable):
    """The whole of relay.toml."""

    server: ServerTable = declare(ServerTable.model_construct(), "Where relay listens and what it keeps.")
    tunnel: TunnelTable = declare(TunnelTable.model_construct(), "How the public side is reached from outside.")
    sources: dict[Name, SourceTable] = declare(
        {},
        "Where events come from, by name: each answers at `/webhooks/<name>` and below. Without any, every "
        "provider that relay knows is checked with its usual variable, such as STRIPE_WEBHOOK_SECRET.",
    )
    targets: dict[Name, TargetTable] = declare(
        {}, "Where events go, by name. With one target and no routes everything goes there."
    )
    routes: list[RouteTable] = declare(
        [], "Which events go to which targets, in order; an event goes to each target once."
    )
    emails: dict[Name, EmailTable] = declare({}, "Mails that are rendered from events, by name.")
    smtp: SmtpTable | None = declare(
        None, "The server that takes the mail. Without it mails are kept in the outbox and shown in the dashboard."
    )
    log: LogTable = declare(LogTable.model_construct(), "What relay writes down of its own work.")
    retention: RetentionTable = declare(
        RetentionTable.model_construct(),
        "How much is kept. The oldest events go first; what is pinned or still waits for a target stays.",
    )
