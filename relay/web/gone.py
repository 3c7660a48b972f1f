"""What became of an event that is not there: removed by retention, deleted, or not here yet."""

from relay.web.keys import Desk


async def told(here: Desk, id_: int) -> str:
    """Return in a sentence why there is no event of that number."""
    newest = await here.store.pruning.newest()
    if id_ > newest:
        return f"There is no event {id_} yet{f'; the newest is {newest}' if newest else ''}."
    marks = await here.store.pruning.removed()
    # Each rule removes upwards, so the lowest mark above a number is that of the rule which took it.
    passed = min(((mark, rule) for rule, mark in marks.items() if mark >= id_), default=None)
    if passed is None:
        return f"Event {id_} was deleted."
    return f"Event {id_} was removed by retention ({here.setup.keep.says(passed[1])})."
