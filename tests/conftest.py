"""What every test may use: a relay at work in a folder of its own, real sockets and all."""

import atexit
import contextlib
import functools
import gc
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import jinja2
import pytest
from hypothesis import HealthCheck, settings

import relay.dashboard.assets
import relay.dashboard.render
import relay.platform
import relay.store.connection
import relay.store.writer
import relay.vault.file_format
from builders import LEAST_KDF
from forking import Forker, Programs, serve_forks
from relay.app import run_relay
from relay.config.build import Overrides, load
from relay.services.relay import RunningRelay

TESTS = Path(__file__).parent

SECRETS = {
    "STRIPE_WEBHOOK_SECRET": "whsec_test_stripe_secret",
    "GITHUB_WEBHOOK_SECRET": "It's a Secret to Everybody",
    "SLACK_SIGNING_SECRET": "8f742231b10e8888abcd99yyyzzz85a5",
    "TWILIO_AUTH_TOKEN": "12345",
    "RESEND_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}

# Compiled modules are kept whatever the environment says: else each worker of pytest compiles every test anew, and each
# relay that a test starts every module of its own.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# In the background a shell lets a job ignore Ctrl-C, and the relays that tests start and interrupt would ignore it too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _put_files_into_memory():
    """Make a temporary directory of this run's own in /dev/shm, where Linux has 2 GB for it.

    Every database, key and profile of a browser would wait for the disk. TMPDIR names another place.
    """
    memory = Path("/dev/shm")
    if "TMPDIR" in os.environ or not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 2e9:
        return
    if os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return
    for left in memory.glob("relay-*"):
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDONLY)
            try:
                relay.platform.lock_file(handle)  # held by a run for as long as it lives
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)
    process = os.getpid()
    made = Path(tempfile.mkdtemp(prefix="making-relay-", dir=memory))
    relay.platform.lock_file(os.open(made, os.O_RDONLY))
    root = made.rename(made.with_name(made.name.removeprefix("making-")))  # so that no run finds it unlocked

    def remove():
        if os.getpid() == process:  # not where a test has forked
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    os.environ["TMPDIR"] = tempfile.tempdir = str(root)


_put_files_into_memory()

# No test depends on how fast the machine is: neither an example's time nor how long it takes to make one counts.
# RELAY_EXAMPLES=1000 looks further; `make test-fast` tries 25.
settings.register_profile(
    "relay",
    deadline=None,
    max_examples=int(os.environ.get("RELAY_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("relay")

# The programs that tests start, with the package that has each on Debian and Ubuntu.
PROGRAMS = {
    "bash": "bash",
    "chromium": "chromium",
    "curl": "curl",
    "jq": "jq",
    "openssl": "openssl",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
}
# Set it (as .ci/run does) and a program that is missing is a failure rather than a skip.
REQUIRE_PROGRAMS = "RELAY_REQUIRE_PROGRAMS"

# Fixtures that start a whole relay or other programs; `make test-fast` leaves out the tests that use them.
STARTING_FIXTURES = frozenset(
    {"agent", "at", "at_terminal", "browser", "command", "crew", "host", "inside", "start", "started"}
)


def pytest_xdist_auto_num_workers(config):
    """Start three workers more than there are processors: many tests wait for programs, browsers and clocks.

    Each collects all tests, which takes longer than the others of `make test-fast` wait: one more is best there.
    """
    more = 1 if "not program" in config.option.markexpr else 3
    return len(os.sched_getaffinity(0)) + more if hasattr(os, "sched_getaffinity") else None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if worker and workers and session.config.args == session.config.getini("testpaths"):
        session.config.args = _rotate_files(int(worker.removeprefix("gw")), int(workers))
    # What is collected stays until the end: looking through it for garbage again and again took a quarter of the time.
    gc.disable()
    result = yield
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()
    return result


def _rotate_files(worker, workers):
    """Let each worker begin with other files: in a new clone none then compiles what another one is compiling."""
    files = sorted(map(str, TESTS.rglob("test_*.py")))
    begin = len(files) * worker // workers
    return [*files[begin:], *files[:begin]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path)  # pytest orders what all workers have in one order
    for item in items:
        if not STARTING_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.program)
    # xdist's first worker begins with the first quarter: it alone starts a browser, and the others take over what
    # follows. A browser for each worker costs a tenth of the processor time of all tests.
    items.sort(key=lambda item: "browser" not in item.fixturenames)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """Let the databases opened in this process, not those of programs that tests start, fear a power cut alone."""
    settings = relay.store.connection._WRITER_SETTINGS
    assert "PRAGMA synchronous = FULL" in settings
    quick = tuple(setting.replace("= FULL", "= OFF") for setting in settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay.store.connection, "_WRITER_SETTINGS", quick)
        yield


@pytest.fixture(scope="session", autouse=True)
def ready_tables(tmp_path_factory):
    """Let a database that is new in this process begin as a copy of one that is migrated already.

    Only those that a store opens; tests of migrations call them.
    """
    writer = relay.store.writer
    path = tmp_path_factory.mktemp("tables") / "relay.db"
    migrate, lock = writer.migrate, threading.Lock()
    with contextlib.closing(writer.connect(path, writer.plan_migration)) as migrated:
        migrate(migrated, path)

        def copy_or_migrate(connection, path):
            if connection.execute("PRAGMA schema_version").fetchone() == (0,):
                with lock:
                    migrated.backup(connection)
            else:
                migrate(connection, path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writer, "migrate", copy_or_migrate)
            yield


@pytest.fixture(scope="session", autouse=True)
def cheap_vaults():
    """Let this process open and make vaults whose keys cost next to nothing; a usual one takes a second."""
    ranges, recommended = relay.vault.file_format._KDF_RANGES, relay.vault.file_format._RECOMMENDED
    usual = ranges["argon2id"], recommended["argon2id"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ranges, "argon2id", usual[0] | {"m": (128, usual[0]["m"][1])})
        patch.setitem(recommended, "argon2id", dict(LEAST_KDF.numbers))
        yield usual


@pytest.fixture
def usual_vaults(cheap_vaults, monkeypatch):
    """Take what `cheap_vaults` does back, for tests of the costs themselves."""
    ranges, recommended = cheap_vaults
    monkeypatch.setitem(relay.vault.file_format._KDF_RANGES, "argon2id", ranges)
    monkeypatch.setitem(relay.vault.file_format._RECOMMENDED, "argon2id", recommended)


class _CompiledTemplates(jinja2.BytecodeCache):
    def __init__(self):
        self._codes = {}

    def load_bytecode(self, bucket):
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket):
        self._codes[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def ready_dashboard():
    """Let the relays of this process share compiled templates and packed assets: to make them took most of the time."""
    environment = functools.partial(relay.dashboard.render.Environment, bytecode_cache=_CompiledTemplates())
    load = relay.dashboard.assets._load_assets
    static = relay.dashboard.assets.find_resource_folder("static")
    load_once = functools.cache(load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay.dashboard.render, "Environment", environment)
        patch.setattr(
            relay.dashboard.assets, "_load_assets", lambda root: load_once(root) if root == static else load(root)
        )
        yield


@pytest.fixture(scope="session")
def require_program():
    """Give a function that returns the paths of programs, and skips the test where one is missing."""

    def require(*names):
        found = [_find_program(name) for name in names]
        missing = [name for name, path in zip(names, found, strict=True) if path is None]
        if missing:
            reason = f"needs programs that are not installed: {', '.join(missing)}"
            if os.environ.get(REQUIRE_PROGRAMS):
                pytest.fail(f"{reason}; {_install_command(missing)}", pytrace=False)
            pytest.skip(reason)
        return found

    return require


def _find_program(name):
    # The headless shell is the same browser without its own windows: a tab costs it a fifth.
    if name == "chromium" and (shell := shutil.which("chromium-headless-shell")):
        return shell
    # sshd is kept where only root's search path looks, and it wants to be started by its whole path.
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=f"{path}:/usr/sbin:/usr/local/sbin" if name == "sshd" else path)


def _install_command(names):
    packages = " ".join(sorted({PROGRAMS[name] for name in names}))
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install -y {packages}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """Say in the last lines how many tests were skipped for each missing program, and how to install them."""
    yield
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or hasattr(session.config, "workerinput"):
        return
    tests, programs = 0, Counter()
    for report in terminal.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        missing = re.fullmatch(r"Skipped: needs programs that are not installed: (.+)", reason)
        if missing:
            tests += 1
            programs.update(missing[1].split(", "))
    if programs:
        counts = ", ".join(f"{name} ({programs[name]})" for name in sorted(programs))
        counted = "1 test was" if tests == 1 else f"{tests} tests were"
        terminal.write_line(f"{counted} skipped because programs that they start are not installed: {counts}.")
        terminal.write_line(f"To run them too: {_install_command(programs)}")


FORKS = pytest.StashKey[ExitStack]()
FORKING = "RELAY_TEST_FORKS"  # the address of the process that relays are forked from


def pytest_configure(config):
    """Have one process, for all workers of xdist, that relays are forked from; none under coverage, or if unsafe."""
    config.stash[FORKS] = forks = ExitStack()
    if FORKING in os.environ or sys.platform != "linux" or "COVERAGE_PROCESS_CONFIG" in os.environ:
        return
    folder = Path(forks.enter_context(tempfile.TemporaryDirectory(prefix="forks-")))
    forks.enter_context(serve_forks(folder / "socket", {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}))
    os.environ[FORKING] = str(folder / "socket")
    forks.callback(os.environ.pop, FORKING)


def pytest_unconfigure(config):
    config.stash[FORKS].close()


@pytest.fixture(scope="session")
def forker():
    """Forks relays; starts each as a program under coverage, and where forking is not safe."""
    path = os.environ.get(FORKING)
    with contextlib.closing(Forker(path) if path else Programs()) as forker:
        yield forker


@dataclass
class At:
    """A running relay and a client for both of its ports."""

    relay: RunningRelay
    session: aiohttp.ClientSession

    @property
    def ingress(self) -> str:
        return self.relay.ingress_url

    @property
    def dashboard(self) -> str:
        return self.relay.dashboard_url

    @property
    def token(self) -> str:
        return self.relay.login_url.rpartition("=")[2]

    async def send(self, path="/webhooks/test", data=b"{}", method="POST", **more):
        async with self.session.request(method, self.ingress + path, data=data, **more) as response:
            return response.status, await response.read()

    async def api(self, path, method="GET", **more):
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        async with self.session.request(method, self.dashboard + path, headers=headers, **more) as response:
            raw = await response.read()
            return response.status, json.loads(raw) if response.content_type == "application/json" else raw


@pytest.fixture
def secrets():
    """The secrets in the environment of every relay that `start` starts."""
    return SECRETS


@pytest.fixture
async def start(tmp_path) -> AsyncIterator:
    """Start relays with a relay.toml of the test's own."""
    async with AsyncExitStack() as stack:

        async def go(toml="", environ=None, clock=None, **overrides) -> At:
            path = tmp_path / "relay.toml"
            path.write_text(toml)
            ports: dict[str, Any] = {"ingress": "127.0.0.1:auto", "dashboard": "127.0.0.1:auto", "no_tunnel": True}
            config = load(path, Overrides(**ports | overrides), SECRETS if environ is None else environ)
            relay = await stack.enter_async_context(run_relay(config, clock=clock))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return At(relay, session)

        yield go


@pytest.fixture
async def at(start) -> At:
    """A relay without any configuration but secrets in its environment."""
    return await start()


@pytest.fixture
def refusing_port():
    """A port that refuses connections for as long as the test lasts; one that is merely free may be another's soon."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


@pytest.fixture(scope="session")
def certificate_for(tmp_path_factory):
    """Give a function that makes a file with the key and the self-signed certificate of a server, by its name."""
    from cryptography import x509  # noqa: PLC0415 - slow to import, and needed here only
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    def make(host):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(datetime.now(UTC) + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        path = tmp_path_factory.mktemp("tls") / "pair.pem"
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(private + made.public_bytes(pem))
        return path

    return make


@pytest.fixture(scope="session")
def certificate(certificate_for):
    """A file with the key and the self-signed certificate of a server called localhost."""
    return certificate_for("localhost")


@pytest.fixture
def shop():
    """Apps that take webhooks well or badly, one a path; see shop.py."""
    from shop import Shop  # noqa: PLC0415 - imports stripe, which few tests need

    shop = Shop(SECRETS["STRIPE_WEBHOOK_SECRET"])
    shop.open()
    yield shop
    shop.close()
