"""`[targets]`, `[[routes]]`, `[emails]` and `[smtp]` become Targets, Routes and the options of actions."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from ssl import SSLError
from typing import Any

from relay.actions.egress import EgressRules, check_syntax, complete_url
from relay.actions.mail import EmailOptions, SmtpOptions
from relay.actions.mail.addresses import parse_named_address
from relay.actions.outgoing_request import ForwardOptions
from relay.config.reading import collect_problems, did_you_mean
from relay.config.secrets import explain_missing, resolve_references
from relay.config.tables import EmailTable, File, RetryTable, RouteTable, SmtpTable, TargetTable
from relay.config.user_modules import HandlerBuilder
from relay.errors import ConfigError, MailError, TargetError
from relay.model.delivery import RetryPolicy, Route, SignMode, Target
from relay.model.values import dataclass
from relay.pipeline.routing import compile_condition
from relay.vault import Vault

_HANDLER_CONCURRENCY = 2  # default number of processes of a target


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsConfig:
    """The targets, routes and mails, and their mistakes."""

    found: Mapping[str, Target]
    routes: tuple[Route, ...]
    emails: Mapping[str, EmailOptions]


def build_targets(
    file: File, folder: Path, own: EgressRules, handler: HandlerBuilder, problems: list[str]
) -> TargetsConfig:
    """Build targets, routes and mails; mistakes are added to `problems`."""
    emails = _build_emails(file, folder, problems)
    targets: dict[str, Target] = {}
    for name, target in file.targets.items():
        with collect_problems(problems, f"targets.{name}."):
            targets[name] = build_target(name, _with_retry(target, file.smtp), emails, own, handler)
    problems += _route_problems(file)
    problems += _smtp_problems(file.smtp, folder) if file.smtp else ()
    routes = tuple(_build_route(route) for route in file.routes)
    if not routes and len(targets) == 1:
        routes = (Route(targets=tuple(targets)),)  # the only target gets all events
    return TargetsConfig(found=targets, routes=routes, emails=emails)


def build_target(
    name: str, table: TargetTable, emails: Mapping[str, EmailOptions], own: EgressRules, handler: HandlerBuilder
) -> Target:
    """Return the target of that name. Raises ConfigError, prefixed with the key at fault."""
    actions = [key for key in ("forward", "email", "handler") if getattr(table, key) is not None]
    if len(actions) != 1:
        raise ConfigError("forward: a target has exactly one of forward, email and handler")
    options: object
    if table.handler is not None:
        options = handler(name, table)
    elif table.email is None:
        options = _build_forward(table, own)
    elif table.email in emails:
        options = emails[table.email]
    else:
        raise ConfigError(f"email: there is no [emails.{table.email}]{did_you_mean(table.email, emails)}")
    is_own = table.handler is None or "concurrency" in table.model_fields_set
    return Target(
        name=name,
        action=actions[0],
        options=options,
        retry=_build_retry_policy(table.retry),
        fifo=table.order == "fifo",
        concurrency=table.concurrency if is_own else _HANDLER_CONCURRENCY,
    )


def _build_forward(table: TargetTable, own: EgressRules) -> ForwardOptions:
    url = complete_url(table.forward or "")
    try:
        check_syntax(url, own)
    except TargetError as error:
        raise ConfigError(f"forward: {error.message}", hint=error.hint) from error
    return ForwardOptions(
        url=url,
        timeout=table.timeout,
        sign=SignMode(table.sign),
        sign_url=table.sign_url,
        # UTF-8 as latin-1 text: the bytes of a header on the wire.
        set_headers=tuple((name, value.encode().decode("latin-1")) for name, value in table.headers.set.items()),
        remove_headers=tuple(table.headers.remove),
        verify_tls=table.verify_tls,
        fixed_path=table.path == "fixed",
        keep_host=table.host == "original",
        forwarded=table.forwarded,
    )


def _with_retry(table: TargetTable, smtp: SmtpTable | None) -> TargetTable:
    """Return a mail target with the retry policy of [smtp] if it has none of its own."""
    if smtp is None or table.email is None or "retry" in table.model_fields_set:
        return table
    return table.model_copy(update={"retry": smtp.retry})


def build_smtp(
    table: SmtpTable | None, folder: Path, environ: Mapping[str, str], vault: Vault
) -> tuple[SmtpOptions | None, list[str]]:
    """Return the options of `[smtp]`, None without it, and notices about them."""
    if table is None:
        return None, []
    username = resolve_references([table.username] if table.username else [], environ, vault)
    password = resolve_references([table.password] if table.password else [], environ, vault)
    locked, missing = username.locked + password.locked, username.missing + password.missing
    why = "the vault is locked" if locked else " and ".join(explain_missing(reference) for reference in missing)
    blocked = f"{why}, so mail cannot log in" if why else ""
    resolved: dict[str, Any] = {
        "username": username.first,
        "password": password.first,
        "locked": locked,
        "blocked": blocked,
        "ca_file": folder / table.ca_file if table.ca_file else None,
        "retry": _build_retry_policy(table.retry),
    }
    options = SmtpOptions(**table.list_values() | resolved)
    # Secrets missing in the vault or locked are reported for the vault.
    in_file = [reference for reference in missing if not reference.startswith("vault:")]
    return options, [f"smtp: {blocked}; it waits until then"] if in_file and not locked else []


def _build_route(table: RouteTable) -> Route:
    sources = () if "*" in table.source else tuple(table.source)
    return Route(sources=sources, events=tuple(table.events), when=table.when, targets=tuple(table.to))


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


def _build_emails(file: File, folder: Path, problems: list[str]) -> dict[str, EmailOptions]:
    """Return the mail templates by name, also those with a mistake, so that targets may name them."""
    found: dict[str, EmailOptions] = {}
    for name, table in file.emails.items():
        found[name] = EmailOptions(name=name, to=(), subject="")
        with collect_problems(problems, f"emails.{name}."):
            found[name] = _build_email(name, table, folder)
            from relay.actions.mail.rendering import check_template  # noqa: PLC0415 - with Jinja, for mails alone

            problems += check_template(found[name])
    return found


def _smtp_problems(table: SmtpTable, folder: Path) -> Iterator[str]:
    """Yield the mistakes of `[smtp]` that its types do not catch."""
    try:
        parse_named_address(table.sender)
    except MailError as error:
        yield f"smtp.sender: {error.message}"
    if table.username is not None and table.password is None:
        yield "smtp.password: is missing, and smtp.username is there; a login needs both"
    for number, pattern in enumerate(table.allow_recipients):
        if "@" not in pattern and pattern != "*":
            yield (
                f"smtp.allow_recipients.{number}: {pattern!r} is not an address pattern; "
                'write "*@example.com" or "ada@example.com"'
            )
    if table.ca_file is not None:
        from relay.actions.mail.smtp import build_tls_context  # noqa: PLC0415 - with aiosmtplib, for a ca_file alone

        try:
            build_tls_context(folder / table.ca_file, verify=True)
        except OSError as error:
            why = "" if isinstance(error, SSLError) else error.strerror
            why = why.lower() if why else "no certificate in it"
            yield f"smtp.ca_file: cannot use {folder / table.ca_file}: {why}"


def _build_retry_policy(table: RetryTable) -> RetryPolicy:
    return RetryPolicy(**dict(table))


def mail_notices(emails: Iterable[EmailOptions], smtp: SmtpTable | None) -> Iterator[str]:
    """Yield notices about mails without a possible recipient."""
    if smtp is None or smtp.allow_recipients:
        return
    for email in emails:
        for key, texts in (("to", email.to), ("cc", email.cc), ("bcc", email.bcc)):
            if any("{" in text for text in texts):
                yield (
                    f"emails.{email.name}.{key} comes from events, and smtp.allow_recipients allows no one, "
                    "so no such mail is sent"
                )


def _build_email(name: str, table: EmailTable, folder: Path) -> EmailOptions:
    if (table.template is None) == (table.text is None):
        raise ConfigError("template: a mail has either a template or a text")
    if not table.to:
        raise ConfigError("to: a mail needs a recipient")
    # Without `..`, so that files inside the project are recognised.
    path = Path(os.path.normpath(folder / table.template)) if table.template else None
    if path is not None and not path.is_file():
        raise ConfigError(f"template: there is no file {path}")
    return EmailOptions(**table.list_values() | {"name": name, "template": path, "folder": folder})
