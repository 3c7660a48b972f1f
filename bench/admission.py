"""What the rules of a source cost for each request, in microseconds: `python bench/admission.py`."""

import json
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from pathlib import Path

from relay.config.build import load
from relay.model.admission import Admission, Rate
from relay.model.event import Capture, Source
from relay.pipeline.limits import RequestLimits
from relay.pipeline.validate import find_problems
from relay.platform import SystemClock

SCHEMA = {
    "type": "object",
    "required": ["id", "type", "created", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^evt_"},
        "type": {"type": "string"},
        "created": {"type": "string", "format": "date-time"},
        "data": {
            "type": "object",
            "required": ["amount", "currency", "email", "items"],
            "properties": {
                "amount": {"type": "integer", "minimum": 0},
                "currency": {"enum": ["eur", "usd"]},
                "email": {"type": "string", "format": "email"},
                "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
            },
        },
    },
    "$defs": {
        "item": {
            "type": "object",
            "required": ["sku"],
            "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}},
        }
    },
}
MODELS = """
from datetime import datetime
from typing import Literal
from pydantic import BaseModel, EmailStr, Field

class Item(BaseModel):
    sku: str
    n: int = 1

class Data(BaseModel):
    amount: int = Field(ge=0)
    currency: Literal["eur", "usd"]
    email: EmailStr
    items: list[Item]

class Event(BaseModel):
    id: str = Field(pattern="^evt_")
    type: str
    created: datetime
    data: Data
"""


def body(items: int) -> bytes:
    listed = [{"sku": f"sku-{n:06d}", "n": n} for n in range(items)]
    data = {"amount": 4800, "currency": "eur", "email": "ada@example.com", "items": listed}
    whole = {"id": "evt_1", "type": "invoice.paid", "created": "2026-01-02T03:04:05Z", "data": data}
    return json.dumps(whole).encode()


def source(folder: Path, rules: str) -> Source:
    (folder / "relay.toml").write_text(f'[sources.any]\nprovider = "custom"\n{rules}\n')
    return load(folder / "relay.toml", environ={}).sources[0]


def spent(what, times: int) -> float:
    best = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(times):
            what()
        best.append((time.perf_counter() - began) / times)
    return min(best) * 1e6


def capture(items: int) -> Capture:
    return Capture(
        source="any",
        method="POST",
        path="/webhooks/any",
        query="",
        headers=(("Content-Type", "application/json"),),
        body=body(items),
        remote="192.0.2.7",
        received_at=datetime.now(UTC),
    )


def main() -> None:
    gate = RequestLimits(SystemClock())
    networks = (*(ip_network(f"10.{n}.0.0/16") for n in range(20)), ip_network("192.0.2.0/24"))
    rules = Admission(networks=networks, rate=Rate(per_minute=10**6, burst=10**6))
    gated = Source(name="any", provider="custom", path="/webhooks/any", admission=rules)
    print(f"{'gate, 21 networks and a rate':48} {spent(partial(gate.refuse, gated, '192.0.2.7'), 20_000):9.1f} µs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "s.json").write_text(json.dumps(SCHEMA))
        (folder / "models.py").write_text(MODELS)
        for rule, lines in (
            ("content type, mail address", 'content_types = ["application/json"]\nemail_field = "data.email"'),
            ("JSON Schema", 'schema = "s.json"'),
            ("Pydantic model", 'schema = "models:Event"'),
        ):
            judged = source(folder, lines)
            for items in (3, 20, 2000):
                sent = capture(items)
                assert find_problems(judged, sent) == ()
                took = spent(partial(find_problems, judged, sent), max(3, 2000 // items))
                print(f"{rule:30} {len(sent.body):>7,} bytes      {took:9,.1f} µs")


if __name__ == "__main__":
    main()
