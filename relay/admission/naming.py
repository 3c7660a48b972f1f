"""Where a pick looks, in the words of whoever sends: the name of a header, a parameter, a field of the body."""

from relay.model.event import Pick
from relay.model.paths import dotted, pointer_to
from relay.model.text import printable
from relay.providers.lists import AlongsidePick
from relay.providers.picks import BodyPick, FirstPick, FormPick, HeaderPick, PointerPick, QueryPick

_LONGEST = 200
_UNNAMED = "idempotency key"


def place(pick: Pick | None) -> tuple[str, str]:
    """Return the name of the field that a pick takes, and its JSON Pointer where it is one of the body.

    A pick that looks in several places is named by all of them; one that is put together, by what it is for.
    """
    match pick:
        case HeaderPick(name=name) | QueryPick(name=name) | FormPick(name=name):
            return printable(name, _LONGEST), ""
        case PointerPick(path=path):
            return printable(dotted(path), _LONGEST), path
        case BodyPick(keys=keys):
            return place(PointerPick(pointer_to(keys)))
        case AlongsidePick(pick=named):
            return place(named)
        case FirstPick(picks=picks):
            # What is put together, such as a CloudEvent's id, has no name that a sender would know.
            names = [name for name in (place(one)[0] for one in picks) if name != _UNNAMED]
            return printable(" or ".join(names) or _UNNAMED, _LONGEST), ""
    return _UNNAMED, ""
