"""A browser on a page with Segment's library: the page's server, the browser's process, and one visitor's way."""

import json
import queue
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from fault_proxy import PASS, user_of
from local_pipeline import Failure, wait_for
from stored import expect

PAGE = Path(__file__).resolve().parent / "browser" / "page.html"
# A start of the browser on a slow machine, and a command that it carries out.
START_SECONDS = 40
COMMAND_SECONDS = 20
STOP_SECONDS = 15
# From a call until its request has come to the proxy, the pauses before retries included.
REQUEST_SECONDS = 20
# How much of the page's log is shown when a visit fails.
LOG_LINES = 5
LIBRARY = "/library/"


class PageServer:
    """Serves the test's page, and the library's files as its package ships them, on a port of its own."""

    def __init__(self, library):
        files = {f"{LIBRARY}{path.name}": path for path in Path(library).glob("*.js")}
        files["/"] = PAGE
        handler = type("PageHandler", (_PageHandler,), {"files": files})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self._server.server_port}/"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _PageHandler(BaseHTTPRequestHandler):
    files = None

    def do_GET(self):
        path = self.files.get(self.path.partition("?")[0])
        if path is None:
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if path is PAGE else "text/javascript")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


class Browser:
    """The browser's process, which takes one command after the other."""

    def __init__(self, command):
        self._answers = queue.Queue()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.version = self._answer("a start of the browser", START_SECONDS)["browser"]
        except BaseException:
            self.close()
            raise

    def _read(self):
        for line in self._process.stdout:
            self._answers.put(line)
        # It has ended, or at least says nothing any more.
        self._answers.put(None)

    def _answer(self, what, seconds):
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise Failure(f"waited {seconds} s in vain for {what}") from None
        expect(line is not None, f"the browser's process ended, asked for {what}")
        answer = json.loads(line)
        expect("error" not in answer, f"{what}: {answer.get('error')}")
        return answer

    def do(self, command, **members):
        """Has the browser do something; returns its answer."""
        try:
            self._process.stdin.write(json.dumps({"do": command, **members}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failure(f"the browser's process has ended: {error}") from error
        return self._answer(f"`{command}` {members}", COMMAND_SECONDS)

    def close(self):
        """Ends the browser, which ends with its process."""
        try:
            self._process.stdin.close()
            self._process.wait(timeout=STOP_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(timeout=STOP_SECONDS)


class Visit:
    """One visitor's way, whom nothing is known of when it begins, with a proxy between the page and the pipeline."""

    def __init__(self, browser, page, proxy, event, users):
        self.browser = browser
        self.page = page
        self.proxy = proxy
        # The name of the event that meets faults, and the users that the page names, in their order.
        self.event = event
        self.users = users

    def opens(self):
        self.browser.do("open", address=self._address())

    def goes_on(self, user):
        """Goes to the next page, which names the visitor at once."""
        self.browser.do("go", address=self._address(identify=user))

    def _address(self, **query):
        return f"{self.page}?{urlencode({'api': urlsplit(self.proxy.address).netloc, **query})}"

    def calls(self, method, *arguments):
        """Makes a call of the library, whose delivery is not waited for."""
        self.browser.do("call", method=method, arguments=arguments)

    def tracks(self):
        self.calls("track", self.event, {"n": 1, "text": "Grüße ✓"})

    def identifies(self, user):
        self.calls("identify", user, {"plan": "pro"})

    def is_stored_as(self, user):
        """Waits until the pipeline has answered 200 to the event with this user, whether or not the page knows."""
        self._attempt(user, lambda request: request.status == 200)

    def was_sent_as(self, user):
        """Waits until the event was sent with this user."""
        self._attempt(user, lambda request: True)

    def _attempt(self, user, good):
        def there():
            return any(user_of(request) == user and good(request) for request in self.proxy.attempts())

        wait_for(f"a request with {self.event!r} as {user}", there, REQUEST_SECONDS)

    def ends(self, count):
        """Waits until as many events are answered, closes the page, and fails if its scripts have failed."""
        wait_for(f"answers for {count} events", lambda: len(self._answered()) >= count, REQUEST_SECONDS)
        errors = self.browser.do("close")["errors"]
        expect(not errors, f"the page's scripts did what they should not: {errors}")

    def gives_up(self):
        """Closes the page whatever it does, so that the next visit begins afresh; returns the last lines of its log."""
        try:
            closed = self.browser.do("close")
            return closed["errors"] + closed["log"][-LOG_LINES:]
        except Failure as failure:
            return [str(failure)]

    def _answered(self):
        passed = [request for request in calls_of(self.proxy) if request.done == PASS and request.status == 200]
        return {request.json()["messageId"] for request in passed}


def calls_of(proxy):
    """The requests with calls, each of which has one."""
    return [request for request in list(proxy.requests) if request.method == "POST"]
