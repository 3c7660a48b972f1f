"""Counts become what people ask; charts and Prometheus tell the same."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from relay.dashboard import metrics as metrics_page
from relay.model.counters import BUCKET_BOUNDS, CounterLabel, CounterValue, compute_quantile, count_buckets, find_bucket
from relay.services.stats import WINDOWS, compute_stats

NOW = datetime(2026, 11, 25, 12, 30, 20, tzinfo=UTC)
MINUTE = int(NOW.timestamp()) // 60


@given(st.lists(st.floats(0, 59), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values, share):
    buckets = count_buckets(
        CounterValue(CounterLabel(0, "took", "a", bucket=find_bucket(value)), 1, value) for value in values
    )
    true = sorted(values)[max(0, -(-int(len(values) * share * 100) // 100) - 1)]
    found = compute_quantile(buckets, share)
    places = sorted({find_bucket(true), find_bucket(min(values)), find_bucket(max(values))})
    assert (BUCKET_BOUNDS[places[0] - 1] if places[0] else 0) <= found <= BUCKET_BOUNDS[places[-1]]
    assert compute_quantile(buckets, 0.5) <= compute_quantile(buckets, 0.95) <= compute_quantile(buckets, 0.99)


def test_nothing_timed_has_no_quantile_and_the_endless_ends_at_the_last_bound():
    assert compute_quantile({}, 0.5) is None
    assert compute_quantile({find_bucket(1e9): 3}, 0.5) == BUCKET_BOUNDS[-1]


def test_a_window_holds_its_minutes_and_compares_them_with_those_before():
    tallies = [
        CounterValue(CounterLabel(MINUTE, "event", "stripe", "verified", "accepted"), 3),
        CounterValue(CounterLabel(MINUTE, "event", "stripe", "invalid", "rejected", "signature_mismatch"), 1),
        CounterValue(CounterLabel(MINUTE - 14, "event", "app", "unchecked", "accepted", "no_source"), 2),
        CounterValue(CounterLabel(MINUTE - 15, "event", "app", "unchecked", "accepted"), 5),
        CounterValue(CounterLabel(MINUTE - 30, "event", "app", "unchecked", "accepted"), 100),
        CounterValue(CounterLabel(MINUTE, "attempt", "stripe", "web", "retry", "first", find_bucket(0.04)), 1, 0.04),
        CounterValue(CounterLabel(MINUTE, "attempt", "stripe", "web", "succeeded", "again", find_bucket(0.2)), 1, 0.2),
        CounterValue(CounterLabel(MINUTE, "attempt", "stripe", "web", "succeeded", "first", find_bucket(0.04)), 8, 0.3),
    ]
    found = compute_stats(WINDOWS["15m"], NOW, tallies)
    assert (found.events, found.before, len(found.slots)) == (6, 5, 15)
    assert found.outcomes == {"accepted": 5, "rejected": 1}
    assert found.verdicts == {"verified": 3, "unchecked": 2, "invalid": 1}
    assert found.reasons == {"signature_mismatch": 1}
    assert (found.first, found.first_succeeded) == (9, 8)
    stripe, app = found.sources
    assert (stripe.name, stripe.events, stripe.verified, stripe.checked) == ("stripe", 4, 3, 4)
    assert (app.name, app.checked, app.p95) == ("app", 0, None)
    (web,) = found.targets
    assert (web.attempts, web.succeeded, web.retried, web.failed) == (10, 9, 1, 0)
    assert (found.slots[-1].events, found.slots[-1].failed, found.slots[0].events) == (4, 1, 2)


@pytest.mark.parametrize("name", WINDOWS)
def test_every_window_is_cut_into_whole_steps_that_end_with_now(name):
    window = WINDOWS[name]
    found = compute_stats(window, NOW, [])
    step = timedelta(minutes=window.step)
    assert len(found.slots) == window.minutes // window.step
    assert found.slots[-1].at <= NOW < found.slots[-1].at + step
    assert {second.at - first.at for first, second in zip(found.slots, found.slots[1:], strict=False)} == {step}


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=80))
def test_a_line_stays_within_its_frame_and_breaks_where_nothing_is(values):
    top = metrics_page.round_up_scale([value for value in values if value is not None])
    assert all(value <= top for value in values if value is not None)
    path = metrics_page.build_line(values, top)
    numbers = [float(number) for number in re.findall(r"[\d.]+", path)]
    assert all(0 <= number <= 100.01 for number in numbers)
    assert bool(path) == any(value is not None for value in values)
    assert not path or path.startswith("M")


@given(st.lists(st.lists(st.tuples(st.just("b-ok"), st.integers(0, 1000)), max_size=3), max_size=60))
def test_bars_stand_on_the_floor_and_end_below_the_top(columns):
    top = metrics_page.round_up_scale([sum(number for _, number in column) for column in columns])
    for _, _, y, _, height in metrics_page.build_bars(columns, top):
        assert float(y) >= -0.01
        assert float(y) + float(height) <= 100.02


@pytest.mark.parametrize(("most", "top"), [(0, 4), (1, 1), (3, 4), (7, 8), (33, 40), (101, 200), (0.004, 0.004)])
def test_a_scale_ends_with_a_round_number(most, top):
    assert metrics_page.round_up_scale([most]) == pytest.approx(top)


async def busy(start, aiohttp_server):
    from aiohttp import web  # noqa: PLC0415 - the target of these tests alone

    async def answer(request):
        return web.Response(status=500 if "fail" in (await request.text()) else 200)

    app = web.Application()
    app.router.add_post("/hooks", answer)
    server = await aiohttp_server(app)
    at = await start(
        f'[sources.stripe]\n[targets.app]\nforward = "{server.make_url("/hooks")}"\nretry = {{ attempts = 1 }}\n'
        "[sources.plain]\nprovider = 'custom'\n"
    )
    for _ in range(3):
        await at.api("/api/triggers", "POST", json={"source": "stripe", "type": "invoice.paid"})
    await at.send("/webhooks/plain", b"fail")
    await at.send("/webhooks/stripe", b"{}")
    await at.send("/webhooks/a-name-of-a-strangers-making", b"{}")
    await at.send("/nowhere", b"{}")
    while (await at.api("/api/status"))[1]["queue"]["pending"] + (await at.api("/api/status"))[1]["queue"]["running"]:
        pass
    return at


async def test_what_happened_is_told_by_the_api(start, aiohttp_server):
    at = await busy(start, aiohttp_server)
    status, found = await at.api("/api/stats?window=15m")
    assert status == 200
    assert found["events"]["total"] == 6
    assert found["events"]["outcomes"] == {"accepted": 5, "rejected": 1}
    assert found["events"]["verdicts"]["verified"] == 3
    assert found["events"]["reasons"] == {"signature_missing": 1}
    assert found["deliveries"] == {"first_attempts": 5, "first_succeeded": 4}
    (target,) = found["targets"]
    assert (target["name"], target["attempts"], target["succeeded"], target["failed"]) == ("app", 5, 4, 1)
    assert target["latency_ms"]["p50"] > 0
    assert found["processing_ms"]["p95"] > 0
    assert sum(slot["events"] for slot in found["series"]) == 6
    assert (found["queue"]["waiting"], found["store"]["events"]) == (0, 6)
    assert found["store"]["bytes"] > 0


async def test_prometheus_reads_the_same_numbers_and_no_label_of_a_stranger(start, aiohttp_server):
    at = await busy(start, aiohttp_server)
    url = URL(at.ingress)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"POST /webhooks/another-of-a-strangers HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 413")
    writer.close()
    _, text = await at.api("/metrics")
    assert b"strangers" not in text
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert samples["relay_events_total", ("outcome", "accepted"), ("source", "stripe")] == 3
    assert samples["relay_events_total", ("outcome", "accepted"), ("source", "inbox")] == 1
    assert samples["relay_attempts_total", ("result", "succeeded"), ("target", "app")] == 4
    assert samples["relay_attempt_seconds_count", ("target", "app")] == 5
    assert samples["relay_processing_seconds_count", ("source", "stripe")] == 4
    assert samples["relay_refused_total", ("source", "none"), ("status", "404")] == 1
    assert samples["relay_refused_total", ("source", "inbox"), ("status", "413")] == 1
    assert samples["relay_queue_deliveries", ("target", "app")] == 0
    assert samples["relay_target_up", ("target", "app")] == 1
    assert samples[("relay_store_events",)] == 6


async def test_counts_survive_a_restart_and_old_minutes_stay_in_the_total(start, aiohttp_server):
    at = await busy(start, aiohttp_server)
    minute = int(datetime.now(UTC).timestamp()) // 60
    assert await at.relay.store.counters.fold(minute + 1) > 0
    assert await at.relay.store.counters.since(1) == ()
    assert (await at.api("/api/stats"))[1]["events"]["total"] == 0
    _, text = await at.api("/metrics")
    assert b'relay_events_total{outcome="accepted",source="stripe"} 3.0' in text


async def test_a_window_that_is_none_is_named(at):
    status, answer = await at.api("/api/stats?window=1y")
    assert status == 400
    assert answer["error"]["hint"] == "use 15m, 1h, 24h, 7d"


async def test_metrics_need_the_token(at):
    async with at.session.get(at.dashboard + "/metrics") as response:
        assert response.status == 401


@pytest.mark.parametrize("window", WINDOWS)
async def test_the_page_draws_what_happened(start, aiohttp_server, window):
    at = await busy(start, aiohttp_server)
    status, page = await at.api(f"/stats?window={window}")
    assert status == 200
    assert b"6 in total, 1 rejected, 1 failed at the first try." in page
    assert page.count(b'<rect class="b-') >= 3
    assert b"No signature header" in page


async def test_the_page_of_an_empty_relay_says_so(at):
    _, page = await at.api("/stats")
    assert page.count(b"Nothing was sent.") == 3


async def test_the_last_attempt_that_a_policy_allows_is_failed_and_its_delivery_a_dead_letter(start, aiohttp_server):
    async def refuse(_):
        return web.Response(status=500)

    app = web.Application()
    app.router.add_post("/hooks", refuse)
    server = await aiohttp_server(app)
    retry = '{ attempts = 3, first = "10ms", max = "10ms" }'
    at = await start(
        f'[targets.app]\nforward = "{server.make_url("/hooks")}"\nretry = {retry}\n'
        '[targets.quiet]\nforward = "http://127.0.0.1:9/"\n[[routes]]\nto = "app"\n'
    )
    await at.send()
    async with asyncio.timeout(60):
        while (await at.api("/api/deliveries"))[1]["deliveries"][0]["state"] != "failed":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    _, found = await at.api("/api/stats?window=15m")
    (target,) = found["targets"]
    assert (target["attempts"], target["retried"], target["failed"]) == (3, 2, 1)
    assert found["dead_letters"] == {"app": 1}
    _, text = await at.api("/metrics")
    lines = text.decode().splitlines()
    assert 'relay_attempts_total{result="failed",target="app"} 1.0' in lines
    assert 'relay_attempts_total{result="retry",target="app"} 2.0' in lines
    assert 'relay_dead_letters{target="app"} 1.0' in lines
    assert 'relay_dead_letters{target="quiet"} 0.0' in lines


async def test_an_sms_has_no_open_rate(at):
    for channel, provider in (("sms", "twilio"), ("email", "resend")):
        body = {
            "channel": channel,
            "provider": provider,
            "external_id": f"{channel}-1",
            "recipient": "+491511234567" if channel == "sms" else "ada@example.com",
        }
        await at.api("/api/messages", "POST", json=body)
    await at.relay.store.writer.write(lambda connection: connection.execute("UPDATE messages SET status = 'delivered'"))
    _, found = await at.api("/api/stats?window=1h")
    assert found["messages"]["sms"]["delivery_rate"] == 1.0
    assert found["messages"]["sms"]["open_rate"] is None
    assert found["messages"]["email"]["open_rate"] == 0.0
    _, found = await at.api("/api/messages/rates")
    assert found["totals"]["sms"]["open_rate"] is found["totals"]["sms"]["click_rate"] is None
    assert [day["open_rate"] for day in found["days"] if day["channel"] == "sms"] == [None]
    _, text = await at.api("/metrics")
    assert b'channel="sms",rate="delivery"' in text
    assert b'channel="sms",rate="open"' not in text
    assert b'channel="email",rate="open"' in text
