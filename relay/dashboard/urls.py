"""Addresses of the dashboard, and text made fit for a path, a header or HTML."""

import json
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from markupsafe import escape


def escape_html(text: str) -> str:
    """Return plain text as HTML."""
    return str(escape(text))


def encode_query(fields: Mapping[str, str]) -> str:
    """Return fields as the query of an address."""
    return urlencode(fields, quote_via=quote)


def quote_path_part(text: str) -> str:
    """Return text as one part of a path."""
    return quote(text, safe="")


def dump_ascii_json(value: object) -> str:
    """Return a value as JSON in ASCII, fit for a header."""
    return json.dumps(value)


def build_query_suffix(query: str) -> str:
    """Return what a link carries on so that the list keeps its filter: `?q=…`, or nothing."""
    return f"?{urlencode({'q': query}, quote_via=quote)}" if query else ""


def build_events_url(query: str, **more: object) -> str:
    """Return the address of the list for a search."""
    fields = {"q": query, **more} if query else more
    return f"/events?{urlencode(fields, quote_via=quote)}" if fields else "/events"


def build_deliveries_url(state: str, **more: object) -> str:
    """Return the address of the deliveries in a state, "" for all."""
    fields = {name: value for name, value in {"state": state, **more}.items() if value}
    return f"/deliveries?{urlencode(fields, quote_via=quote)}" if fields else "/deliveries"
