"""What one relay says about mails without sending any."""

from relay.actions.email import Email, EmailOptions
from relay.assembly.ground import Ground
from relay.delivery.rehearsals import Rehearsals


def rehearsals(ground: Ground, email: Email) -> Rehearsals:
    """Return what says which mails would have gone out."""
    config = ground.config
    options = {name: target.options for name, target in config.targets.items()}
    return Rehearsals(
        store=ground.store,
        clock=ground.clock,
        email=email,
        templates=config.emails,
        routes=config.routes,
        targets={name: one for name, one in options.items() if isinstance(one, EmailOptions)},
    )
