"""What the scripts of Python libraries share: tasks on stdin, and a line of JSON on stdout for each that is done.

A task has `name`, `host`, `calls`, `timeout_seconds` (or null), `tries` (how often a caller makes a call that fails)
and the options of the library. A line has the task's `name`, `failures` (how often a call failed, by its subject) and
`gave_up` (the subjects of calls that were never delivered).
"""

import json
import sys
import threading


def run(tasks_of):
    """Runs every task of stdin at the same time, each in a thread."""
    lock = threading.Lock()
    failed = []

    def one(task):
        try:
            failures, gave_up = tasks_of(task)
        except Exception as error:
            failed.append(error)
            print(f"task {task['name']}: {error!r}", file=sys.stderr)
            return
        with lock:
            line = {"name": task["name"], "failures": failures, "gave_up": sorted(gave_up)}
            print(json.dumps(line), flush=True)

    threads = [threading.Thread(target=one, args=(task,), daemon=True) for task in json.load(sys.stdin)["tasks"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(1 if failed else 0)
