"""A tunnel through ngrok: its agent started without secrets on the command line, watched, healed, closed.

pyngrok finds and installs the agent, reads its log and speaks its local API. relay starts the agent
itself, because pyngrok's own start shows the token in the process list (`--authtoken`, also when it
comes from the environment), repeats it in the log, blocks past its timeout while the agent is silent,
and quietly starts another agent without tunnels when one has died (pyngrok 9.1, process.py).
"""

import asyncio
import json
import urllib.request
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

from pyngrok import ngrok
from pyngrok.exception import PyngrokError, PyngrokNgrokHTTPError
from pyngrok.log import NgrokLog

from relay.errors import TunnelError
from relay.tunnel.base import RefusedError, ReportState, TunnelOptions, TunnelState, TunnelTimeouts, check_address
from relay.tunnel.ngrok_agent import NoAgentError, agent_config, default_agent, download_agent, find_agent, other_agents
from relay.tunnel.ngrok_errors import NO_TOKEN, FailureContext, explain_failure, failure_error
from relay.tunnel.process import ChildProcess, PidFile, run_child

_NAME = "relay"
# Not passed to the agent: the token is in its configuration file, and it does not need the key.
_NOT_FOR_THE_AGENT = ("NGROK_AUTHTOKEN", "NGROK_API_KEY")
# Consecutive polls that may fail: a laptop may be busy.
_MISSES = 3


class NgrokTunnel:
    """An ngrok agent with one tunnel, to relay's ingress and nothing else."""

    name = "ngrok"

    def __init__(
        self, options: TunnelOptions, ingress_url: str, *, environ: Mapping[str, str], timeouts: TunnelTimeouts
    ) -> None:
        token = options.authtoken
        self._options = options
        self._ingress_url = ingress_url
        self._environ = {name: value for name, value in environ.items() if name not in _NOT_FOR_THE_AGENT}
        self._timeouts = timeouts
        self._pid_file = PidFile(options.data_dir)
        self._words = FailureContext(
            token=token.reference if token else "NGROK_AUTHTOKEN",
            hidden=token.reveal() if token else "",
            domain=options.domain or "",
            others=partial(other_agents, options.data_dir),
        )

    async def hold(self, say: ReportState) -> None:
        """Start an agent, open the tunnel and watch both. Raises as `Tunnel.hold` says."""
        token = self._options.authtoken
        if token is None or not token.reveal().strip():
            raise failure_error(NO_TOKEN, self._words)
        say(TunnelState.CONNECTING, None, "opening the ngrok tunnel")
        binary = await self._binary(say)
        log = _AgentLog()
        with agent_config(self._options.data_dir, token) as config:
            command = [str(binary), "start", "--none", "--log", "stdout", "--config", str(config)]
            async with run_child(
                command, log.read, env=self._environ, grace=self._timeouts.close, pid_file=self._pid_file
            ) as child:
                agent = _Agent(child, log, self._words, self._timeouts)
                await agent.connected()
                self._pid_file.note(child.pid)
                await self._serve(agent, say)

    async def _serve(self, agent: "_Agent", say: ReportState) -> None:
        address = await agent.open_tunnel(self._ingress_url, self._options.domain)
        while True:
            say(TunnelState.UP, address, f"ngrok forwards to {self._ingress_url}")
            seen = await agent.watch(address)
            if seen is None:
                say(TunnelState.CONNECTING, None, "the connection to ngrok was lost; its agent is reconnecting")
                await agent.connected()
                continue
            address = seen

    async def _binary(self, say: ReportState) -> Path:
        default = default_agent()
        try:
            return find_agent(self._options.agent_path, self._environ, default)
        except NoAgentError:
            if not self._options.download:
                raise
        return await download_agent(default, self._environ, partial(say, TunnelState.CONNECTING, None))


class _AgentLog:
    """The state of the agent from its log: the address of its API, whether it is connected, errors."""

    def __init__(self) -> None:
        self.api_url: str | None = None
        self.connected = False
        self.error = ""
        self._plain: deque[str] = deque(maxlen=20)
        self.changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def read(self, line: str) -> None:
        """Read a line: `t=… lvl=info msg="client session established" obj=tunnels.session`."""
        if not line.startswith("t="):
            self._plain.append(line)
            return
        # pyngrok sets an attribute for every key of the line, whatever its name.
        with suppress(ValueError, TypeError, AttributeError):
            self._note(NgrokLog(line))

    @property
    def last_words(self) -> str:
        """Return the latest failure, from the log or (for a wrong configuration) from its output."""
        return self.error or "\n".join(self._plain)

    def _note(self, entry: NgrokLog) -> None:
        message = entry.msg or ""
        if "starting web service" in message and entry.addr:
            self.api_url = f"http://{entry.addr}"
        elif "client session established" in message:
            self.connected, self.error = True, ""
        elif entry.lvl in {"ERROR", "CRITICAL"}:
            self.connected = self.connected and "session closed" not in message
            self.error = entry.err or message
        else:
            return
        if not self.changed.done():
            self.changed.set_result(None)


class _Agent:
    """A running agent, controlled through its local API."""

    def __init__(self, child: ChildProcess, log: _AgentLog, words: FailureContext, timeouts: TunnelTimeouts) -> None:
        self._child = child
        self._log = log
        self._words = words
        self._timeouts = timeouts
        self._address = ""

    async def connected(self) -> None:
        """Wait until the agent has a session with ngrok. Raises TunnelError when it does not get one.

        At the start the first failure ends the wait: the supervisor tries again with a fresh agent.
        An agent that lost its session may keep trying for a while, because it keeps its address then.
        """
        loop = asyncio.get_running_loop()
        patience = self._timeouts.heal if self._address else self._timeouts.start
        deadline = loop.time() + patience
        while not (self._log.connected and self._log.api_url):
            await self._change(deadline - loop.time())
            late = loop.time() >= deadline
            if self._log.error and not self._log.connected:
                problem = explain_failure(self._log.error, self._words)
                if late or not self._address or isinstance(problem, RefusedError):
                    raise problem
            if late:
                raise TunnelError(f"ngrok's agent did not connect within {patience:.0f} s")

    async def open_tunnel(self, ingress_url: str, domain: str | None) -> str:
        """Return the https address that now forwards to `ingress_url`. Raises TunnelError."""
        request = {"name": _NAME, "addr": ingress_url, "proto": "http", "schemes": ["https"], "inspect": False}
        if domain:
            request["domain"] = domain
        try:
            answer = await self._api("/api/tunnels", request)
        except PyngrokNgrokHTTPError as error:
            raise explain_failure(_api_error_text(error.body), self._words) from error
        except _NoAnswerError as error:
            await self._change(0)
            raise TunnelError("the ngrok agent does not answer on its own API", hint=_proxy_hint()) from error
        self._address = check_address(answer.get("public_url"), "ngrok")
        return self._address

    async def watch(self, address: str) -> str | None:
        """Return the new address when it differs from `address`, None when the session is lost.

        Raises TunnelError when the agent has died, fell silent, or has no tunnel any more.
        """
        misses = 0
        while True:
            await self._change(self._timeouts.poll)
            if not self._log.connected:
                return None
            try:
                answer = await self._api(f"/api/tunnels/{_NAME}")
                misses = 0
            except PyngrokNgrokHTTPError as error:
                raise TunnelError("ngrok closed the tunnel") from error
            except _NoAnswerError as error:
                misses += 1
                if misses >= _MISSES:
                    raise TunnelError("the ngrok agent stopped answering") from error
                continue
            self._address = check_address(answer.get("public_url"), "ngrok")
            if self._address != address:
                return self._address

    async def _change(self, timeout: float) -> None:  # noqa: ASYNC109 - asyncio.wait's own, which raises nothing
        """Wait for a change in the log, at most `timeout` seconds. Raises TunnelError if the agent has died."""
        news = {self._log.changed, self._child.exited}
        await asyncio.wait(news, timeout=max(timeout, 0), return_when=asyncio.FIRST_COMPLETED)
        if self._log.changed.done():
            self._log.changed = asyncio.get_running_loop().create_future()
        if not self._child.exited.done():
            return
        status = await self._child.wait()
        if status < 0:
            raise TunnelError(f"the ngrok agent was killed (signal {-status})")
        if self._log.last_words:
            raise explain_failure(self._log.last_words, self._words)
        raise TunnelError(f"the ngrok agent ended (status {status})")

    async def _api(self, path: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the agent's API. Raises PyngrokNgrokHTTPError if it refuses, _NoAnswerError if it does not answer."""
        method = "POST" if data else "GET"
        call = partial(ngrok.api_request, f"{self._log.api_url}{path}", method, data)
        try:
            async with asyncio.timeout(self._timeouts.answer):
                answer = await asyncio.to_thread(call, timeout=self._timeouts.answer)
        except PyngrokNgrokHTTPError:
            raise
        except (PyngrokError, HTTPException, OSError, ValueError) as error:
            raise _NoAnswerError from error
        if not isinstance(answer, dict):
            raise _NoAnswerError
        return answer


class _NoAnswerError(Exception):
    """The agent's API gave no valid answer."""


def _api_error_text(body: str) -> str:
    """Return ngrok's text from an API error: `{"msg": …, "details": {"err": …}}`."""
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(body)["details"]["err"])
    return body


def _proxy_hint() -> str:
    # urllib, which pyngrok uses, would use the proxy even for this machine.
    if urllib.request.getproxies().get("http") and not urllib.request.proxy_bypass("127.0.0.1"):
        return "http_proxy is set: add 127.0.0.1 to no_proxy"
    return ""
