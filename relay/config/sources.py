"""`[sources.NAME]` and the provider catalogue become Sources with everything resolved."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from relay.config.reading import collect_problems, did_you_mean, find_slip
from relay.config.secrets import explain_missing, resolve_secrets
from relay.config.source_rules import build_admission, build_answer, with_message_matching
from relay.config.source_tables import SignatureTable, SourceTable
from relay.config.tables import File
from relay.config.user_modules import load_verifier
from relay.errors import ConfigError
from relay.model.event import Source, VerifyMode
from relay.model.text import quote_path
from relay.pipeline.source_table import WEBHOOK_PREFIX
from relay.providers.catalogue import PROVIDERS, find_provider
from relay.providers.custom_schemes import VerifierLoader, build_custom_scheme, list_mistakes
from relay.providers.derived_extractors import (
    cloudevent_key,
    default_event_type,
    default_idempotency_key,
    default_items,
)
from relay.providers.extractors import parse_extractor
from relay.providers.provider import Provider
from relay.providers.schemes.one_of import find_key_problem, with_tolerance
from relay.vault import Vault

_RESERVED = frozenset({"/webhooks", "/webhooks/health"})
_CUSTOM = "custom"
_CLOSE_MATCH = 0.8  # similarity of a provider's name and a table's, if the file names no provider
_OWN_SCHEME = f'write provider = "{_CUSTOM}"'


def build_sources(file: File, folder: Path, problems: list[str]) -> tuple[Source, ...]:
    """Build all sources of the file in `folder`, without resolving secrets; mistakes are added to `problems`."""
    load = partial(load_verifier, folder)
    found: list[Source] = []
    for name, table in file.sources.items():
        wrong: list[str] = []
        with collect_problems(wrong):
            source = _build_source(name, table, load, wrong)
        rules = build_admission(table, folder, wrong)
        if not wrong:
            found.append(replace(source, admission=rules))
        problems += [f"sources.{name}.{problem}" for problem in wrong]
    problems += _find_shared_paths(found)
    return tuple(found)


def source_notices(file: File, sources: Sequence[Source], env_file: Path | None) -> Iterator[str]:
    """Yield notices about the resolved sources of a file.

    `env_file` is the .env that was read, None if there is none.
    """
    yield from _warn_without_secret(sources, env_file)
    for source in sources:
        yield from _iterate_notices(source, file.sources[source.name])


def with_secrets(source: Source, table: SourceTable, environ: Mapping[str, str], vault: Vault | None) -> Source:
    """Return the source with its references resolved; called again whenever the vault is opened or locked."""
    provider = find_provider(source.provider)
    secrets = resolve_secrets(table.secret, provider.secret_env if provider else (), environ, vault)
    tokens = resolve_secrets(table.verify_token, provider.verify_token_env if provider else (), environ, vault)
    return replace(
        source,
        secrets=secrets.found,
        missing_secrets=secrets.missing,
        locked_secrets=secrets.locked,
        verify_tokens=tokens.found,
        locked_tokens=tokens.locked,
    )


def make_inbox(environ: Mapping[str, str], configured: Iterable[Source] = ()) -> Callable[[str], Source]:
    """Return a factory of sources for unconfigured names, which verify if the usual secret is set."""
    known = (find_provider(source.provider) for source in configured)
    known_statuses = {provider.message_status for provider in known if provider is not None}

    def make(name: str) -> Source:
        provider = find_provider(name)
        if provider is None:
            return Source(
                name=name,
                provider="unknown",
                path=WEBHOOK_PREFIX + quote_path(name),
                title=name,
                event_type=default_event_type,
                items=default_items,
                idempotency_key=cloudevent_key,
                configured=False,
            )
        source = with_secrets(_provider_source(name, provider), SourceTable(), environ, None)
        # If a configured source verifies this provider, an unchecked source must not change messages.
        statuses = None if source.statuses in known_statuses else source.statuses
        return replace(source, statuses=statuses, configured=False)

    return make


def _build_source(name: str, table: SourceTable, load: VerifierLoader, problems: list[str]) -> Source:
    """Return a source as far as it can be built; its mistakes are added to `problems`. Raises ConfigError."""
    provider = _find_provider(name, table)
    if provider is not None:
        source = _provider_source(name, provider)
    else:
        source = Source(
            name=name,
            provider=_CUSTOM,
            path=WEBHOOK_PREFIX + name,
            title=name,
            event_type=default_event_type,
            items=default_items,
            idempotency_key=default_idempotency_key,
        )
    if table.scheme is not None:
        if provider is None or table.signature is not None:
            raise ConfigError(
                "scheme: names one of a provider's own schemes, which this source does not use; "
                "a scheme of your own goes under signature"
            )
        signature = f"{provider.name}/{table.scheme}"
        source = replace(source, scheme=provider.select_scheme(table.scheme), signature=signature)
    if table.signature is not None:
        source = _with_own_scheme(source, table.signature, load)
    source = _apply_table(source, table, problems)
    return with_message_matching(source, table.messages)


def _provider_source(name: str, provider: Provider) -> Source:
    return Source(
        name=name,
        provider=provider.name,
        path=WEBHOOK_PREFIX + name,
        title=provider.title,
        scheme=provider.scheme,
        signature=provider.name if provider.schemes else None,
        event_type=provider.event_type,
        items=provider.items,
        idempotency_key=provider.idempotency_key,
        summary=provider.summary,
        statuses=provider.message_status,
        answer=provider.default_answer,
    )


def _apply_table(source: Source, table: SourceTable, problems: list[str]) -> Source:
    with collect_problems(problems):
        source = replace(source, path=_source_path(source, table))
    if table.public_url is not None and not _is_web_address(table.public_url):
        problems.append(
            f"public_url: {table.public_url!r} is not a URL; write https://hooks.example.dev/webhooks/stripe"
        )
    if table.event_type is not None:
        with collect_problems(problems, "event_type: "):
            source = replace(source, event_type=parse_extractor(table.event_type))
    if table.idempotency_key is not None:
        with collect_problems(problems, "idempotency_key: "):
            source = replace(source, idempotency_key=parse_extractor(table.idempotency_key))
    if source.scheme is not None and table.tolerance is not None:
        limit = None if table.tolerance == "off" else table.tolerance
        source = replace(source, scheme=with_tolerance(source.scheme, limit, limit))
    return replace(
        source,
        verify=VerifyMode(table.verify),
        public_url=table.public_url,
        events=tuple(table.events),
        deliver_duplicates=table.duplicates == "deliver",
        require_idempotency_key=table.require_idempotency_key,
        deliver_handshakes=table.deliver_handshakes,
        answer=build_answer(table.answer, source.answer),
    )


def _source_path(source: Source, table: SourceTable) -> str:
    path = table.path or source.path
    if path.startswith(WEBHOOK_PREFIX) and unquote(path).rstrip("/") in _RESERVED:
        raise ConfigError(f"path: {path!r} is relay's own; write another one, such as {WEBHOOK_PREFIX}my-{source.name}")
    if not path.startswith(WEBHOOK_PREFIX) or not path.isprintable() or "?" in path or "#" in path:
        raise ConfigError(f"path: {path!r} is not a path below /webhooks/; write {WEBHOOK_PREFIX}{source.name}")
    return quote_path(unquote(path, errors="surrogateescape"))


def _find_provider(name: str, table: SourceTable) -> Provider | None:
    """Return the provider of a table, None for a custom scheme.

    An unknown name means a custom scheme too, unless it looks like a typo and nothing in the
    table configures how its events are checked. Raises ConfigError.
    """
    if table.provider is not None:
        provider = find_provider(table.provider)
        if provider is None and table.provider != _CUSTOM:
            near = did_you_mean(table.provider, PROVIDERS) or "; use one that relay providers lists."
            raise ConfigError(
                f"provider: no provider is called {table.provider!r}{near} For a scheme of your own {_OWN_SCHEME}"
            )
        return provider
    provider = find_provider(name)
    is_described = table.signature is not None or table.json_schema is not None
    if provider is None and not is_described and (slip := find_slip(name, PROVIDERS)):
        raise ConfigError(
            f"provider (the table's name): no provider is called {name!r}; did you mean {slip!r}? "
            f"For a scheme of your own {_OWN_SCHEME}"
        )
    return provider


def _with_own_scheme(source: Source, table: SignatureTable, load: VerifierLoader) -> Source:
    """Return the source with the scheme that a table declares. Raises ConfigError with all its mistakes."""
    options = table.model_dump(by_alias=True, exclude_unset=True)
    try:
        scheme = build_custom_scheme(options, load)
    except ConfigError as error:
        raise ConfigError(error.message, problems=tuple(list_mistakes(options, load))) from error
    is_data = options and options.get("scheme") != "python"  # a user's class is not one
    return replace(source, scheme=scheme, signature=options if is_data else None)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return url.startswith(("https://", "http://")) and bool(parts.hostname) and parts.port != 0
    except ValueError:  # not a valid port
        return False


def _find_shared_paths(sources: list[Source]) -> Iterator[str]:
    first: dict[str, str] = {}
    for source in sources:
        path = source.path.rstrip("/")
        if path in first:
            yield f"sources.{source.name}.path: {path} is the path of sources.{first[path]} already"
        first.setdefault(path, source.name)


def _warn_without_secret(sources: Iterable[Source], env_file: Path | None) -> Iterator[str]:
    bare = [
        source
        for source in sources
        if source.scheme is not None
        and not source.secrets
        and not source.locked_secrets
        # Secrets missing in the vault are reported with the command that adds them.
        and not any(reference.startswith("vault:") for reference in source.missing_secrets)
        and source.verify is not VerifyMode.OFF
    ]
    if not bare:
        return
    names = ", ".join(source.name for source in bare)
    first = next((reference for source in bare for reference in source.missing_secrets), "")
    why = f": {explain_missing(first)}" if len(bare) == 1 and first else ""
    hint = f"; put {first.partition(':')[2]}=… into {env_file or '.env'}" if first.startswith("env:") else ""
    yield f"no secret for {names}{why}; what they get is kept unchecked{hint}"


def _iterate_notices(source: Source, table: SourceTable) -> Iterator[str]:
    where = f"sources.{source.name}"
    if source.provider == _CUSTOM and source.scheme is None:
        yield from _warn_without_scheme(source.name, table)
    if source.verify is VerifyMode.OFF:
        yield f"{where}: verification is off, so anybody can send events here"
    elif source.secrets:
        yield from (
            f"{where}: {explain_missing(reference)}"
            for reference in source.missing_secrets
            if not reference.startswith("vault:")
        )
    if source.scheme is not None and source.verify is not VerifyMode.OFF:
        for secret in source.secrets:
            if problem := find_key_problem(source.scheme, secret):
                yield f"{where}: {secret.reference} {problem}; nothing verifies with it"
    if table.verify_token and not source.verify_tokens and not source.locked_tokens:
        yield f"{where}.verify_token: {explain_missing(table.verify_token[0])}, so its handshake is refused"
    schema = source.admission.schema
    if schema is not None and schema.unchecked:
        yield f"{where}.schema: nothing checks the format {', '.join(schema.unchecked)} in {schema.name}"


def _warn_without_scheme(name: str, table: SourceTable) -> Iterator[str]:
    """Warn about a source that looks as if its requests were verified, but they are not."""
    why = near = ""
    if table.provider is None:
        # stripe-live, prod.github
        meant = next((known for known in PROVIDERS if known in re.split(r"[._-]", name.lower())), None)
        near = (
            f" Did you mean provider = {meant!r}?"
            if meant
            else did_you_mean(name, PROVIDERS, alike=_CLOSE_MATCH).replace("; d", " D")
        )
        why = f"no provider is called {name!r}, so "
        if not (table.secret or meant):
            return
    elif not table.secret:
        return
    unused = "its secret is not used and nothing is verified" if table.secret else "nothing is verified"
    yield f"sources.{name}: {why}{unused}.{near} A scheme of your own goes under [sources.{name}.signature]"
