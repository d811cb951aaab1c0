"""Sends `local` what schemathesis makes of openapi.yaml: once with the write key `dev`, and once without any.

Usage: run.py --local target/debug/local --env .venv/http
Standard library only: it runs before anything is installed.
"""

import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

from packed import parameters  # noqa: E402

SPECIFICATION = HERE.parent.parent / "openapi.yaml"
INSTALL_SECONDS = 300
READY_SECONDS = 30
STOP_SECONDS = 20
# For one run. It takes about a minute; this is for the case that something hangs.
RUN_SECONDS = 240
# Per operation. Cases at the limits of every schema come besides.
EXAMPLES = 12
SEED = 7
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "key_decides",
    "answers_any_origin",
]


class Failure(Exception):
    """Something is not as it must be; the text says what."""


class Local:
    """`local` as a process, on ports that are free and with its data in memory."""

    def __init__(self, binary):
        ports = ["--port", "0", "--sqs-port", "0", "--dynamodb-port", "0"]
        self._process = subprocess.Popen(
            [binary, "--ephemeral", *ports, *parameters()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        # It tells every event, and would stand still if nobody read that.
        self.lines = collections.deque(maxlen=1_000)
        self.api = None
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            match = re.match(r"HTTP API +(http://127\.0\.0\.1:\d+)$", line)
            if match:
                self.api = match[1]
            if line == "ready\n":
                self._ready.set()

    def wait(self):
        """Waits until it takes requests."""
        if not self._ready.wait(READY_SECONDS):
            raise Failure("\n".join([*self.lines, f"local was not ready within {READY_SECONDS} s"]))

    def stop(self):
        """Ends it as Ctrl-C does. Its functions end with it, whichever way it ends."""
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise Failure(f"local did not end within {STOP_SECONDS} s of SIGINT") from None
        if status != 0:
            raise Failure("\n".join([*self.lines, f"local ended with status {status}"]))


def install(folder):
    """Makes a Python environment with schemathesis, unless it is there; returns the command."""
    python = folder / "bin" / "python"
    commands = [] if python.exists() else [[sys.executable, "-m", "venv", "--clear", folder]]
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    commands.append([*pip, "-r", HERE / "requirements.txt"])
    for command in commands:
        try:
            subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Failure(f"cannot install schemathesis in {folder}: {error}") from None
    return folder / "bin" / "schemathesis"


def run(schemathesis, api, key, folder):
    """Runs it once; returns how many operations passed and how many did not."""
    report = folder / f"report-{key or 'no-key'}.xml"
    command = [
        schemathesis,
        "run",
        SPECIFICATION,
        *("--url", api),
        *("--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing"),
        *("--max-examples", str(EXAMPLES)),
        *("--seed", str(SEED)),
        *("--generation-database", "none"),
        *("--suppress-health-check", "all"),
        *("--warnings", "off"),
        *("--request-timeout", "10"),
        # Two at a time trip over what they share of Python's parser.
        *("--workers", "1"),
        *("--report", "junit", "--report-junit-path", report),
        "--no-color",
    ]
    environment = {
        **os.environ,
        "KEY": key,
        "SCHEMATHESIS_HOOKS": "keys",
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    try:
        # In a folder of its own, since it reads settings from where it is and writes there.
        status = subprocess.run(command, cwd=folder, env=environment, timeout=RUN_SECONDS).returncode
    except subprocess.TimeoutExpired:
        raise Failure(f"schemathesis did not end within {RUN_SECONDS} s") from None
    if not report.exists():
        raise Failure(f"schemathesis ended with status {status} and without a report")
    suites = ElementTree.parse(report).getroot()
    cases = list(suites.iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    if not cases or skipped or (status != 0) != bool(failed):
        raise Failure(f"schemathesis ended with status {status} after {len(cases)} operations, {len(skipped)} skipped")
    return len(cases) - len(failed), len(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", required=True, type=Path, help="the built program, target/debug/local")
    parser.add_argument("--env", required=True, type=Path, help="where to install schemathesis")
    arguments = parser.parse_args()
    if not arguments.local.exists():
        raise Failure(f"{arguments.local} is not there: build it with `cargo build -p local`")
    schemathesis = install(arguments.env.resolve())
    passed = failed = 0
    begun = time.monotonic()
    local = Local(arguments.local.resolve())
    try:
        local.wait()
        with tempfile.TemporaryDirectory() as folder:
            for key in ("dev", ""):
                print(f"\n--- {f'with the key {key}' if key else 'without a key'}", flush=True)
                outcome = run(schemathesis, local.api, key, Path(folder))
                passed, failed = passed + outcome[0], failed + outcome[1]
    finally:
        local.stop()
    print(f"\n{time.monotonic() - begun:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(failure, file=sys.stderr)
        print("0 passed, 1 failed")
        sys.exit(1)
