"""Where variables come from: the environment, and the .env beside relay.toml or above it in the repository."""

import pytest

from relay.config.build import Overrides, load
from relay.config.environment import load_environment
from relay.errors import ConfigError


@pytest.fixture
def repository(tmp_path):
    """Return a folder `tools` two levels below the root of a Git repository."""
    tools = tmp_path / "repo" / "dev" / "tools"
    tools.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    return tools


def values(folder, home=""):
    return dict(load_environment(folder, {"HOME": str(home)}).values)


def test_nothing_in_a_value_is_expanded(tmp_path):
    (tmp_path / ".env").write_text("A='whsec_a${HOME}b'\nB=\"x${HOME}\"\nC=$HOME-${A}\nD=a # remark\n")
    found = values(tmp_path, home="/home/ada")
    assert (found["A"], found["B"], found["C"], found["D"]) == ("whsec_a${HOME}b", "x${HOME}", "$HOME-${A}", "a")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_file_is_read_in_the_encodings_that_editors_and_shells_write(tmp_path, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / ".env").write_bytes(f"{mark}S=Jörg\r\nT=2\r\n".encode(encoding))
    found = values(tmp_path)
    assert (found["S"], found["T"]) == ("Jörg", "2")


@pytest.mark.parametrize("raw", [b"S=\xff\n", "S=x\n".encode("utf-16-le"), b"\xff\xfeS\x00=", b"S=\x00\n"])
def test_a_file_that_is_no_text_is_one_sentence(tmp_path, raw):
    (tmp_path / ".env").write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load_environment(tmp_path, {})
    assert caught.value.full_text == f"{tmp_path / '.env'} is not UTF-8 text; save it as UTF-8"


def test_the_environment_wins_over_the_file(tmp_path):
    (tmp_path / ".env").write_text("A=file\n")
    assert load_environment(tmp_path, {"A": "own"}).values["A"] == "own"


@pytest.mark.parametrize("line", ["'unclosed", "STRIPE_WEBHOOK_SECRET", "export STRIPE_WEBHOOK_SECRET"])
def test_a_line_that_is_no_variable_is_told_with_its_number(tmp_path, line):
    (tmp_path / ".env").write_text(f"A=1\n{line}\nB=2\n# comment\n\n")
    found = load_environment(tmp_path, {})
    assert dict(found.values) == {"A": "1", "B": "2"}
    assert found.notices == (f"{tmp_path / '.env'}: line 2 is not NAME=value, so it is left out",)


def test_a_file_further_up_in_the_repository_counts(repository):
    root = repository.parents[1]
    (root / ".env").write_text("A=root\n")
    assert values(repository)["A"] == "root"
    (repository.parent / ".env").write_text("A=nearer\n")
    assert values(repository)["A"] == "nearer"
    (repository / ".env").write_text("B=beside\n")
    assert "A" not in values(repository)


def test_a_file_above_the_repository_does_not_count(repository):
    (repository.parents[2] / ".env").write_text("A=outside\n")
    assert "A" not in values(repository)


def test_a_file_above_does_not_count_without_a_repository(tmp_path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "a" / ".env").write_text("A=above\n")
    assert "A" not in values(folder)


def test_a_file_above_the_home_folder_does_not_count(repository):
    (repository.parents[1] / ".env").write_text("A=root\n")
    assert "A" not in values(repository, home=repository.parent)
    assert values(repository, home=repository.parents[1])["A"] == "root"


def test_the_hint_for_a_missing_secret_names_the_file_that_was_read(repository):
    above = repository.parents[1] / ".env"
    above.write_text("OTHER=1\n")
    (repository / "relay.toml").write_text('[sources.github]\nsecret = "env:HOOK_SECRET"\n')
    [notice] = load(repository / "relay.toml", Overrides(), {}).notices
    assert notice.endswith(f"; put HOOK_SECRET=… into {above}")
