"""Retention limits."""

from relay.model.values import dataclass

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionLimits:
    """The limits of stored events: `max_age` in seconds, their number, and their bytes."""

    max_age: float = 30 * 86400.0
    max_events: int = 1_000_000
    max_size: int = 5_000_000_000

    def describe_rule(self, rule: str) -> str:
        """Return a rule (age, events, size) in words: `30 days`, `1,000,000 events`, `5 GB`."""
        if rule == "events":
            return f"{self.max_events:,} events"
        if rule == "size":
            return f"{self.max_size / 1e9:g} GB" if self.max_size >= 1e9 else f"{self.max_size / 1e6:g} MB"
        seconds, unit = next((one for one in _UNITS if self.max_age >= one[0]), _UNITS[-1])
        count = self.max_age / seconds
        return f"{count:g} {unit}{'' if count == 1 else 's'}"
