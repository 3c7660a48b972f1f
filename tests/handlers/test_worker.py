"""A handlers file in processes of its own: what it prints, how it ends, and that it is always the newest."""

import asyncio
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.build import load
from relay.handlers.protocol import FrameReader, encode_frame
from relay.handlers.worker import BrokenFileError, WorkerPool
from relay.handlers.worker_main import KEPT_OUTPUT
from relay.model.delivery import AttemptRetry, AttemptSucceeded
from relay.platform import SystemClock


async def test_a_handler_sees_the_event_as_it_was_received(write, crew, run):
    write("""
        @on("stripe", "invoice.paid")
        def it(event):
            print(event.payload["näme"], event.raw.decode(), sep="|")
            print(event.headers["x-greeting"], event.headers["CONTENT-TYPE"], sep="|")
            print(event.type, event.source, event.provider, event.verdict, event.id, sep="|")
            print(event.timestamp.isoformat(), event.idempotency_key, event.method, event.path, sep="|")
    """)
    body = '{"näme": "Zoë ☃"}'.encode()
    async with crew() as it:
        ran = await run(it, body, headers=(("X-Greeting", "grüß".encode().decode("latin-1")),), idempotency_key="evt_1")
    assert ran.outcome == AttemptSucceeded("it ran")
    assert ran.output.text.splitlines() == [
        'Zoë ☃|{"näme": "Zoë ☃"}',
        "grüß|application/json",
        "invoice.paid|stripe|stripe|verified|42",
        "2026-03-01T12:00:00+00:00|evt_1|POST|/webhooks/stripe",
    ]


async def test_prints_logs_and_what_a_program_says_are_kept_in_their_order(write, crew, run):
    write("""
        import logging, os, subprocess, sys, warnings

        log = logging.getLogger("shop")

        @on("stripe")
        async def it(event):
            print("one")
            log.info("two %s", "words")
            subprocess.run(["sh", "-c", "echo three; echo four >&2"], check=True)
            os.write(1, b"five\\n")
            sys.stderr.write("six\\n")
            log.debug("not this")
            print("seven", end="")
    """)
    async with crew() as it:
        first, second = await run(it), await run(it)
    expected = ["one", "INFO shop: two words", "three", "four", "five", "six", "seven"]
    assert first.output.text.splitlines() == expected
    assert second.output == first.output


async def test_a_failed_run_keeps_what_it_printed(write, crew, run):
    write("""
        @on("stripe")
        def it(event):
            print("so far")
            raise ValueError("no amount\\n\\ud800\\0")
    """)
    async with crew() as it:
        ran = await run(it)
    assert ran.outcome == AttemptRetry("handler it failed: ValueError: no amount (handlers.py, line 7)")
    assert ran.output.text == "so far\n"
    assert ran.output.traceback.splitlines()[:3] == [
        "Traceback (most recent call last):",
        '  File "handlers.py", line 7, in it',
        '    raise ValueError("no amount\\n\\ud800\\0")',
    ]
    assert "\\ud800" in ran.output.traceback


@pytest.mark.parametrize(
    "printing",
    [
        "print('é' * 200_000)",
        "sys.stdout.buffer.write(b'x' * 5_000_000); sys.stdout.buffer.flush()",
        "subprocess.run('yes | head -c 3000000', shell=True)",
        "[print(number) for number in range(30_000)]",
    ],
)
async def test_output_beyond_64_kib_is_cut_and_says_so(write, crew, run, printing):
    write(f"import subprocess, sys\n\n@on('stripe')\ndef it(event):\n    {printing}\n")
    async with crew() as it:
        ran = await run(it)
        after = await run(it)
    assert (ran.outcome, ran.output.cut) == (AttemptSucceeded("it ran"), True)
    assert KEPT_OUTPUT - 2 <= len(ran.output.text.encode()) <= KEPT_OUTPUT
    assert after.output.text == ran.output.text


async def test_exactly_64_kib_are_not_cut(write, crew, run):
    write(f"@on('stripe')\ndef it(event):\n    print('x' * {KEPT_OUTPUT}, end='')\n")
    async with crew() as it:
        ran = await run(it)
    assert (len(ran.output.text), ran.output.cut) == (KEPT_OUTPUT, False)


@given(st.binary(max_size=300))
async def test_whatever_bytes_are_printed_come_back_as_text(shared_echo, run, printed):
    ran = await run(shared_echo, printed)
    assert ran.outcome == AttemptSucceeded("it ran")
    assert ran.output.text == printed.decode("utf-8", "backslashreplace")


@pytest.fixture
async def shared_echo(write, crew):
    write("import os\n\n@on('stripe')\ndef it(event):\n    os.write(2, event.raw)\n")
    async with crew() as it:
        yield it


async def test_odd_text_is_printed_with_its_escapes(write, crew, run):
    write("@on('stripe')\ndef it(event):\n    print('a\\ud800b \\x1b[31mred \\0 ☃')\n")
    async with crew() as it:
        ran = await run(it)
    assert ran.output.text == "a\\ud800b \x1b[31mred \0 ☃\n"


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("sys.exit(3)", "handler it failed: SystemExit: 3 (handlers.py, line 8)"),
        ("raise KeyboardInterrupt", "handler it failed: KeyboardInterrupt (handlers.py, line 8)"),
        ("input()", "handler it failed: EOFError: EOF when reading a line (handlers.py, line 8)"),
        ("return leave()", "the handlers' event loop failed: SystemExit: 4 (handlers.py, line 13)"),
        ("os._exit(3)", "the process of handlers.py ended by itself (status 3)"),
        ("os.kill(os.getpid(), 11)", "the process of handlers.py ended by itself (killed by SIGSEGV)"),
        ("os.kill(os.getpid(), 9)", "the process of handlers.py ended by itself (killed by SIGKILL)"),
    ],
)
async def test_a_handler_that_ends_the_program_ends_its_own_attempt_only(write, crew, run, ending, said):
    write(f"""
        import os, sys
        @on("stripe")
        def it(event):
            print("before")
            if event.payload == 1: {ending}
        async def leave():
            import asyncio
            await asyncio.gather(stop())
        async def stop():
            sys.exit(4)
    """)
    async with crew() as it:
        ran, after = await run(it, b"1"), await run(it, b"2")
    assert ran.outcome == AttemptRetry(said)
    assert ran.output.text == "before\n"
    assert after.outcome == AttemptSucceeded("it ran")


async def test_a_handler_that_closes_its_output_spoils_no_later_run(write, crew, run):
    write("""
        import os, sys

        @on("stripe")
        def it(event):
            print("here")
            if event.payload == 1:
                sys.stdout.close()
            if event.payload == 2:
                os.close(1)
                os.close(2)
    """)
    async with crew() as it:
        for body in (b"1", b"3", b"2", b"3"):
            ran = await run(it, body)
            assert (ran.outcome, ran.output.text) == (AttemptSucceeded("it ran"), "here\n")


@pytest.mark.parametrize(
    ("function", "line"),
    [
        ("def it(event):\n    while True:\n        pass", "pass"),
        ("async def it(event):\n    while True:\n        pass", "pass"),
        ("def it(event):\n    time.sleep(60)", "time.sleep(60)"),
        ("async def it(event):\n    time.sleep(60)", "time.sleep(60)"),
        ("async def it(event):\n    await deep()", "await asyncio.sleep(60)"),
        ("def it(event):\n    subprocess.run(['sleep', '60'])", "subprocess.run(['sleep', '60'])"),
        ("def it(event):\n    while True:\n        print('again')", "print('again')"),
        (
            "def it(event):\n    while True:\n        with suppress(BaseException):\n            time.sleep(60)",
            "time.sleep(60)",
        ),
    ],
)
async def test_a_handler_without_end_is_ended_with_its_process_and_says_where_it_was(
    write, crew, run, function, line, eventually
):
    write(
        "import asyncio, os, subprocess, time\nfrom contextlib import suppress\n"
        "async def deep():\n    await asyncio.sleep(60)\n"
        f"@use\ndef first(event):\n    print('pid', os.getpid(), flush=True)\n@on('stripe')\n{function}\n"
    )
    # What spins does so until it is ended, so that is soon; a busy machine may not have begun with it by then.
    for seconds in (0.3, 5.0):
        async with crew(seconds=seconds) as it:
            async with asyncio.timeout(60):
                ran = await run(it)
            if seconds < 5 and "in it\n" not in ran.output.traceback:
                continue
            pid = int(ran.output.text.split()[1])
            assert ran.outcome == AttemptRetry(f"took longer than {seconds:g} s, so its process was ended")
            if "pass" not in line:
                assert line in ran.output.traceback
            assert ran.output.traceback.startswith("It was here (most recent call last):\n")
            assert 'File "handlers.py"' in ran.output.traceback
            await eventually(lambda pid=pid: not _alive(pid))
            return


async def test_what_a_handler_started_ends_with_it(write, crew, run, eventually):
    write("""
        import subprocess, time

        @on("stripe")
        def it(event):
            print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
            time.sleep(60)
    """)
    async with crew(seconds=3.0) as it:
        ran = await run(it)
        pid = int(ran.output.text)
        await eventually(lambda: not _alive(pid))


def _alive(pid):
    # A killed child of a killed process is a zombie until init sees to it.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it ended, perhaps while it was read
        return False


async def test_what_a_handler_left_running_ends_with_its_process(write, crew, run, eventually):
    write("""
        import atexit, os, subprocess

        @on("stripe")
        def it(event):
            fork = os.fork()
            if not fork:
                atexit._run_exitfuncs()
                os._exit(0)
            os.waitpid(fork, 0)
            print(subprocess.Popen(["sleep", "60"]).pid)
    """)
    async with crew() as it:
        pid = int((await run(it)).output.text)
        assert _alive(pid)
    await eventually(lambda: not _alive(pid))


async def test_a_fork_that_comes_back_from_a_handler_answers_nothing(write, crew, run):
    write("""
        import os

        forks = []

        @on("stripe")
        async def it(event):
            if forks:
                os.write(forks[1], b"go")
                os.waitpid(forks[0], 0)
                return {"by": "the second run"}
            reading, writing = os.pipe()
            if fork := os.fork():
                forks.extend((fork, writing))
                return {"by": "the first run"}
            os.read(reading, 2)
            try:
                relay.secret("key")
            except relay.errors.NotFoundError as error:
                print(error)
            return {"by": "the fork"}
    """)
    async with crew() as it:
        first, second = await run(it), await run(it)
    assert (first.response.body, second.response.body) == (b'{"by": "the first run"}', b'{"by": "the second run"}')
    assert second.output.text == "a process that a handler forked cannot ask for the secret 'key'\n"


async def test_two_events_run_at_the_same_time_each_with_its_own_output(write, crew, run, tmp_path):
    write("""
        import pathlib, time

        @on("stripe")
        def it(event):
            mine, other = event.payload
            print("I am", mine)
            pathlib.Path(mine).touch()
            while not pathlib.Path(other).exists():
                time.sleep(0.01)
    """)
    async with crew() as it:
        one, two = await asyncio.gather(run(it, b'["a", "b"]'), run(it, b'["b", "a"]'))
    assert (one.output.text, two.output.text) == ("I am a\n", "I am b\n")
    assert (tmp_path / "a").exists()


async def test_a_process_is_used_again_and_its_loop_turns_between_events(write, crew, run):
    write("""
        import asyncio, os

        done = asyncio.Event()

        async def later():
            await asyncio.sleep(0)
            done.set()

        @on("stripe")
        async def it(event):
            if event.payload == 1:
                it.task = asyncio.create_task(later())
            else:
                await done.wait()
            print(os.getpid())
    """)
    async with crew() as it:
        one, two = await run(it, b"1"), await run(it, b"2")
    assert one.output.text == two.output.text


async def test_each_run_begins_in_the_folder_that_the_file_was_loaded_in(write, crew, run):
    write("""
        import os

        @on("stripe")
        def it(event):
            print(os.getcwd())
            os.chdir("/")
    """)
    async with crew() as it:
        one, two = await run(it, b"1"), await run(it, b"2")
    assert one.output.text == two.output.text != "/\n"


@pytest.mark.parametrize("name", ["handlers.py", "billing.py", "shop/prices.py", "late.py", "rates.txt"])
async def test_a_file_that_changes_is_used_from_the_next_event_on(write, crew, run, tmp_path, name):
    def save(name, word):
        texts = {
            "handlers.py": f"import billing\nWORD = {word!r}\n@on('stripe')\ndef it(event):\n    import late\n"
            "    print(WORD, billing.WORD, billing.prices.WORD, late.WORD, billing.RATES)\n",
            "billing.py": "import pkgutil\nfrom shop import prices\n"
            f"WORD = {word!r}\nRATES = pkgutil.get_data('billing', 'rates.txt').decode()\n",
            "shop/prices.py": f"WORD = {word!r}\n",
            "late.py": f"WORD = {word!r}\n",
            "rates.txt": word,
        }
        write(texts[name], name, head="from relay import on\n" if name == "handlers.py" else "")

    order = ["handlers.py", "billing.py", "shop/prices.py", "late.py", "rates.txt"]
    for each in order:
        save(each, "one")
    async with crew() as it:
        words = (await run(it)).output.text.split()
        assert words == ["one"] * 5
        # Of the same length, and within the same second: nothing but the file itself tells.
        for word in ("two", "six"):
            save(name, word)
            words = (await run(it)).output.text.split()
            assert words == [word if one == name else "one" for one in order]
    assert not list(tmp_path.rglob("*.pyc"))


async def test_a_run_goes_on_with_the_file_it_began_with(write, crew, run, tmp_path, eventually):
    slow = """
        import pathlib, time

        @on("stripe")
        def it(event):
            pathlib.Path("begun").touch()
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
            print("old")
    """
    write(slow)
    async with crew() as it, asyncio.TaskGroup() as group:
        running = group.create_task(run(it))
        await eventually((tmp_path / "begun").exists)
        write("@on('stripe')\ndef it(event):\n    print('new')\n")
        assert (await run(it)).output.text == "new\n"
        (tmp_path / "go").touch()
        assert (await running).output.text == "old\n"
        assert (await run(it)).output.text == "new\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def it(:\n", "handlers.py, line 3: SyntaxError"),
        ("\n1 / 0\n", "handlers.py, line 4: ZeroDivisionError"),
        ("import sys\nsys.exit(3)\n", "handlers.py, line 4: SystemExit: 3"),
        ("import os\nprint('hm', flush=True)\nos._exit(3)\n", "handlers.py: its process ended while loading it"),
        ("raise BaseException('no')\n", "handlers.py, line 3: BaseException: no"),
        ("raise KeyboardInterrupt\n", "handlers.py: its process ended while loading it"),
        ("import time\ntime.sleep(600)\n", "handlers.py took longer than 3 s to load"),
        ("x = 1\n", "handlers.py has no function below @on"),
        ("\0", "handlers.py"),
        (None, "there is no file handlers.py"),
    ],
)  # fmt: skip
async def test_a_broken_file_raises_until_it_is_mended(write, crew, run, tmp_path, text, said):
    if text is not None:
        write(text)
    async with crew(patience=3.0 if "sleep" in (text or "") else 60.0) as it:
        with pytest.raises(BrokenFileError) as raised:
            await run(it)
        assert raised.value.message.startswith(said)
        assert it.error is not None
        assert not await it.is_restarted()
        write("@on('stripe')\ndef it(event):\n    print('corrected')\n")
        assert await it.is_restarted()
        assert it.error is None
        assert (await run(it)).output.text == "corrected\n"


async def test_a_file_that_is_corrected_while_it_is_loaded_is_tried_again_at_once(write, crew, run):
    good = "from relay import on\n@on('stripe')\ndef it(event):\n    print('corrected')\n"
    write(f"import os, pathlib\npathlib.Path(__file__).write_text({good!r})\nos._exit(3)\n")
    async with crew() as it:
        with pytest.raises(BrokenFileError, match="ended while loading it"):
            await run(it)
        assert await it.is_restarted()
        assert (await run(it)).output.text == "corrected\n"


async def test_the_process_of_a_broken_file_is_gone_when_that_is_said(write, crew, run, tmp_path):
    write(
        "import os, pathlib, subprocess\npathlib.Path('pid').write_text(str(os.getpid()))\n"
        "subprocess.Popen(['sleep', '60'])\n1 / 0\n"
    )
    async with crew() as it:
        with pytest.raises(BrokenFileError):
            await run(it)
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_missing_module_that_appears_mends_the_file(write, crew, run):
    write("import billing\n@on('stripe')\ndef it(event):\n    print(billing.WORD)\n")
    async with crew() as it:
        for _ in range(2):
            with pytest.raises(BrokenFileError, match="No module named 'billing'") as raised:
                await run(it)
        assert raised.value.hint == f"install it where relay is installed, {sys.prefix}, or correct its name"
        write("WORD = 'there'\n", "billing.py", head="")
        assert await it.is_restarted()
        assert (await run(it)).output.text == "there\n"


async def test_a_file_outside_the_project_has_neighbours_of_its_own(write, crew, run, tmp_path):
    write("WORD = 'shared'\n", "elsewhere/near.py", head="")
    write("WORD = 'project'\n", "project/mine.py", head="")
    write(
        "import near, mine, os\n@on('stripe')\ndef it(event):\n"
        "    print(near.WORD, mine.WORD, os.path.basename(os.getcwd()))\n    1 / 0\n",
        "elsewhere/handlers.py",
    )
    (tmp_path / "project/relay.toml").write_text('[targets.app]\nhandler = "../elsewhere/handlers.py"\n')
    options: Any = load(tmp_path / "project/relay.toml", environ=os.environ).targets["app"].options
    it = WorkerPool(options, SystemClock())
    try:
        ran = await run(it)
    finally:
        await it.close()
    assert ran.output.text == "shared project project\n"
    assert f'File "{tmp_path}/elsewhere/handlers.py", line 7' in ran.output.traceback


async def test_the_processes_end_with_the_crew_and_what_is_registered_for_the_end_runs(write, crew, run, tmp_path):
    write("""
        import atexit, os, pathlib

        atexit.register(pathlib.Path("cleared").touch)

        @on("stripe")
        def it(event):
            print(os.getpid())
    """)
    async with crew() as it:
        pid = int((await run(it)).output.text)
    assert (tmp_path / "cleared").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_process_that_will_not_end_is_ended(write, crew, run):
    write("""
        import atexit, os, time

        @atexit.register
        def linger():
            time.sleep(60)

        @on("stripe")
        def it(event):
            print(os.getpid())
    """)
    async with asyncio.timeout(60):
        async with crew() as it:
            pid = int((await run(it)).output.text)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_25_megabytes_arrive_whole(write, crew, run):
    write("""
        import hashlib

        @on("stripe")
        def it(event):
            print(hashlib.sha256(event.raw).hexdigest(), len(event.raw), event.payload)
    """)
    body = os.urandom(25_000_000)
    async with crew() as it:
        ran = await run(it, body)
    assert ran.output.text == f"{hashlib.sha256(body).hexdigest()} 25000000 None\n"


async def test_a_file_named_as_a_module_of_python_shadows_nothing(write, crew, run):
    write("import json\n@on('stripe')\ndef it(event):\n    print(json.dumps([1]))\n", "json.py")
    write("import json\n@on('stripe')\ndef it(event):\n    print(json.dumps([2]))\n", "relay.py")
    for name, said in (("json.py", "[1]\n"), ("relay.py", "[2]\n")):
        async with crew(name) as it:
            assert (await run(it)).output.text == said


@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.binary(max_size=50))), st.lists(st.integers(1, 20), min_size=1)
)
def test_frames_come_whole_out_of_any_pieces(sent, cuts):
    data = b"".join(encode_frame(kind, content) for kind, content in sent)
    frames, got = FrameReader(), []
    while data:
        size = cuts[len(got) % len(cuts)]
        got += frames.feed(data[:size])
        data = data[size:]
    assert got == sent
