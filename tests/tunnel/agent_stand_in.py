"""A stand-in for the ngrok agent: its command line, its log lines, its local API, its failures.

It takes its orders from `plan.json` beside it, read anew for every request, and writes what it was
given to `seen.json`. The words are those of agent 3.x.
"""

import http.server
import json
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
NOW = "t=2026-01-31T12:00:00+0000"
TOKEN_ERRORS = {
    "105": "The authtoken you specified does not look like a proper ngrok authtoken.\\n"
    "Your authtoken: {token}\\nInstructions to install your authtoken are on your ngrok dashboard:\\n"
    "https://dashboard.ngrok.com/get-started/your-authtoken",
    "107": "The authtoken you specified is properly formed, but it is invalid.\\nYour authtoken: {token}\\n"
    "This usually happens when:\\n    - You reset your authtoken",
    "108": "Your account is limited to 1 simultaneous ngrok agent sessions.\\n"
    "You can view your current agent sessions in the dashboard:\\nhttps://dashboard.ngrok.com/agents",
    "121": 'Your ngrok agent version \\"3.1.0\\" is too old.',
    "4018": "Usage of ngrok requires a verified account and authtoken.\\n\\n"
    "Sign up for an account: https://dashboard.ngrok.com/signup",
}
TUNNEL_ERRORS = {
    "319": "You must reserve a custom hostname for your account before it can be used to create endpoints.\n"
    "Failed to create an endpoint with the domain '{domain}' for the account 'someone'.",
    "334": "The endpoint 'https://{domain}' is already online. Either\n1. stop your existing endpoint first, or\n"
    "2. start both endpoints with `--pooling-enabled` to load balance between them.",
    "9999": "A failure of {domain} that\x1b[31m nobody has met before; the token is {token}.",
}
NETWORK_ERRORS = {
    "offline": 'failed to dial ngrok server with address \\"connect.ngrok-agent.com:443\\": '
    "dial tcp: lookup connect.ngrok-agent.com: no such host",
    "x509": "failed to send authentication request: tls: failed to verify certificate: "
    "x509: certificate signed by unknown authority",
}
tunnels = {}


def plan():
    return json.loads((HERE / "plan.json").read_text())


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def fail_to_connect(kind, token):
    if kind in NETWORK_ERRORS:
        say(f'{NOW} lvl=eror msg="failed to reconnect session" obj=tunnels.session err="{NETWORK_ERRORS[kind]}"')
        time.sleep(60)
    text = "authentication failed: " + TOKEN_ERRORS[kind].format(token=token) + rf"\r\n\r\nERR_NGROK_{kind}\r\n"
    say(f'{NOW} lvl=eror msg="failed to reconnect session" obj=tunnels.session err="{text}"')
    say(f'{NOW} lvl=eror msg="session closing" obj=tunnels.session err="{text}"')
    say(f'{NOW} lvl=eror msg="terminating with error" obj=app err="{text}"')
    say(f'{NOW} lvl=crit msg="command failed" err="{text}"')
    for line in text.replace(r"\r", "").split(r"\n"):
        say(f"ERROR:  {line}")
    sys.exit(1)


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        tunnel = tunnels.get(self.path.rpartition("/")[2])
        if tunnel is None or plan().get("gone"):
            message = {"error_code": 100, "status_code": 404, "msg": "tunnel not found", "details": {}}
            return self.answer(404, message)
        return self.answer(200, tunnel | {"public_url": plan()["url"]})

    def do_POST(self):
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen["tunnel"] = wanted
        write_seen()
        failure = plan().get("tunnel_error")
        if failure:
            text = TUNNEL_ERRORS[failure].format(domain=wanted.get("domain", "x.ngrok.app"), token=seen["token"])
            details = {"err": f"failed to start tunnel: {text}\r\n\r\nERR_NGROK_{failure}\r\n"}
            body = {"error_code": 103, "status_code": 502, "msg": "failed to start tunnel", "details": details}
            return self.answer(502, body)
        name = wanted["name"]
        tunnels[name] = {
            "name": name,
            "uri": f"/api/tunnels/{name}",
            "public_url": plan()["url"],
            "proto": "https",
            "config": {"addr": wanted["addr"], "inspect": wanted["inspect"]},
        }
        say(f'{NOW} lvl=info msg="started tunnel" obj=tunnels name={name} addr={wanted["addr"]} url={plan()["url"]}')
        return self.answer(201, tunnels[name])

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def lose_session(*_):
    say(f'{NOW} lvl=eror msg="session closed, starting reconnect loop" obj=tunnels.session obj=csess err="read EOF"')
    if plan().get("heals"):
        time.sleep(0.1)
        say(f'{NOW} lvl=info msg="client session established" obj=tunnels.session obj=csess id=2')


def write_seen():
    new = HERE / "seen.new"
    new.write_text(json.dumps(seen))
    new.replace(HERE / "seen.json")


def settings():
    path = Path(sys.argv[sys.argv.index("--config") + 1])
    lines = (line.split(":", 1) for line in path.read_text().splitlines() if not line.endswith(":"))
    return path, {name.strip(): json.loads(value) if '"' in value else value.strip() for name, value in lines}


assert sys.argv[1:5] == ["start", "--none", "--log", "stdout"], sys.argv
config_path, config = settings()
assert config["version"] == "3"
seen = {
    "pid": os.getpid(),
    "argv": sys.argv,
    "environ": dict(os.environ),
    "config": config,
    "config_mode": stat.S_IMODE(config_path.stat().st_mode),
    "token": config["authtoken"],
}
write_seen()
with (HERE / "pids").open("a") as pids:
    pids.write(f"{os.getpid()}\n")
if plan().get("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if plan().get("silent"):
    time.sleep(60)
say(f'{NOW} lvl=info msg="open config file" path={config_path} err=nil')
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
signal.signal(signal.SIGUSR1, lose_session)
say(f'{NOW} lvl=info msg="starting web service" obj=web addr=127.0.0.1:{server.server_port} allow_hosts=[]')
if plan().get("session_error"):
    fail_to_connect(plan()["session_error"], config["authtoken"])
say(f'{NOW} lvl=info msg="client session established" obj=tunnels.session')
say(f'{NOW} lvl=info msg="tunnel session started" obj=tunnels.session')
while True:
    signal.pause()
