"""Narrow windows: everything that a wide one shows can be reached, and nothing is pushed off the screen."""

import pytest

from journeys.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "a-source-with-a-name-as-long-as-the-file-allows-for-any-of-them1"
LONG_TARGET = "a-target-with-a-name-as-long-as-the-file-allows-for-any-of-them1"
TOML = (
    f'[sources.{LONG}]\nprovider = "custom"\nsecret = "env:A_VARIABLE_WITH_A_NAME_THAT_IS_LONG_AS_WELL"\n'
    f'[sources.stripe]\n[targets.app]\nforward = "{{url}}"\n[targets.{LONG_TARGET}]\nforward = "{{url}}"\n'
    f'[[routes]]\nto = ["app", "{LONG_TARGET}"]\n'
)
# Elements of the page that end beyond the window and cannot be scrolled to.
CUT = """[...document.querySelectorAll('main *')].filter(e => {
  const r = e.getBoundingClientRect();
  if (!e.checkVisibility() || !r.width || r.right <= innerWidth + 1) return false;
  for (let p = e.parentElement; p; p = p.parentElement)
    if (['auto', 'scroll'].includes(getComputedStyle(p).overflowX) && p.clientHeight < 200
      || getComputedStyle(p).textOverflow === 'ellipsis') return false;
  return true;
}).map(e => e.outerHTML.slice(0, 120))"""
PAGES = ("/sources", "/targets", "/trigger", "/lab", "/doctor", "/settings", "/stats", "/messages", "/deliveries")


async def is_visible(page, selector):
    return await page.evaluate(
        f"(() => {{ const e = document.querySelector({selector!r}), r = e && e.getBoundingClientRect();"
        " return !!e && e.checkVisibility() && r.width > 0 && r.left >= 0"
        " && r.right <= innerWidth && r.bottom <= innerHeight; })()"
    )


WIDTHS = (1440, 1088, 800, 390)


async def restart(site):
    """Start the relay again with names as long as they may be, and send it one event."""
    await site.stop()
    await site.start(TOML.format(url=site.app.url))
    await site.send({"type": "a.b"}, f"/webhooks/{LONG}")


async def test_a_long_source_name_pushes_nothing_off_the_screen(site):
    await restart(site)
    async for width, page in site.pages("/events/1", WIDTHS):
        for selector in (".acts .primary", ".acts [data-key=e]", ".acts [popovertarget]"):
            assert await is_visible(page, selector), (width, selector)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        # Neither the words on a line run into what stands behind it, nor does a name take several lines.
        assert await page.evaluate(
            "(() => { const box = s => document.querySelector(s).getBoundingClientRect();"
            " return box('.hops > .wire .chip').right <= box('.hops .me').left + 1; })()"
        ), width
        heights = await page.evaluate("[...document.querySelectorAll('.hops .tgt b')].map(e => e.offsetHeight)")
        assert len(heights) == 2
        assert max(heights) < 30, width
        assert await page.evaluate("document.querySelector('.dtitle h2').clientWidth") > 80, width


async def test_long_names_push_nothing_out_of_a_narrow_page(site):
    await restart(site)
    paths = ("/sources", f"/sources/{LONG}", "/targets", "/trigger", "/lab", "/doctor", "/settings", "/deliveries")
    for width in (800, 390, 320):
        page = await site.open_tab(width=width)
        await site.sign_in(page)
        for path in paths:
            await site.visit(page, path)
            assert (width, path, await page.evaluate(CUT)) == (width, path, [])


async def test_what_an_empty_page_offers_fits_on_a_phone(site):
    await site.stop()
    await site.start("")
    page = await site.open_tab(width=390, height=844)
    await site.sign_in(page)
    for path in ("/events", "/deliveries", "/replays", "/messages", "/sources", "/targets", "/lab", "/stats", "/vault"):
        await site.visit(page, path)
        assert (path, await page.evaluate(CUT)) == (path, [])


async def test_what_a_sender_makes_long_pushes_nothing_out(site):
    await site.send({"type": "W" * 120}, **{"Content-Type": "x" * 100})
    for width in (1440, 390):
        page = await site.open_tab(width=width)
        await site.sign_in(page)
        for path in ("/events/1", "/events/1/replay"):
            await site.visit(page, path)
            assert (width, path, await page.evaluate(CUT)) == (width, path, [])


async def test_a_long_name_runs_into_nothing_beside_it(site):
    await site.stop()
    await site.start(f'[sources.{"n" * 64}]\nprovider = "custom"\n[targets.app]\nforward = "{site.app.url}"\n')
    page = await site.open_tab()
    await site.sign_in(page)
    for path, selector in (("/sources", ".ep > span"), ("/doctor", ".steps b")):
        await site.visit(page, path)
        widths = f"[...document.querySelectorAll('{selector}')].map(e => [e.scrollWidth, e.clientWidth])"
        assert [(path, needs, has) for needs, has in await page.evaluate(widths) if needs > has] == []
    await site.visit(page, "/targets")
    assert min(await page.evaluate("[...document.querySelectorAll('.sec .dot')].map(e => e.offsetWidth)")) > 0


async def test_tunnel_vault_queue_and_every_page_are_reached_from_a_narrow_window(site):
    await restart(site)
    for width in (1088, 800, 390):
        page = await site.page(width=width)
        assert not await is_visible(page, "#tunnel"), width
        await page.click(".mobile-nav button" if width < 768 else ".open-side")
        await until(page, "document.querySelector('#side:popover-open')")
        for selector in ("#tunnel .url code", "#n-events", *(f'#side a[href="{path}"]' for path in PAGES)):
            assert await is_visible(page, selector), (width, selector)
        await page.click('#side a[href="/doctor"]')
        await until(page, "location.pathname === '/doctor'")


async def test_a_wide_window_shows_the_sidebar_and_no_button_that_opens_it(site):
    page = await site.page(width=1440)
    assert await is_visible(page, "#tunnel")
    assert not await is_visible(page, ".open-side")


async def test_no_table_loses_its_last_column_on_a_phone(site):
    await restart(site)
    page = await site.open_tab(width=390, height=844)
    await site.sign_in(page)
    for path in ("/stats", "/settings", "/sources", "/deliveries", "/targets"):
        await site.visit(page, path)
        cut = await page.evaluate(
            "[...document.querySelectorAll('main td:last-child, main th:last-child')].filter(e => e.checkVisibility()"
            " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.textContent)"
        )
        assert (path, cut) == (path, [])
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


async def test_somebody_not_signed_in_signs_in_with_the_token(site):
    await restart(site)
    site.allowed = ("status of 401",)
    page = await site.open_tab()
    await site.visit(page, "/sources")
    assert await page.evaluate("document.querySelector('h1').textContent") == "Sign in"
    assert await page.evaluate("getComputedStyle(document.querySelector('.bare')).display") == "grid"
    for text, shown in (("wrong", "#wrong"), (site.relay.login_url, "#side")):
        # By keyboard: the field has the focus by itself.
        await until(
            page,
            "document.readyState === 'complete' && document.activeElement.id === 'token'"
            " && document.querySelector('#token').value === ''",
        )
        await page.keyboard.insert_text(text)
        await page.keyboard.press("Enter")
        await until(page, f"document.querySelector('{shown}')")
    await until(page, "document.readyState === 'complete'")
    assert await page.evaluate("location.pathname") == "/sources"
