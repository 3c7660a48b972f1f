"""docs/add-a-provider.md keeps its word: every table loads, every name in it exists."""

import re
from pathlib import Path
from typing import Any

import pytest

from relay.config.build import load
from relay.config.source_tables import SignatureTable
from relay.model.event import Verdict
from relay.model.payload import Payload
from relay.providers import extractors, provider
from relay.providers.catalogue import PROVIDERS
from relay.providers.custom_schemes import SCHEMES
from relay.providers.schemes import encoding, shared_secret, timestamps

TEXT = (Path(__file__).parents[2] / "docs" / "add-a-provider.md").read_text(encoding="utf-8")
TABLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
CODE = re.search(r"```python\n# verifiers\.py\n(.*?)```", TEXT, re.DOTALL)[1]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_of_the_documentation_loads(table, tmp_path):
    (tmp_path / "verifiers.py").write_text(CODE)
    (tmp_path / "relay.toml").write_text(table)
    config = load(tmp_path / "relay.toml", environ={})
    assert all(source.scheme is not None for source in config.sources)


def test_the_verifier_of_the_documentation_judges(tmp_path, capture, now, secret_for):
    (tmp_path / "verifiers.py").write_text(CODE)
    (tmp_path / "relay.toml").write_text(next(table for table in TABLES if "OddSignature" in table))
    scheme: Any = load(tmp_path / "relay.toml", environ={}).sources[0].scheme
    secret = secret_for(PROVIDERS["github"].schemes[0])
    good = capture(headers=(("X-Odd", scheme.verifier.made(secret, capture())),))
    assert scheme.verify((secret,), good, now).verdict is Verdict.VERIFIED
    assert scheme.verify((secret,), capture(), now).verdict is Verdict.INVALID


def test_every_key_and_scheme_is_in_the_documentation():
    names = [field.alias or name for name, field in SignatureTable.model_fields.items()]
    assert [name for name in names if f"`{name}" not in TEXT] == []
    assert [scheme for scheme in SCHEMES if f"`{scheme}`" not in TEXT] == []


def test_the_pins_of_the_documentation_are_those_there_are():
    rows = re.findall(r"^\| (`[a-z`, -]+`) \| (`[a-z0-9`, -]+`) \|$", TEXT, re.MULTILINE)
    told = {
        name: schemes.replace("`", "").split(", ") for names, schemes in rows for name in re.findall(r"[a-z-]+", names)
    }
    known = {
        name: [scheme.name for scheme in entry.schemes] for name, entry in PROVIDERS.items() if len(entry.schemes) > 1
    }
    assert told == known


def test_the_entry_of_the_documentation_is_complete(capture, now, secret_for):
    entry = re.search(r"```python\n(ACME = .*?)```", TEXT, re.DOTALL)[1]
    names = {**vars(extractors), **vars(provider), **vars(encoding), **vars(shared_secret), **vars(timestamps)}
    exec(entry, names)
    acme = names["ACME"]
    secret = secret_for(acme.schemes[0])
    signed = acme.scheme.sign(secret, capture(), now)
    assert acme.scheme.verify((secret,), signed, now).verdict is Verdict.VERIFIED
    assert acme.event_type(signed, Payload(signed.body)) == "test"
