"""What else waits for the vault, and goes on when it is opened: mail, fresh signatures, the tunnel."""

import asyncio
import hashlib
import hmac
import re
from contextlib import asynccontextmanager

import pytest
from aiosmtpd import smtp as sinks

from relay.errors import StoreError
from relay.model.delivery import SignMode
from relay.model.secret import Secret
from relay.tunnel.base import TunnelOptions
from relay.tunnel.supervisor import Supervisor, choose_tunnel

KEY = "whsec_canary_stripe"


class Sink:
    """A mail server that knows one password."""

    def __init__(self):
        self.mails = []
        self.logins = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.mails.append(tuple(envelope.rcpt_tos))
        return "250 2.0.0 queued"

    def login(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login, data.password))
        return sinks.AuthResult(success=data.password == b"canary-mail-password", handled=False)


@asynccontextmanager
async def serving(sink):
    def protocol():
        return sinks.SMTP(sink, hostname="sink.example", authenticator=sink.login, auth_require_tls=False)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def mailing(port):
    return (
        "[targets.receipt]\nemail = 'receipt'\n[[routes]]\nsource = '*'\nto = ['receipt']\n"
        "[emails.receipt]\nto = 'ada@example.com'\nsubject = 'Paid'\ntext = 'x'\nonce = false\n"
        f"[smtp]\nhost = '127.0.0.1'\nport = {port}\nsecurity = 'none'\nsender = 'relay@example.com'\n"
        "username = 'vault:smtp.username'\npassword = 'vault:smtp.password'\n"
    )


async def test_mail_waits_untried_and_goes_out_once_the_vault_is_open(start, saved, unlock, until):
    saved(**{"smtp.username": "relay", "smtp.password": "canary-mail-password"})
    sink = Sink()
    async with serving(sink) as port:
        at = await start(mailing(port))
        await at.send()
        status, told = await at.api("/api/events/1/email", "POST", json={"template": "receipt"})
        assert status == 202
        _, status = await at.api("/api/status")
        [target] = status["targets"]
        assert (target["state"], target["detail"]) == ("locked", "the vault is locked, so mail cannot log in")
        await asyncio.sleep(0.3)  # in which it would have been tried
        _, found = await at.api("/api/deliveries")
        assert [(one["state"], one["attempts_made"]) for one in found["deliveries"]] == [("pending", 0)] * 2
        _, told = await unlock(at)
        assert told["state"] == "unlocked"
        await until(lambda: len(sink.mails) == 2)
        _, found = await at.api("/api/deliveries")
        await until(lambda: _all_succeeded(at))
        assert sink.logins[0] == (b"relay", b"canary-mail-password")
        _, status = await at.api("/api/status")
        assert status["targets"][0]["state"] == "up"
        await at.api("/api/vault/lock", "POST")
        await at.send()
        await asyncio.sleep(0.2)
        assert len(sink.mails) == 2


async def _all_succeeded(at):
    _, found = await at.api("/api/deliveries")
    return {(one["state"], one["attempts_made"]) for one in found["deliveries"]} == {("succeeded", 1)}


async def test_a_target_that_shares_its_name_with_a_template_goes_on(start, saved, app, until, unlock):
    saved(**{"smtp.username": "relay", "smtp.password": "canary-mail-password"})
    sink = Sink()
    async with serving(sink) as port:
        toml = mailing(port).replace("email = 'receipt'", f"forward = '{app.url}'")
        at = await start(toml)
        assert (await at.api("/api/events/1/email", "POST", json={"template": "receipt"}))[0] == 404
        await at.send(data=b'{"id": "evt_1"}')
        await at.api("/api/events/1/email", "POST", json={"template": "receipt"})
        await at.send(data=b'{"id": "evt_2"}')
        await until(lambda: app.got == ["evt_1", "evt_2"])
        assert sink.mails == []
        await unlock(at)
        await until(lambda: len(sink.mails) == 1)


async def test_without_smtp_mails_are_kept_whatever_the_vault_is(start, saved, until):
    saved(x="y")
    toml = re.sub(r"(?s)\[smtp\].*", "[sources.stripe]\nsecret = 'vault:stripe_key'\n", mailing(1))
    at = await start(toml)
    await at.send()
    await until(lambda: _all_succeeded(at))


@pytest.mark.parametrize("mode", [SignMode.FRESH, SignMode.AUTO])
async def test_what_would_be_signed_anew_waits_for_its_secret(start, saved, app, stripe, unlock, until, mode):
    saved(stripe_key=KEY)
    toml = "[sources.stripe]\nsecret = 'vault:stripe_key'\n[sources.shop]\nprovider = 'stripe'\nsecret = 'env:SHOP'\n"
    toml += f"[targets.app]\nforward = '{app.url}'\nsign = '{mode.value}'\norder = 'fifo'\n"
    at = await start(toml, environ={"SHOP": "whsec_shop"})
    await unlock(at)
    await stripe(at, "evt_1")
    await until(lambda: app.got == ["evt_1"])
    await at.api("/api/vault/lock", "POST")
    _, made = await at.api("/api/events/1/replay", "POST", json={"target": "app"})
    await stripe(at, "evt_2", name="shop", secret="whsec_shop")
    await until(lambda: app.got == ["evt_1", "evt_2"])
    _, waiting = await at.api(f"/api/deliveries/{made['delivery']}")
    assert (waiting["state"], waiting["attempts_made"]) == ("pending", 0)
    await unlock(at)
    await until(lambda: app.got == ["evt_1", "evt_2", "evt_1"])
    headers, body = app.requests[2]
    stamp, mac = re.fullmatch(r"t=(\d+),v1=(\w+)", headers["Stripe-Signature"]).groups()
    assert mac == hmac.new(KEY.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


async def test_a_tunnel_whose_token_is_locked_is_opened_later(tmp_path, clock):
    said = []
    locked = TunnelOptions(data_dir=tmp_path, provider="auto", locked=True)
    tunnel = Supervisor(choose_tunnel(locked, "http://127.0.0.1:8400"), tmp_path, clock=clock)

    async def heard(count):
        async with asyncio.timeout(60):
            while len(said) < count:  # noqa: ASYNC110 - a list tells nobody that it grew
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(tunnel.run(lambda change: said.append((change.state, change.detail))))
        await heard(1)
        assert said == [("none", "the ngrok authtoken is in the vault, which is locked")]
        # What a token leads to from there is the tunnel's own business; an address of one's own stands in for it.
        url = "https://hooks.example.dev"
        token = Secret("vault:ngrok", "canary-token")
        opened = TunnelOptions(data_dir=tmp_path, provider="static", public_url=url, authtoken=token)
        tunnel.replace(choose_tunnel(opened, "http://127.0.0.1:8400"))
        await heard(2)
        assert said[1] == ("up", "you forward https://hooks.example.dev to http://127.0.0.1:8400")
        running.cancel()
    assert "canary" not in repr(opened)


async def test_opening_the_vault_opens_the_tunnel_and_locking_it_closes_none(
    start, saved, unlock, until, tmp_path, monkeypatch
):
    saved(ngrok_token="canary-token")
    agent, log = tmp_path / "ngrok", tmp_path / "started"
    agent.write_text(f'#!/bin/sh\necho "$@" "$NGROK_AUTHTOKEN" >> {log}\nexec /bin/sleep 60\n')
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    toml = "[tunnel]\nprovider = 'ngrok'\nauthtoken = 'vault:ngrok_token'\n"
    at = await start(toml, no_tunnel=False)
    assert at.relay.state.tunnel.detail == "the ngrok authtoken is in the vault, which is locked"
    assert any("The tunnel waits." in notice for notice in at.relay.notices)
    assert not log.exists()
    await unlock(at)
    await until(lambda: log.exists() and log.read_text())
    await at.api("/api/vault/lock", "POST")
    await unlock(at)
    await asyncio.sleep(0.2)
    assert len(log.read_text().splitlines()) == 1
    assert "canary" not in log.read_text()


async def test_mail_waits_untried_for_a_credential_that_is_missing_and_says_its_name_everywhere(start, until):
    sink = Sink()
    async with serving(sink) as port:
        text = (
            mailing(port)
            .replace("vault:smtp.username", "env:SMTP_USERNAME")
            .replace("vault:smtp.password", "env:SMTP_PASSWORD")
        )
        at = await start(text, environ={"SMTP_USERNAME": "relay"})
        await at.send()
        why = "SMTP_PASSWORD is not set, so mail cannot log in"
        assert any(why in notice for notice in at.relay.notices)
        _, status = await at.api("/api/status")
        [target] = status["targets"]
        assert (target["state"], target["detail"]) == ("locked", why)
        for path in ("/targets", "/events/1/email"):
            assert why in (await at.api(path))[1].decode()
        _, found = await at.api("/api/deliveries")
        assert [(one["state"], one["attempts_made"]) for one in found["deliveries"]] == [("pending", 0)]
        assert sink.logins == []


async def test_a_relay_that_cannot_announce_itself_says_why(once, tmp_path):
    (tmp_path / ".relay" / ".running.json.new").mkdir(parents=True)
    with pytest.raises(ExceptionGroup) as caught:  # of the tasks that run by then; `relay start` prints what is in it
        async with once(""):
            pass
    assert caught.group_contains(StoreError, match=r"cannot write \S+running\.json: ")
