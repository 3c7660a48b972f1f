"""A handler fails in front of somebody's eyes: the traceback is there, the file is mended, the event goes on."""

import pytest

from journeys.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = "document.querySelector('main').innerText"
BANNERS = "document.querySelector('#banners').innerText"
BROKEN = """from relay import on

@on("test")
def it(event):
    print("charging", event.payload["amount"], "\\x1b[31m<b>now</b>")
    raise ValueError("the <i>card</i> was declined")
"""
GOOD = BROKEN.replace('    raise ValueError("the <i>card</i> was declined")\n', "")


async def test_a_failed_run_shows_its_lines_and_a_broken_file_is_said_until_it_is_mended(site):
    await site.stop()
    handlers = site.folder / "handlers.py"
    handlers.write_text(BROKEN)
    await site.start('[targets.code]\nhandler = "handlers.py"\nretry = { attempts = 1 }\n')
    await site.send({"amount": 4800})
    page = await site.page("/events/1/deliveries")
    await until(page, f"{TEXT}.includes('handler it failed: ValueError')")
    shown = await page.evaluate(TEXT)
    assert 'File "handlers.py", line 6, in it' in shown
    assert "ValueError: the <i>card</i> was declined" in shown
    assert "charging 4800 \\x1b[31m<b>now</b>" in shown
    assert await page.evaluate("document.querySelectorAll('main pre b, main pre i').length") == 0
    # Saved broken, it holds the next event and says so on the page that is open.
    handlers.write_text("def it(:\n")
    await site.send({"amount": 4900})
    await until(page, f"{BANNERS}.includes('The handlers of code cannot be run.')")
    assert "handlers.py, line 1: SyntaxError" in await page.evaluate(BANNERS)
    handlers.write_text(GOOD)
    await until(page, f"{BANNERS} === ''")
    page = await site.page("/deliveries/2")
    await until(page, f"{TEXT}.includes('charging 4900')")
    shown = await page.evaluate(TEXT)
    assert "it ran" in shown
    # An opened delivery that is under way is brought up to date when it is over.
    gate = site.folder / "gate"
    waits = f"    while not os.path.exists({str(gate)!r}):\n        time.sleep(0.01)\n"
    handlers.write_text(f"import os, time\n{GOOD}{waits}")
    await site.send({"amount": 5000})
    page = await site.page("/deliveries/3")
    await until(page, f"{TEXT}.includes('by a route\\nRunning')")
    gate.touch()
    await until(page, f"{TEXT}.includes('charging 5000')")
    # Sent again from the page, the first one goes through as well.
    page = await site.page("/deliveries/1")
    await page.click("#delivery-1 form[action$=retry] button")
    await until(page, "fetch('/deliveries/1').then(answer => answer.text()).then(text => text.includes('it ran'))")
