"""Two events as the API gives them, put side by side for `relay diff`."""

from collections.abc import Sequence

from relay.cli.client import Json
from relay.cli.show import body_bytes
from relay.cli.terminal import as_json
from relay.model.differences import FACTS, Place, Side, places


def differences(
    left: Json, right: Json, left_sent: Sequence[Json] = (), right_sent: Sequence[Json] = ()
) -> list[Place]:
    """Return every difference between two events as the API gives them whole, each with its deliveries."""
    found = places(_side(left, left_sent), _side(right, right_sent), as_json)
    return [place for place in found if place.differs]


def _side(whole: Json, sent: Sequence[Json]) -> Side:
    return Side(
        facts={name: None if whole[name] is None else str(whole[name]) for name in FACTS},
        headers=tuple((name, value) for name, value in whole["headers"]),
        content=body_bytes(whole),
        answers={delivery["target"]: _answer(delivery) for delivery in sent},
    )


def _answer(delivery: Json) -> dict[str, str]:
    # The last delivery to a target is what counts. How long it took always differs, and says nothing.
    answer = {"state": delivery["state"], "attempts": str(delivery["attempts_made"])}
    return answer | ({"status": str(delivery["status"])} if delivery["status"] else {})
