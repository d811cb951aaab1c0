"""Judges what became of a client's calls: each ends in a line of the table, or in a problem that fails the run."""

import json

from client_runs import requests_of
from compare import expect_event, expect_profile, moment
from local_pipeline import Failure
from stored import expect

TIMES = {0: "never", 1: "once", 2: "twice"}
SUCCESS = {
    "segment": b'{"success":true}',
    "vero": b'{"status":200,"message":"Success."}',
}
HEARTBEAT = b'{"status":200,"message":"Vero api is up"}'


class Problems:
    """What is not as it must be, and how much is."""

    def __init__(self):
        self.passed = 0
        self.found = []

    def check(self, where, check):
        """Makes a check; returns whether it held."""
        try:
            check()
        except Failure as failure:
            self.found.append(f"{where}: {failure}")
            return False
        except (KeyError, IndexError, TypeError, ValueError) as error:
            self.found.append(f"{where}: {error!r}")
            return False
        self.passed += 1
        return True

    def summary(self, suite):
        return f"{suite}: {self.passed} passed, {len(self.found)} failed"


def judge_calls(plan, task, holdings, problems):
    """A row for each call of a task without faults: (call, request, what became of it)."""
    where = f"{plan.title}, {task.name}"
    problems.check(where, lambda: expect(not task.failures and not task.gave_up, f"calls failed: {task.failures}"))
    sent = requests_of(plan, task)
    subjects = {call["user"] for call in task.calls if call.get("fate") != "none"}
    strange = sorted(set(sent) - subjects)
    problems.check(where, lambda: expect(not strange, f"it sent what nobody told it to: {strange}"))
    for request in task.proxy.requests:
        problems.check(where, lambda request=request: expect_answer(plan, request))
    rows = []
    for call in task.calls:
        fate = call.get("fate") or ("deleted" if call["call"].endswith(("delete", "delete_user")) else "stored")
        place = f"{where}, {call['as']}"
        found = []
        good = problems.check(place, lambda: found.append(judge_call(call, fate, sent, holdings, task)))
        rows.append((call["as"], *(found[0] if good else ("?", "WRONG"))))
    return rows


def expect_answer(plan, request):
    heartbeat = request.path.endswith("/heartbeat")
    right = HEARTBEAT if heartbeat else SUCCESS[plan.protocol]
    found = (request.status, request.answer)
    expect(found == (200, right), f"{request.method} {request.path} was answered {found}")


def judge_call(call, fate, sent, holdings, task):
    user = call["user"]
    if fate == "none":
        beats = [request for request in task.proxy.requests if request.path.endswith("/heartbeat")]
        expect(len(beats) == 1, f"there were {len(beats)} heartbeats")
        return title_of(beats[0]), "answered"
    of_kind = [(request, wanted) for request, wanted in sent[user] if (wanted.kind == "delete") == (fate == "deleted")]
    expect(len(of_kind) == 1, f"it was sent {len(of_kind)} times")
    request, wanted = of_kind[0]
    expect_given(call, wanted)
    if fate in ("deleted", "erased"):
        expect(holdings.is_deleted(user), "the user is not deleted")
        expect(not holdings.events(user), "an event of the deleted user is still there")
        return title_of(request), "once, and the user is forgotten" if fate == "deleted" else "erased by the next"
    events = holdings.events(user)
    expect(len(events) == 1, f"it is stored {len(events)} times")
    expect_event(wanted, events[0])
    expect_profile(wanted, holdings)
    return title_of(request), "once"


def title_of(request):
    return f"`{request.method} {request.path.partition('?')[0]}`"


def expect_given(call, wanted):
    """What the library sent, and so what is stored, is what it was given."""
    expect(wanted.name == call.get("event", call.get("name")), f"its name is {wanted.name!r}")
    given = call.get("properties", call.get("traits", call.get("data")))
    if given is not None:
        found = {name: (wanted.data or {}).get(name) for name in given}
        expect(found == given, f"its data is {wanted.data!r}, of {given!r}")
    for name in ("add", "remove"):
        if name in call:
            expect(wanted.data[name] == call[name], f"its tags are {wanted.data!r}")
    if "tags" in call:
        expect(call["tags"] in wanted.data.values(), f"its tags are {wanted.data!r}")
    for name in ("group", "previous", "former"):
        if name in call:
            expect(wanted.target == call[name], f"its other id is {wanted.target!r}")
    if "email" in call and call["email"]:
        text = json.dumps([wanted.data, wanted.more])
        expect(call["email"] in text, f"its address is not in {text}")
    if "context" in call:
        kept = {name: wanted.context.get(name) for name in call["context"]}
        expect(kept == call["context"], f"its context is {wanted.context!r}")
    time = call.get("timestamp") or call.get("created_at")
    expect(time is None or moment(wanted.time) == moment(time), f"its time is {wanted.time!r}")
    expect(call.get("message_id") in (None, wanted.event_id), f"its id is {wanted.event_id!r}")


def judge_fault(plan, task, holdings, problems):
    """What befell a client under a fault, as the text of a cell."""
    where = f"{plan.title}, {task.name}"
    sent = requests_of(plan, task, only_accepted=True)
    for call in task.calls:
        place = f"{where}, {call['as']}"
        problems.check(place, lambda call=call: expect_fate(call, task, sent.get(call["user"], []), holdings))
    first = task.calls[0]["user"]
    attempts = len(task.proxy.attempts())
    failures = task.failures.get(first, 0)
    stored = len(holdings.events(first))
    parts = [f"{attempts} request{'s' * (attempts != 1)}"]
    if first in task.gave_up:
        parts.append("gives up")
    elif failures:
        parts.append(f"{failures} failure{'s' * (failures != 1)} told")
    parts.append(TIMES.get(stored, f"{stored} times"))
    return ", ".join(parts)


def expect_fate(call, task, accepted, holdings):
    """What was answered 200 is there, and once however often it came; what never was, is not."""
    events = holdings.events(call["user"])
    wanted_count = len(accepted) if task.own_each_time else min(len(accepted), 1)
    expect(len(events) == wanted_count, f"answered 200 {len(accepted)} times, and stored {len(events)} times")
    if call["user"] not in task.gave_up:
        expect(events, "the client took it for delivered, and it is lost")
    for item in events:
        expect(any(says(wanted, item) for _, wanted in accepted), "what is stored is not what was sent")


def says(wanted, item):
    try:
        expect_event(wanted, item)
    except Failure:
        return False
    return True
