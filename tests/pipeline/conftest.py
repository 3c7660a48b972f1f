"""Requests and sources by hand, and schemas and models as files of a user's own."""

from datetime import UTC, datetime

import pytest

from builders import build_capture
from relay.config.build import load

MODELS = """
from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Union

from pydantic import BaseModel, ConfigDict, EmailStr, Field, field_validator


class WebhookPayload(BaseModel):
    event_id: int
    timestamp: datetime
    event_type: str
    description: str


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    when: datetime
    count: int = 0


class Odd(BaseModel):
    word: str

    @field_validator("word")
    @classmethod
    def check(cls, word: str) -> str:
        if word == "value":
            raise ValueError("must not be that")
        if word == "exit":
            raise LookupError("s3cret " + word)
        if word == "leave":
            raise SystemExit(3)
        if word == "deep":
            return cls.check(word)
        return word


class Card(BaseModel):
    kind: Literal["card"]
    number: int


class Cash(BaseModel):
    kind: Literal["cash"]
    coins: list[int]


class Paid(BaseModel):
    by: Annotated[Union[Card, Cash], Field(discriminator="kind")]
    either: Union[Card, Cash, None] = None
    mail: EmailStr | None = None
    token: Literal["s3cret"] = "s3cret"


@dataclass
class Plain:
    event_id: int


AnyOf = Union[Card, Cash]


def function(value: int) -> int:
    return value


INSTANCE = Card(kind="card", number=1)
"""


@pytest.fixture
def capture():
    """Make a request: `capture(b"{}", "application/json", **{"X-Name": "value"})`."""

    def make(body=b"{}", kind="application/json", query="", **headers):
        named = (("Content-Type", kind),) if kind else ()
        return build_capture(
            "any",
            query=query,
            headers=(*named, *((name.replace("_", "-"), value) for name, value in headers.items())),
            body=body,
            received_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        )

    return make


@pytest.fixture
def source(tmp_path):
    """Make a source of nobody's from lines of its table; `files` lie beside its relay.toml."""

    def make(lines="", **files):
        (tmp_path / "models.py").write_text(MODELS)
        for name, text in files.items():
            (tmp_path / f"{name}.json").write_text(text)
        (tmp_path / "relay.toml").write_text(f'[sources.any]\nprovider = "custom"\n{lines}\n')
        return load(tmp_path / "relay.toml", environ={}).sources[0]

    return make
