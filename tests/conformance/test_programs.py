"""A machine without the programs that tests start: the tests are skipped and said, or fail where required."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.program

ROOT = Path(__file__).parents[2]
TRANSFER = "tests/transfer/test_transfer.py"
CURL = f"{TRANSFER}::test_a_curl_script_sends_the_same_bytes_again"
ALONE = f"{TRANSFER}::test_a_har_file_that_cannot_be_read_is_refused_before_anything_is_sent"


@pytest.fixture
def without_programs(tmp_path):
    """Give a function that runs pytest where no program is found; it gives the status and the printed lines."""

    def run(*arguments, **environ):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RELAY_"))}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=ROOT,
            env=env | {"PATH": str(tmp_path)} | environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    return run


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_a_missing_program_skips_is_said_in_the_last_lines(without_programs, workers):
    status, lines = without_programs("-n", workers, CURL, ALONE)
    assert status == 0, lines
    assert lines[-3].startswith("1 passed, 1 skipped")
    assert lines[-2] == "1 test was skipped because programs that they start are not installed: curl (1)."
    assert lines[-1].endswith("apt-get install -y curl")


def test_a_program_that_is_required_and_missing_is_a_failure(without_programs):
    status, lines = without_programs("-n", "0", CURL, RELAY_REQUIRE_PROGRAMS="1")
    assert status == 1
    assert any("needs programs that are not installed: curl; " in line for line in lines), lines
    assert lines[-1].startswith("1 failed")
