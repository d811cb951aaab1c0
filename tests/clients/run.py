"""Installs the client libraries, and runs everything that is tested with them.

Usage: run.py --local target/debug/local --env .venv/clients [--write]
Standard library only: it runs before anything is installed.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

from environment import HERE, Environment

# What is run, and how long it may take. Each ends itself earlier; this is for the case that it cannot.
SUITES = [("conformance.py", 320), ("segment_python.py", 150), ("browser.py", 150)]
# Those that run several libraries, and write what becomes of their events into docs/CLIENTS.md.
TABULATED = {"conformance.py", "browser.py"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", required=True, type=Path, help="the built program, target/debug/local")
    parser.add_argument("--env", required=True, type=Path, help="where to install the libraries")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/CLIENTS.md")
    arguments = parser.parse_args()
    local = arguments.local.resolve()
    if not local.exists():
        sys.exit(f"{local} is not there: build it with `cargo build -p local`")
    environment = Environment(arguments.env.resolve(), local.parent.parent)
    begun = time.monotonic()
    environment.install()
    print(f"installed after {time.monotonic() - begun:.0f} s in {environment.folder}", flush=True)
    failed = []
    for script, seconds in SUITES:
        print(f"\n--- {script}", flush=True)
        command = [environment.python("segment-python-2.4.0"), HERE / script, "--local", local]
        if script in TABULATED:
            command += ["--env", environment.folder, *(["--write"] if arguments.write else [])]
        try:
            status = subprocess.run(
                command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, timeout=seconds
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"none within {seconds} s"
        if status != 0:
            failed.append(f"{script} ended with status {status}")
    print(f"\n{len(SUITES) - len(failed)} passed, {len(failed)} failed")
    for failure in failed:
        print(failure, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
