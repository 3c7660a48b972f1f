"""`relay replay` with edits: what was named differs, and nothing else."""

import sys

import pytest

BODY = b'{ "amount": 10.50, "rate": 1E5, "items": [{"id": "a"}] }'


@pytest.fixture
def sent(inside, shared):
    """Replay a fresh event with these options; return the command, and path, headers and body the app got."""

    def go(*options, body=BODY, **headers):
        id_ = shared.send("plain", body, **{"Content_Type": "application/json", "X_Keep": "1"} | headers)["event"]
        shared.app.seen.clear()
        done = inside("replay", str(id_), "--to", "app", *options, home=shared.home)
        replays = [one for one in shared.app.seen if "X-Relay-Replay" in one[1]]
        return (done, *replays[-1]) if replays else (done, None, {}, None)

    return go


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Make $EDITOR one that replaces a text in the file, and counts how often it is opened."""
    count = tmp_path / "opened"

    def be(*changes):
        script = tmp_path / "editor.py"
        script.write_text(
            "import sys, pathlib\n"
            f"count, changes = pathlib.Path({str(count)!r}), {changes!r}\n"
            "opened = int(count.read_text()) if count.exists() else 0\n"
            "count.write_text(str(opened + 1))\n"
            "file = pathlib.Path(sys.argv[1])\n"
            "was, becomes = changes[opened]\n"
            "file.write_bytes(file.read_bytes().rstrip(b'\\n').replace(was, becomes) + b'\\n')\n"
        )
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
        return f"{sys.executable} {script}"

    return be


def test_set_changes_one_value_and_no_other_byte(sent):
    done, _, _, body = sent("--set", "items[0].id=b", "--set", "/new=1")
    assert done.code == 0
    assert body == b'{ "amount": 10.50, "rate": 1E5, "items": [{"id": "b"}], "new": 1 }'


def test_an_editor_that_leaves_no_file_is_a_sentence(sent, monkeypatch):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "rm")
    done, path, _, _ = sent("--edit")
    assert (done.code, path) == (2, None)
    assert done.err.startswith("relay: --edit: rm: ")


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--set", "items[7].id=b"), 2, "'items[7].id' cannot be set"),
        (("--path", "x"), 2, "a path starts with a slash"),
        (("--header", "A b: c"), 2, "the header 'A b' cannot be sent"),
        (("--to", "nowhere"), 1, "no target 'nowhere'"),
        (("--to", "http://169.254.169.254/"), 2, "not an allowed target"),
        (("--set", "amount=1"), 0, "1 delivery would be made; nothing was sent"),
    ],
)
def test_a_dry_run_refuses_what_could_not_be_sent(sent, options, code, told):
    done, path, _, _ = sent(*options, "--dry-run")
    assert (done.code, path) == (code, None)
    assert told in done.err
    if code:
        assert done.out == ""
        assert told in sent(*options)[0].err


def test_method_path_and_query_are_what_was_named(sent):
    done, path, _, body = sent("--method", "PUT", "--path", "/other?x=1&y=a b")
    assert (done.code, path, body) == (0, "/other?x=1&y=a%20b", BODY)
    assert sent("--path", "/other", "--query-string", "z=2")[1] == "/other?z=2"
    assert sent("--path", "/other")[1] == "/other"


def test_headers_are_set_added_and_left_out(sent):
    done, _, headers, _ = sent(
        "--header", "X-Keep: 2", "--header", "X-New: a: b", "--remove-header", "x-gone", X_Gone="1"
    )
    assert done.code == 0
    assert (headers["X-Keep"], headers["X-New"], "X-Gone" in headers) == ("2", "a: b", False)


def test_a_body_comes_from_a_file_byte_for_byte(sent, tmp_path):
    file = tmp_path / "body.bin"
    file.write_bytes(b"\x00\xff{}")
    done, _, _, body = sent("--body", str(file))
    assert (done.code, body) == (0, b"\x00\xff{}")
    assert sent("--body", str(tmp_path / "none"))[0].code == 2


def test_a_body_is_edited_and_keeps_its_ending(sent, editor):
    editor((b"10.50", b"20.00"))
    done, _, _, body = sent("--edit")
    assert (done.code, body) == (0, BODY.replace(b"10.50", b"20.00"))


def test_an_edited_body_that_is_no_json_is_refused_with_its_place_and_nothing_is_sent(sent, editor):
    editor((b"10.50,", b"10.50"))
    done, path, _, _ = sent("--edit")
    assert (done.code, path) == (2, None)
    assert "the edited body is not JSON: line 1, column " in done.err


def test_what_was_not_edited_is_not_sent(sent, editor):
    editor((b"none such", b""))
    done, path, _, _ = sent("--edit")
    assert (done.code, path) == (2, None)
    assert "nothing was changed in the editor" in done.err


@pytest.mark.parametrize("editor_", ["/nonexistent/editor", "false"])
def test_an_editor_that_fails_is_named(sent, monkeypatch, editor_):
    monkeypatch.setenv("VISUAL", editor_)
    done, path, _, _ = sent("--edit")
    assert (done.code, path) == (2, None)
    assert editor_ in done.err


def test_no_editor_is_opened_where_there_is_no_terminal(sent, monkeypatch):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    done, path, _, _ = sent("--edit")
    assert (done.code, path) == (2, None)
    assert "--edit opens vi, and there is no terminal; set EDITOR" in done.err


def test_at_a_terminal_a_mistake_can_be_corrected(started, target, tmp_path, editor, at_terminal):
    command = editor((b"10.50,", b"10.50"), (b"10.50", b"30.00,"))
    (tmp_path / "relay.toml").write_text(f'[targets.app]\nforward = "{target.url}"\n')
    with started("--json") as relay:
        relay.object("ready")
        relay.send("plain", BODY, Content_Type="application/json")
        session = at_terminal("replay", "1", "--to", "app", "--edit", env={"EDITOR": command})
        session.until("the edited body is not JSON")
        session.until("Enter edits it again")
        session.type("\n")
        assert session.end()[0] == 0
    assert target.seen[-1][2] == BODY.replace(b"10.50", b"30.00")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "amount"], "is not path=value"),
        (["--set", "amount.x=1"], "cannot be set"),
        (["--header", "X-New"], "is not a header"),
        (["--path", "other"], "starts with a slash"),
        (["--method", "a b"], "is not a method"),
    ],
)
def test_what_cannot_be_edited_is_said(sent, options, said):
    done, path, _, _ = sent(*options)
    assert (done.code, path) == (2, None)
    assert said in done.err
