"""What a receiver needs to start, what it shares between processes, and what it refuses."""

import asyncio
import logging
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from django.test import AsyncClient, override_settings
from twilio.request_validator import RequestValidator

import relay.frameworks.django
from builders import QUICK_KDF
from relay.errors import ConfigError, HandlersError, UsageError
from relay.frameworks.loading import receiver
from relay.frameworks.request import Incoming
from relay.model.admission import Claim
from relay.store.idempotency import SqliteKeyStore


def request(body, headers, path="/webhooks/stripe"):
    return Incoming(
        method="POST",
        path=path,
        query="",
        headers=(("Host", "app.example"), ("Content-Type", "application/json"), *headers.items()),
        body=body,
        remote="127.0.0.1",
        url=f"http://app.example{path}",
    )


def test_a_secret_that_is_missing_is_named_at_the_start(project, secrets):
    with pytest.raises(ConfigError, match=r"sources\.stripe: STRIPE_WEBHOOK_SECRET is not set"):
        project.receiver(secrets | {"STRIPE_WEBHOOK_SECRET": ""})


def test_a_secret_that_nothing_checks_with_is_refused(project, secrets):
    toml = project.folder / "relay.toml"
    toml.write_text(toml.read_text().replace("[sources.stripe]", "[sources.stripe-live]"))
    with pytest.raises(ConfigError, match=r"sources\.stripe-live: it has a secret, and nothing says how it signs"):
        project.receiver(secrets)


def test_a_secret_in_a_locked_vault_is_refused_and_opened_with_its_password(project, secrets, paid):
    from relay.model.secret import Secret  # noqa: PLC0415 - made here alone
    from relay.vault import Vault  # noqa: PLC0415

    toml = project.folder / "relay.toml"
    toml.write_text(toml.read_text().replace("env:STRIPE_WEBHOOK_SECRET", "vault:stripe"))
    (project.folder / ".relay").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"sources\.stripe: the vault holds no secret 'stripe'"):
        project.receiver()
    vault = Vault(project.folder / ".relay" / "vault", QUICK_KDF)
    vault.create(Secret("password", "correct horse battery"))
    vault.put("stripe", secrets["STRIPE_WEBHOOK_SECRET"])
    with pytest.raises(ConfigError, match="vault:stripe is in the locked vault"):
        project.receiver()
    content = vault.path.read_bytes()
    vault.path.write_bytes(content[:-9])
    with pytest.raises(ConfigError, match=r"sources\.stripe: vault .* is damaged"):
        project.receiver()
    vault.path.write_bytes(content)
    made = project.receiver(secrets | {"RELAY_VAULT_PASSWORD": "correct horse battery"})
    assert made.receive_sync(request(*paid())).status == 200
    made.close()


def test_what_would_handle_nothing_is_refused(project):
    toml = project.folder / "relay.toml"
    toml.write_text(toml.read_text().partition("[targets.app]")[0])
    with pytest.raises(ConfigError, match="no target has a handlers file"):
        project.receiver()
    (project.folder / "handlers.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(HandlersError):
        project.receiver(handlers=project.folder / "handlers.py")


def test_there_has_to_be_a_file(tmp_path):
    from relay.frameworks.loading import receiver  # noqa: PLC0415 - the others go through the project

    with pytest.raises(ConfigError, match="there is no file"):
        receiver(tmp_path / "relay.toml")


async def test_waiting_inside_a_running_loop_is_refused_with_what_to_do(project, paid):
    made = project.receiver()
    with pytest.raises(UsageError, match="inside a running event loop"):
        made.receive_sync(request(*paid()))


def test_callers_that_are_greenlets_of_gevent_may_wait(project, paid):
    made = project.receiver()
    assert made.receive_sync(request(*paid())).status == 200
    # There every caller sees the loop that runs in another greenlet of its thread.
    asyncio._set_running_loop(made._loop._loop)
    try:
        assert made.receive_sync(request(*paid())).status == 200
    finally:
        asyncio._set_running_loop(None)
    made.close()


async def test_of_many_at_once_one_alone_is_handled(project, paid):
    made = project.receiver()
    body, headers = paid()
    told = await asyncio.gather(*(made.receive(request(body, headers)) for _ in range(8)))
    # One is handled; the others are asked to try again while it is, or called duplicates after it.
    assert {answer.status for answer in told} <= {200, 503}
    assert sum(b'"accepted"' in answer.body for answer in told) == 1
    assert [call[0] for call in project.calls] == ["plain", "async"]


class Kept:
    """A store of one's own: two methods over a dict."""

    def __init__(self):
        self.states = {}
        self.lock = threading.Lock()

    def claim(self, source, key):
        with self.lock:
            return self.states.setdefault((source, key), "mine") if (source, key) not in self.states else (
                self.states[source, key] if self.states[source, key] == "done" else "busy"
            )  # fmt: skip

    async def settle(self, source, key, done):
        if done:
            self.states[source, key] = "done"
        else:
            self.states.pop((source, key), None)


class Broken:
    """A store that cannot be reached."""

    def claim(self, source, key):
        raise ConnectionError("redis is away")

    def settle(self, source, key, done):
        raise ConnectionError("redis is away")


async def test_any_store_with_two_methods_will_do(project, paid):
    made = project.receiver(keys=Kept())
    body, headers = paid()
    outcomes = [(await made.receive(request(body, headers))).body for _ in range(2)]
    assert b'"accepted"' in outcomes[0]
    assert b'"duplicate"' in outcomes[1]


async def test_a_store_that_is_away_asks_the_sender_to_try_again(project, paid):
    told = await project.receiver(keys=Broken()).receive(request(*paid()))
    assert (told.status, dict(told.headers)["Retry-After"]) == (503, "5")
    assert project.calls == []


class Odd:
    """A store whose claim ends as it was told."""

    def __init__(self, end):
        self.end = end

    def claim(self, source, key):
        return self.end()

    def settle(self, source, key, done):
        pass


def test_a_claim_that_is_none_is_a_fault_of_the_store_and_says_so(project, secrets, paid, caplog):
    made = project.receiver(secrets, keys=Odd(lambda: None))
    answered = made.receive_sync(request(*paid()))
    made.close()
    assert (answered.status, b"not_kept" in answered.body) == (503, True)
    assert "ValueError: None is not a valid Claim" in caplog.text


async def test_a_store_that_ends_the_program_ends_one_request(project, secrets, paid):
    made = project.receiver(secrets, keys=Odd(sys.exit))
    assert (await made.receive(request(*paid()))).status == 500


def test_keys_are_shared_between_processes_and_a_claim_of_the_dead_ends(tmp_path):
    path = tmp_path / "received.db"
    code = (
        "import sys; from pathlib import Path; from relay.store.idempotency import SqliteKeyStore; "
        "keys = SqliteKeyStore(Path(sys.argv[1]), lease=float(sys.argv[2])); print(keys.claim('a', 'k').value)"
    )

    def elsewhere(lease):
        done = subprocess.run(
            [sys.executable, "-c", code, path, str(lease)], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert elsewhere(300) == "mine"
    keys = SqliteKeyStore(path)
    assert keys.claim("a", "k") is Claim.BUSY
    keys.settle("a", "k", done=False)
    assert keys.claim("a", "k") is Claim.MINE
    keys.settle("a", "k", done=True)
    assert elsewhere(300) == "done"
    assert keys.claim("b", "k") is Claim.MINE
    keys.close()
    assert elsewhere(300) == "done"


def test_two_receivers_of_an_app_share_their_keys_with_other_processes(project, tmp_path):
    code = (
        "import sys; from pathlib import Path; from relay.store.idempotency import SqliteKeyStore; "
        "keys = SqliteKeyStore(Path(sys.argv[1])); print(keys.claim('s', sys.argv[2]).value); keys.close()"
    )

    def claim_elsewhere(key):
        path = tmp_path / ".relay/received.db"
        done = subprocess.run([sys.executable, "-c", code, path, key], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    first, second = project.receiver(), project.receiver()
    assert [made._keys.claim("s", key) for made, key in ((first, "1"), (second, "2"))] == [Claim.MINE, Claim.MINE]
    assert claim_elsewhere("3") == "mine"
    assert first._keys.claim("s", "4") is Claim.MINE
    assert claim_elsewhere("4") == "busy"


def test_a_framework_that_is_missing_is_one_sentence():
    code = (
        "import sys; sys.modules['flask'] = None\n"
        "try:\n import relay.frameworks.flask\nexcept ImportError as error:\n print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'webhook-relay[flask]'" in done.stdout


def test_the_receiver_loads_no_server():
    code = "import sys, relay.frameworks.receive; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


async def test_the_async_client_that_django_has_for_tests_is_understood(project, paid):
    made = project.receiver()
    module: Any = types.ModuleType("urls_of_the_async_client")
    module.urlpatterns = relay.frameworks.django.urls(made, asynchronous=True)
    sys.modules[module.__name__] = module
    body, headers = paid()
    with override_settings(ROOT_URLCONF=module.__name__):
        client = AsyncClient()
        told = await client.post("/webhooks/stripe?a=1", body, content_type="application/json", headers=headers)
    assert told.status_code == 200


@pytest.mark.parametrize(
    ("public", "called", "seen", "status"),
    [
        ("", "http://app.example", "http://app.example", 200),
        ("", "https://app.example", "https://app.example", 200),
        # Behind a proxy that ends TLS the app cannot know the scheme: another one is never guessed.
        ("", "https://app.example", "http://app.example", 401),
        ("", "http://app.example", "https://app.example", 401),
        ("https://shop.example/webhooks/twilio", "https://shop.example", "http://app.example", 200),
        ("https://shop.example/webhooks/twilio", "http://shop.example", "http://app.example", 401),
        ("https://shop.example/webhooks/twilio", "http://app.example", "http://app.example", 401),
    ],
)
def test_a_signed_address_is_the_public_url_or_else_the_request_s_own(project, secrets, public, called, seen, status):
    if public:
        toml = project.folder / "relay.toml"
        toml.write_text(toml.read_text().replace("[sources.twilio]", f'[sources.twilio]\npublic_url = "{public}"'))
    signed = RequestValidator(secrets["TWILIO_AUTH_TOKEN"]).compute_signature(
        f"{called}/webhooks/twilio", {"MessageSid": "SM1"}
    )
    headers = {"X-Twilio-Signature": signed, "Content-Type": "application/x-www-form-urlencoded"}
    made = project.receiver()
    came = replace(request(b"MessageSid=SM1", headers, "/webhooks/twilio"), url=f"{seen}/webhooks/twilio")
    came = replace(came, headers=(("Host", "app.example"), *headers.items()))
    assert made.receive_sync(came).status == status
    made.close()


def test_an_app_may_read_the_way_of_an_event_in_its_own_log(project, secrets, paid, caplog):
    made = project.receiver(secrets)
    caplog.set_level(logging.DEBUG, "relay")
    assert made.receive_sync(request(*paid())).status == 200
    told = [record.getMessage() for record in caplog.records if record.name == "relay.events"]
    assert "stripe invoice.paid verified" in told
    assert "stripe invoice.paid route 1 matched, leads to app" in told
    assert "stripe invoice.paid handlers of target app: succeeded" in told
    assert not [line for line in told if secrets["STRIPE_WEBHOOK_SECRET"] in line or "v1=" in line]
    made.close()


async def test_a_handler_in_an_app_is_called_for_any_event_of_a_request_and_may_ask_for_all(tmp_path):
    (tmp_path / "relay.toml").write_text(
        '[sources.sendgrid]\nverify = "off"\nevents = ["bounce"]\n[targets.app]\nhandler = "handlers.py"\n'
    )
    (tmp_path / "handlers.py").write_text(
        "import pathlib\n"
        "from relay import on\n"
        '@on("sendgrid", "bounce")\n'
        "def bounced(event):\n"
        "    told = [event.types, [item['email'] for item in event.items]]\n"
        "    pathlib.Path(__file__).with_name('told').write_text(repr(told))\n"
    )
    made = receiver(tmp_path / "relay.toml", environ={})
    body = b'[{"event": "delivered", "email": "a@b.c"}, {"event": "bounce", "email": "d@e.f"}]'
    assert (await made.receive(request(body, {}, "/webhooks/sendgrid"))).status == 200
    assert (tmp_path / "told").read_text() == "[('delivered', 'bounce'), ['a@b.c', 'd@e.f']]"


async def test_as_many_handlers_run_at_once_as_requests_are_there(tmp_path):
    (tmp_path / "relay.toml").write_text(
        '[sources.s]\nverify = "off"\n[sources.t]\nverify = "off"\n[targets.app]\nhandler = "handlers.py"\n'
    )
    (tmp_path / "handlers.py").write_text(
        "import asyncio, threading\n"
        "from relay import on\n"
        "everybody = threading.Barrier(40, timeout=10)\n"  # an event loop has 32 threads of its own at most
        '@on("s")\n'
        "def meet(event):\n"
        "    everybody.wait()\n"
        '@on("t")\n'
        "async def meet_in_threads(event):\n"
        "    await asyncio.to_thread(everybody.wait)\n"
    )
    made = receiver(tmp_path / "relay.toml", environ={})
    told = await asyncio.gather(*(made.receive(request(b"{}", {}, "/webhooks/s")) for _ in range(40)))
    with ThreadPoolExecutor(40) as callers:  # as a server without an event loop
        told += callers.map(made.receive_sync, [request(b"{}", {}, "/webhooks/t") for _ in range(40)])
    made.close()
    assert {answer.status for answer in told} == {200}
