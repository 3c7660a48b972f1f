"""`[sources.NAME.messages]` becomes how a source's statuses find their messages."""

from dataclasses import replace

from relay.config.file import MessagesTable
from relay.errors import ConfigError
from relay.model.event import Source
from relay.model.message import Matching, MatchWay
from relay.providers.picks import parse_pick
from relay.providers.statuses import MessageStatuses


def matched(source: Source, table: MessagesTable | None) -> Source:
    """Return the source with the table applied. Raises ConfigError."""
    if table is None:
        return source
    statuses = source.statuses
    if statuses is None:
        raise ConfigError(
            f"messages: {source.title} tells no message statuses",
            hint="take the table out, or set provider to one that does, such as twilio or resend",
        )
    if table.id is not None and isinstance(statuses, MessageStatuses):
        try:
            statuses = replace(statuses, embedded=parse_pick(table.id))
        except ConfigError as error:
            raise ConfigError(f"messages.id: {error.sentence}", hint=error.hint) from error
    return replace(
        source,
        statuses=statuses,
        matching=Matching(
            ways=tuple(dict.fromkeys(MatchWay(way) for way in table.match)),
            window=table.window,
            unknown=table.unknown,
        ),
    )
