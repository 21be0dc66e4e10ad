"""A pytest plugin for the host's own tests: a host that they start is waited for, however slow the machine is.

They give it some ten seconds, which is the time of a start on a quick machine, and then fail one and all.
"""

import socket
import subprocess
import time
from contextlib import suppress

PATIENCE = 180.0  # seconds
_start = subprocess.Popen.__init__


def start_and_wait(self, args, *more, **options):
    _start(self, args, *more, **options)
    if not isinstance(args, list) or "main.py" not in args or "--port" not in args:
        return
    address = ("127.0.0.1", int(args[args.index("--port") + 1]))
    end = time.monotonic() + PATIENCE
    while self.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection(address, timeout=1):
            return
        time.sleep(0.2)


subprocess.Popen.__init__ = start_and_wait
