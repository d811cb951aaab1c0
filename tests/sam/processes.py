"""Programs that run beside the test: started, watched, and ended with whatever they have started themselves."""

import collections
import os
import signal
import socket
import subprocess
import threading
import time

# SAM removes its containers one after the other before it ends.
STOP_SECONDS = 40
# Lines that are kept to be shown if something fails.
LINES_MAX = 400


class Failure(Exception):
    """Something is not as it must be; the text says what."""


def wait_for(what, condition, seconds, pause=0.1):
    """Returns the first true value of `condition`, or fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain for {what}")
        time.sleep(pause)
    return value


def free_port():
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A program that says in a line of its output when it is ready."""

    def __init__(self, command, ready, seconds):
        self._command = [str(part) for part in command]
        # In a group of its own, so that what it has started can be ended with it.
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lines = collections.deque(maxlen=LINES_MAX)
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(ready,), daemon=True)
        self._reader.start()
        try:
            wait_for(f"{self._command[0]} to say {ready!r}", self._is_ready, seconds)
        except Failure:
            self.stop()
            raise

    @property
    def lines(self):
        return list(self._lines)

    def _read(self, ready):
        for line in self._process.stdout:
            self._lines.append(line.rstrip("\n"))
            if ready in line:
                self._ready.set()

    def _is_ready(self):
        if self._process.poll() is not None and not self._ready.is_set():
            self._reader.join(STOP_SECONDS)
            raise Failure(f"{self._command[0]} ended before it was ready:\n" + "\n".join(self._lines))
        return self._ready.is_set()

    def stop(self):
        """Ends it in order, or by force if that takes too long."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
