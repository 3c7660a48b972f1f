"""Which provider stands behind an event or a source: its title, its mark, where its secret usually lies."""

from relay.model.event import EventRow, Source
from relay.providers.catalogue import PROVIDERS
from relay.providers.provider import Provider
from relay.web.view.marks import Mark, mark


def provider(name: str) -> Provider | None:
    """Return a provider of the catalogue, or None."""
    return PROVIDERS.get(name)


def event_mark(row: EventRow) -> Mark:
    """Return the mark of whoever sent an event: the provider, or the name it was captured under."""
    return _mark(row.provider, row.source)


def source_mark(source: Source) -> Mark:
    """Return the mark of a source; its own title wins over its provider's."""
    return _mark(source.provider, source.title or source.name)


def named_mark(name: str, source: Source | None) -> Mark:
    """Return the mark of a source by its name, known or not."""
    return source_mark(source) if source is not None else _mark(name, name)


def _mark(name: str, otherwise: str) -> Mark:
    known = provider(name)
    if known is None:
        return mark(otherwise)
    return mark(known.name, known.title, known.monogram)
