"""A relay killed while it checks what came meanwhile goes on with the rest, and loses and doubles no verdict."""

import hashlib
import hmac
import json
import signal
import sqlite3
import threading
import time
import urllib.request

import pytest

from builders import LEAST_KDF
from relay.model.secret import Secret
from relay.vault.storage import Vault

PASSWORD = "four words no sentence"
KEY = "whsec_canary_stripe_9f2c"
EVENTS = 600


def signed(number):
    # Every tenth is forged, and every tenth the one before it again.
    key = number - 1 if number % 10 == 5 else number
    body = json.dumps({"id": f"evt_{key}", "object": "event", "type": "invoice.paid"}).encode()
    moment = str(int(time.time()))
    secret = "whsec_other" if number % 10 == 7 else KEY
    mac = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return body, f"t={moment},v1={mac}"


def unlock(url, token):
    data = json.dumps({"password": PASSWORD}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60).read()
    except OSError:
        return  # killed before it answered


def waiting(path):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT COUNT(*) FROM events WHERE reason = 'vault_locked'").fetchone()[0]
    finally:
        connection.close()


@pytest.mark.slow
def test_checking_goes_on_where_it_was_killed(started, tmp_path, target):
    vault = Vault(tmp_path / ".relay" / "vault", LEAST_KDF)
    vault.create(Secret("x", PASSWORD))
    vault.put("stripe_key", KEY)
    (tmp_path / "relay.toml").write_text(
        f"[sources.stripe]\nsecret = 'vault:stripe_key'\n[targets.app]\nforward = '{target.url}'\norder = 'fifo'\n"
    )
    database = tmp_path / ".relay" / "relay.db"
    with started("--json") as relay:
        relay.object("ready")
        for number in range(1, EVENTS + 1):
            body, signature = signed(number)
            relay.send("stripe", body, Stripe_Signature=signature)
        token = (tmp_path / ".relay" / "token").read_text().strip()
        url = relay.running["dashboard_url"] + "/api/vault/unlock"
        opening = threading.Thread(target=unlock, args=(url, token))
        opening.start()
        while waiting(database) == EVENTS:
            # It goes on in small steps, so that it is never through before somebody looks.
            relay.process.send_signal(signal.SIGCONT)
            time.sleep(0.002)
            relay.process.send_signal(signal.SIGSTOP)
        relay.process.kill()
        relay.process.wait()
        opening.join()
    left = waiting(database)
    assert 0 < left < EVENTS
    assert left % 50 == 0  # a batch is judged whole or not at all
    with started("--json", env={"RELAY_VAULT_PASSWORD": PASSWORD}) as relay:
        relay.object("ready")
        while waiting(database):
            time.sleep(0.01)
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        while connection.execute("SELECT COUNT(*) FROM deliveries WHERE state != 'succeeded'").fetchone()[0]:
            time.sleep(0.02)
        outcomes = dict(connection.execute("SELECT outcome, COUNT(*) FROM events GROUP BY outcome"))
        rejected = connection.execute("SELECT value FROM counters WHERE name = 'rejected'").fetchone()[0]
        each = connection.execute("SELECT MAX(n) FROM (SELECT COUNT(*) n FROM deliveries GROUP BY event_id)").fetchone()
        connection.close()
        relay.stop()
    assert outcomes == {"accepted": 480, "duplicate": 60, "rejected": 60}
    assert (rejected, each[0]) == (60, 1)
    keys = [json.loads(body)["id"] for _, _, body in target.seen]
    assert len(set(keys)) == 480
    first = list(dict.fromkeys(keys))
    assert first == sorted(first, key=lambda key: int(key.removeprefix("evt_")))
