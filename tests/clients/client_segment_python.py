"""Segment's Python library, of whichever version is installed: makes the calls that it is told on stdin."""

import logging
import os
import sys
from datetime import datetime

os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

from client_process import run
from segment.analytics.client import Client

# The library's own default is 10, which takes minutes.
RETRIES = 3


def tasks_of(task):
    gave_up = []
    client = Client(
        task["write_key"],
        host=task["host"],
        max_retries=RETRIES,
        gzip=task.get("gzip", False),
        sync_mode=task.get("sync", False),
        timeout=task["timeout_seconds"] or 15,
        # Long enough for all calls of a task to come into one request.
        upload_interval=1,
        on_error=lambda _, batch: gave_up.extend(call.get("userId") or call["anonymousId"] for call in batch),
    )
    for call in task["calls"]:
        make(client, call)
    if not client.sync_mode:
        client.flush()
    return {user: 1 for user in gave_up}, gave_up


def make(client, call):
    arguments = {name: call[name] for name in ("event", "properties", "traits", "name", "category") if name in call}
    for name in ("context", "integrations", "message_id"):
        if name in call:
            arguments[name] = call[name]
    if "timestamp" in call:
        arguments["timestamp"] = datetime.fromisoformat(call["timestamp"])
    if call.get("anonymous"):
        arguments["anonymous_id"] = call["user"]
    else:
        arguments["user_id"] = call["user"]
    if call.get("both"):
        arguments["anonymous_id"] = f"{call['user']}/anonymous"
    if "group" in call:
        arguments["group_id"] = call["group"]
    if "previous" in call:
        arguments["previous_id"] = call["previous"]
    getattr(client, call["call"])(**arguments)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(run(tasks_of))
