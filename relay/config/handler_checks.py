"""Checks handlers files before relay starts: each is loaded once, in a separate process."""

import asyncio
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from relay.config.build import Config
from relay.config.reading import combine_problems, did_you_mean
from relay.handlers.environment import HandlerOptions
from relay.handlers.worker import BrokenFileError, Worker
from relay.model.delivery import matches_type
from relay.model.text import escape_unprintable, find_similar
from relay.providers.samples import sample_types

_CLOSE_MATCH = 0.85  # similarity of two names from which one counts as a misspelling of the other; 1.0 is equal


async def check_handlers(config: Config) -> tuple[str, ...]:
    """Load all handlers files and return warnings, such as one that waits for the vault.

    Raises ConfigError with each file that cannot be run, and the line.
    """
    files = [target.options for target in config.targets.values() if isinstance(target.options, HandlerOptions)]
    found = await asyncio.gather(*(inspect_handlers_file(options) for options in files))
    seen = list(zip(files, found, strict=True))
    problems, doubts = [], []
    for options, rules in seen:
        key = f"targets.{options.target}.handler"
        if not isinstance(rules, BrokenFileError):
            doubts += [f"{key}: {doubt}" for rule in rules for doubt in _find_doubts(rule, config)]
        elif rules.locked:
            doubts.append(f"{key}: {rules.message}; its events wait for relay vault unlock")
        else:
            problems.append(f"{key}: {rules.full_text}")
    if problems:
        raise combine_problems(str(config.path or "the command line"), problems)
    return tuple(doubts)


async def inspect_handlers_file(options: HandlerOptions) -> list[dict[str, Any]] | BrokenFileError:
    """Return the rules that a handlers file registers, or why it cannot be run."""
    try:
        worker = await Worker.start(options)
    except BrokenFileError as error:
        return error
    await worker.end()
    return worker.rules


def _find_doubts(rule: dict[str, Any], config: Config) -> Iterator[str]:
    decorator = "use" if rule["first"] else "on"
    sources = {source.name: source.provider for source in config.sources}
    mine = [provider for name, provider in sources.items() if fnmatchcase(name, rule["source"])]
    quoted = escape_unprintable(f'@{decorator}("{rule["source"]}") of {rule["name"]}', 120)
    if not mine and sources and rule["source"] != "*":
        near = did_you_mean(rule["source"], sources)
        if near or config.inbox is None:
            yield f"{quoted}: there is no [sources.{escape_unprintable(rule['source'], 60)}]{near}"
    known = {type_ for provider in mine or [rule["source"]] for type_ in sample_types(provider)}
    for pattern in rule["events"]:
        near = _find_slip(pattern, known)
        if near:
            yield f"{quoted}: relay knows no event {escape_unprintable(pattern, 60)!r} here; did you mean {near!r}?"


def _find_slip(pattern: str, known: Iterable[str]) -> str:
    # relay knows only the types it has samples of, so only near misses of those are reported.
    types = sorted(known)
    if not types or any(matches_type(type_, (pattern,)) for type_ in types):
        return ""
    families = {type_[: place + 1] + "*" for type_ in types for place in range(len(type_)) if type_[place] in "./"}
    if f"{pattern}.*" in families:
        return f"{pattern}.*"
    alike = {text.lower(): text for text in (*families, *types)}
    return alike.get(find_similar(pattern.lower(), alike, _CLOSE_MATCH), "")
