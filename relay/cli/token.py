"""`relay token`: the secret of dashboard and API."""

from contextlib import suppress

import click

from relay.cli.client import fetch_url, find_running_relay, read_token
from relay.cli.options import Call, shared_options
from relay.errors import StoreBusyError
from relay.platform import is_of_another_user


@click.command("token")
@click.option("--rotate", is_flag=True, help="Make a new one; every open dashboard must log in again.")
@shared_options
async def token_command(call: Call, *, rotate: bool) -> None:
    """Print the token, for `Authorization: Bearer`; where a relay runs, its login link goes to stderr."""
    data_dir = call.find_data_dir()
    url = await find_running_relay(data_dir)
    if rotate and url is not None:
        raise StoreBusyError("the running relay would keep the old token", hint="stop it, then rotate")
    is_needed = (await fetch_url(f"{url}/api/status", 2))[0] != 200 if url else _is_needed(call)
    token = read_token(data_dir) if url and not is_of_another_user(data_dir / "token") else ""
    if not token:
        from relay.http.token import load_token  # not needed if a relay is running
        from relay.store import prepare_data_dir

        prepare_data_dir(data_dir)
        token = load_token(data_dir, rotate=rotate)
    link = f"{url}/login?token={token}" if url else None
    call.terminal.print_value({"token": token, "login_url": link}, token)
    if call.json:
        return
    call.terminal.flush()
    if link:
        call.terminal.print_message("log in at ", link)
    if not is_needed:
        call.terminal.print_message('dashboard_auth is "off", so nothing needs it')


def _is_needed(call: Call) -> bool:
    with suppress(OSError, ValueError, AttributeError):
        auth: object = call.read_tables().get("server", {}).get("dashboard_auth", "token")
        if auth in ("token", "off"):
            return auth == "token"
    return call.load().server.auth  # this reports the error
