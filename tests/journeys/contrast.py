"""Whether every text of a page can be read, in both themes and at every width."""

from pathlib import Path

CONTRAST = Path(__file__).with_name("contrast.js").read_text()


async def check_contrast(page, name, least=4, sizes=()):
    """Fail, naming page, width and theme, where a text is too faint, the page is too wide, or texts are too few."""
    for size in sizes or [None]:
        if size:
            await page.set_viewport_size({"width": size[0], "height": size[1]})
        for found in await page.evaluate(CONTRAST):
            fine = not found["out"] and not found["wide"] and found["n"] >= least
            assert fine, f"{name} at {size}: {found}"


async def check_pages(site, paths, sizes, least=4, prepare="0"):
    """Check each page at each size (width, height); those of a phone and the wider ones each load it once.

    `prepare` is evaluated when a page has been loaded.
    """
    for is_phone in (False, True):
        kind = [size for size in sizes if (size[0] < 500) is is_phone]
        if kind:
            page = await site.open_tab(width=kind[0][0], height=kind[0][1])
            await site.sign_in(page)
            for path in paths:
                await site.visit(page, path)
                await page.evaluate(prepare)
                await check_contrast(page, path, least, kind)
                kind.reverse()  # the next page begins at the size that the window has
