"""The address in what tunnel programs print: their own words, and all that stands beside them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import check_each
from relay.errors import TunnelError
from relay.tunnel.address_reader import AddressRank, AddressReader
from relay.tunnel.base import check_address

CLOUDFLARED = """\
2026-01-31T12:00:00Z INF Thank you for trying Cloudflare Tunnel. Doing so, without a Cloudflare account, is a \
quick way to experiment and try it out. However, be aware that these account-less Tunnels have no uptime guarantee, \
are subject to the Cloudflare Online Services Terms of Use (https://www.cloudflare.com/website-terms/), and \
Cloudflare reserves the right to investigate your use of Tunnels for violations of such terms. If you intend to use \
Tunnels in production \
you should use a pre-created named tunnel by following: \
https://developers.cloudflare.com/cloudflare-one/connections/connect-apps
2026-01-31T12:00:00Z INF Requesting new quick Tunnel on trycloudflare.com...
2026-01-31T12:00:04Z INF +--------------------------------------------------------------------------------------------+
2026-01-31T12:00:04Z INF |  Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):  |
2026-01-31T12:00:04Z INF |  https://grey-words-here-now.trycloudflare.com                                             |
2026-01-31T12:00:04Z INF +--------------------------------------------------------------------------------------------+
2026-01-31T12:00:04Z WRN Your version 2024.1.0 is outdated. We recommend upgrading it to 2026.1.0
2026-01-31T12:00:05Z INF failed to sufficiently increase receive buffer size. See \
https://github.com/quic-go/quic-go/wiki/UDP-Buffer-Sizes for details.
2026-01-31T12:00:05Z INF Starting metrics server on 127.0.0.1:20241/metrics
"""
LOCALHOST_RUN = """\
===============================================================================
Welcome to localhost.run!

Follow your favourite reverse tunnel at [https://twitter.com/localhost_run].

To set up and manage custom domains go to https://admin.localhost.run/

More details on custom domains (and how to enable subdomains of your custom
domain) at https://localhost.run/docs/custom-domains

If you get a permission denied error check the faq for how to connect with a key or
create a free tunnel without a key at https://localhost.run/docs/faq#generating-an-ssh-key.
===============================================================================

** your connection id is 1234, please mention it if you send me a message about an issue. **

authenticated as anonymous user
a1b2c3.lhr.life tunneled with tls termination, https://a1b2c3.lhr.life
create an account and add your key for a longer lasting domain name. see https://localhost.run/docs/forever-free/ for \
more information.
Open your tunnel address on your mobile with this QR:
"""
NPX_LOCALTUNNEL = """\
npm warn deprecated uuid@3.4.0: See https://v8.dev/blog/math-random for details.
npm warn deprecated har-validator@5.1.5: this library is no longer supported
(node:4711) [DEP0040] DeprecationWarning: The `punycode` module is deprecated. See https://punycode.example instead.
npm notice
npm notice New major version of npm available! 9.8.1 -> 11.0.0
npm notice Changelog: https://github.com/npm/cli/releases/tag/v11.0.0
npm notice Run npm install -g npm@11.0.0 to update! See https://docs.npmjs.com
npm notice
your url is: https://quick-cat-9.loca.lt
"""
SERVEO = """\
Hi there! To use a domain of your own, add a record as https://serveo.net says, or sign in at https://console.serveo.net
\x1b[32mForwarding HTTP traffic from https://dolor.serveo.net\x1b[0m
"""
PINGGY = (
    "You are not authenticated.\n"
    "Your tunnel will expire in 60 minutes. Upgrade to Pinggy Pro to get unrestricted tunnels. https://dashboard.pinggy.io\n"
    "\x1b[2J\x1b[3;5Hhttp://rnabc-203-0-113-9.a.free.pinggy.link\x1b[4;5H"
    "\x1b[1;36mhttps://rnabc-203-0-113-9.a.free.pinggy.link\x1b[0m\x1b[6;5HYou are logged out\n"
)
FUNNEL = """\
Available on the internet:

https://laptop.tail1234.ts.net/
|-- proxy http://127.0.0.1:8400

Press Ctrl+C to exit.
"""
FUNNEL_OFF = """\
Funnel is not enabled on your tailnet.
To enable, visit:

         https://login.tailscale.com/f/funnel?node=n1CNTRL

"""
ZROK = (
    '{"file":"/zrok/cmd/zrok/sharePublic.go:137","func":"main.(*sharePublicCommand).shareLocal","level":"info",'
    '"msg":"access your zrok share at the following endpoints:\\n https://2ptgbr8tlfvk.share.zrok.io",'
    '"time":"2026-01-31T12:00:00.000Z"}'
)
ZROK_SCREEN = "\x1b[38;5;8m╭─────╮│\x1b[m https://2ptgbr8tlfvk.shares.zrok.io \x1b[m│\x1b(B\x1b[m"
DEVTUNNEL = """\
Welcome to dev tunnels! CLI version: 1.0.1435. By using it, you agree to the terms at https://aka.ms/devtunnels/tos
Hosting port: 8400
Connect via browser: https://l3rs99qw.usw2.devtunnels.ms:8400, https://l3rs99qw-8400.usw2.devtunnels.ms
Inspect network activity: https://l3rs99qw-8400-inspect.usw2.devtunnels.ms

Ready to accept connections for tunnel: l3rs99qw
"""
NGROK = (
    't=2026-01-31T12:00:00+0000 lvl=info msg="started tunnel" obj=tunnels name=command_line '
    "addr=http://localhost:8400 url=https://f00d-203-0-113-9.ngrok-free.app"
)
BORE = "2026-01-31T12:00:00Z  INFO bore_cli::client: connected to server remote_port=34567\nlistening at bore.pub:34567"
UPDATE_NOTICE = """\
   ╭──────────────────────────────────────────────────╮
   │   Update available 1.2.0 → 2.0.0                 │
   │   https://github.com/example/tool/releases/v2    │
   ╰──────────────────────────────────────────────────╯
   Please star us: https://tool.example
Tunnel ready
  https://abc123.tool.example
"""
TERMS = """\
By using Tool you accept our Terms of Service: https://tool.example/terms and our privacy policy (https://tool.example).
Sign up for a plan: https://tool.example
Documentation: https://docs.tool.example
Forwarding https://abc123.tool.example -> http://localhost:8400
Thanks for using https://tool.example
"""
OWN_LINES = """\
Tool 1.0
https://tool.example
This is yours:
https://abc123.tool.example
as https://someone.example says
"""


def found(printed, pattern=None):
    reader = AddressReader(pattern)
    for line in re.split(r"[\r\n]+", printed):
        reader.read(line.strip())
    return reader.found


@check_each(
    ("printed", "address"),
    [
        (CLOUDFLARED, "https://grey-words-here-now.trycloudflare.com"),
        (LOCALHOST_RUN, "https://a1b2c3.lhr.life"),
        (NPX_LOCALTUNNEL, "https://quick-cat-9.loca.lt"),
        (SERVEO, "https://dolor.serveo.net"),
        (PINGGY, "https://rnabc-203-0-113-9.a.free.pinggy.link"),
        (FUNNEL, "https://laptop.tail1234.ts.net/"),
        (FUNNEL_OFF, None),
        (ZROK, "https://2ptgbr8tlfvk.share.zrok.io"),
        (ZROK_SCREEN, "https://2ptgbr8tlfvk.shares.zrok.io"),
        (DEVTUNNEL, "https://l3rs99qw.usw2.devtunnels.ms:8400"),
        (NGROK, "https://f00d-203-0-113-9.ngrok-free.app"),
        (BORE, None),
        (UPDATE_NOTICE, "https://abc123.tool.example"),
        (TERMS, "https://abc123.tool.example"),
        (OWN_LINES, "https://abc123.tool.example"),
        ("https://api.loca.lt\n", "https://api.loca.lt"),
        ("listening on https://hooks.example.dev", "https://hooks.example.dev"),
        ("2026/01/31 12:00:00 INFO | https://hooks.example.dev/t/4711 |", "https://hooks.example.dev/t/4711"),
        ("a1b2.example.dev tunneled with tls termination, https://a1b2.example.dev", "https://a1b2.example.dev"),
        ('{"url":"https://json.example.dev","n":1}', "https://json.example.dev"),
        ('ERR Error: Post "https://api.trycloudflare.com/tunnel": dial tcp: no such host', None),
        ("inspect at https://127.0.0.1:4443 or https://localhost:4443", None),
        ("https://192.168.1.5:8400\nhttps://[::1]:8400\nhttps://laptop.local", None),
        ("http://plain.example.dev", None),
        ("see https://docs.example.dev/start or https://example.dev/docs/start", None),
    ],
)
def test_the_address_is_the_tunnels_whatever_else_is_printed(printed, address):
    it = found(printed)
    assert (it and it.address) == address


def test_known_services_come_first_then_what_stands_on_its_own_then_a_sentence_then_one_with_a_path():
    lines = [
        ("https://gateway.example.dev/t/1", AddressRank.WITH_PATH),
        ("somebody at home said https://a.example.dev in passing", AddressRank.IN_A_SENTENCE),
        ("public url: https://b.example.dev", AddressRank.ON_ITS_OWN),
        ("somebody at home said https://c.loca.lt in passing", AddressRank.KNOWN),
    ]
    reader = AddressReader(None)
    for line, rank in lines:
        assert reader.read(line)
        assert reader.found.rank is rank
    assert not any(reader.read(line) for line, _ in lines[:3])


def test_a_pattern_pins_the_address_and_its_group_is_taken_where_it_has_one():
    printed = "https://a.loca.lt\nname=web host=https://hooks.example.dev port=1\n"
    assert found(printed, r"https://[a-z]+\.example\.dev").address == "https://hooks.example.dev"
    assert found(printed, r"host=(\S+)").address == "https://hooks.example.dev"
    assert found(printed, r"https://nowhere\.example") is None


def taken(first, later, pattern=None):
    reader = AddressReader(pattern)
    for line in first.splitlines():
        reader.read(line)
    return [reader.found.address for line in later.splitlines() if reader.read_later(line)]


@pytest.mark.parametrize(
    ("first", "later", "address"),
    [
        (LOCALHOST_RUN, LOCALHOST_RUN.replace("a1b2c3", "d4e5f6"), "https://d4e5f6.lhr.life"),
        (CLOUDFLARED, CLOUDFLARED.replace("grey-words", "blue-birds"), "https://blue-birds-here-now.trycloudflare.com"),
        (
            "a1.lhr.example tunneled with tls termination, https://a1.lhr.example",
            "connection lost\nd4.other.example tunneled with tls termination, https://d4.other.example",
            "https://d4.other.example",
        ),
        ("your url is: https://a.loca.lt", "reconnected, the tunnel is at https://b.loca.lt", "https://b.loca.lt"),
        ("https://tool.example", "url: https://abc.tool.example -> localhost:8400", "https://abc.tool.example"),
        ("as https://tool.example said", "your url is: https://abc.tool.example", "https://abc.tool.example"),
        (NGROK, NGROK.replace("f00d", "beef"), "https://beef-203-0-113-9.ngrok-free.app"),
    ],
)
def test_a_new_address_is_taken_while_the_program_runs(first, later, address):
    assert taken(first, later) == [address]


@pytest.mark.parametrize(
    "line",
    [
        "your url is: https://a.loca.lt",
        "GET /https://evil.loca.lt 200",
        "12:00:01 POST /webhooks/stripe 200 Mozilla/5.0 https://evil.loca.lt",
        'user_agent="https://evil.loca.lt"',
        "Referer: https://evil.loca.lt",
        "url=https://evil.loca.lt",
        "A new version is there, see https://tool.example/v2",
        "https://unrelated.example",
        "the public address is https://unrelated.example",
        "tunnel error, see https://localtunnel.me",
    ],
)
def test_neither_requests_in_the_log_nor_remarks_are_a_new_address(line):
    assert taken("your url is: https://a.loca.lt", line) == []


def test_a_pattern_holds_for_later_addresses_too():
    pattern = r"https://[a-z]+\.example\.dev"
    first = "url: https://a.example.dev"
    assert taken(first, "url: https://b.example.dev", pattern) == ["https://b.example.dev"]
    assert taken(first, "url: https://b.loca.lt\nGET /?u=https://evil.example.dev", pattern) == []


@given(st.text() | st.from_regex(r"(https://[^ ]{0,40} ?){1,3}"), st.booleans())
def test_whatever_a_command_prints_leads_to_a_plain_address_or_to_none(line, later):
    reader = AddressReader(None)
    if later:
        reader.read("https://a.example.dev")
        reader.read_later(line)
        assert check_address(reader.found.address, "it")
        return
    reader.read(line)
    if reader.found is None:
        return
    try:
        shown = check_address(reader.found.address, "it")
    except TunnelError as error:
        shown = error.message
    assert re.fullmatch(r"(it gave an address that is not a plain https URL: )?[!-~]+…?", shown)
