"""`--set path=value`: which fields of a body are to be changed, as typed."""

from relay.cli.terminal import quote
from relay.errors import UsageError


def assignments(given: tuple[str, ...]) -> dict[str, str]:
    """Return `path=value` texts as paths with values. Raises UsageError for a text without `=`."""
    found: dict[str, str] = {}
    for text in given:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise UsageError(f"--set: {quote(text)} is not path=value", hint="write data.object.amount=500")
        found[path.strip()] = value
    return found
