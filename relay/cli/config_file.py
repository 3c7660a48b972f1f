"""`relay init`: a relay.toml to start from, with every setting explained."""

import asyncio
from pathlib import Path

import click

from relay.cli.options import Call, shared_options
from relay.cli.output import format_count, quote
from relay.cli.prompts import unlock_unattended
from relay.config import Config
from relay.config.build import DEFAULT_FILE
from relay.config.handler_checks import check_handlers
from relay.config.reference import build_schema
from relay.errors import ConfigError, RelayError
from relay.services.health import BRIEF_SECONDS, probe_target

TEMPLATE = """\
# relay.toml: relay works without it; whatever stands here commented out is the default.
# `relay check` lists every mistake. Secrets never stand in this file: "env:NAME" names a variable,
# which may be set in a .env beside it, and "vault:NAME" a secret kept under a password by `relay vault set NAME`.

[server]
# ingress   = "127.0.0.1:8400"   # the only port a tunnel exposes: /webhooks/... and nothing else
# dashboard = "127.0.0.1:8401"   # pages, API and live stream, for you alone
# data_dir  = ".relay"           # events, tokens, the vault; keep it out of version control
# max_body  = "25MB"
# inbox     = true               # capture /webhooks/<any other name> too, unchecked
# allow_targets = ["10.0.0.5:3000"]   # further addresses that a typed-in URL may reach

[tunnel]
# An ngrok tunnel needs the ngrok agent: relay tunnel install.
# provider  = "auto"             # ngrok when NGROK_AUTHTOKEN is set | ngrok | command | static | none
# domain    = "my-team.ngrok.app"
# command   = "cloudflared tunnel --url {ingress_url}"   # for provider = "command"
# url_pattern = "https://[a-z0-9-]+[.]tunnel[.]example"  # which address of its output is the tunnel's
# public_url = "https://hooks.example.dev"               # for provider = "static": you run the tunnel

# A source answers at /webhooks/<name> and below it. Without any, every provider that relay knows
# is checked with its usual variable, such as STRIPE_WEBHOOK_SECRET or GITHUB_WEBHOOK_SECRET.
#
# [sources.stripe]
# secret     = "env:STRIPE_WEBHOOK_SECRET"   # a list rotates: ["env:NEW", "env:OLD"]
# verify     = "enforce"         # enforce: 401 | report: accept and flag | off
# tolerance  = "5m"              # how old a signature may be
# events     = ["payment_intent.*", "invoice.paid"]   # others are kept and marked ignored
# duplicates = "drop"            # drop: kept, never sent on | deliver
# allow_ips  = ["192.0.2.1", "10.0.0.0/24"]                       # others: 403
# rate_limit = { requests_per_minute = 60, burst = 10 }           # faster: 429
# max_body   = "64KB"            # larger: 413
# content_types = ["application/json"]                            # others: 400
# email_field = "user.email"     # must hold a mail address, else 400
# require_idempotency_key = true # without one: 400; so is what does not fit schema = "schemas/payment.json",
#                                # a JSON Schema, or schema = "models:Payment", a Pydantic model
#
# [sources.stripe.catch_up]      # relay catch-up stripe --since 2h; for GitHub, Stripe and Svix
# key        = "env:STRIPE_API_KEY"
#
# [sources.github.catch_up]
# token      = "env:GITHUB_TOKEN"
# repository = "owner/name"      # or organization, or app
#
# [sources.billing]              # a provider of your own
# provider   = "custom"
# secret     = "env:BILLING_SECRET"
# idempotency_key = "header:Idempotency-Key"   # also "body:/event_id" or "query:id"
# event_type = "body:/type"
#
# [sources.billing.signature]
# scheme    = "hmac"             # hmac | standard-webhooks | ed25519 | token | basic
# header    = "X-Signature"
# digest    = "sha256"
# encoding  = "hex"              # hex | base64 | base64url
# prefix    = "sha256="
# content   = "{body}"           # also {timestamp}, {id}, {url}, {method}, {path}, {query}
#
# [sources.twilio]               # tells what became of SMS, as resend, sendgrid, mailgun and postmark do of mail
# [sources.twilio.messages]      # how a status finds its message, and who it is for when nobody registered that
# match   = ["external_id", "embedded", "timestamp"]   # any of these, in any order
# window  = "10m"                # for timestamp: how far off the sending may lie
# unknown = 200                  # 404: "message not found"

# A target is where events go: forward, email, or handler = "handlers.py" for functions of your own.
# With one target and no routes everything goes there.
#
# [targets.app]
# forward = "http://localhost:3000/webhooks"
# timeout = "30s"
# order   = "any"                # fifo: strictly one after another, for each source
# retry   = { attempts = 6, first = "2s", factor = 3, max = "1h", jitter = 0.2 }
# sign    = "auto"               # as received while that verifies, else signed again | original | fresh
# headers = { set = { "X-Env" = "dev" }, remove = ["X-Debug"] }
#
# [targets.receipt]
# email = "receipt"
#
# [[routes]]
# source = "stripe"              # a name, a list, or "*"
# events = ["invoice.*"]
# when   = "payload.data.object.amount_due > 1000"
# to     = ["app", "receipt"]

# [emails.receipt]
# to      = "{{ payload.data.object.customer_email }}"
# subject = "Paid: {{ payload.data.object.number }}"
# text    = "Thank you."         # or template = "emails/receipt.html"
# cc      = "boss@example.com"   # also bcc and reply_to
# attach  = ["payload"]          # the payload as JSON; "body": as it came
# once    = true                 # one mail for an event, unless it is forced
# per_hour = 30                  # how many leave within an hour; the others wait
#
# [smtp]                         # without it mails are kept in the outbox and shown in the dashboard
# host     = "smtp.example.com"
# port     = 587
# security = "starttls"          # starttls | tls | none
# username = "env:SMTP_USERNAME"
# password = "env:SMTP_PASSWORD"
# sender   = "Relay <relay@example.com>"
# allow_recipients = ["*@example.com"]
# retry    = { attempts = 6, first = "2s", factor = 3, max = "1h", jitter = 0.2 }
# timeout  = "10s"               # for each step
# insecure = false               # true: also a server elsewhere that offers no encryption
# verify_tls = true              # ca_file = "mail-ca.pem" names who vouches for its certificate

# [log]
# level      = "info"            # of relay.log in data_dir; debug tells the way of every event, a line for each step

# [retention]                    # the oldest go first; what is pinned or still owed stays
# max_age    = "30d"
# max_events = 1000000
# max_size   = "5GB"
"""


@click.command("init")
@shared_options
async def init_command(call: Call) -> int:
    """Write a commented relay.toml here; one that is there already stays as it is."""
    path = call.path or Path(DEFAULT_FILE)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise ConfigError(f"{quote(str(path))} is there already", hint="--config names another") from None
    except OSError as error:
        raise ConfigError(f"cannot write {quote(str(path))}: {error.strerror}", hint="--config names another") from None
    if call.json:
        call.terminal.json({"written": str(path)})
    else:
        call.terminal.line(f"wrote {path}; relay check checks it, relay start uses it")
    return 0


@click.command("check")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of relay.toml, for editors.")
@shared_options
async def check_command(call: Call, *, schema: bool) -> int:
    """Check relay.toml: list every mistake (2), or say that it is valid."""
    if schema:
        call.terminal.json(build_schema())
        return 0
    try:
        config, locked = await _unlock_config(call.load())
        doubts = (*locked, *await check_handlers(config))
    except ConfigError as error:
        if not call.json:
            raise
        for problem in error.problems:
            call.terminal.json({"kind": "mistake", "text": problem})
        return error.exit_code
    for notice in (*config.notices, *doubts, *await _find_silent_targets(config)):
        if call.json:
            call.terminal.json({"kind": "warning", "text": notice})
        else:
            call.terminal.say(("warning: ", "yellow"), notice)
    if call.json:
        call.terminal.json({"kind": "valid", "path": str(config.path) if config.path else None})
    else:
        call.terminal.line(_summarize_config(config))
    return 0


async def _unlock_config(config: Config) -> tuple[Config, tuple[str, ...]]:
    """Return the configuration with its vault open where its password is given, and why it stays locked."""
    try:
        return await unlock_unattended(config), ()
    except ConfigError:
        raise
    except RelayError as error:
        return config, (f"the password that is given does not open the vault: {error.full_text}",)


async def _find_silent_targets(config: Config) -> list[str]:
    """Return a warning for each target that does not answer at this moment."""
    targets = list(config.targets.values())
    answers = await asyncio.gather(*(probe_target(target, config.smtp, BRIEF_SECONDS) for target in targets))
    return [
        f"targets.{target.name}: {why}; relay keeps what is for it until it is there"
        for target, why in zip(targets, answers, strict=True)
        # What mail waits for is a warning already.
        if why and not (target.action == "email" and config.smtp is not None and config.smtp.blocked)
    ]


def _summarize_config(config: Config) -> str:
    what = f"{config.path} is valid" if config.path else "there is no relay.toml, so the defaults apply"
    counts = ((config.sources, "source"), (config.targets, "target"), (config.routes, "route"))
    return f"{what}: " + ", ".join(format_count(len(items), noun) for items, noun in counts)
