"""What an action is: one thing that can be done with an event, once."""

from typing import Protocol, TypeVar

from relay.model.delivery import ActionResult, Delivery
from relay.model.event import Event

Options_contra = TypeVar("Options_contra", contravariant=True)


class Action(Protocol[Options_contra]):
    """Touches the outside world once for each call; when to call again is the engine's to say.

    Derive from it: an action with no far end inherits `reachable`.
    """

    name: str

    async def run(self, event: Event, delivery: Delivery, options: Options_contra) -> ActionResult:
        """Act, and return what came of it. An exception counts as a Retry."""
        ...

    async def reachable(self, options: Options_contra) -> bool:  # noqa: ARG002 - for those that have a far end
        """Say whether the far end takes connections, without doing anything there."""
        return True
