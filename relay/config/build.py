"""The whole configuration, from file and command line, checked and resolved."""

import os
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from pathlib import Path

from relay.actions.egress import EgressRules
from relay.actions.mail import EmailOptions, SmtpOptions
from relay.catchup.base import Listing
from relay.config import DEFAULT_FILE
from relay.config.catch_up import build_catch_up
from relay.config.environment import Environment, load_environment
from relay.config.reading import FileProblems, collect_problems, combine_problems, read_file
from relay.config.secrets import find_provider_secrets, find_vault_needs, resolve_references, vault_notices
from relay.config.sources import build_sources, make_inbox, source_notices, with_secrets
from relay.config.tables import File, ServerTable, TargetTable, TunnelTable
from relay.config.targets import build_smtp, build_target, build_targets, mail_notices
from relay.config.types import parse_endpoint
from relay.config.user_modules import HandlerBuilder, make_handler_builder
from relay.errors import TunnelError
from relay.model.delivery import Route, Target
from relay.model.event import Source
from relay.model.retention import RetentionLimits
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.tunnel.base import TunnelOptions, check_address
from relay.tunnel.ngrok_agent import named_agent
from relay.vault import SecretNeed, Vault

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_UNSPECIFIED = frozenset({"0.0.0.0", "::"})  # noqa: S104 - named in order to be refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Command-line options, which take precedence over the file."""

    forward: tuple[str, ...] = ()
    handlers: str | None = None
    no_tunnel: bool = False
    ingress: str | None = None
    dashboard: str | None = None
    data_dir: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where relay listens. If a `named` port is in use, relay fails; a default port may change."""

    ingress: tuple[str, int]
    ingress_named: bool
    dashboard: tuple[str, int]
    dashboard_named: bool
    auth: bool
    allowed_hosts: tuple[str, ...]
    allow_targets: frozenset[tuple[str, int]]
    data_dir: Path
    max_body: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration; `path` is None if there is no file.

    `spare` are available secrets that no source needs to name. `catch_up(source)` gives the list of
    its past events, and raises UsageError if there is none. `needs` are the uses of vault secrets;
    `environment` is the environment with the variables of a .env.
    """

    path: Path | None
    file: File
    server: Server
    tunnel: TunnelOptions
    sources: tuple[Source, ...]
    inbox: Callable[[str], Source] | None
    targets: Mapping[str, Target]
    routes: tuple[Route, ...]
    emails: Mapping[str, EmailOptions]
    smtp: SmtpOptions | None = None
    notices: tuple[str, ...] = ()
    spare: tuple[Secret, ...] = ()
    keep: RetentionLimits = field(default_factory=RetentionLimits)
    catch_up: Callable[[Source], Listing]
    vault: Vault
    needs: tuple[SecretNeed, ...] = ()
    environment: Environment
    overrides: Overrides = Overrides()

    @property
    def environ(self) -> Mapping[str, str]:
        """Return the variables that references are looked up in."""
        return self.environment.values


def load(path: Path | None, overrides: Overrides = Overrides(), environ: Mapping[str, str] | None = None) -> Config:
    """Read relay.toml (`path`, else ./relay.toml if it exists, else nothing) and resolve it.

    Raises ConfigError with all mistakes.
    """
    if path is None and Path(DEFAULT_FILE).is_file():
        path = Path(DEFAULT_FILE)
    folder = path.resolve().parent if path else Path.cwd()
    # Without a file there is nothing to validate; building the validator takes longer than everything else.
    file, mistakes = read_file(path) if path else (File.model_construct(), FileProblems())
    environment = load_environment(folder, os.environ if environ is None else environ)
    known = environment.values
    problems: list[str] = []
    server = _build_server(file.server, overrides, folder, problems)
    own = EgressRules(own=frozenset({server.ingress, server.dashboard}))
    vault = Vault(server.data_dir / "vault")
    handler = make_handler_builder(file, folder, known, vault)
    added, everything = _build_flag_targets(overrides, own, handler, problems)
    sources = build_sources(file, folder, problems)
    catch_up = build_catch_up(file, sources, known, vault)
    problems += catch_up.problems
    targets = build_targets(file, folder, own, handler, problems)
    problems += _tunnel_problems(file.tunnel)
    if every := mistakes.joined(problems):
        raise combine_problems(str(path or "the command line"), every)
    config = Config(
        path=path,
        file=file,
        server=server,
        tunnel=_build_tunnel(file.tunnel, overrides, known, server.data_dir),
        sources=sources,
        inbox=make_inbox(known, sources) if file.server.inbox else None,
        targets={**targets.found, **added},
        routes=(*targets.routes, *everything),
        emails=targets.emails,
        keep=RetentionLimits(**dict(file.retention)),
        catch_up=catch_up.listing,
        vault=vault,
        needs=find_vault_needs(file),
        environment=environment,
        overrides=overrides,
    )
    return resolve_again(config)


def resolve_again(config: Config) -> Config:
    """Return the configuration with all references resolved with the current content of the vault."""
    file, known, vault = config.file, config.environ, config.vault
    sources = tuple(with_secrets(source, file.sources[source.name], known, vault) for source in config.sources)
    folder = config.path.resolve().parent if config.path else Path.cwd()
    smtp, smtp_notices = build_smtp(file.smtp, folder, known, vault)
    catch_up = build_catch_up(file, sources, known, vault)
    token = resolve_references([file.tunnel.authtoken], known, vault)
    is_idle = len(file.targets) > 1 and not file.routes
    return replace(
        config,
        sources=sources,
        smtp=smtp,
        catch_up=catch_up.listing,
        tunnel=replace(config.tunnel, authtoken=token.first, locked=bool(token.locked)),
        notices=(
            *config.environment.notices,
            *source_notices(file, sources, config.environment.file),
            *catch_up.notices,
            *smtp_notices,
            *mail_notices(config.emails.values(), file.smtp),
            *vault_notices(config.needs, vault),
            *(["routes: there are several targets but no routes, so nothing is forwarded"] if is_idle else ()),
        ),
        spare=_find_spare_secrets(config),
    )


def _find_spare_secrets(config: Config) -> tuple[Secret, ...]:
    named = (item for table in config.file.sources.values() for item in table.secret)
    elsewhere = {need.name for need in config.needs if need.kind != "source"}
    saved = (secret for secret in config.vault.secrets if secret.reference.removeprefix("vault:") not in elsewhere)
    return (*find_provider_secrets(config.environ, named), *saved)


def _build_server(table: ServerTable, overrides: Overrides, folder: Path, problems: list[str]) -> Server:
    keys = table.model_fields_set
    ingress = _parse_endpoint("--ingress", overrides.ingress, table.ingress, problems)
    dashboard = _parse_endpoint("--dashboard", overrides.dashboard, table.dashboard, problems)
    if ingress == dashboard and ingress[1]:
        problems.append("server.dashboard: ingress and dashboard need different ports")
    loopback = dashboard[0] in _LOOPBACK
    if dashboard[0] in _UNSPECIFIED or not (loopback or table.allowed_hosts):
        problems.append(
            "server.dashboard: the dashboard only listens on loopback unless allowed_hosts names how it is reached; "
            "share it with ssh -L"
        )
    if table.dashboard_auth == "off" and not loopback:
        problems.append('server.dashboard_auth: "off" is for a dashboard on loopback only')
    return Server(
        ingress=ingress,
        ingress_named="ingress" in keys or overrides.ingress is not None,
        dashboard=dashboard,
        dashboard_named="dashboard" in keys or overrides.dashboard is not None,
        auth=table.dashboard_auth == "token",
        allowed_hosts=tuple(table.allowed_hosts),
        allow_targets=_parse_host_ports(table.allow_targets, problems),
        data_dir=_data_dir(table, overrides, folder, problems),
        max_body=table.max_body,
    )


def _data_dir(table: ServerTable, overrides: Overrides, folder: Path, problems: list[str]) -> Path:
    """Return the data folder: relative to the file if set there, to the working directory if given as an option."""
    on_line = overrides.data_dir is not None
    key, text, base = (
        ("--data-dir", overrides.data_dir or "", Path.cwd()) if on_line else ("server.data_dir", table.data_dir, folder)
    )
    try:
        expanded = Path(text).expanduser()
    except RuntimeError as error:  # the user does not exist
        problems.append(f"{key}: {error}")
        return base / ".relay"
    if not text.strip() or any(ord(sign) < 32 for sign in text):
        problems.append(f'{key}: {text!r} names no folder; leave it out for ".relay"')
    return base / expanded


def _parse_endpoint(option: str, text: str | None, default: tuple[str, int], problems: list[str]) -> tuple[str, int]:
    if text is None:
        return default
    try:
        return parse_endpoint(text)
    except ValueError as error:
        problems.append(f"{option}: {error}")
        return default


def _parse_host_ports(texts: list[str], problems: list[str]) -> frozenset[tuple[str, int]]:
    pairs: set[tuple[str, int]] = set()
    for number, text in enumerate(texts):
        try:
            host, port = parse_endpoint(text)
            pairs.add((host.lower(), port))
        except ValueError as error:
            problems.append(f"server.allow_targets.{number}: {error}")
    return frozenset(pairs)


def _build_flag_targets(
    overrides: Overrides, own: EgressRules, handler: HandlerBuilder, problems: list[str]
) -> tuple[dict[str, Target], tuple[Route, ...]]:
    """Return the targets of `--forward` and `--handlers` by name, with routes for all events."""
    forwards: dict[str, Target] = {}
    handlers: dict[str, Target] = {}
    for number, url in enumerate(overrides.forward, start=1):
        name = "forward" if number == 1 else f"forward-{number}"
        with collect_problems(problems, "--"):
            forwards[name] = build_target(name, TargetTable.model_construct(forward=url), {}, own, handler)
    if overrides.handlers is not None:
        wrong: list[str] = []
        table = TargetTable.model_construct(handler=str(Path.cwd() / overrides.handlers))
        with collect_problems(wrong):
            handlers["handlers"] = build_target("handlers", table, {}, own, handler)
        problems += [f"--handlers{problem.removeprefix('handler')}" for problem in wrong]
    routes = tuple(Route(targets=tuple(added)) for added in (forwards, handlers) if added)
    return forwards | handlers, routes


def _tunnel_problems(table: TunnelTable) -> list[str]:
    problems: list[str] = []
    if table.provider == "command" and not table.command:
        problems.append(
            'tunnel.command: provider = "command" needs one, such as "cloudflared tunnel --url {ingress_url}"'
        )
    if table.provider == "static" and not table.public_url:
        problems.append('tunnel.public_url: provider = "static" needs one, such as "https://hooks.example.dev"')
    if table.public_url:
        try:
            check_address(table.public_url, "it")
        except TunnelError:
            quoted = escape_unprintable(repr(table.public_url), 200)
            problems.append(
                f"tunnel.public_url: {quoted} is not a plain https URL; providers call nothing else, so write one such "
                "as https://hooks.example.dev"
            )
    return problems


def _build_tunnel(
    table: TunnelTable, overrides: Overrides, environ: Mapping[str, str], data_dir: Path
) -> TunnelOptions:
    return TunnelOptions(
        data_dir=data_dir,
        provider="none" if overrides.no_tunnel else table.provider,
        domain=table.domain,
        command=table.command,
        url_pattern=table.url_pattern,
        public_url=table.public_url,
        agent_path=named_agent(environ),
    )
