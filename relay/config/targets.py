"""`[targets]`, `[[routes]]`, `[emails]` and `[smtp]` become Targets, Routes and the options of actions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

from relay.actions.outgoing import ForwardOptions
from relay.conditions import compile_condition
from relay.config.emails import build_emails, complete, mail_notices, retry_policy, smtp_problems
from relay.config.file import File, RouteTable, SmtpTable, TargetTable
from relay.config.handlers import at_once, build_handler_environment, handler_options
from relay.config.mistakes import did_you_mean
from relay.config.secrets import explain, resolve
from relay.dial import Rules, check_syntax, complete_url
from relay.errors import ConfigError, TargetError
from relay.handlers.options import HandlerOptions
from relay.mail.compose import EmailOptions
from relay.mail.smtp import SmtpOptions
from relay.model.delivery import RetryPolicy, Route, SignMode, Target
from relay.vault import Vault


class _How(TypedDict):
    retry: RetryPolicy
    fifo: bool
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Where events go, what is wrong with that, and what a person should know."""

    found: Mapping[str, Target]
    routes: tuple[Route, ...]
    emails: Mapping[str, EmailOptions]
    smtp: SmtpOptions | None
    problems: tuple[str, ...]
    notices: tuple[str, ...]


def build_targets(
    file: File, folder: Path, own: Rules, environ: Mapping[str, str], vault: Vault | None = None
) -> Targets:
    """Build targets, routes and mails; mistakes are gathered, not raised."""
    problems: list[str] = []
    emails = build_emails(file, folder, problems)
    given = build_handler_environment(file, environ, vault)
    handler = partial(handler_options, folder=folder, given=given)
    targets: dict[str, Target] = {}
    for name, target in file.targets.items():
        try:
            targets[name] = _target(name, _with_retry(target, file.smtp), emails, own, handler)
        except (ConfigError, TargetError) as error:
            problems.append(f"targets.{name}.{error.full_text}")
    problems += _route_problems(file)
    problems += smtp_problems(file.smtp, folder) if file.smtp else ()
    smtp, notices = build_smtp(file.smtp, environ, vault)
    notices += mail_notices(emails.values(), file.smtp)
    return Targets(
        found=targets,
        routes=tuple(_route(route) for route in file.routes) or _only_way(targets),
        emails=emails,
        smtp=complete(smtp, file.smtp, folder),
        problems=tuple(problems),
        notices=tuple(notices),
    )


def forward_target(name: str, url: str, own: Rules) -> Target:
    """Return the target that `--forward URL` means. Raises TargetError."""
    url = complete_url(url)
    check_syntax(url, own)
    return Target(name=name, action="forward", options=ForwardOptions(url=url))


def _target(
    name: str,
    table: TargetTable,
    emails: Mapping[str, EmailOptions],
    own: Rules,
    handler: Callable[[str, TargetTable], HandlerOptions],
) -> Target:
    given = [key for key in ("forward", "email", "handler") if getattr(table, key) is not None]
    if len(given) != 1:
        raise ConfigError("forward: a target has exactly one of forward, email and handler")
    how: _How = {
        "retry": retry_policy(table.retry),
        "fifo": table.order == "fifo",
        "concurrency": at_once(table),
    }
    if table.handler is not None:
        return Target(name=name, action="handler", options=handler(name, table), **how)
    if table.email is not None:
        if table.email not in emails:
            near = did_you_mean(table.email, emails)
            raise ConfigError(f"email: there is no [emails.{table.email}]{near}")
        return Target(name=name, action="email", options=emails[table.email], **how)
    return Target(name=name, action="forward", options=_forward(table, own), **how)


def _forward(table: TargetTable, own: Rules) -> ForwardOptions:
    url = complete_url(table.forward or "")
    try:
        check_syntax(url, own)
    except TargetError as error:
        raise ConfigError(f"forward: {error.sentence}", hint=error.hint) from error
    return ForwardOptions(
        url=url,
        timeout=table.timeout,
        sign=SignMode(table.sign),
        sign_url=table.sign_url,
        set_headers=tuple(table.headers.set.items()),
        remove_headers=tuple(table.headers.remove),
        verify_tls=table.verify_tls,
        fixed_path=table.path == "fixed",
        keep_host=table.host == "original",
        forwarded=table.forwarded,
    )


def _with_retry(table: TargetTable, smtp: SmtpTable | None) -> TargetTable:
    """Return a target that sends mail with the retry rule of [smtp] where it has none of its own."""
    if smtp is None or table.email is None or "retry" in table.model_fields_set:
        return table
    return table.model_copy(update={"retry": smtp.retry})


def build_smtp(
    table: SmtpTable | None, environ: Mapping[str, str], vault: Vault | None = None
) -> tuple[SmtpOptions | None, list[str]]:
    """Return the options of `[smtp]`, None without it, and what a person should know of them."""
    if table is None:
        return None, []
    username = resolve([table.username] if table.username else [], environ, vault)
    password = resolve([table.password] if table.password else [], environ, vault)
    locked, missing = username.locked + password.locked, username.missing + password.missing
    why = "the vault is locked" if locked else " and ".join(explain(reference) for reference in missing)
    blocked = f"{why}, so mail cannot log in" if why else ""
    options = SmtpOptions(
        host=table.host,
        port=table.port,
        security=table.security,
        username=username.first,
        password=password.first,
        locked=locked,
        blocked=blocked,
        sender=table.sender,
        allow_recipients=tuple(table.allow_recipients),
    )
    # What the vault lacks, or is locked away, is told of the vault.
    in_file = [reference for reference in missing if not reference.startswith("vault:")]
    return options, [f"smtp: {blocked}; it waits until then"] if in_file and not locked else []


def _route(table: RouteTable) -> Route:
    sources = () if "*" in table.source else tuple(table.source)
    return Route(sources=sources, events=tuple(table.events), when=table.when, targets=tuple(table.to))


def _only_way(targets: Mapping[str, Target]) -> tuple[Route, ...]:
    # No routes at all and one target: everything goes there.
    return (Route(targets=tuple(targets)),) if len(targets) == 1 else ()


def _route_problems(file: File) -> Iterator[str]:
    for number, route in enumerate(file.routes):
        for name in route.to:
            if name not in file.targets:
                yield f"routes.{number}.to: there is no [targets.{name}]{did_you_mean(name, file.targets)}"
        for name in route.source:
            if name != "*" and name not in file.sources:
                yield f"routes.{number}.source: there is no [sources.{name}]{did_you_mean(name, file.sources)}"
        if route.when:
            try:
                compile_condition(route.when)
            except ConfigError as error:
                yield f"routes.{number}.when: {error.full_text}"
