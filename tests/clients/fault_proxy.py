"""A proxy on loopback between one client library and the pipeline: it notes every request, and spoils some.

The faults hit, one after the other, the requests that carry a certain text: the first event's own id. So it does not
matter for the count how a library spreads its other events over requests.

A browser's requests can be hit by the user whom they name instead: an event may name another when it is sent again.
"""

import gzip
import http.client
import json
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# What can become of a request. The numbers are answers of the proxy, and the request then never reaches the pipeline.
PASS, CUT_BEFORE, CUT_AFTER, SLOW = "pass", "cut before", "cut after", "slow"
# It reaches the pipeline, but the answer waits until the test lets it go, and is then cut.
HELD = "held"
# A client that has no time-out of its own is cut off after this.
HELD_SECONDS = 12
# How often a held answer is looked after.
LET_GO_SECONDS = 0.02
# More than the pipeline may take for an answer by its own limits.
FORWARD_SECONDS = 30
# Larger than any body that a test sends.
BODY_BYTES_MAX = 2_000_000
# Headers that concern one connection only.
DROPPED = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect", "host"}


@dataclass
class Request:
    """One request as it came, and what became of it."""

    method: str
    path: str
    headers: dict
    body: bytes
    # What was done to it, and how often a request with the marked event had come before; `None` without that event.
    done: str = PASS
    attempt: int | None = None
    # What the pipeline answered, whether or not the client saw it.
    status: int | None = None
    answer: bytes = b""
    at: float = field(default_factory=time.monotonic)

    def text(self):
        """The body, inflated if it is gzip."""
        body = gzip.decompress(self.body) if self.body.startswith(b"\x1f\x8b") else self.body
        return body.decode()

    def json(self):
        """The body as JSON; `None` if there is none."""
        text = self.text()
        return json.loads(text) if text else None


class FaultProxy:
    """A proxy on a port of its own, for one task of one client."""

    def __init__(self, target, refusals, faults=(), marker=None, forever=False):
        """`faults` are for the first requests with `marker`; with `forever` the last of them is for all that follow.

        `refusals` are the answers that a fault which is a status gives, each (headers, body).
        """
        self.target = urlsplit(target)
        self.refusals = refusals
        self.faults = list(faults)
        self.marker = marker
        self.forever = forever
        self.requests = []
        self._lock = threading.Lock()
        self._attempts = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def attempts(self):
        """The requests that carried the marked event."""
        with self._lock:
            return [request for request in self.requests if request.attempt is not None]

    def accepted(self):
        """The requests that the pipeline answered with 200."""
        with self._lock:
            return [request for request in self.requests if request.status == 200]

    def note(self, request):
        """Keeps a request, and decides what becomes of it."""
        marked = self.marker is not None and (self.marker in request.text() or self.marker in request.path)
        with self._lock:
            self.requests.append(request)
            if not marked:
                return
            request.attempt = self._attempts
            self._attempts += 1
            request.done = self.fate(request)

    def fate(self, request):
        """What becomes of a request that carries the marked event."""
        if request.attempt < len(self.faults):
            return self.faults[request.attempt]
        return self.faults[-1] if self.forever and self.faults else PASS

    def forward(self, request):
        """Hands a request on; returns the pipeline's status, headers and body."""
        connection = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=FORWARD_SECONDS)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in DROPPED}
            # http.client adds a length by itself, but not to a GET, and would otherwise name an encoding.
            connection.putrequest(request.method, request.path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if request.body or request.method in ("POST", "PUT"):
                connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body or None)
            answer = connection.getresponse()
            body = answer.read()
            request.status, request.answer = answer.status, body
            return answer.status, answer.getheaders(), body
        finally:
            connection.close()


class UserFaultProxy(FaultProxy):
    """A proxy whose faults hit the marked event as long as it names certain users, `None` for nobody."""

    def __init__(self, target, refusals, marker, faults_by_user):
        super().__init__(target, refusals, marker=marker)
        self.faults_by_user = faults_by_user
        self._let_go = {user: threading.Event() for user in faults_by_user}

    def fate(self, request):
        return self.faults_by_user.get(user_of(request), PASS)

    def let_go(self, user):
        """Cuts the held answers to requests with this user, those to come at once."""
        self._let_go[user].set()

    def is_let_go(self, request):
        return self._let_go[user_of(request)].is_set()

    def close(self):
        for user in self._let_go:
            self.let_go(user)
        super().close()


def user_of(request):
    """The user that a request with a single call names; `None` for nobody."""
    return request.json().get("userId")


class _Handler(BaseHTTPRequestHandler):
    """One connection, which serves one request: a reused one could be cut by chance, and the client would try again."""

    protocol_version = "HTTP/1.1"
    proxy = None

    def _serve(self):
        request = Request(self.command, self.path, dict(self.headers.items()), self._read_body())
        self.proxy.note(request)
        self.close_connection = True
        if request.done == CUT_BEFORE:
            self._cut()
        elif request.done in (PASS, CUT_AFTER, SLOW, HELD):
            status, headers, body = self.proxy.forward(request)
            if request.done == PASS:
                self._answer(status, headers, body)
            elif request.done == CUT_AFTER:
                self._cut()
            elif request.done == HELD:
                self._hold_until_let_go(request)
            else:
                self._hold()
        else:
            headers, body = self.proxy.refusals[request.done]
            self._answer(int(request.done), headers, body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = _serve

    def _read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            raise ValueError(f"a body of {length} bytes")
        return self.rfile.read(length)

    def _answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in DROPPED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _cut(self):
        # Without lingering, closing resets the connection, as a crash or a lost route does in the end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RDWR)

    def _hold(self):
        """Answers nothing until the client has gone, or for as long as a test may take."""
        select.select([self.connection], [], [], HELD_SECONDS)
        self._cut()

    def _hold_until_let_go(self, request):
        """Cuts the connection when the test lets it go, unless the client has gone before."""
        deadline = time.monotonic() + HELD_SECONDS
        while not self.proxy.is_let_go(request) and time.monotonic() < deadline:
            gone, _, _ = select.select([self.connection], [], [], LET_GO_SECONDS)
            if gone:
                break
        self._cut()

    def log_message(self, *_):
        """Says nothing: what came is in `requests`."""

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            # The client has gone, which some faults are about.
            pass
