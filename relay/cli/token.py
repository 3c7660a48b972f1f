"""`relay token`: the secret of dashboard and API."""

import click

from relay.cli.client import find_running_relay
from relay.cli.options import Call, shared_options
from relay.errors import StoreBusyError
from relay.http.guard import load_token
from relay.store import prepare_data_dir


@click.command("token")
@click.option("--rotate", is_flag=True, help="Make a new one; every open dashboard must log in again.")
@shared_options
async def token_command(call: Call, *, rotate: bool) -> None:
    """Print the token, for `Authorization: Bearer`; where a relay runs, its login link goes to stderr."""
    config = call.load()
    url = await find_running_relay(config.server.data_dir)
    if rotate and url is not None:
        raise StoreBusyError("the running relay would go on with the old token", hint="stop it, then rotate")
    prepare_data_dir(config.server.data_dir)
    token = load_token(config.server.data_dir, rotate=rotate)
    link = f"{url}/login?token={token}" if url else None
    call.terminal.print_value({"token": token, "login_url": link}, token)
    if call.json:
        return
    call.terminal.flush()
    if link:
        call.terminal.print_message("log in at ", link)
    if not config.server.auth:
        call.terminal.print_message('dashboard_auth is "off", so nothing needs it')
