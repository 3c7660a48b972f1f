"""`[sources.NAME]` and the provider catalogue become Sources with everything resolved."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from relay.config.admission import admission_in
from relay.config.file import AnswerTable, File, SignatureTable, SourceTable
from relay.config.messages import matched
from relay.config.mistakes import did_you_mean
from relay.config.secrets import Resolved, explain, resolve, usual
from relay.config.verifiers import verifiers_in
from relay.errors import ConfigError
from relay.model.event import Answer, Pick, SignatureScheme, Source, VerifyMode
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS, find
from relay.providers.challenges import VERIFY_TOKENS
from relay.providers.custom import Load, custom_scheme
from relay.providers.guess import guess_key, guess_type
from relay.providers.picks import parse_pick
from relay.providers.provider import Provider
from relay.providers.schemes import with_tolerance

PREFIX = "/webhooks/"
_RESERVED = frozenset({"/webhooks", "/webhooks/health"})
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The configured sources, what is wrong with them, and what a person should know."""

    found: tuple[Source, ...]
    problems: tuple[str, ...]
    notices: tuple[str, ...]


def build_sources(file: File, environ: Mapping[str, str], folder: Path) -> Sources:
    """Build every source of the file, which lies in `folder`; mistakes are gathered, not raised."""
    load, admission = verifiers_in(folder), admission_in(folder)
    found: list[Source] = []
    problems: list[str] = []
    for name, table in file.sources.items():
        try:
            found.append(replace(_source(name, table, environ, load), admission=admission(table)))
        except ConfigError as error:
            hint = f"; {error.hint}" if error.hint else ""
            problems += [f"sources.{name}.{problem}{hint}" for problem in error.problems]
    problems += _shared_paths(found)
    notices = [
        *_without_secret(found),
        *(notice for source in found for notice in _notices(source, file.sources[source.name])),
    ]
    return Sources(found=tuple(found), problems=tuple(problems), notices=tuple(notices))


def inbox(environ: Mapping[str, str], configured: Iterable[Source] = ()) -> Callable[[str], Source]:
    """Return what makes a source for a name nobody configured: verified where its usual secret is set."""
    known = (find(source.provider) for source in configured)
    told = {provider.message_status for provider in known if provider is not None}

    def make(name: str) -> Source:
        provider = find(name)
        if provider is None:
            return Source(
                name=name,
                provider="unknown",
                path=PREFIX + name,
                title=name,
                event_type=guess_type,
                idempotency_key=None,
                configured=False,
            )
        secrets = usual(provider.secret_env, environ)
        source = _of_provider(name, provider, secrets)
        # Where a configured source checks what this provider tells, an open door beside it moves no message.
        statuses = None if source.statuses in told else source.statuses
        tokens = _tokens(provider, environ)
        return replace(source, verify_tokens=tokens, statuses=statuses, configured=False)

    return make


def _source(name: str, table: SourceTable, environ: Mapping[str, str], load: Load) -> Source:
    provider = _provider(name, table)
    secrets = resolve(table.secret, environ)
    if provider is None:
        _refuse_pin(table)
        source = Source(
            name=name,
            provider="custom",
            path=PREFIX + name,
            title=name,
            scheme=_custom(table.signature, load),
            event_type=guess_type,
            idempotency_key=guess_key,
            secrets=secrets.found,
            missing_secrets=secrets.missing,
        )
    else:
        if not table.secret:
            secrets = usual(provider.secret_env, environ)
        source = replace(
            _of_provider(name, provider, secrets),
            verify_tokens=_resolved_tokens(table, provider, environ),
        )
        if table.signature is not None:
            _refuse_pin(table)
            source = replace(source, scheme=_custom(table.signature, load))
        elif table.scheme is not None:
            source = replace(source, scheme=provider.pinned(table.scheme))
    return matched(_configured(source, table), table.messages)


def _of_provider(name: str, provider: Provider, secrets: Resolved) -> Source:
    return Source(
        name=name,
        provider=provider.name,
        path=PREFIX + name,
        title=provider.title,
        scheme=provider.scheme,
        event_type=provider.event_type,
        idempotency_key=provider.idempotency_key,
        summary=provider.summary,
        statuses=provider.message_status,
        secrets=secrets.found,
        missing_secrets=secrets.missing,
        answer=Answer(body=provider.answer_body, content_type=_TEXT) if provider.answer_body else Answer(),
    )


def _resolved_tokens(
    table: SourceTable, provider: Provider, environ: Mapping[str, str]
) -> tuple[Secret, ...]:
    if table.verify_token:
        return resolve(table.verify_token, environ).found
    return _tokens(provider, environ)


def _tokens(provider: Provider, environ: Mapping[str, str]) -> tuple[Secret, ...]:
    return usual(VERIFY_TOKENS.get(provider.name, ()), environ).found


def _configured(source: Source, table: SourceTable) -> Source:
    path = table.path or source.path
    if not path.startswith(PREFIX) or path.rstrip("/") in _RESERVED or not path.isprintable():
        raise ConfigError(
            f"path: {path!r} is not below /webhooks/, or is relay's own; write /webhooks/{source.name}"
        )
    return replace(
        source,
        path=path,
        scheme=_tolerating(source.scheme, table),
        verify=VerifyMode(table.verify),
        public_url=_public_url(table.public_url),
        events=tuple(table.events),
        deliver_duplicates=table.duplicates == "deliver",
        require_idempotency_key=table.require_idempotency_key,
        deliver_handshakes=table.deliver_handshakes,
        event_type=_pick("event_type", table.event_type) or source.event_type,
        idempotency_key=_pick("idempotency_key", table.idempotency_key) or source.idempotency_key,
        answer=_answer(table.answer, source.answer),
    )


def _provider(name: str, table: SourceTable) -> Provider | None:
    asked = table.provider or name
    if asked == "custom" or (table.provider is None and table.signature is not None and find(name) is None):
        return None
    provider = find(asked)
    if provider is None:
        where = "provider" if table.provider else "provider (the table's name)"
        hint = did_you_mean(asked, PROVIDERS) or '; use one that relay providers lists, or "custom"'
        raise ConfigError(f"{where}: no provider is called {asked!r}{hint}")
    return provider


def _custom(table: SignatureTable | None, load: Load) -> SignatureScheme | None:
    if table is None:
        return None
    return custom_scheme(table.model_dump(by_alias=True, exclude_unset=True), load)


def _refuse_pin(table: SourceTable) -> None:
    if table.scheme is not None:
        raise ConfigError(
            "scheme: names one of a provider's own schemes, which this source does not use; "
            "a scheme of your own goes under signature"
        )


def _tolerating(scheme: SignatureScheme | None, table: SourceTable) -> SignatureScheme | None:
    if scheme is None or table.tolerance is None:
        return scheme
    limit = None if table.tolerance == "off" else table.tolerance
    return with_tolerance(scheme, limit, limit)


def _public_url(url: str | None) -> str | None:
    if url is not None and not url.startswith(("https://", "http://")):
        raise ConfigError(
            f"public_url: {url!r} is not a URL; write https://hooks.example.dev/webhooks/stripe"
        )
    return url


def _pick(key: str, text: str | None) -> Pick | None:
    if text is None:
        return None
    try:
        return parse_pick(text)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error.sentence}", hint=error.hint) from error


def _answer(table: AnswerTable, usual: Answer) -> Answer:
    if table.body is None and table.status == usual.status:
        return replace(usual, mode=table.mode, timeout=table.timeout)
    body = table.body
    is_json = body is None or body.lstrip()[:1] in ("{", "[", '"')
    return Answer(
        mode=table.mode,
        status=table.status,
        body=body,
        content_type="application/json" if is_json else _TEXT,
        timeout=table.timeout,
    )


def _shared_paths(sources: list[Source]) -> Iterator[str]:
    first: dict[str, str] = {}
    for source in sources:
        path = source.path.rstrip("/")
        if path in first:
            yield f"sources.{source.name}.path: {path} is the path of sources.{first[path]} already"
        first.setdefault(path, source.name)


def _without_secret(sources: list[Source]) -> Iterator[str]:
    bare = [
        source
        for source in sources
        if source.scheme is not None and not source.secrets and source.verify is not VerifyMode.OFF
    ]
    if not bare:
        return
    names = ", ".join(source.name for source in bare)
    first = next((reference for source in bare for reference in source.missing_secrets), "")
    why = f": {explain(first)}" if len(bare) == 1 and first else ""
    hint = f"; put {first.partition(':')[2]}=… into .env" if first.startswith("env:") else ""
    yield f"no secret for {names}{why}; what they get is kept unchecked{hint}"


def _notices(source: Source, table: SourceTable) -> Iterator[str]:
    where = f"sources.{source.name}"
    if source.verify is VerifyMode.OFF:
        yield f"{where}: verification is off, so anybody can send events here"
    elif source.secrets:
        yield from (f"{where}: {explain(reference)}" for reference in source.missing_secrets)
    if table.verify_token and not source.verify_tokens:
        yield f"{where}.verify_token: {explain(table.verify_token[0])}, so its handshake is refused"
    schema = source.admission.schema
    if schema is not None and schema.unchecked:
        yield f"{where}.schema: nothing checks the format {', '.join(schema.unchecked)} in {schema.name}"
