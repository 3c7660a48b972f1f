"""The rules of `[sources.NAME]` for requests: addresses, rate, size, content types, schema, mail address."""

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Network, ip_network
from pathlib import Path

from relay.config.reading import collect_problems
from relay.config.source_tables import AnswerTable, MessagesTable, SourceTable
from relay.config.tables import TunnelTable
from relay.config.user_modules import NAME, load_model
from relay.errors import ConfigError
from relay.model.admission import Admission, Answer, BodySchema, EmailField, Network, Rate
from relay.model.event import Source
from relay.model.json_paths import format_pointer
from relay.model.message import Matching, MatchWay
from relay.model.text import escape_unprintable
from relay.providers.extractors import parse_extractor
from relay.providers.message_status import MessageStatuses

_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+(?:/\d{1,3})?")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+*-]+/[\w!#$&^.+*-]+")
_BARE = re.compile(r"(?:\$\.)?([\w-]+(?:\.[\w-]+)*)")
_PLAIN_TUNNELS = frozenset({"ssh", "autossh", "bore", "socat"})
_MAPPED_BITS = 96  # of the IPv6 network of mapped IPv4 addresses


def build_admission(table: SourceTable, folder: Path, problems: list[str]) -> Admission:
    """Return the rules of a source; files and modules are searched in `folder`, mistakes are added to `problems`."""
    networks = tuple(_parse_networks(table.allow_ips, problems))
    problems += _find_odd_types(table.content_types)
    name, rate = table.json_schema, table.rate_limit
    schema = email = None
    with collect_problems(problems):
        schema = body_schema(name, folder) if name is not None else None
    with collect_problems(problems):
        email = _parse_email_field(table.email_field)
    return Admission(
        networks=networks,
        rate=Rate(per_minute=rate.requests_per_minute, burst=rate.burst) if rate else None,
        max_body=table.max_body,
        content_types=tuple(kind.lower() for kind in table.content_types),
        schema=schema,
        email=email,
    )


def tunnel_names_callers(table: TunnelTable) -> bool:
    """Return whether the tunnel writes the caller into `X-Forwarded-For`, as ngrok and cloudflared do.

    A tunnel of raw bytes, such as `ssh -R`, passes on whatever the caller wrote there.
    """
    if table.forwarded_for is not None:
        return table.forwarded_for
    words = (table.command or "").split()
    program = words[0].rpartition("/")[2] if words else ""
    return table.provider != "command" or program not in _PLAIN_TUNNELS


def _parse_networks(texts: list[str], problems: list[str]) -> Iterator[Network]:
    for place, text in enumerate(texts):
        try:
            yield _parse_network(text)
        except ValueError as error:
            problems.append(f"allow_ips.{place}: {escape_unprintable(repr(text), 60)} {error}")


def _parse_network(text: str) -> Network:
    """Return an address or a network; a mapped IPv6 one as IPv4. Raises ValueError."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError("is not an address or a network; write 192.0.2.1, 10.0.0.0/24 or 2001:db8::/32")
    try:
        network = ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError(f"has bits beyond its mask; write {ip_network(text, strict=False)}") from None
        raise ValueError("is not an address or a network") from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return ip_network(f"{mapped}/{network.prefixlen - _MAPPED_BITS}")
    return network


def _find_odd_types(kinds: list[str]) -> Iterator[str]:
    for place, kind in enumerate(kinds):
        if not _MEDIA_TYPE.fullmatch(kind):
            quoted = escape_unprintable(repr(kind), 60)
            yield f"content_types.{place}: {quoted} is not a media type; write application/json or application/*"


def body_schema(name: str, folder: Path) -> BodySchema:
    """Return the validator of `schema = "…"` in a folder. Raises ConfigError, prefixed with the key `schema`."""
    if NAME.fullmatch(name):  # a model, not a file
        return load_model(name, folder)
    from relay.config.json_schema import load_json_schema  # noqa: PLC0415 - 40 ms, for sources with a schema only

    return load_json_schema(name, folder)


def _parse_email_field(text: str | None) -> EmailField | None:
    """Return the location of a mail address: `header:NAME`, `query:NAME`, `body:/pointer`, or a field of the body."""
    if text is None:
        return None
    kind, colon, name = text.partition(":")
    bare = _BARE.fullmatch(text)
    if not colon and bare is not None:
        return EmailField(kind="body", name=format_pointer(bare[1].split(".")))
    if kind in ("header", "query") and name.strip():
        return EmailField(kind=kind, name=name.strip() if kind == "header" else name)
    if kind == "body" and name.startswith("/") and len(name) > 1:
        return EmailField(kind="body", name=name)
    raise ConfigError(
        f"email_field: {escape_unprintable(repr(text), 80)} says neither where to look nor for what",
        hint="write user.email, body:/user/email, header:X-Email or query:email",
    )


_TEXT = "text/plain; charset=utf-8"
_XML = "text/xml; charset=utf-8"


def build_answer(table: AnswerTable, usual: Answer) -> Answer:
    """Return the configured answer; `usual` is that of the provider."""
    answer = replace(usual, mode=table.mode, status=table.status, timeout=table.timeout)
    if table.body is not None:
        answer = replace(answer, body=table.body, content_type=_guess_content_type(table.body), form_body=None)
    elif not 200 <= table.status < 300:
        # The answer that a provider requires must signal success.
        answer = replace(answer, body=None, content_type="application/json", form_body=None)
    if table.content_type is not None:
        answer = replace(answer, content_type=table.content_type, form_body=None)
    return answer


def _guess_content_type(body: str) -> str:
    start = body.lstrip()
    if start.startswith(("{", "[", '"')):
        return "application/json"
    return _XML if start.startswith(("<?xml", "<Response")) else _TEXT


def with_message_matching(source: Source, table: MessagesTable | None) -> Source:
    """Return the source with the table applied. Raises ConfigError."""
    if table is None:
        return source
    statuses = source.statuses
    if statuses is None:
        raise ConfigError(
            f"messages: {source.title} does not report message statuses",
            hint="remove the table, or set provider to one that does, such as twilio or resend",
        )
    if table.id is not None and isinstance(statuses, MessageStatuses):
        try:
            statuses = replace(statuses, embedded=parse_extractor(table.id))
        except ConfigError as error:
            raise ConfigError(f"messages.id: {error.message}", hint=error.hint) from error
    return replace(
        source,
        statuses=statuses,
        matching=Matching(
            ways=tuple(dict.fromkeys(MatchWay(way) for way in table.match)), window=table.window, unknown=table.unknown
        ),
    )
