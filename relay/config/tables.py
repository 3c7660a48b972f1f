"""What relay.toml may contain, as pydantic models: the names and forms users rely on."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from relay.config.units import DURATION_SCHEMA, BodyLimit, Duration, Endpoint, Size, parse_duration, parse_endpoint
from relay.vault.file_format import NAME, NAME_RULE


def _check_reference(value: object) -> object:
    if isinstance(value, str) and not value.startswith(("env:", "vault:")):
        raise ValueError(
            'must be a reference, never the value itself: write "env:NAME", or "vault:name" and relay vault set name'
        )
    if isinstance(value, str) and not value.partition(":")[2]:
        raise ValueError(f'{value!r} names nothing; write "env:NAME" or "vault:name"')
    if isinstance(value, str) and value.startswith("vault:") and not NAME.fullmatch(value.partition(":")[2]):
        raise ValueError(NAME_RULE)
    return value


def _parse_tolerance(value: object) -> object:
    return value if value == "off" else parse_duration(value)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _check_pattern(value: object) -> object:
    if isinstance(value, str):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
REFERENCE_SCHEMA = {"type": "string", "pattern": "^(env|vault):.+$", "examples": ["env:NAME", "vault:name"]}
TOLERANCE_SCHEMA = {"type": "string", "pattern": f"^off$|{DURATION_SCHEMA['pattern']}", "examples": ["5m", "off"]}


def _schema_or_list(item: dict[str, Any]) -> WithJsonSchema:
    """Return for editors that a list of one may be written without its brackets."""
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item}]})


Reference = Annotated[str, BeforeValidator(_check_reference), WithJsonSchema(REFERENCE_SCHEMA)]
References = Annotated[list[Reference], BeforeValidator(_as_list), _schema_or_list(REFERENCE_SCHEMA)]
Names = Annotated[list[str], BeforeValidator(_as_list), _schema_or_list({"type": "string"})]
Pattern = Annotated[str, BeforeValidator(_check_pattern)]
Tolerance = Annotated[float | Literal["off"], BeforeValidator(_parse_tolerance), WithJsonSchema(TOLERANCE_SCHEMA)]


class ConfigTable(BaseModel):
    """A table of relay.toml: nothing unknown, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ServerTable(ConfigTable):
    """`[server]`: where relay listens and what it keeps."""

    ingress: Endpoint = Field(default=parse_endpoint("127.0.0.1:8400"))
    dashboard: Endpoint = Field(default=parse_endpoint("127.0.0.1:8401"))
    dashboard_auth: Literal["token", "off"] = "token"
    allowed_hosts: list[str] = []
    allow_targets: list[str] = []
    data_dir: str = ".relay"
    max_body: BodyLimit = 25_000_000
    inbox: bool = True


class TunnelTable(ConfigTable):
    """`[tunnel]`: how the public side is reached from outside."""

    provider: Literal["auto", "ngrok", "command", "static", "none"] = "auto"
    authtoken: Reference = "env:NGROK_AUTHTOKEN"
    domain: str | None = None
    command: str | None = None
    url_pattern: Pattern | None = None
    public_url: str | None = None
    forwarded_for: bool | None = None


class SignatureTable(ConfigTable):
    """`[sources.NAME.signature]`: a scheme of the user's own."""

    scheme: Literal[
        "hmac", "digest", "ed25519", "ecdsa", "rsa", "token", "basic", "standard-webhooks", "jwt", "python"
    ] = "hmac"
    header: Names = []
    query: str | None = None
    json_path: str | None = Field(default=None, alias="json")
    form: str | None = None
    repeated: bool = False
    digest: str = "sha256"
    encoding: str | None = None
    any_case: bool = False
    prefix: str = ""
    item: str | None = None
    separator: str | None = None
    equals: str = "="
    key: str | None = None
    key_prefix: str = ""
    content: str | None = None
    distinct: bool = False
    urls: Names = []
    body_hash: str | None = None
    id: str | None = None
    timestamp: str | None = None
    timestamp_unit: Literal["s", "ms", "iso"] = "s"
    past: Tolerance = 300.0
    future: Tolerance = 300.0
    claim: str = "request_body_sha256"
    verifier: str | None = None


class AnswerTable(ConfigTable):
    """`answer = {…}`: what the provider gets back."""

    mode: Literal["ack", "wait"] = "ack"
    status: Annotated[int, Field(ge=200, le=599)] = 200
    body: str | None = None
    content_type: Annotated[str, Field(pattern=r"^[\w.+-]+/[\w.+-]+( *;[ -~]*)?$", max_length=200)] | None = None
    timeout: Annotated[Duration, Field(gt=0, le=120)] = 10.0


class RateLimit(ConfigTable):
    """`rate_limit = {…}`."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)]
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 10


class MessagesTable(ConfigTable):
    """`[sources.NAME.messages]`: how the statuses a provider tells find their messages."""

    match: Annotated[
        list[Literal["external_id", "embedded", "timestamp"]],
        Field(min_length=1),
        BeforeValidator(_as_list),
        _schema_or_list({"enum": ["external_id", "embedded", "timestamp"]}),
    ] = ["external_id", "embedded", "timestamp"]
    window: Annotated[Duration, Field(gt=0, le=604800)] = 600.0
    unknown: Literal[200, 404] = 200
    id: str | None = None


class CatchUpTable(ConfigTable):
    """`[sources.NAME.catch_up]`: how past events are asked for; which keys there are depends on `api`."""

    api: Literal["github", "stripe", "svix"] | None = None
    base_url: str | None = None
    token: Reference | None = None
    key: Reference | None = None
    repository: str | None = None
    organization: str | None = None
    hook: Annotated[int, Field(ge=1)] | None = None
    app: str | int | None = None
    endpoint: str | None = None
    account: str | None = None
    undelivered: bool | None = None


class SourceTable(ConfigTable):
    """`[sources.NAME]`: one address events arrive at."""

    provider: str | None = None
    path: str | None = None
    secret: References = []
    verify_token: References = []
    scheme: str | None = None
    verify: Literal["enforce", "report", "off"] = "enforce"
    tolerance: Tolerance | None = None
    public_url: str | None = None
    events: Names = []
    duplicates: Literal["drop", "deliver"] = "drop"
    require_idempotency_key: bool = False
    deliver_handshakes: bool = False
    idempotency_key: str | None = None
    event_type: str | None = None
    email_field: str | None = None
    json_schema: str | None = Field(default=None, alias="schema")
    allow_ips: list[str] = []
    rate_limit: RateLimit | None = None
    content_types: Names = []
    max_body: BodyLimit | None = None
    answer: AnswerTable = AnswerTable()
    signature: SignatureTable | None = None
    messages: MessagesTable | None = None
    catch_up: CatchUpTable | None = None


class RetryTable(ConfigTable):
    """`retry = {…}`: how often and how far apart."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 6
    first: Duration = 2.0
    factor: Annotated[float, Field(ge=1, le=100, strict=False)] = 3.0
    max: Duration = 3600.0
    jitter: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.2


class HeaderRules(ConfigTable):
    """`headers = {…}`: what to set on and take off what is forwarded."""

    set: dict[str, str] = {}
    remove: list[str] = []


class TargetTable(ConfigTable):
    """`[targets.NAME]`: where events go."""

    forward: str | None = None
    email: str | None = None
    handler: str | None = None
    timeout: Annotated[Duration, Field(gt=0, le=600)] = 30.0
    order: Literal["any", "fifo"] = "any"
    concurrency: Annotated[int, Field(ge=1, le=16)] = 4
    retry: RetryTable = RetryTable()
    sign: Literal["auto", "original", "fresh"] = "auto"
    sign_url: Literal["target", "public"] | None = None
    headers: HeaderRules = HeaderRules()
    verify_tls: bool = True
    path: Literal["join", "fixed"] = "join"
    host: Literal["target", "original"] = "target"
    forwarded: bool = False


class RouteTable(ConfigTable):
    """`[[routes]]`: which events go where."""

    source: Names = ["*"]
    events: Names = []
    when: str = ""
    to: Names


class EmailTable(ConfigTable):
    """`[emails.NAME]`: a mail rendered from an event."""

    to: Names
    cc: Names = []
    bcc: Names = []
    reply_to: Names = []
    subject: str
    template: str | None = None
    text: str | None = None
    attach: Annotated[
        list[Literal["payload", "body"]], BeforeValidator(_as_list), _schema_or_list({"enum": ["payload", "body"]})
    ] = []
    once: bool = True
    per_hour: Annotated[int, Field(ge=1, le=100_000)] = 30


class SmtpTable(ConfigTable):
    """`[smtp]`: the server that takes our mail."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: Reference | None = None
    password: Reference | None = None
    sender: str
    allow_recipients: list[str] = []
    insecure: bool = False
    ca_file: str | None = None
    verify_tls: bool = True
    timeout: Annotated[Duration, Field(gt=0, le=600)] = 10.0
    retry: RetryTable = RetryTable()


class LogTable(ConfigTable):
    """`[log]`: what relay writes down of its own work."""

    level: Literal["error", "warning", "info", "debug"] = "info"


class RetentionTable(ConfigTable):
    """`[retention]`: how much is kept."""

    max_age: Annotated[Duration, Field(gt=0)] = 30 * 86400.0
    max_events: Annotated[int, Field(ge=1)] = 1_000_000
    max_size: Annotated[Size, Field(ge=1_000_000)] = 5_000_000_000


class File(ConfigTable):
    """The whole of relay.toml."""

    server: ServerTable = ServerTable()
    tunnel: TunnelTable = TunnelTable()
    sources: dict[Name, SourceTable] = {}
    targets: dict[Name, TargetTable] = {}
    routes: list[RouteTable] = []
    emails: dict[Name, EmailTable] = {}
    smtp: SmtpTable | None = None
    log: LogTable = LogTable()
    retention: RetentionTable = RetentionTable()
