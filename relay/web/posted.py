"""A form as it was posted, and the ways to answer one."""

from aiohttp import web

from relay.errors import RelayError
from relay.model.text import printable
from relay.web.view import lists


async def fields(request: web.Request) -> dict[str, str]:
    """Return the fields of a form; of a name given twice the first."""
    form = list((await request.post()).items())
    return {name: value for name, value in reversed(form) if isinstance(value, str)}


async def every(request: web.Request, name: str) -> list[str]:
    """Return every value of a field."""
    return [value for value in (await request.post()).getall(name, []) if isinstance(value, str)]


def see(where: str) -> web.Response:
    """Send a browser without script on to where the result can be seen."""
    return web.Response(status=303, headers={"Location": where})


def sentence(error: RelayError) -> str:
    """Return an error as one sentence with what to do."""
    return printable(
        f"{error.sentence.removesuffix('.')}: {error.hint}" if error.hint else error.sentence, 400
    )


def toast(text: str) -> dict[str, str]:
    """Return the header that makes the page say something for a moment."""
    # A header takes ASCII only: anything else in a target's name becomes an escape of JSON.
    return {"HX-Trigger": lists.as_json({"relay:toast": {"text": printable(text, 200)}})}
