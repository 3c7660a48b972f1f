"""What an export knows besides its events: where relay listens, and where and how each event went on."""

import re
from collections.abc import Mapping

from relay.actions.egress import Destination, check_syntax
from relay.actions.outgoing_request import ForwardOptions, build_request_target, called_url
from relay.errors import TargetError
from relay.model.delivery import DeliveryChanges, Route, Target
from relay.model.event import CapturedEvent, Source, Verdict
from relay.model.values import dataclass
from relay.pipeline.routing import find_target_names
from relay.providers.catalogue import PROVIDERS
from relay.providers.local_keys import find_pair_scheme

_NO_CHANGES = DeliveryChanges()


SignedAs = tuple[str | Mapping[str, object], str]
"""How a request can be signed again: what `relay.sign` takes as `signature`, and the variable of its secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportContext:
    """The configuration that an export reads. `ingress_url` has no trailing slash."""

    ingress_url: str
    sources: Mapping[str, Source]
    targets: Mapping[str, Target]
    routes: tuple[Route, ...]

    def find_target(self, event: CapturedEvent) -> tuple[ForwardOptions, Destination] | None:
        """Return the target that an event is forwarded to first, else the only one there is, else None."""
        forwards = {target.name: target for target in self.targets.values() if target.action == "forward"}
        routed = (forwards[name] for name in find_target_names(event, self.routes) if name in forwards)
        chosen = next(routed, next(iter(forwards.values())) if len(forwards) == 1 else None)
        if chosen is None or not isinstance(chosen.options, ForwardOptions):
            return None
        try:
            return chosen.options, check_syntax(chosen.options.url)
        except TargetError:
            return None

    def locate(self, event: CapturedEvent) -> tuple[str, str, str]:
        """Return path and query at the app, and the URL that its signature covers where that is another one."""
        found = self.find_target(event)
        if found is None:
            return event.capture.path, event.capture.query, ""
        options, destination = found
        source_path = self._find_path(event.capture.source)
        path, query, _ = build_request_target(event, _NO_CHANGES, options, destination, source_path)
        if options.signed_url:
            return path, query, options.signed_url
        source = self.sources.get(event.row.source)
        public_url = source.public_url if source else None
        # As a replay: the app's own address, unless the source's public_url says which one the app checks.
        if options.sign_url == "public" or (options.sign_url is None and public_url):
            return path, query, called_url(event, _NO_CHANGES, source_path, public_url)
        return path, query, ""

    def find_signature(self, event: CapturedEvent) -> SignedAs | None:
        """Return how an event is signed again; None where no secret can, and for one that did not verify."""
        if event.row.verdict is Verdict.INVALID:
            return None
        source = self.sources.get(event.row.source)
        if source is None:
            provider = PROVIDERS.get(event.row.provider)
            if provider is None or not provider.schemes:
                return None
            bare = Source(name=event.row.source, provider=provider.name, path="", scheme=provider.scheme)
            return None if find_pair_scheme(bare) else (provider.name, provider.secret_variable)
        if source.signature is None or find_pair_scheme(source):
            return None
        references = (*(one.reference for one in source.secrets), *source.missing_secrets, *source.locked_secrets)
        # A secret of the vault gets a variable of its own name.
        kind, _, name = next(iter(references), f"vault:{source.name}_webhook_secret").partition(":")
        return source.signature, name if kind == "env" else re.sub(r"\W", "_", name, flags=re.ASCII).upper()

    def _find_path(self, name: str) -> str:
        source = self.sources.get(name)
        return source.path if source else f"/webhooks/{name}"
