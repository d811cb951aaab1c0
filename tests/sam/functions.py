"""The deployed functions in containers, as `sam local` runs them."""

import http.client
import json
import re
import subprocess
from pathlib import Path

from packed import PERIOD
from processes import Failure, Server, free_port

ROOT = Path(__file__).resolve().parents[2]
# One invocation takes 2 to 3 seconds on an idle machine, of which the function's part is milliseconds.
INVOKE_SECONDS = 120
READY_SECONDS = 120
# Longer than both time-outs that the template gives the functions.
ANSWER_SECONDS = 90


class Sam:
    """SAM with a built template; `image` is used in place of AWS's own, and nothing is pulled."""

    def __init__(self, program, template, image):
        self._program = str(program)
        environment = ["--env-vars", str(ROOT / "events" / "env.json")]
        self._options = ["--template-file", str(template), *environment]
        self._options += ["--parameter-overrides", f"PackedPeriod={PERIOD}"] if PERIOD else []
        self._options += ["--add-host", "host.docker.internal:host-gateway"]
        self._options += ["--invoke-image", image, "--skip-pull-image"]

    def invoke(self, function, event):
        """`sam local invoke` with a file; what the function returned, and what it wrote into its log."""
        command = [self._program, "local", "invoke", function, "--event", str(event), *self._options]
        done = run(command)
        # SAM looks for a free port before Docker takes it; until then another invocation may have taken it.
        if done.returncode != 0 and re.search("already (allocated|in use)", done.stderr):
            done = run(command)
        if done.returncode != 0:
            raise Failure(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            raise Failure(f"{function} with {event} returned {done.stdout!r}:\n{done.stderr}") from None
        if isinstance(answer, dict) and "errorType" in answer:
            raise Failure(f"{function} with {event} failed: {answer}\n{done.stderr}")
        return answer, [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]

    def start(self, front):
        """`sam local start-api` or `start-lambda`, with one container a function that is kept."""
        port = free_port()
        command = [self._program, "local", front, "--host", "127.0.0.1", "--port", str(port), *self._options]
        return Front(port, [*command, "--warm-containers", "LAZY"])


def run(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INVOKE_SECONDS)


class Front:
    """A server of SAM's."""

    def __init__(self, port, command):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        # The last line that Flask, which serves it, prints before it listens for good.
        self._server = Server(command, "Press CTRL+C to quit", READY_SECONDS)

    def invoke(self, function, event):
        """Invokes a function as the AWS SDK does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", f"/2015-03-31/functions/{function}/invocations", json.dumps(event))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200 or answer.headers.get("x-amz-function-error"):
            raise Failure(f"{function} was answered {answer.status} {content[:500]}")
        return json.loads(content)

    @property
    def lines(self):
        return self._server.lines

    def stop(self):
        self._server.stop()
