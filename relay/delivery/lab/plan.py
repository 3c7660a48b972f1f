"""Planning a lab run: its events, its target, and the sends of each experiment."""

from collections.abc import Callable, Sequence
from dataclasses import field

from relay.actions.egress import EgressRules, check_target
from relay.delivery.lab import EXPERIMENTS
from relay.delivery.lab.experiment import Experiment, name_events
from relay.delivery.lab.fresh_ids import find_event_ids
from relay.delivery.signing import SignatureForger
from relay.delivery.targets import Targets
from relay.errors import NotFoundError, UsageError
from relay.model.clock import Clock
from relay.model.event import EventRow, Verdict
from relay.model.lab import LabSettings, LabTrial, NewLabRun, PlannedLabRun
from relay.model.search import parse_query_strictly
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.store import Store

MOST_EVENTS = 100
MOST_TIMES = 200
MOST_SENDS = 2_000
LONGEST_DELAY = 3600.0
_DELAY = 2.0


@dataclass(slots=True, kw_only=True)
class _Inspection:
    """The result of inspecting the events: refusals by experiment and event, and notes on all of them.

    `without_id` are events sent under the id that the app has seen.
    """

    refused: dict[str, dict[int, str]]
    without_id: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Plans runs. `rules(typed)` gives the egress rules; `seed` makes a new seed if none is given."""

    store: Store
    clock: Clock
    targets: Targets
    forger: SignatureForger
    rules: Callable[[bool], EgressRules]
    seed: Callable[[], int]

    async def plan(self, new: NewLabRun) -> PlannedLabRun:
        """Return what a run would do.

        Raises UsageError for invalid input, NotFoundError for an unknown target or event or if
        nothing matches, TargetError for an address that relay must not call.
        """
        experiments = _find_experiments(new.experiments)
        settings = self._settings(new)
        target = await self._target(new.target)
        rows = await self._rows(new)
        seen = await self._look(experiments, rows)
        planned = PlannedLabRun(
            query=new.query if not new.events else "",
            events=tuple(row.id for row in rows),
            target=target,
            settings=settings,
            trials=tuple(_plan_trial(experiment, rows, seen, settings) for experiment in experiments),
            notes=tuple(dict.fromkeys(seen.notes)),
        )
        if planned.sends > MOST_SENDS:
            raise UsageError(
                f"that would be {planned.sends:,} sends, and a run makes {MOST_SENDS:,} at most",
                hint="name fewer events or experiments, or fewer times",
            )
        return planned

    def _settings(self, new: NewLabRun) -> LabSettings:
        if new.times is not None and not 2 <= new.times <= MOST_TIMES:
            raise UsageError(f"times is a number from 2 to {MOST_TIMES}", hint="leave it out for the usual one")
        if new.delay is not None and not 0 <= new.delay <= LONGEST_DELAY:
            raise UsageError("delay is at most an hour", hint="write 2s, 500ms or 5m")
        if new.speed is not None and not 1 <= new.speed <= 1_000_000:
            raise UsageError("speed is a number from 1 (as the provider does) to a million", hint="write 1000")
        if new.compare not in (None, "body", "status"):
            raise UsageError("compare is body or status", hint="leave it out for body")
        if new.seed is not None and not 0 <= new.seed < 2**53:
            raise UsageError("a seed is a whole number from 0", hint="take the one that a run printed")
        return LabSettings(
            times=new.times,
            seed=self.seed() if new.seed is None else new.seed,
            delay=_DELAY if new.delay is None else new.delay,
            speed=new.speed,
            compare=new.compare or "body",
        )

    async def _target(self, name: str | None) -> str:
        found = {known: self.targets.find(known) for known in sorted(self.targets.names)}
        forwarding = [known for known, target in found.items() if target.action == "forward"]
        if not name and len(forwarding) == 1:
            return forwarding[0]
        hint = f"there is: {', '.join(forwarding) or 'none yet'}; or an address: http://"
        if not name:
            raise UsageError("a run needs a target", hint=f"{hint}localhost:3000/webhooks")
        name = self.targets.place(name)
        if "://" in name:
            await check_target(name, self.rules(True))
        elif name not in found:
            raise NotFoundError(f"no target '{escape_unprintable(name, 80)}'", hint=f"{hint}…")
        elif name not in forwarding:
            raise UsageError(f"{name} answers nothing", hint="the lab needs a target that events are forwarded to")
        return name

    async def _rows(self, new: NewLabRun) -> tuple[EventRow, ...]:
        if new.events:
            ids = set(new.events)
            if len(ids) > MOST_EVENTS:
                raise _too_many_error()
            rows = await self.store.events.rows(ids)
            if gone := ids.difference(row.id for row in rows):
                raise NotFoundError(f"no event {min(gone)}", hint="relay events lists them")
            return rows[::-1]
        query = parse_query_strictly(new.query, self.clock.now())
        found = [row async for row in self.store.events.iterate(query, most=MOST_EVENTS + 1)]
        if len(found) > MOST_EVENTS:
            raise _too_many_error()
        if not found:
            raise NotFoundError("no event matches", hint="relay events QUERY shows what does")
        return tuple(reversed(found))

    async def _look(self, experiments: Sequence[Experiment], rows: Sequence[EventRow]) -> _Inspection:
        seen = _Inspection(refused={experiment.name: {} for experiment in experiments})
        for row in rows:
            # One at a time: a hundred bodies may not fit into memory together.
            event = await self.store.events.get(row.id)
            if row.verdict is Verdict.INVALID:
                # An experiment re-signs events, which would make a forged event genuine.
                for experiment in experiments:
                    seen.refused[experiment.name][row.id] = "it failed verification; take a genuine event"
                continue
            if helpless := self.forger.explain_unsignable(event):
                seen.without_id.add(row.id)
                seen.notes.append(f"{helpless}: its events go out with the signature they came with")
            if not find_event_ids(event):
                seen.without_id.add(row.id)
            for experiment in experiments:
                if reason := experiment.explain_refusal(event, self.forger):
                    seen.refused[experiment.name][row.id] = reason
        return seen


def _find_experiments(names: Sequence[str]) -> tuple[Experiment, ...]:
    hint = f"there is: all, {', '.join(EXPERIMENTS)}"
    if not names:
        raise UsageError("a run needs an experiment", hint=hint)
    if "all" in names:
        return tuple(EXPERIMENTS.values())
    if strange := sorted(set(names) - EXPERIMENTS.keys()):
        raise UsageError(f"there is no experiment '{escape_unprintable(strange[0], 40)}'", hint=hint)
    return tuple(experiment for name, experiment in EXPERIMENTS.items() if name in names)


def _plan_trial(experiment: Experiment, rows: Sequence[EventRow], seen: _Inspection, settings: LabSettings) -> LabTrial:
    refused = seen.refused[experiment.name]
    fit = [row for row in rows if row.id not in refused]
    if len(fit) == 1 and experiment.not_alone:
        refused[fit.pop().id] = experiment.not_alone
    notes = experiment.list_notes(fit, settings) if fit else ()
    if without := [row.id for row in fit if row.id in seen.without_id]:
        known = (
            f"{name_events(without)}: sent with the id that the app has seen, because relay cannot give it a new one"
        )
        notes = (known, *notes)
    return LabTrial(
        experiment=experiment.name,
        events=tuple(row.id for row in fit),
        sends=sum(len(one.shots) for one in experiment.plan_rounds(fit, settings)) if fit else 0,
        skipped=tuple(sorted(refused.items())),
        notes=notes,
    )


def _too_many_error() -> UsageError:
    return UsageError(
        f"more than {MOST_EVENTS} events match, and a run takes {MOST_EVENTS} at most",
        hint="narrow the query, by after: and before: perhaps",
    )
