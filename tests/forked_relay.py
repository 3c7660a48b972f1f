"""What a shell starts as `relay` in tests: one forked as tests/forking.py has it, with this process in its place."""

import contextlib
import json
import os
import signal
import socket
import sys

SIGNALS = {signal.SIGINT, signal.SIGTERM}


def main(control, *arguments):
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    result, status = os.pipe()
    request = {"arguments": arguments, "cwd": os.getcwd(), "env": dict(os.environ)}  # noqa: PTH109 - pathlib is slow
    with socket.socket(fileno=int(control)) as forker:
        socket.send_fds(forker, [json.dumps(request).encode()], [0, 1, 2, status])
    os.close(status)
    with open(result) as lines:  # noqa: PTH123 - a handle
        pid = int(lines.readline())

        def pass_on(number, _):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, pass_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = int(lines.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
