"""Adyen's payments webhooks: every item in the body carries a signature over eight of its fields."""

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from relay.errors import SigningError
from relay.model.event import Capture, Check, Verification
from relay.model.secret import Secret
from relay.model.text import printable
from relay.providers.schemes.base import HEADER_STEP, UnreadableError, conclude, unchecked
from relay.providers.schemes.keys import Key, encode
from relay.providers.schemes.places import InJson, Place
from relay.providers.schemes.splice import json_value, with_body
from relay.providers.schemes.template import STEP

# Adyen 16.0.0 for Python: joined with colons, nothing escaped, a missing one is empty.
_FIELDS: tuple[tuple[str, ...], ...] = (
    ("pspReference",),
    ("originalReference",),
    ("merchantAccountCode",),
    ("merchantReference",),
    ("amount", "value"),
    ("amount", "currency"),
    ("eventCode",),
    ("success",),
)
_LIST, _ITEM = "notificationItems", "NotificationRequestItem"
_SIGNATURE = ("additionalData", "hmacSignature")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdyenItems:
    """HMAC-SHA256 in base64 inside each item; all of them must be right. The key is hex."""

    name: str = ""
    key: Key = field(default_factory=lambda: Key(form="hex"))
    place: Place = field(default_factory=lambda: InJson((_LIST, _ITEM, *_SIGNATURE)))

    @property
    def title(self) -> str:
        """Return the algorithm."""
        return "HMAC-SHA256"

    def presented(self, capture: Capture) -> bool:
        """Say whether the body is a list of items, signed or not."""
        return bool(_items(capture))

    def usable(self, secret: Secret) -> bool:
        """Say whether the secret is a key in hex."""
        return self.key.read(secret) is not None

    def claims(self, secret: Secret) -> bool:
        """Say that no secret is only ever this scheme's."""
        del secret
        return False

    def tolerating(self, past: float | None, future: float | None) -> Self:
        """Return the scheme itself: nothing here has an age."""
        del past, future
        return self

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Judge every item against any of `secrets`. Garbage gives INVALID, never an exception."""
        del now
        if not secrets:
            return unchecked()
        checks: list[Check] = []
        try:
            signed = _signed(capture)
        except UnreadableError as problem:
            return conclude(problem.reason, [problem.check])
        count = f"{len(signed)} item{'' if len(signed) == 1 else 's'}"
        checks.append(
            Check(name=HEADER_STEP, passed=True, detail=f"hmacSignature in {count}", result="Present")
        )
        checks.append(Check(name=STEP, passed=True, detail="eight fields of each item", result="Built"))
        reason, check = self._compare(secrets, signed)
        return conclude(reason, [*checks, check])

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture with every item signed. Raises SigningError where there is none."""
        del now
        key = self.key.read(secret)
        items = _items(capture)
        if key is None or not items:
            raise SigningError(
                "The body has no notificationItems, which Adyen signs."
                if key
                else f"{secret.reference or 'The secret'} is not an HMAC key of Adyen's, which is hex.",
                hint="trigger a payments event, and copy the HMAC key of its webhook",
            )
        body: bytes | None = capture.body
        for number, item in enumerate(items):
            signature = _digest(key, _text(item)).decode()
            body = json_value(body, (_LIST, number, _ITEM, *_SIGNATURE), signature) if body else None
        if body is None:
            raise SigningError("An item of the body has no place for additionalData.hmacSignature.")
        return with_body(capture, body)

    def _compare(self, secrets: tuple[Secret, ...], signed: list[tuple[bytes, bytes]]) -> tuple[str, Check]:
        keys = [key for secret in secrets if (key := self.key.read(secret)) is not None]
        names = ", ".join(printable(secret.reference, 80) or "the secret" for secret in secrets)
        if not keys:
            detail = f"{names} is not an HMAC key in hex"
            return "secret_unusable", Check(name=self.title, passed=False, detail=detail, result="Unusable")
        wrong = [
            number
            for number, (text, signature) in enumerate(signed, 1)
            if not any(hmac.compare_digest(_digest(key, text), signature) for key in keys)
        ]
        if wrong:
            detail = f"{names} gives another signature for item {wrong[0]}"
            return "signature_mismatch", Check(
                name=self.title, passed=False, detail=detail, result="No match"
            )
        return "", Check(name=self.title, passed=True, detail=f"{names} fits every item", result="Match")


def _signed(capture: Capture) -> list[tuple[bytes, bytes]]:
    """Return each item's signed text and signature. Raises UnreadableError where there is no item."""
    items = _items(capture)
    if not items:
        raise UnreadableError("body_malformed", f"{_LIST} is missing", result="Missing")
    return [(_text(item), _signature(item, number)) for number, item in enumerate(items, 1)]


def _items(capture: Capture) -> list[dict[str, Any]]:
    items = capture.payload.json_at(_LIST)
    found = (
        [item.get(_ITEM) if isinstance(item, dict) else None for item in items]
        if isinstance(items, list)
        else []
    )
    return [item if isinstance(item, dict) else {} for item in found]


def _at(item: object, *keys: str) -> object:
    for key in keys:
        item = item.get(key) if isinstance(item, dict) else None
    return item


def _signature(item: dict[str, Any], number: int) -> bytes:
    value = _at(item, *_SIGNATURE)
    if not isinstance(value, str) or not value.strip():
        raise UnreadableError(
            "body_malformed", f"hmacSignature is missing in item {number}", result="Missing"
        )
    return value.encode("utf-8", "surrogatepass")


def _text(item: dict[str, Any]) -> bytes:
    return ":".join(_written(_at(item, *path)) for path in _FIELDS).encode("utf-8", "surrogatepass")


def _written(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _digest(key: bytes, text: bytes) -> bytes:
    return encode(hmac.digest(key, text, "sha256"), "base64")
