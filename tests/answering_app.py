"""An app for relays in other processes: it keeps what it is sent and answers as a test says."""

import http.server
import threading
from contextlib import contextmanager
from typing import Any


class _Answering(http.server.BaseHTTPRequestHandler):
    server: Any

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, dict(self.headers), body))
        self.server.wait.wait(timeout=60)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self):
        self.do_POST()

    def log_message(self, *_):
        return


@contextmanager
def run_app():
    """Run an app at `origin`, for targets at `url`; `seen` holds what it got, `status` what it answers.

    While `wait` is not set it answers nothing.
    """
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    server.daemon_threads = True
    server.seen, server.status, server.wait = [], 200, threading.Event()
    server.wait.set()
    server.origin = f"http://127.0.0.1:{server.server_port}"
    server.url = f"{server.origin}/hooks"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.wait.set()
        server.shutdown()
        server.server_close()
        thread.join()
