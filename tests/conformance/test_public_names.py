"""What a user's own code imports from relay: typed, and loaded only when it is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

import relay

ROOT = Path(__file__).parents[2]


def test_every_name_of_the_door_is_there_and_no_other():
    assert set(relay.__all__) <= set(dir(relay))
    for name in relay.__all__:
        assert getattr(relay, name) is not None
    with pytest.raises(AttributeError, match="module 'relay' has no attribute 'no_such_name'"):
        _ = relay.no_such_name  # type: ignore[attr-defined]  # that is the claim


def test_the_door_loads_nothing_before_it_is_asked():
    program = (
        "import sys, relay, relay.cli.program\n"
        "assert not {name for name in sys.modules if name.startswith(('relay.handlers', 'relay.model.event'))}\n"
        "assert 'asyncio' not in sys.modules\n"
        "from relay import on\n"
        "assert 'relay.handlers' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.mark.slow
def test_a_type_checker_knows_what_handlers_may_do(tmp_path):
    (tmp_path / "mine.py").write_text(
        """# mypy: allow-untyped-defs
from relay import Event, Failed, Retry, on, use, nothing  # unknown

@use
def first(event: Event) -> None: ...
@use("stripe", "a.*")
async def second(event: Event) -> Failed | None: ...
@on("stripe")
def plain(event: Event) -> Retry | None: return Retry("later", after=3)
@on("stripe", "a", "b")
async def slow(event: Event) -> None:
    event.raw.decode(), event.headers["a"].upper(), event.timestamp.year, event.verdict == "verified"
    event.type = "other"  # frozen
@on("stripe")
def untyped(event): return 5
@on("stripe")  # returns
def wrong(event: Event) -> int: return 5
@on(5)  # source
def source(event: Event) -> None: ...
Retry("later", wait=3)  # keyword
reveal_type(plain)
"""
    )
    done = subprocess.run(
        # As `make lint` runs it, so that it finds in its cache what that learned about relay and the standard library.
        [sys.executable, "-m", "mypy", tmp_path / "mine.py"],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (tmp_path / "mine.py").read_text().splitlines()
    wrong = {lines[int(line.split(":")[1]) - 1] for line in done.stdout.splitlines() if ": error: " in line}
    assert {line.rpartition("# ")[2] for line in wrong} == {"unknown", "frozen", "returns", "source", "keyword"}, (
        done.stdout + done.stderr
    )
    assert 'note: Revealed type is "def (event: relay.handlers.event.Event)' in done.stdout
