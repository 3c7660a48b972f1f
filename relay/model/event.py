"""Incoming requests and their results: Capture, Verification, Event, Source."""

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from relay.model.admission import NO_RULES, Admission, Answer, Problem
from relay.model.message import Matching, MessageTracking, StatusReport
from relay.model.payload import Payload
from relay.model.request_items import ItemPaths, RequestItems, Split
from relay.model.secret import Secret
from relay.model.text import parse_media_type
from relay.model.values import dataclass

Headers = tuple[tuple[str, str], ...]


@dataclass(slots=True, kw_only=True)
class Capture:
    """An HTTP request as received. It is never changed; a frozen dataclass would take twice as long to create.

    `path`, `query` (without its `?`) and both sides of every header pair are latin-1 text: one character is one byte
    on the wire, with percent-encoding, order, case and repeats kept. `url` is the full URL that the sender
    called, with a bare `?`. `by_name`, filled when needed, has the first value of each header by lower-case name.
    """

    source: str
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    remote: str
    received_at: datetime
    url: str = ""
    by_name: dict[str, str] | None = field(default=None, init=False, repr=False, compare=False)
    _payload: Payload | None = field(default=None, init=False, repr=False, compare=False)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, ignoring case."""
        if self.by_name is None:
            self.by_name = {name.lower(): value for name, value in reversed(self.headers)}
        return self.by_name.get(name.lower())

    def header_values(self, name: str) -> tuple[str, ...]:
        """Return all values of a header in the order received."""
        first, lower = self.header(name), name.lower()
        if first is None or len(self.by_name or ()) == len(self.headers):
            return () if first is None else (first,)
        return tuple([value for key, value in self.headers if key.lower() == lower])

    @property
    def content_type(self) -> str:
        """Return the media type alone, lower-case, without parameters."""
        return parse_media_type(self.header("Content-Type") or "")

    @property
    def request_target(self) -> str:
        """Return path and query as they were in the request line, also a `?` with nothing behind it."""
        if self.query:
            return f"{self.path}?{self.query}"
        return f"{self.path}?" if self.url.endswith("?") else self.path

    @property
    def payload(self) -> Payload:
        """Return what it says, read on first need and once; its values are shared, so do not change them."""
        if self._payload is None:
            self._payload = self.read_payload()
        return self._payload

    def read_payload(self) -> Payload:
        """Return what it says, for somebody who may change the values."""
        encoding = ", ".join(self.header_values("Content-Encoding"))
        return Payload(self.body, self.header("Content-Type") or "", encoding=encoding, query=self.query)

    def called_at(self, url: str) -> "Capture":
        """Return the request as sent to another address: itself where it has none yet, else a copy."""
        if self.url in ("", url):
            self.url = url
            return self
        made = replace(self, url=url)
        made._payload = self.payload  # noqa: SLF001 - it is a Capture, too
        return made


class Verdict(StrEnum):
    """What the signature said. UNSIGNED: none is expected; UNCHECKED: nothing to check it with."""

    VERIFIED = "verified"
    INVALID = "invalid"
    UNSIGNED = "unsigned"
    UNCHECKED = "unchecked"


class EventOutcome(StrEnum):
    """What relay did with the request."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One step of a verification: `passed` is None for a step that was not reached or judged.

    `age` is the age of a timestamp in seconds (negative: ahead of the clock); it is not stored.
    """

    name: str
    passed: bool | None
    detail: str
    result: str = ""
    age: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A verdict, its reason (a code of REASONS, "" when verified) and its steps."""

    verdict: Verdict
    reason: str = ""
    checks: tuple[Check, ...] = ()

    @property
    def may_act(self) -> bool:
        """Return whether nothing is against the sender (only INVALID is a forgery), now or after the vault opens."""
        return self.verdict is not Verdict.INVALID and self.reason != "vault_locked"


class SignatureScheme(Protocol):
    """How one provider signs: verify and sign side by side, no I/O, never an exception."""

    @property
    def title(self) -> str:
        """Return what a person calls it, such as `HMAC-SHA256`."""

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Judge a capture against any of `secrets`. Garbage gives INVALID, never an exception."""

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture signed again, as the provider would have sent it at `now`.

        Headers of the old signature are replaced; schemes that sign inside the body or the
        query change those too. Raises SigningError if that is impossible.
        """


Extractor = Callable[[Capture, Payload], str | None]
"""Takes one text out of a request, such as an event type or an idempotency key; None for none. Never raises."""

StatusReader = Callable[[Capture, Payload], tuple[StatusReport, ...]]
"""Returns a report for each status of a sent message that the request tells; none for others. Never raises."""


class VerifyMode(StrEnum):
    """What an invalid signature leads to: 401, a flag, or no check at all."""

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalKey:
    """What relay signs with itself: a key pair for what only the provider could sign, or a secret for one run.

    `public` is the public half of a key pair, for the app; "" for a secret that relay made for a source without one.
    """

    scheme: SignatureScheme
    secret: Secret
    public: str

    @property
    def note(self) -> str:
        r"""Return in one line that it signed, and what the app needs; line ends as `\n`, as in .env."""
        if not self.public:
            return "signed with a secret that relay made for this run; relay trigger prints it"
        public = self.public.strip().replace("\n", "\\n")
        return f"signed with relay's local key; give your app this public key: {public}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One address events arrive at, everything resolved: what it checks and how it answers.

    `items` gives the locations of several events in a request, and `event_type` is read from each of them. `local` is
    used in addition to `secrets`, and only if those do not verify a request. `statuses` reads the message statuses in
    its events, None if there are none; `matching` configures how messages are found. `locked_secrets` and
    `locked_tokens` are references whose values are in the locked vault. `signature` is the argument for `relay.sign`,
    None if no secret can sign as the sender does.
    """

    name: str
    provider: str
    path: str
    title: str = ""
    scheme: SignatureScheme | None = None
    event_type: Extractor | None = None
    items: ItemPaths | None = None
    idempotency_key: Extractor | None = None
    summary: Extractor | None = None
    secrets: tuple[Secret, ...] = ()
    local: LocalKey | None = None
    missing_secrets: tuple[str, ...] = ()
    locked_secrets: tuple[str, ...] = ()
    locked_tokens: tuple[str, ...] = ()
    verify: VerifyMode = VerifyMode.ENFORCE
    public_url: str | None = None
    events: tuple[str, ...] = ()
    deliver_duplicates: bool = False
    require_idempotency_key: bool = False
    admission: Admission = NO_RULES
    verify_tokens: tuple[Secret, ...] = ()
    deliver_handshakes: bool = False
    answer: Answer = field(default_factory=Answer)
    configured: bool = True
    statuses: StatusReader | None = None
    matching: Matching = field(default_factory=Matching)
    signature: str | Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """The narrow side of a stored event: what lists, the API and the stream show.

    `path` and `query` are latin-1 text as in Capture; `sha256` is the hex digest of the body; `status` is that of the
    response to the provider; `summary` is a short line for display. `recovered`: fetched from the provider later,
    without a response (`status` 0), with the provider's time of sending or creation (`sent_at`). A
    request with several events has the `type` of the first; `types` are all types, each once, and
    `item_count` is the number of its events.
    """

    id: int
    received_at: datetime
    source: str
    provider: str
    type: str
    idempotency_key: str | None
    outcome: EventOutcome
    verdict: Verdict
    reason: str
    method: str
    path: str
    query: str
    content_type: str
    size: int
    sha256: str
    remote: str
    status: int
    duplicate_of: int | None = None
    pinned: bool = False
    note: str = ""
    sample: bool = False
    summary: str = ""
    recovered: bool = False
    sent_at: datetime | None = None
    types: tuple[str, ...] = ()
    item_count: int = 1

    def __post_init__(self) -> None:
        """Set `types` to the one type if none are given."""
        if not self.types:
            object.__setattr__(self, "types", (self.type,))


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedEvent:
    """A complete stored event: its row, its exact request, the steps of its verification, its problems.

    `batch` gives the locations of the events in a request, None if it is one event itself.
    """

    row: EventRow
    capture: Capture
    verification: Verification
    problems: tuple[Problem, ...] = ()
    batch: RequestItems | None = None

    @property
    def id(self) -> int:
        """Return its number."""
        return self.row.id

    @property
    def type(self) -> str:
        """Return the provider's event type, such as `invoice.paid`."""
        return self.row.type

    @property
    def payload(self) -> object:
        """Return the body as JSON or fields, or the query if there is no body; None if it is neither."""
        return self.capture.payload.value

    @property
    def split(self) -> Split:
        """Return the events in the request, with their types."""
        payload = self.capture.payload
        return self.batch.split(payload) if self.batch else Split(payload, types=(self.row.type,))


@dataclass(slots=True, kw_only=True)
class NewEvent:
    """An event to be stored: a row without an id, with its bytes.

    `claims_key` is False if it must not make a later event a duplicate, such as for a forgery.
    `unless_known`: it is not stored if its key was claimed before. `problems` are those by its source's
    rules, `tracked` is the status of a message in it, `events` are those in the request, None for a single one.
    """

    capture: Capture
    provider: str
    type: str
    idempotency_key: str | None
    claims_key: bool
    deliver_duplicates: bool
    outcome: EventOutcome
    verification: Verification
    reason: str
    status: int
    sample: bool = False
    summary: str = ""
    tracked: MessageTracking | None = None
    recovered: bool = False
    sent_at: datetime | None = None
    unless_known: bool = False
    problems: tuple[Problem, ...] = ()
    events: Split | None = field(default=None, repr=False, compare=False)

    @property
    def types(self) -> tuple[str, ...]:
        """Return the type of each event in the request."""
        return self.events.types if self.events is not None else (self.type,)

    @property
    def split(self) -> Split:
        """Return the events in the request, with their types."""
        return self.events or Split(self.capture.payload, types=(self.type,))
