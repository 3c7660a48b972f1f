"""`[emails]` becomes the options of mails, every template compiled, so that a broken one is a mistake at start."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from ssl import SSLError

from relay.config.file import EmailTable, File, RetryTable, SmtpTable
from relay.errors import ConfigError, MailError
from relay.mail.addresses import named_address
from relay.mail.compose import EmailOptions
from relay.mail.rendering import check_template
from relay.mail.smtp import SmtpOptions, trusted
from relay.model.delivery import RetryPolicy


def build_emails(file: File, folder: Path, problems: list[str]) -> dict[str, EmailOptions]:
    """Build the mail templates by name; mistakes are added to `problems`.

    One with a mistake is there all the same, so that a target which names it is no second mistake.
    """
    found: dict[str, EmailOptions] = {}
    for name, table in file.emails.items():
        try:
            found[name] = _email(name, table, folder)
        except ConfigError as error:
            problems.append(f"emails.{name}.{error.full_text}")
            found[name] = EmailOptions(name=name, to=(), subject="")
        else:
            problems += check_template(found[name])
    return found


def smtp_problems(table: SmtpTable, folder: Path) -> Iterator[str]:
    """Yield what is wrong in `[smtp]` beyond its form."""
    try:
        named_address(table.sender)
    except MailError as error:
        yield f"smtp.sender: {error.sentence}"
    if table.username is not None and table.password is None:
        yield "smtp.password: is missing, and smtp.username is there; a login needs both"
    for number, pattern in enumerate(table.allow_recipients):
        if "@" not in pattern and pattern != "*":
            yield (
                f"smtp.allow_recipients.{number}: {pattern!r} is no pattern of addresses; "
                'write "*@example.com" or "ada@example.com"'
            )
    if table.ca_file is not None:
        try:
            trusted(folder / table.ca_file, verify=True)
        except OSError as error:
            why = (
                error.strerror.lower()
                if not isinstance(error, SSLError) and error.strerror
                else "no certificate in it"
            )
            yield f"smtp.ca_file: cannot use {folder / table.ca_file}: {why}"


def complete(smtp: SmtpOptions | None, table: SmtpTable | None, folder: Path) -> SmtpOptions | None:
    """Return the options of the mail server with how it is spoken to and how often it is tried."""
    if smtp is None or table is None:
        return smtp
    return replace(
        smtp,
        insecure=table.insecure,
        ca_file=folder / table.ca_file if table.ca_file else None,
        verify_tls=table.verify_tls,
        timeout=table.timeout,
        retry=retry_policy(table.retry),
    )


def retry_policy(table: RetryTable) -> RetryPolicy:
    """Return how often and how far apart something is tried."""
    return RetryPolicy(
        attempts=table.attempts,
        first=table.first,
        factor=table.factor,
        max=table.max,
        jitter=table.jitter,
    )


def mail_notices(emails: Iterable[EmailOptions], smtp: SmtpTable | None) -> Iterator[str]:
    """Yield what a person should know: mails that nobody could be sent."""
    if smtp is None or smtp.allow_recipients:
        return
    for email in emails:
        for key, texts in (("to", email.to), ("cc", email.cc), ("bcc", email.bcc)):
            if any("{" in text for text in texts):
                yield (
                    f"emails.{email.name}.{key} comes from events, and smtp.allow_recipients allows nobody, "
                    "so no such mail is sent"
                )


def _email(name: str, table: EmailTable, folder: Path) -> EmailOptions:
    if (table.template is None) == (table.text is None):
        raise ConfigError("template: a mail has either a template or a text")
    if not table.to:
        raise ConfigError("to: a mail needs somebody to go to")
    # Without `..`, so that what lies in the project is seen to.
    path = Path(os.path.normpath(folder / table.template)) if table.template else None
    if path is not None and not path.is_file():
        raise ConfigError(f"template: there is no file {path}")
    return EmailOptions(
        name=name,
        to=tuple(table.to),
        cc=tuple(table.cc),
        bcc=tuple(table.bcc),
        reply_to=tuple(table.reply_to),
        subject=table.subject,
        template=path,
        folder=folder,
        text=table.text,
        attach=tuple(table.attach),
        once=table.once,
        per_hour=table.per_hour,
    )
