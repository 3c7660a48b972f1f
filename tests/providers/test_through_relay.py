"""Every sample of every provider, triggered through a running relay, arrives verified and named."""

import pytest

from relay.providers.catalogue import PROVIDERS
from relay.providers.samples import sample_types


@pytest.fixture
async def everyone(start, secret_for):
    """A relay with a source for each provider, each with a secret in its own form."""
    toml, environ = [], {}
    for slug, provider in PROVIDERS.items():
        toml.append(f"[sources.{slug}]\n")
        if provider.schemes:
            name = f"SECRET_{slug.upper().replace('-', '_')}"
            environ[name] = secret_for(provider.schemes[0]).reveal()
            toml.append(f'secret = "env:{name}"\n')
    return await start("".join(toml), environ=environ)


async def test_every_sample_of_every_provider_arrives_as_it_should(everyone):
    wrong = []
    for slug, provider in PROVIDERS.items():
        for type_ in sample_types(provider):
            status, event = await everyone.api("/api/triggers", "POST", json={"source": slug, "type": type_})
            expected = "verified" if provider.schemes else "unsigned"
            if status != 201 or event["verdict"] != expected or event["outcome"] == "rejected":
                wrong.append((slug, type_, status, event.get("verdict"), event.get("reason"), event.get("error")))
    assert wrong == []
