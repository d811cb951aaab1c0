"""The library `vero` of PyPI: makes the calls that it is told on stdin.

It has no option for its host, so its addresses are replaced. It has no time-out and tries nothing again, nor does it
raise on an answer that is not 200: the caller looks at what it returns, and here calls again.
"""

import os
import queue
import sys
import threading
import time

os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

import vero.client
from client_process import run
from vero import VeroEventLogger

ENDPOINTS = ["ADD_USER", "DELETE_USER", "REIDENTIFY_USER", "EDIT_USER", "EDIT_TAGS", "RESUBSCRIBE_USER"]
ENDPOINTS += ["UNSUBSCRIBE_USER", "ADD_EVENT", "HEARTBEAT"]
# As often as the faults ask for, and once more.
PAUSE_SECONDS = 0.2


class Hosts(threading.local):
    """The host that a thread's calls go to: the library's addresses are constants, which all tasks share."""

    host = "http://127.0.0.1:9"


hosts = Hosts()


class Address(str):
    """An address of the library's that leads to the host of the thread which uses it."""

    def __str__(self):
        return hosts.host + self.removeprefix("https://api.getvero.com")


def replace_addresses():
    for name in ENDPOINTS:
        endpoint = getattr(vero.client.VeroEndpoints, name)
        setattr(vero.client.VeroEndpoints, name, endpoint._replace(url=Address(endpoint.url)))


def tasks_of(task):
    failures, gave_up = {}, []
    for call in task["calls"]:
        for attempt in range(task["tries"]):
            if attempt:
                time.sleep(PAUSE_SECONDS)
            if within(task["timeout_seconds"], lambda call=call: make(task, call)):
                break
            failures[call["user"]] = failures.get(call["user"], 0) + 1
        else:
            gave_up.append(call["user"])
    return failures, gave_up


def within(seconds, call):
    """Whether a call succeeds within a time; the library itself has none."""
    results = queue.Queue()

    def one():
        try:
            results.put(call())
        except Exception:
            results.put(False)

    threading.Thread(target=one, daemon=True).start()
    try:
        return results.get(timeout=seconds or 30)
    except queue.Empty:
        return False


def make(task, call):
    hosts.host = task["host"]
    client, user = VeroEventLogger(task["write_key"]), call["user"]
    answer = {
        "add_user": lambda: client.add_user(user, call["data"], call["email"]),
        "reidentify_user": lambda: client.reidentify_user(call["former"], user),
        "edit_user": lambda: client.edit_user(user, call["data"]),
        "add_tags": lambda: client.add_tags(user, call["tags"]),
        "remove_tags": lambda: client.remove_tags(user, call["tags"]),
        "unsubscribe_user": lambda: client.unsubscribe_user(user),
        "resubscribe_user": lambda: client.resubscribe_user(user),
        "add_event": lambda: client.add_event(call["event"], call["data"], user, call.get("email")),
        "delete_user": lambda: client.delete_user(user),
        "heartbeat": client.heartbeat,
    }[call["call"]]()
    return answer if isinstance(answer, bool) else answer.ok


if __name__ == "__main__":
    replace_addresses()
    sys.exit(run(tasks_of))
