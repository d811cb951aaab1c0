"""Runs one client: its script as a process, a proxy for each of its tasks, and what came of them."""

import json
import subprocess
from dataclasses import dataclass, field

import expected
from fault_proxy import FaultProxy
from plans import FAULTS, placed
from stored import PROJECT, expect

WRITE_KEY = PROJECT
# All tasks of a client, its retries included. The longest is a held answer, with the retries after it.
CLIENT_SECONDS = 90
# How often a caller makes a call that fails: as often as the faults ask for, and once more.
TRIES = 4


@dataclass
class Task:
    """One task of a client, and what it came to."""

    name: str
    calls: list
    options: dict
    proxy: FaultProxy
    fault: object = None
    # Whether each try of a call is an event of its own, which nothing can tell from another.
    own_each_time: bool = False
    # How often calls failed, and which were never delivered, by subject.
    failures: dict = field(default_factory=dict)
    gave_up: list = field(default_factory=list)

    def plan(self):
        """The task as its script reads it."""
        by_hand = self.fault is not None and self.fault.cured
        return {
            "name": self.name,
            "host": self.proxy.address,
            "write_key": WRITE_KEY,
            "timeout_seconds": self.fault.timeout_seconds if self.fault else None,
            "tries": TRIES if by_hand else 1,
            "calls": self.calls,
            **self.options,
        }


def tasks_of(plan, api, refusals):
    """Every task of a client, each with its proxy."""
    tasks = []
    for name, options, calls in plan.ways:
        tasks.append(Task(name, placed(plan, name, calls), options, FaultProxy(api, refusals)))
    variants = [({}, plan.faulted, False)]
    variants += [(options, calls, True) for _, options, calls in plan.own_each_time]
    for options, calls, own in variants:
        for fault in FAULTS:
            name = f"{'own-' if own else ''}{fault.name}"
            located = placed(plan, name, calls)
            proxy = FaultProxy(api, refusals, fault.done, located[0]["user"], fault.forever)
            tasks.append(Task(name, located, options, proxy, fault, own))
    return tasks


def run_client(plan, command, api, refusals):
    """Runs every task of a client; returns the tasks with what they came to."""
    tasks = tasks_of(plan, api, refusals)
    try:
        given = json.dumps({"tasks": [task.plan() for task in tasks]})
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=CLIENT_SECONDS)
        expect(done.returncode == 0, f"its script ended with status {done.returncode}: {done.stderr[-2000:]}")
        results = {result["name"]: result for result in map(json.loads, done.stdout.splitlines())}
        for task in tasks:
            expect(task.name in results, f"its script says nothing of the task {task.name}")
            task.failures, task.gave_up = results[task.name]["failures"], results[task.name]["gave_up"]
    finally:
        for task in tasks:
            task.proxy.close()
    return tasks


def wanted_of(plan, request):
    """What a request must leave in the tables."""
    body = request.json()
    if plan.protocol == "segment":
        return expected.of_segment(request.path, body)
    return expected.of_vero(request.path, body or {})


def requests_of(plan, task, only_accepted=False):
    """Each subject's events as they were sent: subject -> [(request, what it must leave)]."""
    sent = {}
    for request in task.proxy.accepted() if only_accepted else task.proxy.requests:
        for wanted in wanted_of(plan, request):
            sent.setdefault(wanted.subject, []).append((request, wanted))
    return sent
