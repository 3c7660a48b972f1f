"""relay.toml as pydantic models: each key with its type, default and meaning, for validation, editors and the docs."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from relay.config.source_tables import SourceTable
from relay.config.types import (
    ONLY_NUMBERS,
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
    Pattern,
    Reference,
    Size,
    as_list,
    parse_endpoint,
    schema_or_list,
)

_LONGEST_WAIT = 365 * 86400  # seconds; twice as much is as far ahead as a delivery may ever be due


class ServerTable(ConfigTable):
    """`[server]`: where relay listens and what it keeps."""

    ingress: Endpoint = Field(
        default=parse_endpoint("127.0.0.1:8400"),
        description="Where webhooks arrive, the only port a tunnel exposes; port `auto` is any free one.",
    )
    dashboard: Endpoint = Field(
        default=parse_endpoint("127.0.0.1:8401"), description="Where dashboard, API and metrics are, for you alone."
    )
    dashboard_auth: Literal["token", "off"] = Field(
        default="token", description="`off` asks for no token; only for a dashboard on loopback."
    )
    allowed_hosts: Names = Field(
        default=[], description="Further names that the dashboard answers to where it is bound elsewhere than loopback."
    )
    allow_targets: Names = Field(
        default=[], description="Further `host:port` that a typed-in URL may reach, besides loopback and the targets."
    )
    data_dir: str = Field(
        default=".relay",
        description="The folder for events, vault, outbox and log, counted from the folder of relay.toml; keep it out "
        "of version control.",
    )
    max_body: BodyLimit = Field(
        default=25_000_000, description="The largest body that is taken; a larger one gets 413."
    )
    inbox: bool = Field(
        default=True,
        description="Whether `/webhooks/<any other name>` is captured too, unchecked; `false` answers 404.",
    )


class TunnelTable(ConfigTable):
    """`[tunnel]`: how the public side is reached from outside."""

    provider: Literal["auto", "ngrok", "command", "static", "none"] = Field(
        default="auto",
        description="`auto` is `ngrok` where an authtoken is set, else `none`; `ngrok` needs its agent: `relay tunnel "
        "install`; `command` starts a program of yours, and `static` is a tunnel that you run yourself.",
    )
    authtoken: Reference = Field(default="env:NGROK_AUTHTOKEN", description="The token of ngrok.")
    domain: str | None = Field(default=None, description="A fixed domain of your ngrok account.")
    command: str | None = Field(
        default=None,
        description='The command of `provider = "command"`, such as `cloudflared tunnel --url {ingress_url}`; `{host}` '
        "and `{port}` work too.",
    )
    url_pattern: Pattern | None = Field(
        default=None,
        description="A regular expression for the address in what `command` prints; its first group, if it has one.",
    )
    public_url: str | None = Field(default=None, description='The address of the tunnel where `provider = "static"`.')
    forwarded_for: bool | None = Field(
        default=None,
        description="Whether `X-Forwarded-For` says who called; by default where the tunnel is known to write it.",
    )


class RetryTable(ConfigTable):
    """`retry = {…}`: how often and how far apart."""

    attempts: Annotated[int, Field(ge=1, le=100)] = Field(default=6, description="How often it is tried at most.")
    first: Annotated[Duration, Field(le=_LONGEST_WAIT)] = Field(
        default=2.0, description="How long to wait before the second attempt."
    )
    factor: Annotated[float, Field(ge=1, le=100, strict=False), ONLY_NUMBERS] = Field(
        default=3.0, description="By what each wait is longer than the one before."
    )
    max: Annotated[Duration, Field(le=_LONGEST_WAIT)] = Field(default=3600.0, description="The longest wait.")
    jitter: Annotated[float, Field(ge=0, le=1, strict=False), ONLY_NUMBERS] = Field(
        default=0.2, description="By how much of itself a wait is changed at random."
    )


class HeaderRules(ConfigTable):
    """`headers = {…}`: what to set on and take off what is forwarded."""

    set: dict[HeaderName, HeaderValue] = Field(default={}, description="Headers that are added or replaced.")
    remove: HeaderNames = Field(default=[], description="Headers that are left out.")


class TargetTable(ConfigTable):
    """`[targets.NAME]`: where events go."""

    forward: str | None = Field(default=None, description="The URL that events are sent to.")
    email: str | None = Field(default=None, description="The table of `[emails]` that events are mailed with.")
    handler: FilePath | None = Field(default=None, description="A Python file whose functions are called with events.")
    timeout: Annotated[Duration, Field(gt=0, le=600)] = Field(default=30.0, description="How long an answer may take.")
    order: Literal["any", "fifo"] = Field(
        default="any", description="`fifo` sends the events of a source strictly one after another."
    )
    concurrency: Annotated[int, Field(ge=1, le=16)] = Field(
        default=4, description="How many events go there at the same time; 2 for a handler."
    )
    retry: RetryTable = Field(
        default=RetryTable.model_construct(), description="How often and how far apart deliveries are tried."
    )
    sign: Literal["auto", "original", "fresh"] = Field(
        default="auto",
        description="`auto` signs again what would not verify any more, `fresh` everything, `original` nothing.",
    )
    sign_url: Literal["target", "public"] | None = Field(
        default=None,
        description="Which URL is signed where a provider signs one: the one that is called, or the public one.",
    )
    headers: HeaderRules = Field(default=HeaderRules.model_construct(), description="What to change in the headers.")
    verify_tls: bool = Field(default=True, description="Whether the certificate of an https target must be valid.")
    path: Literal["join", "fixed"] = Field(
        default="join",
        description="`join` appends what follows the source's path, `fixed` sends everything to the one URL.",
    )
    host: Literal["target", "original"] = Field(
        default="target", description="`original` keeps the Host header that the provider sent."
    )
    forwarded: bool = Field(default=False, description="Whether `X-Forwarded-*` headers are added.")


class RouteTable(ConfigTable):
    """`[[routes]]`: which events go where."""

    source: Annotated[Names, Field(min_length=1)] = Field(
        default=["*"], description='The sources of the events, or `"*"` for every one.'
    )
    events: Names = Field(
        default=[],
        description="The types of the events, with `*`, one of which a request must hold; every type by default.",
    )
    when: str = Field(
        default="",
        description="A condition on `event` and `payload`, a Jinja expression; of a request that holds "
        "several events, on `item` too, which is each of them, and on `items`. It holds if it "
        "does for one.",
    )
    to: Names = Field(description="The targets.")


class EmailTable(ConfigTable):
    """`[emails.NAME]`: a mail rendered from an event."""

    to: Names = Field(description="The recipients: addresses or templates, which may give a list.")
    cc: Names = Field(default=[], description="Who gets a copy.")
    bcc: Names = Field(default=[], description="Who gets a copy that the others do not see.")
    reply_to: Names = Field(default=[], description="Where answers go.")
    subject: str = Field(description="The subject, a template.")
    template: FilePath | None = Field(
        default=None, description="A file with the HTML, a template; a `.txt` beside it is the plain part."
    )
    text: str | None = Field(default=None, description="The plain text, a template, instead of a file.")
    attach: Annotated[
        list[Literal["payload", "body"]], BeforeValidator(as_list), schema_or_list({"enum": ["payload", "body"]})
    ] = Field(default=[], description="What of the event goes with the mail.")
    once: bool = Field(
        default=True, description="Whether an event is mailed once by this template, unless it is forced."
    )
    per_hour: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=30, description="How many leave within an hour; the others wait."
    )


class SmtpTable(ConfigTable):
    """`[smtp]`: the server that takes our mail."""

    host: str = Field(description="The name of the server.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=587, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the connection is encrypted."
    )
    username: Reference | None = Field(default=None, description="Who logs in. While it is missing, mail waits.")
    password: Reference | None = Field(default=None, description="The password. While it is missing, mail waits.")
    sender: str = Field(description="Who the mail is from: `Shop <shop@example.com>`.")
    allow_recipients: Names = Field(
        default=[], description="Who may get mail, with `*`; without it only addresses that relay.toml names."
    )
    insecure: bool = Field(
        default=False, description="Whether a server that is not on this computer may lack encryption."
    )
    ca_file: FilePath | None = Field(
        default=None, description="A file with the certificates that vouch for the server's."
    )
    verify_tls: bool = Field(default=True, description="Whether the server's certificate must be valid.")
    timeout: Annotated[Duration, Field(gt=0, le=600)] = Field(default=10.0, description="How long each step may take.")
    retry: RetryTable = Field(
        default=RetryTable.model_construct(), description="How often and how far apart mails are tried."
    )


class LogTable(ConfigTable):
    """`[log]`: what relay writes down of its own work."""

    level: Literal["error", "warning", "info", "debug"] = Field(
        default="info",
        description="What `relay.log` in `data_dir` holds; `debug` logs every event, a line for each step.",
    )


class RetentionTable(ConfigTable):
    """`[retention]`: how much is kept."""

    max_age: Annotated[Duration, Field(gt=0)] = Field(default=30 * 86400.0, description="How long events are kept.")
    max_events: Annotated[int, Field(ge=1, le=1_000_000_000_000)] = Field(
        default=1_000_000, description="How many events are kept."
    )
    max_size: Annotated[Size, Field(ge=1_000_000)] = Field(
        default=5_000_000_000, description="How much disk the events may take."
    )


class File(ConfigTable):
    """The whole of relay.toml."""

    server: ServerTable = Field(
        default=ServerTable.model_construct(), description="Where relay listens and what it keeps."
    )
    tunnel: TunnelTable = Field(
        default=TunnelTable.model_construct(), description="How the public side is reached from outside."
    )
    sources: dict[Name, SourceTable] = Field(
        default={},
        description="Where events come from, by name: each answers at `/webhooks/<name>` and below. Without any, every "
        "provider that relay knows is checked with its usual variable, such as STRIPE_WEBHOOK_SECRET.",
    )
    targets: dict[Name, TargetTable] = Field(
        default={}, description="Where events go, by name. With one target and no routes everything goes there."
    )
    routes: list[RouteTable] = Field(
        default=[], description="Which events go to which targets, in order; an event goes to each target once."
    )
    emails: dict[Name, EmailTable] = Field(default={}, description="Mails that are rendered from events, by name.")
    smtp: SmtpTable | None = Field(
        default=None,
        description="The server that takes the mail. Without it mails are kept in the outbox and shown in "
        "the dashboard.",
    )
    log: LogTable = Field(default=LogTable.model_construct(), description="What relay writes down of its own work.")
    retention: RetentionTable = Field(
        default=RetentionTable.model_construct(),
        description="How much is kept. The oldest events go first; what is pinned or still waits for a target stays.",
    )
