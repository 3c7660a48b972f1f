"""How signatures are written at their place: bare, after a prefix, or as a list of named items."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from relay.model.text import printable
from relay.providers.schemes.base import UnreadableError


class Presented(NamedTuple):
    """The signatures a request presents, any of which may match, and its timestamp if it is among them."""

    signatures: tuple[bytes, ...]
    ts: bytes | None
    words: str = ""


class Layout(Protocol):
    """How signatures are read from a text and written as one."""

    def read(self, text: bytes) -> Presented:
        """Return what the text presents. Raises UnreadableError."""
        ...

    def write(self, signature: bytes, ts: bytes) -> bytes:
        """Return the text that presents one signature."""
        ...


@dataclass(frozen=True, slots=True)
class Raw:
    """The signature and nothing else."""

    def read(self, text: bytes) -> Presented:
        """Return the text as the one signature."""
        return Presented((text,), None)

    def write(self, signature: bytes, ts: bytes) -> bytes:
        """Return the signature."""
        del ts
        return signature


@dataclass(frozen=True, slots=True)
class Prefix:
    """The signature after a fixed text, such as `sha256=`; with `optional` the text may be missing."""

    prefix: bytes
    optional: bool = False

    def read(self, text: bytes) -> Presented:
        """Return what follows the prefix as the one signature."""
        if not text.startswith(self.prefix):
            if self.optional:
                return Presented((text,), None)
            raise UnreadableError("header_malformed", f"does not start with {self.prefix.decode()}")
        signature = text[len(self.prefix) :]
        if not signature:
            raise UnreadableError("header_malformed", f"has nothing after {self.prefix.decode()}")
        return Presented((signature,), None)

    def write(self, signature: bytes, ts: bytes) -> bytes:
        """Return the signature after the prefix."""
        del ts
        return self.prefix + signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list such as `t=1699,v1=ab,v1=cd`: any item named `sig` may match, unknown names are skipped.

    `emit` is the pattern of a list with one signature, with `{ts}` and `{sig}`. Nothing is
    trimmed unless `trim` says so. With `bare` an item without a name is a signature too.
    """

    separator: bytes
    equals: bytes
    sig: bytes
    emit: bytes
    ts: bytes | None = None
    trim: bool = False
    bare: bool = False

    def read(self, text: bytes) -> Presented:
        """Return the signatures and the first timestamp of the list."""
        signatures: list[bytes] = []
        ts: bytes | None = None
        for item in text.split(self.separator):
            name, equals, value = (item.strip() if self.trim else item).partition(self.equals)
            if equals and name == self.sig:
                signatures.append(value)
            elif equals and name == self.ts and ts is None:
                ts = value
            elif self.bare and not equals and name:
                signatures.append(name)
        if self.ts is not None and ts is None:
            raise UnreadableError("header_malformed", f"has no {printable(self.ts)}")
        if not any(signatures):
            raise UnreadableError("header_malformed", f"has no {printable(self.sig)}")
        return Presented(tuple(signatures), ts, self._words(len(signatures)))

    def write(self, signature: bytes, ts: bytes) -> bytes:
        """Return a list with that signature."""
        return self.emit.replace(b"{ts}", ts).replace(b"{sig}", signature)

    def _words(self, count: int) -> str:
        number = "one" if count == 1 else str(count)
        stamp = f"{self.ts.decode()} and " if self.ts else ""
        return f"{stamp}{number} {self.sig.decode()}"
