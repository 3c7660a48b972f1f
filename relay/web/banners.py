"""What needs a person now, on top of every page: a tunnel that dropped, targets that do not answer."""

from urllib.parse import urlsplit

from relay.model.delivery import Target
from relay.model.text import printable
from relay.web.keys import Desk
from relay.web.view import shell


async def banners(here: Desk) -> tuple[shell.Banner, ...]:
    """Return the banners as they stand at this moment."""
    live, ingress = here.live, here.setup.ingress_url
    told = here.custody.standing.told
    return (
        *((shell.unkept(live.outage, live.unkept),) if live.outage else ()),
        *((shell.opened(told),) if told else ()),
        *((shell.dropped(live.tunnel, ingress),) if shell.tunnel(live.tunnel, ingress).broken else ()),
        *(shell.broken(name, why) for name, why in sorted(live.broken.items())),
        *(await _held_mail(here)),
        *(await _down(here)),
        *(shell.gone(name, why) for name, why in sorted(live.gone.items())),
        *((shell.full(live.retention),) if live.retention else ()),
    )


async def _held_mail(here: Desk) -> tuple[shell.Banner, ...]:
    """Return what waits for a missing credential; a locked vault has a banner of its own."""
    why = here.custody.standing.mail_blocked
    if not why or why.startswith("the vault is locked"):
        return ()
    waiting = await here.store.deliveries.waiting()
    count = sum(
        waiting.get(name, 0) for name, target in here.setup.targets.items() if target.action == "email"
    )
    return (shell.held_mail(why, count),) if count else ()


async def _down(here: Desk) -> list[shell.Banner]:
    live, setup = here.live, here.setup
    waiting = await here.store.deliveries.waiting() if live.down else {}
    shown: list[shell.Banner] = []
    for name in sorted(live.down):
        target = setup.targets.get(name) or Target(name=name, action="", options=None)
        address = printable(urlsplit(setup.addresses.get(name, "")).netloc, 80)
        # Handlers that are broken are told as that, not as a target that does not answer.
        if target.action != "handler":
            shown.append(shell.down(target, address, waiting.get(name, 0), live.next_try(name)))
    return shown
