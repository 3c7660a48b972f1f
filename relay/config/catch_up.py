"""Builds the listings of past events from `[sources.NAME.catch_up]` and the usual variables."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from relay.catchup import github, stripe, svix
from relay.catchup.base import Access, Listing
from relay.catchup.github import GitHubHook, build_owner_path
from relay.catchup.stripe import StripeEvents
from relay.catchup.svix import SvixMessages
from relay.config.reading import did_you_mean
from relay.config.secrets import explain_missing, resolve_secrets
from relay.config.source_tables import CatchUpTable
from relay.config.tables import File
from relay.errors import ConfigError, UsageError
from relay.model.event import Headers, Source
from relay.model.values import dataclass
from relay.providers.catalogue import find_provider
from relay.vault import Vault

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ApiConfig:
    """The configuration of an API: the key of its credential, the variables usual for it, its keys."""

    title: str
    credential: str
    variables: tuple[str, ...]
    needs: str
    keys: frozenset[str]
    example: str


API_CONFIGS: Mapping[str, _ApiConfig] = {
    "github": _ApiConfig(
        title="GitHub",
        credential="token",
        variables=("GITHUB_TOKEN", "GH_TOKEN"),
        needs="a token that may read the hook: Webhooks (read) of the repository or organisation, or admin:repo_hook",
        keys=frozenset({"token", "repository", "organization", "hook", "app"}),
        example='token = "env:GITHUB_TOKEN", repository = "owner/name"',
    ),
    "stripe": _ApiConfig(
        title="Stripe",
        credential="key",
        variables=("STRIPE_API_KEY", "STRIPE_SECRET_KEY"),
        needs="a secret key (sk_…), or a restricted one (rk_…) that may read events",
        keys=frozenset({"key", "account", "undelivered"}),
        example='key = "env:STRIPE_API_KEY"',
    ),
    "svix": _ApiConfig(
        title="Svix",
        credential="token",
        variables=("SVIX_AUTH_TOKEN", "SVIX_TOKEN"),
        needs="a token that may read the application's messages",
        keys=frozenset({"token", "app", "endpoint"}),
        example='token = "env:SVIX_AUTH_TOKEN", app = "app_…"',
    ),
}
_COMMON_KEYS = frozenset({"api", "base_url"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUpConfig:
    """The listings of a configuration's sources, and notices for the user.

    `listing(source)` raises UsageError if its provider lists no events, or it is not configured how to
    ask for it.
    """

    listing: Callable[[Source], Listing]
    problems: tuple[str, ...]
    notices: tuple[str, ...]


def build_catch_up(
    file: File, sources: tuple[Source, ...], environ: Mapping[str, str], vault: Vault | None = None
) -> CatchUpConfig:
    """Build the listing of each source with a table for it; mistakes are collected, not raised."""
    found: dict[str, Listing] = {}
    problems: list[str] = []
    notices: list[str] = []
    for source in sources:
        table = file.sources[source.name].catch_up
        if table is None:
            continue
        where = f"sources.{source.name}.catch_up"
        try:
            listing = found[source.name] = _build_listing(source, table, environ, vault)
        except ConfigError as error:
            problems.append(f"{where}{error.full_text}")
            continue
        access = listing.access
        # Secrets missing in the vault or locked are reported for the vault.
        if access.credential is None and not access.reference.startswith("vault:"):
            notices.append(f"{where}: {explain_missing(access.reference)}, so nothing can be caught up with")

    def of(source: Source) -> Listing:
        return found.get(source.name) or _default_listing(source, environ)

    return CatchUpConfig(listing=of, problems=tuple(problems), notices=tuple(notices))


def _default_listing(source: Source, environ: Mapping[str, str]) -> Listing:
    """Return the listing of a source that is not in relay.toml, by the usual variables. Raises UsageError."""
    api = API_CONFIGS.get(source.provider)
    if api is None:
        raise UsageError(
            f"relay cannot catch up with {source.name}: it reads no list of past events of {source.title}",
            hint=f"it can with {', '.join(API_CONFIGS)}",
        )
    repository = next((environ[name] for name in ("GITHUB_REPOSITORY", "GH_REPO") if environ.get(name)), None)
    table = CatchUpTable(repository=repository) if source.provider == "github" else CatchUpTable()
    try:
        return _build_listing(source, table, environ, None)
    except ConfigError as error:
        raise UsageError(
            f"nothing says what to ask {api.title} for ({error.message.lstrip('.: ')})",
            hint=f"relay.toml says it: [sources.{source.name}.catch_up] with {api.example}",
        ) from error


def _build_listing(source: Source, table: CatchUpTable, environ: Mapping[str, str], vault: Vault | None) -> Listing:
    name = table.api or source.provider
    if name not in API_CONFIGS:
        raise ConfigError(
            f": relay cannot read a list of past events from {source.title or name}; "
            f'it can with {", ".join(API_CONFIGS)} (api = "svix" for a provider that sends through Svix)'
        )
    api = API_CONFIGS[name]
    strange = sorted(table.model_fields_set - api.keys - _COMMON_KEYS)
    if strange:
        near = did_you_mean(strange[0], api.keys)
        raise ConfigError(f".{strange[0]}: {api.title} takes {', '.join(sorted(api.keys | _COMMON_KEYS))}{near}")
    makers = {"github": _build_github, "stripe": _build_stripe, "svix": _build_svix}
    return makers[name](source, table, _build_access(api, table, environ, vault))


def _build_access(api: _ApiConfig, table: CatchUpTable, environ: Mapping[str, str], vault: Vault | None) -> Access:
    named = table.key if api.credential == "key" else table.token
    resolved = resolve_secrets([named] if named else [], api.variables, environ, vault)
    if table.base_url is not None:
        _check_base_url(table.base_url)
    credential = resolved.first
    token = credential.reveal().strip() if credential else ""
    usual = {"GitHub": github.BASE_URL, "Stripe": stripe.BASE_URL}.get(api.title) or svix.base_url(token)
    return Access(
        title=api.title,
        base_url=(table.base_url or usual).rstrip("/"),
        credential=credential,
        reference=credential.reference if credential else (*resolved.missing, *resolved.locked)[0],
        needs=api.needs,
    )


def _check_base_url(text: str) -> None:
    try:
        url = urlsplit(text)
        plain = url.hostname and url.port != 0 and text.isprintable() and not {"@", "?", "#", " "} & set(text)
    except ValueError:
        url, plain = urlsplit(""), False
    if url.scheme not in ("https", "http") or not plain:
        raise ConfigError(f".base_url: {text!r} is not the address of an API; write https://api.example.com")
    if url.scheme == "http" and url.hostname not in _LOOPBACK:
        raise ConfigError(".base_url: a credential goes there, so it has to be https (http on this computer)")


def _build_github(source: Source, table: CatchUpTable, access: Access) -> Listing:
    owners = [name for name in ("repository", "organization", "app") if getattr(table, name) is not None]
    if len(owners) != 1:
        raise ConfigError(".repository: say whose hook it is, with one of repository, organization and app")
    if table.repository is not None and not _REPOSITORY.fullmatch(table.repository):
        raise ConfigError(f".repository: {table.repository!r} is not a repository; write owner/name")
    return GitHubHook(
        access=access,
        owner=build_owner_path(table.repository, table.organization),
        path=source.path.rstrip("/"),
        hook=table.hook,
        app=None if table.app is None else str(table.app),
    )


def _build_stripe(source: Source, table: CatchUpTable, access: Access) -> Listing:
    provider = find_provider("stripe")
    assert provider is not None, "Stripe is in the catalogue"
    usual_types = source.event_type is provider.event_type
    return StripeEvents(
        access=access,
        headers_sent=(("Content-Type", provider.content_type), *provider.companions),
        indent=provider.indent,
        undelivered=table.undelivered is not False,
        types=source.events if usual_types else (),
        account=table.account,
    )


def _build_svix(source: Source, table: CatchUpTable, access: Access) -> Listing:
    if table.app is None:
        raise ConfigError('.app: say of which application; write app = "app_…", or its uid')
    headers, id_header = _svix_headers(source)
    return SvixMessages(
        access=access, app=str(table.app), endpoint=table.endpoint, headers_sent=headers, id_header=id_header
    )


def _svix_headers(source: Source) -> tuple[Headers, str]:
    """Return the headers that the provider sends besides its signature, and the one with the message's id."""
    provider = find_provider(source.provider)
    companions = provider.companions if provider else ()
    id_header = next((name for name, _ in companions if name.endswith("-id")), "svix-id")
    plain = tuple(pair for pair in companions if "${" not in pair[1])
    return (("Content-Type", "application/json"), *plain), id_header
