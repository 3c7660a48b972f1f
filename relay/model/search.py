"""The search language: parses a line of text into words and filters, the same in UI, API and CLI."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, time, timedelta

from relay.errors import UsageError
from relay.model.text import escape_unprintable, find_similar
from relay.model.values import dataclass

KEYS: dict[str, str] = {
    "source": "a source's name, `*` allowed",
    "provider": "a provider's name",
    "type": "an event type, `*` allowed",
    "verdict": "verified, invalid, unsigned or unchecked",
    "outcome": "accepted, duplicate, ignored or rejected",
    "reason": "a reason code such as signature_mismatch",
    "method": "an HTTP method",
    "path": "the path of the request, `*` allowed: /webhooks/stripe",
    "status": "what the provider was answered: 200, 4xx, >=400",
    "size": "the size of the body: >10kB, <=1MB",
    "target": "a target that it was or is to be sent to, `*` allowed",
    "has": "failed, pending, running, succeeded, note or message",
    "is": "duplicate, replay, sample, pinned, handshake or recovered",
    "id": "event numbers: 7, a range such as 10-20 or 10.., or a list such as 1,5,9-12",
    "key": "an idempotency key, `*` allowed",
    "after": "an age (2h, 7d) or a time here (2026-01-31, 2026-01-31T12:00, 14:30)",
    "before": "an age or a time",
}
FAMILIES: dict[str, str] = {
    "header": "the value of a header: header.x-tenant:acme",
    "query": "the value of a parameter of the query: query.id:7",
    "payload": "a value of the payload: payload.data.object.amount:>1000, payload.items[0].id:7, payload.error:null",
}
OR = "OR"
MAX_LENGTH = 4000  # enough for three hundred event ids in a list
HELP = "relay help search lists the filters"

_CHOICES = {
    "verdict": {"verified", "invalid", "unsigned", "unchecked"},
    "outcome": {"accepted", "duplicate", "ignored", "rejected"},
    "has": {"failed", "pending", "running", "succeeded", "cancelled", "note", "message"},
    "is": {"duplicate", "replay", "sample", "pinned", "handshake", "recovered"},
}
_AGE = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_STATUS = re.compile(r"[1-5]xx|(>=|<=|>|<)?\d{3}", re.IGNORECASE)
_SIZE = re.compile(r"(>=|<=|>|<)?(\d{1,15}(?:\.\d{1,6})?)(b|kb|mb|gb)?", re.IGNORECASE)
_BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
COMPARISON = re.compile(r"(>=|<=|>|<)([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,4})?)")
_MARKED_FILTER = re.compile(r"([(!-]+)([A-Za-z][\w.\[\]$-]*):(?!//)")  # grouping and negation of other search languages
_TOKEN = re.compile(
    r'(?P<minus>-?)(?:(?P<key>[A-Za-z][\w.\[\]$-]*):(?!//))?(?:"(?P<quoted>[^"]*)(?P<end>"?)|(?P<bare>(?(key)\S*|\S+)))'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A term of a query. `key` is "" for a plain word; `problem` says why it cannot be parsed.

    `quoted` is True for quoted text, `closed` if it has its closing quote. A term
    with `any_of` is true if one of those is, and has neither key nor value.
    """

    text: str
    key: str = ""
    value: str = ""
    negated: bool = False
    quoted: bool = False
    closed: bool = False
    moment: datetime | None = None
    problem: str = ""
    any_of: tuple["Term", ...] = ()

    @property
    def is_text(self) -> bool:
        """Return whether it searches for words only."""
        return all(term.is_text for term in self.any_of) if self.any_of else not self.key

    @property
    def has_words(self) -> bool:
        """Return whether any part of it searches for words."""
        return any(term.has_words for term in self.any_of) if self.any_of else not self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A parsed search. `notes` are sentences such as `"foo:" is not a filter, searched as text`."""

    text: str
    terms: tuple[Term, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Return the problems of the query, a sentence each; empty if the query can be run."""
        return tuple(dict.fromkeys(term.problem for term in self.terms if term.problem))

    @property
    def readable(self) -> "Query":
        """Return the query without the terms that cannot be parsed."""
        kept = tuple(term for term in self.terms if not term.problem)
        return replace(self, text=" ".join(term.text for term in kept), terms=kept) if self.problems else self

    @property
    def filters(self) -> tuple[Term, ...]:
        """Return the terms that are or contain `key:value`."""
        return tuple(term for term in self.terms if not term.is_text)

    @property
    def words(self) -> tuple[Term, ...]:
        """Return the terms that are plain text."""
        return tuple(term for term in self.terms if term.is_text)

    @property
    def has_words(self) -> bool:
        """Return whether any term searches for words."""
        return any(term.has_words for term in self.terms)


EVERYTHING = Query(text="")


def parse_query(text: str, now: datetime, *, lenient: bool = False) -> Query:
    """Parse a query; never raises. Ages such as `after:2h` count from `now`.

    An unknown filter is a problem; `lenient`, for a search that is still being typed, makes it a note,
    searches for it as text, and ignores an incomplete OR or quote.
    """
    terms: list[Term] = []
    notes: list[str] = []
    joins = False
    for match in _TOKEN.finditer(text[:MAX_LENGTH]):
        if match[0] == OR:
            if (joins or not terms) and not lenient:
                terms.append(Term(text=OR, problem=_STRAY))
            joins = True
            continue
        term = _read_term(match, now)
        if lenient and not term.key and not term.value.strip():
            continue
        if lenient and not term.key and term.problem:
            notes.append(term.problem)
            term = replace(term, problem="")
        if lenient and term.key and not _is_known(term.key.lower()):
            near = _suggest_filter(term.key)
            hint = f"; did you mean {near}:?" if near else ""
            notes.append(f'"{escape_unprintable(term.key, 60)}:" is not a filter, searched as text{hint}')
            value = match[0].removeprefix("-").replace('"', "")
            term = replace(term, key="", value=value, moment=None, problem="")
        terms.append(_join_alternatives(terms.pop(), term) if joins and terms else term)
        joins = False
    if joins and not lenient:
        terms.append(Term(text=OR, problem=_STRAY))
    if len(text) > MAX_LENGTH:
        # Cut short it would select other events than requested.
        terms.append(Term(text="", problem=f"a search has at most {MAX_LENGTH} characters"))
    return Query(text=text[:MAX_LENGTH], terms=tuple(terms), notes=tuple(notes))


def parse_query_strictly(text: str, now: datetime) -> Query:
    """Parse a query that selects events for an operation. Raises UsageError with all problems."""
    query = parse_query(text, now)
    if query.problems:
        raise UsageError("; ".join(query.problems), hint=HELP)
    return query


def parse_moment(value: str, now: datetime) -> datetime | None:
    """Return the aware time of an age (`2h` before `now`) or of a time; None if it is neither.

    A time without a zone is local; one without a date is the last such time before `now`.
    """
    age = _AGE.fullmatch(value)
    try:
        if age:
            return now - timedelta(seconds=int(age[1]) * _UNITS[age[2]])
        if re.fullmatch(r"\d\d:\d\d(:\d\d)?", value):
            today = datetime.combine(now.astimezone().date(), time.fromisoformat(value))
            return min(today, today - timedelta(days=today.astimezone() > now)).astimezone()
        when = datetime.fromisoformat(value)
        return when if when.tzinfo else when.astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def parse_size_limit(value: str) -> tuple[str, int] | None:
    """Return the comparison and the bytes of `>10kB`; None if it is not a size."""
    match = _SIZE.fullmatch(value)
    return (match[1] or "=", int(float(match[2]) * _BYTES[(match[3] or "").lower()])) if match else None


def list_grammar() -> tuple[tuple[str, str], ...]:
    """Return the grammar of the search language, each form with its meaning."""
    return (
        ("word", "events whose headers, query or body hold a word that begins so"),
        ('"two words"', "these very words, one after the other"),
        ("-TERM", "not this: -type:ping, -word"),
        ("A OR B", "either of the two; without OR, all terms must match"),
        *((f"{key}:", meaning.replace("`", "")) for key, meaning in KEYS.items()),
        *((f"{family}.NAME:", meaning) for family, meaning in FAMILIES.items()),
    )


def localize_moments(text: str, now: datetime) -> str:
    """Return a search whose times include the local zone, for a relay that may be in another zone."""
    terms = parse_query(text, now).terms
    for term in (one for whole in terms for one in (whole.any_of or (whole,))):
        if term.moment is not None and not _AGE.fullmatch(term.value):
            minus = "-" if term.negated else ""
            text = text.replace(term.text, f"{minus}{term.key}:{term.moment.isoformat()}", 1)
    return text


_STRAY = "OR joins two terms: source:stripe OR source:github"


def _read_term(match: re.Match[str], now: datetime) -> Term:
    # A payload that is a list: payload[0].id.
    key = re.sub(r"^(payload)\[", r"\1.[", match["key"] or "", flags=re.IGNORECASE)
    family = key.partition(".")[0].lower()
    # header.X keeps no case; payload.X and query.X do, as JSON names differ by it.
    name = family + key[len(family) :] if family in ("payload", "query") and "." in key else key.lower()
    quoted = match["quoted"] is not None
    term = Term(
        text=match[0],
        key=name,
        value=match["quoted"] if quoted else match["bare"],
        negated=bool(match["minus"]),
        quoted=quoted,
        closed=bool(match["end"]),
        moment=parse_moment(match["quoted"] or match["bare"] or "", now) if name in ("after", "before") else None,
    )
    return replace(term, problem=_find_problem(term))


def _join_alternatives(left: Term, right: Term) -> Term:
    members = (*(left.any_of or (left,)), right)
    problems = dict.fromkeys(term.problem for term in members if term.problem)
    return Term(text=f" {OR} ".join(term.text for term in members), any_of=members, problem="; ".join(problems))


def _is_known(key: str) -> bool:
    family, dot, rest = key.partition(".")
    return key in KEYS or bool(dot and rest and family in FAMILIES)


def _find_problem(term: Term) -> str:
    key, value = term.key, term.value
    if not key and (marked := None if term.quoted else _MARKED_FILTER.match(value)) and _is_known(marked[2].lower()):
        quoted = escape_unprintable(marked[0], 60)
        meant = f"write {marked[2]}: or -{marked[2]}:, and join alternatives with {OR} alone"
        return f'"{quoted}" is not a filter: {meant} (in quotes it is looked for as text)'
    if not key:
        return "" if value.strip() else '"" looks for nothing: write a word between the quotes'
    if not _is_known(key.lower()):
        return _describe_unknown_filter(term)
    if value == "":
        return f"{key}: needs a value: {KEYS.get(key) or FAMILIES[key.partition('.')[0]]}"
    return _find_value_problem(term)


def _find_value_problem(term: Term) -> str:
    key, value = term.key, term.value
    if key in _CHOICES and value.lower() not in _CHOICES[key]:
        near = find_similar(value.lower(), _CHOICES[key])
        meant = f"; did you mean {near}?" if near else ""
        return f"{key}:{value} is not one of {', '.join(sorted(_CHOICES[key]))}{meant}"
    if key in ("after", "before") and term.moment is None:
        return f"{key}:{value} is not a time: write an age such as 2h, or 2026-01-31"
    if key == "status" and not _STATUS.fullmatch(value):
        return f"status:{value} is not a status: write 200, 4xx or >=400"
    if key == "size" and parse_size_limit(value) is None:
        return f"size:{value} is not a size: write >10kB or <=1MB"
    compares = key.startswith(("payload.", "query.")) and not term.quoted and value[:1] in (">", "<")
    if compares and not COMPARISON.fullmatch(value):
        return (
            f"{key}:{value} compares with no number: write {key}:>1000, or "
            f'"{escape_unprintable(value, 40)}" for the text'
        )
    if key == "id":
        try:
            parse_spans(value)
        except ValueError as error:
            return f"id:{value[:60]} holds {error}: write 7, 10-20 or 1,5,9-12"
    return ""


def _describe_unknown_filter(term: Term) -> str:
    near = _suggest_filter(term.key)
    known = ", ".join((*KEYS, *(f"{family}.NAME" for family in FAMILIES)))
    meant = f"did you mean {near}:?" if near else f"there are {known}"
    return f'"{escape_unprintable(term.key, 60)}:" is not a filter; {meant} (in quotes it is looked for as text)'


def _suggest_filter(key: str) -> str:
    """Return the filter that was most likely meant; "" if none is similar."""
    first, _, rest = key.partition(".")
    near = find_similar(first.lower(), (*KEYS, *FAMILIES))
    return f"{near}.{escape_unprintable(rest, 60) or 'NAME'}" if near in FAMILIES else near


MAX_SPANS = 500  # parts of one list
_SPAN = re.compile(r"(\d{1,18})(?:-(\d{1,18})|\.\.(\d{1,18})?)?")

IdSpan = tuple[int, int | None]  # from and to, inclusive; None if open-ended


def parse_spans(text: str) -> tuple[IdSpan, ...]:
    """Parse a list of numbers and ranges (`9-12`, `9..12`, `9..`). Raises ValueError for anything else."""
    parts = text.split(",")
    if len(parts) > MAX_SPANS:
        raise ValueError(f"more than {MAX_SPANS} numbers and ranges")
    return tuple(_parse_span(part) for part in parts)


def format_spans(numbers: Iterable[int]) -> str:
    """Return numbers as the shortest equivalent list, lowest first: `1,5,9-12`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    joint = {0: "", 1: ","}
    return ",".join(f"{low}{joint.get(high - low, '-')}{high if high > low else ''}" for low, high in runs)


def _parse_span(part: str) -> IdSpan:
    match = _SPAN.fullmatch(part)
    if match is None:
        raise ValueError("not an event number")
    low, dashed, dotted = match.groups()
    if dashed or dotted:
        return int(low), int(dashed or dotted)
    return int(low), None if ".." in part else int(low)
