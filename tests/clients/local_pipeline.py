"""`local` as a process of its own: started, watched, killed, interrupted, and never left behind."""

import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from packed import parameters

# A cold start reads the journal and makes tables; a slow machine takes seconds for it, none takes a minute.
READY_SECONDS = 60
# Every part stops within ten seconds, and the parts stop one after the other.
STOP_SECONDS = 20


class Failure(Exception):
    """Something is not as it must be; the text says what."""


def wait_for(what, condition, seconds, pause=0.05):
    """Returns the first true value of `condition`, or fails after `seconds`; asks every `pause` seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain for {what}")
        time.sleep(pause)


def free_ports(count):
    """Ports that nobody listens on.

    They lie below the range from which the kernel takes the ports of outgoing connections (32768 and up), so that
    nobody gets one of them while the pipeline is down between a kill and its restart.
    """
    ports = []
    for port in random.sample(range(20_000, 30_000), 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise Failure("there are no free ports")


def read_stat(pid):
    """Parent, state and start time of a process; `None` if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name before the last bracket may contain anything.
    fields = text.rpartition(")")[2].split()
    return {"parent": int(fields[1]), "state": fields[0], "started": int(fields[19])}


class Process:
    """A process by pid and start time, so that a pid that is given away anew is not taken for it."""

    def __init__(self, pid, started):
        self.pid = pid
        self.started = started

    def alive(self):
        stat = read_stat(self.pid)
        return stat is not None and stat["started"] == self.started and stat["state"] not in "ZX"

    def kill(self):
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)


def children_of(parent):
    """The processes that have `parent` for their parent."""
    found = []
    for entry in os.listdir("/proc"):
        stat = read_stat(int(entry)) if entry.isdigit() else None
        if stat is not None and stat["parent"] == parent:
            found.append(Process(int(entry), stat["started"]))
    return found


class LocalPipeline:
    """A pipeline with its data in a folder, on ports that stay the same over restarts."""

    def __init__(self, binary, data):
        self.binary = binary
        self.data = data
        self.ports = free_ports(3)
        self.lines = []
        self.api = self.sqs = self.dynamodb = None
        self._process = None
        self._children = {}

    @property
    def pid(self):
        return self._process.pid

    def start(self, *options):
        """Starts it, and waits until it says that it is ready and where."""
        api_port, sqs_port, dynamodb_port = map(str, self.ports)
        ports = ["--port", api_port, "--sqs-port", sqs_port, "--dynamodb-port", dynamodb_port]
        self._process = subprocess.Popen(
            [self.binary, *ports, "--data", str(self.data), *parameters(), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        first = len(self.lines)
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        wait_for("the line `ready`", lambda: self._said("ready", first), READY_SECONDS)
        self.api = self._address("HTTP API", first)
        self.sqs = self._address("SQS", first)
        self.dynamodb = self._address("DynamoDB", first)

    def _read(self, stream):
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    def _said(self, line, first):
        if line in self.lines[first:]:
            return True
        if self._process.poll() is not None:
            raise Failure(f"local ended with status {self._process.returncode} before it was ready")
        return False

    def _address(self, name, first):
        for line in self.lines[first:]:
            match = re.fullmatch(rf"{name} +(http://127\.0\.0\.1:\d+)", line)
            if match:
                return match[1]
        raise Failure(f"local did not print an address of {name} on 127.0.0.1")

    def told(self, outcome):
        """The lines that tell of an outcome: `stored`, `duplicate` or `dead letter`."""
        return [line for line in list(self.lines) if line.startswith(f"{outcome} ")]

    def children(self):
        """The environments of functions that run now."""
        found = children_of(self.pid)
        self._children.update({(child.pid, child.started): child for child in found})
        return found

    def kill(self):
        """`kill -9` of the parent alone; returns how many children went with it."""
        children = self.children()
        self._process.kill()
        self._process.wait(timeout=STOP_SECONDS)
        self._expect_gone(children)
        return len(children)

    def interrupt(self):
        """What Ctrl-C does; returns exit status, seconds, and how many children went with it."""
        children = self.children()
        begun = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"local did not end within {STOP_SECONDS} s of SIGINT") from None
        seconds = time.monotonic() - begun
        self._expect_gone(children)
        return status, seconds, len(children)

    def _expect_gone(self, children):
        wait_for("the children to end with their parent", lambda: not any(map(Process.alive, children)), 5)

    def clean_up(self):
        """Ends whatever of it still runs."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.children()
            self._process.kill()
            self._process.wait(timeout=STOP_SECONDS)
        for child in self._children.values():
            child.kill()
