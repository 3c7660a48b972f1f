"""What is in force, with where each value comes from: a flag, the file, the environment, or the default."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from relay.config.build import Config
from relay.config.shown import facts
from relay.model.fact import Fact

_REFERENCE = re.compile(r"(env|vault):([^\s,]+)")
FOUND = "secrets found by their name"  # the table of those that no table of relay.toml names


def effective_facts(config: Config, listening: Mapping[str, str]) -> tuple[Fact, ...]:
    """Return every value in force; `listening` gives where `ingress` and `dashboard` really are."""
    kept = [_sourced(config, fact) for fact in _overridden(config, listening)]
    return (*kept, *_added(config), *_found(config))


def _overridden(config: Config, listening: Mapping[str, str]) -> Iterator[Fact]:
    flags = config.overrides
    named = {"ingress": flags.ingress, "dashboard": flags.dashboard}
    for fact in facts(config.file, config.path):
        match fact.table, fact.key:
            case "server", "ingress" | "dashboard":
                flag = f"--{fact.key}" if named[fact.key] is not None else fact.where
                wanted = config.server.ingress if fact.key == "ingress" else config.server.dashboard
                yield _listening(fact, flag, wanted[1], listening[fact.key])
            case "server", "data_dir":
                where = "--data-dir" if flags.data_dir is not None else fact.where
                yield replace(fact, value=str(config.server.data_dir), where=where)
            case "tunnel", "provider" if flags.no_tunnel:
                yield replace(fact, value=config.tunnel.provider, where="--no-tunnel")
            case _:
                yield fact


def _listening(fact: Fact, where: str, wanted: int, address: str) -> Fact:
    has_moved = wanted and int(address.rpartition(":")[2]) != wanted
    moved = f"; port {wanted} was in use" if has_moved else ""
    return replace(fact, value=address, where=f"{where}{moved}")


def _sourced(config: Config, fact: Fact) -> Fact:
    """Add where the values of references come from: the environment, a .env, the vault, or nowhere."""
    told = [_origin(config, kind, name) for kind, name in _REFERENCE.findall(fact.value)]
    return replace(fact, where="; ".join([fact.where, *told])) if told else fact


def _origin(config: Config, kind: str, name: str) -> str:
    if kind == "vault":
        return f"{name} is in the vault" if name in config.vault.names else f"{name} is not in the vault"
    if name not in config.environment.values:
        return f"{name} is not set"
    return f"{name} is set in {_place(config, name)}"


def _place(config: Config, name: str) -> str:
    file = config.environment.file
    return str(file) if file and name in config.environment.from_file else "the environment"


def _added(config: Config) -> Iterator[Fact]:
    """Yield the targets that the command line added."""
    flags = config.overrides
    for number, url in enumerate(flags.forward, start=1):
        name = "forward" if number == 1 else f"forward-{number}"
        yield Fact(table=f"targets.{name}", key="forward", value=url, line=0, where="--forward")
    if flags.handlers is not None:
        path = str(Path.cwd() / flags.handlers)
        yield Fact(table="targets.handlers", key="handler", value=path, line=0, where="--handlers")


def _found(config: Config) -> Iterator[Fact]:
    for secret in config.spare:
        kind, _, name = secret.reference.partition(":")
        if kind == "env":
            yield Fact(table=FOUND, key=name, value=secret.reference, line=0, where=_place(config, name))
