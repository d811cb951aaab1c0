"""The client libraries against `local`: every call of each, faults on the way, and requests of others.

Usage: conformance.py --local target/debug/local --env .venv/clients [--write] [--only CLIENT]...
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# A proxy in the environment must not come between this process and the pipeline. It is read when a library is loaded.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

import document
import shapes
from client_runs import run_client
from compare import Holdings
from environment import Environment
from judge import Problems, judge_calls, judge_fault
from local_pipeline import Failure, LocalPipeline
from plans import FAULTS, clients
from stored import Tables, expect, queues, settle

# The whole script, so that a hang anywhere ends it.
TOTAL_SECONDS = 300
# As many clients at the same time as machines that test have cores.
CLIENTS_AT_A_TIME = 2
# More than the 256 KiB that an event may have.
TOO_LARGE = 300_000


def say(text):
    print(text, flush=True)


def refusals(api):
    """The answers that faults give: the pipeline's own 413, and a 503 and a 429 of the shape that its errors have."""
    body = json.dumps({"userId": "large", "event": "Large", "writeKey": "dev", "properties": {"text": "x" * TOO_LARGE}})
    request = urllib.request.Request(f"{api}/v1/track", body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            raise Failure(f"an event of {len(body)} bytes was answered {answer.status}")
    except urllib.error.HTTPError as error:
        expect(error.code == 413, f"an event of {len(body)} bytes was answered {error.code}")
        answers = {"413": (error.headers.items(), error.read())}
    expect({"code", "message"} <= set(json.loads(answers["413"][1])), "the 413 has not both code and message")
    for status, code in (("503", "unavailable"), ("429", "too_many_requests")):
        body = {"success": False, "status": int(status), "code": code, "message": "Try again after a moment."}
        answers[status] = ([("Content-Type", "application/json"), ("Retry-After", "1")], json.dumps(body).encode())
    return answers


def run_clients(plans, environment, api):
    """Runs the clients, a few at a time; returns each with its tasks, or the error that kept it from running."""
    answers = refusals(api)

    def one(plan):
        begun = time.monotonic()
        try:
            return plan, run_client(plan, environment.command(plan.name), api, answers), time.monotonic() - begun
        except Exception as error:
            return plan, error, time.monotonic() - begun

    with ThreadPoolExecutor(CLIENTS_AT_A_TIME) as pool:
        return list(pool.map(one, plans))


def judge_clients(results, holdings, calls, faults):
    """The rows of the two tables about clients."""
    call_rows, fault_rows = [], []
    for plan, tasks, seconds in results:
        if isinstance(tasks, Exception):
            calls.found.append(f"{plan.title}: {tasks}")
            continue
        say(f"{plan.title}: {sum(len(task.proxy.requests) for task in tasks)} requests in {seconds:.0f} s")
        for task in tasks:
            if task.fault is None:
                call_rows += [(plan.title, task.name, *row) for row in judge_calls(plan, task, holdings, calls)]
        for own in (False, True):
            faulted = [task for task in tasks if task.fault is not None and task.own_each_time == own]
            if faulted:
                title = f"{plan.title}, {plan.own_each_time[0][0]}" if own else plan.title
                by_hand = "caller" if plan.by_hand else "library"
                cells = {task.fault.name: judge_fault(plan, task, holdings, faults) for task in faulted}
                fault_rows.append((title, by_hand, *[cells[fault.name] for fault in FAULTS]))
    return call_rows, fault_rows


def run_all(arguments, folder):
    """Runs everything; returns the exit status. The pipeline is gone when it returns, whatever happens."""
    environment = Environment(arguments.env, arguments.local.parent.parent)
    plans = [plan for plan in clients() if not arguments.only or plan.name in arguments.only]
    recorded = [] if arguments.only else shapes.load()
    pipeline = LocalPipeline(arguments.local, Path(folder) / "data")
    calls, faults, requests = Problems(), Problems(), Problems()
    try:
        pipeline.start()
        tables, sqs = Tables(pipeline.dynamodb), queues(pipeline.sqs)
        results = run_clients(plans, environment, pipeline.api)
        sent = [shapes.send(shape, pipeline.api) for shape in recorded]
        settle(sqs)
        holdings = Holdings(tables.items())
        call_rows, fault_rows = judge_clients(results, holdings, calls, faults)
        shape_rows = [
            shapes.judge(shape, answers, holdings, requests) for shape, answers in zip(recorded, sent, strict=True)
        ]
        status, _, _ = pipeline.interrupt()
        expect(status == 0, f"local ended with status {status} after SIGINT")
    except Exception:
        print("\n".join(["", "the last lines of local:", *pipeline.lines[-30:]]), file=sys.stderr)
        raise
    finally:
        pipeline.clean_up()
    text = document.tables(call_rows, fault_rows, shape_rows)
    say(f"\n{text}")
    same = Problems()
    if not arguments.only:
        same.check("docs/CLIENTS.md", lambda: document.expect_same(text, write=arguments.write))
    for suite in (calls, faults, requests, same):
        for problem in suite.found:
            say(f"FAILED {problem}")
    suites = [("calls", calls), ("faults", faults), ("requests of other libraries", requests), ("docs/CLIENTS.md", same)]
    for name, suite in suites:
        say(suite.summary(name))
    return 1 if any(suite.found for _, suite in suites) else 0


def too_long(_signal, _frame):
    raise Failure(f"it takes longer than {TOTAL_SECONDS} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", required=True, type=lambda path: Path(path).resolve(), help="the built program")
    parser.add_argument("--env", required=True, type=lambda path: Path(path).resolve(), help="where libraries are")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/CLIENTS.md")
    parser.add_argument("--only", action="append", help="run this client alone, and compare no tables")
    arguments = parser.parse_args()
    # Both become exceptions, so that the pipeline is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TOTAL_SECONDS)
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        return run_all(arguments, folder)


if __name__ == "__main__":
    sys.exit(main())
