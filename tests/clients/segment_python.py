"""Segment's Python library against `local`: what it sends is in the table exactly once, come what may.

Usage: segment_python.py --local target/debug/local
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

# A proxy in the environment must not come between this process and the pipeline. It is read when a library is loaded.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

import segment.analytics.request as segment_request
from calls import invalid_items, plan, send
from local_pipeline import Failure, LocalPipeline, wait_for
from session import FLUSH_SECONDS, STORED_SECONDS, WRITE_KEY, Run, finish
from stored import (
    DEAD_LETTERS_TABLE,
    EVENTS_QUEUE,
    EVENTS_TABLE,
    PROJECT,
    QUARANTINE_QUEUE,
    SOURCE,
    expect,
    expect_exactly_once,
    expect_profiles,
    expect_stored,
    key_of,
    place_of,
)

# The whole script, so that a hang anywhere ends it.
TOTAL_SECONDS = 120
WAYS = [(mode, zipped) for mode in ("threaded", "sync") for zipped in (False, True)]
CALLS_A_WAY = 90
KILLS = 2
CALLS_A_KILL = 300
# Between two calls while the pipeline is to be killed, so that many requests are under way one after the other.
PACE_SECONDS = 0.005
# How long a message stays hidden that the killed pipeline had received. With the template's 361 s it would come again
# only long after this script has ended.
VISIBILITY_SECONDS = "3"


def say(text):
    print(text, flush=True)


def start(run):
    begun = time.monotonic()
    run.pipeline.start()
    run.connect()
    tables = run.tables.client.list_tables()["TableNames"]
    expect({EVENTS_TABLE, DEAD_LETTERS_TABLE} <= set(tables), f"the tables are {tables}")
    events, profiles = run.tables.scan()
    expect(not events and not profiles, "a new pipeline is not empty")
    say(f"start: ready after {time.monotonic() - begun:.1f} s at {run.pipeline.api}; its tables are empty")


def send_in_every_way(run):
    for day, (mode, zipped) in enumerate(WAYS):
        label = f"{mode}{'-gzip' if zipped else ''}"
        calls = plan(label, CALLS_A_WAY, day)
        requests, zipped_requests = run.answers.requests, run.answers.zipped
        client, given_up = run.client(mode, zipped)
        sent = send(client, calls)
        finish(client, given_up)
        requests, zipped_requests = run.answers.requests - requests, run.answers.zipped - zipped_requests
        expect(zipped_requests == (requests if zipped else 0), f"{zipped_requests} of {requests} requests were gzip")
        expect(len(run.answers.among(sent)) == len(sent), "not every call was answered 200")
        say(f'send: {len(sent)} calls, {label}, in {requests} requests, each answered 200 {{"success":true}}')
        run.planned += calls
        run.sent += sent

    events, profiles = run.stored()
    expect_exactly_once(run.sent, events)
    expect_stored(run.sent, events)
    expect(len({item["rcpt"] for item in events}) == len(events), "two events name the same place of a request")
    say(f"send: {len(events)} events are in the table exactly once, every field as it was sent")
    for partition in {item["pk"] for item in events}:
        scanned = sorted(item["sk"] for item in events if item["pk"] == partition)
        queried = sorted(item["sk"] for item in run.tables.query(partition))
        expect(queried == scanned, f"query and scan differ on {partition}")
    count = expect_profiles(run.sent, events, profiles, exact=True)
    say(f"send: a query for each subject finds the same; {count} profiles hold the last value of each trait")
    expect(not run.pipeline.told("duplicate"), "there are duplicates though nothing was sent twice")
    run.rows.append(("send", len(run.sent), len(events), 0, 0))


def send_again(run):
    before, _ = run.tables.scan()
    client, given_up = run.client("threaded", True)
    again = send(client, run.planned)
    finish(client, given_up)
    expect(again == run.sent, "the second time, the library sent something else")
    told = run.told("duplicate", len(again))
    ids = sorted(line.rpartition("  id ")[2] for line in told)
    expect(ids == sorted(call["messageId"] for call in again), "the duplicates on stdout are not those that were sent")
    after, profiles = run.tables.scan()
    expect({key(item): item for item in before} == {key(item): item for item in after}, "an event in the table changed")
    expect_exactly_once(run.sent, after)
    expect_profiles(run.sent, after, profiles, exact=False)
    say(f"again: the same {len(again)} calls once more: no event changed, and {len(told)} duplicates were told")
    run.rows.append(("again", len(again), 0, len(told), 0))


def key(item):
    return item["pk"], item["sk"]


def kill_in_the_middle(run):
    told, retries, total = len(run.pipeline.told("duplicate")), run.answers.retries, 0
    for number in range(1, KILLS + 1):
        calls = plan(f"kill-{number}", CALLS_A_KILL, 10 + number)
        shorten_visibility(run)
        client, given_up = run.client("threaded", True, upload_size=5, upload_interval=0.02)
        sent, killed = [], threading.Event()
        feeder = threading.Thread(target=feed, args=(client, calls, sent, killed), daemon=True)
        feeder.start()
        quarter = len(calls) // 4
        wait_for("a quarter of the answers", lambda: len(run.answers.among(sent)) >= quarter, FLUSH_SECONDS)
        kill_and_restart(run, sent, killed)
        feeder.join(FLUSH_SECONDS)
        expect(len(sent) == len(calls), "the client did not take every call")
        finish(client, given_up)
        expect(len(run.answers.among(sent)) == len(sent), "the client took for delivered what was not answered 200")
        run.sent += sent
        total += len(sent)
    events, profiles = run.stored()
    expect_exactly_once(run.sent, events)
    expect_stored(run.sent, events)
    expect_profiles(run.sent, events, profiles, exact=False)
    duplicates, retries = len(run.pipeline.told("duplicate")) - told, run.answers.retries - retries
    expect(retries > 0, "the client never had to try again")
    say(f"kill: after {retries} retries all {total} calls were answered 200, and each is in the table exactly once")
    run.rows.append(("kill", total, total, duplicates, 0))


def feed(client, calls, sent, killed):
    """Makes calls at a steady pace. The last third is kept for after the kill, which so always comes in the middle."""
    for number, call in enumerate(calls):
        if number == len(calls) * 2 // 3:
            killed.wait(FLUSH_SECONDS)
        sent += send(client, [call])
        time.sleep(PACE_SECONDS)


def shorten_visibility(run):
    """Has messages that are received from now on come again soon. A restart sets the queue to the template's value."""
    url = run.sqs.get_queue_url(QueueName=EVENTS_QUEUE)["QueueUrl"]
    # A message that was received before keeps its time, so none must be under way.
    expect_empty(run, url)
    run.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": VISIBILITY_SECONDS})


def expect_empty(run, url):
    """Waits until a queue has no message, neither waiting nor under way."""
    kinds = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def empty():
        counts = run.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=kinds)["Attributes"]
        return all(counts[kind] == "0" for kind in kinds)

    wait_for(f"an empty queue {url}", empty, STORED_SECONDS)


def kill_and_restart(run, sent, killed):
    # The kill is to come at any moment of a request's and a message's way.
    time.sleep(random.uniform(0.0, 0.3))
    children = run.pipeline.kill()
    killed.set()
    answered = run.answers.among(sent)
    expect(children > 0, "no function was running when the pipeline was killed")
    # For the library to meet a closed port, and to try again by its own rules.
    time.sleep(0.5)
    begun = time.monotonic()
    run.pipeline.start()
    run.connect()
    found = {place_of(item) for item in run.tables.scan()[0]}
    waiting = sum(key_of(call) not in found for call in answered)
    say(
        f"kill: -9 after {len(answered)} of {CALLS_A_KILL} answers took {children} children along; ready again after "
        f"{time.monotonic() - begun:.1f} s, with {waiting} answered events still to be stored"
    )


def send_invalid_items(run):
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    # The library itself would make none of the bad ones, so its upload is called directly.
    batch, good, bad = invalid_items(now)
    answer = segment_request.post(WRITE_KEY, run.pipeline.api, timeout=5, batch=batch)
    expect(answer.status_code == 200 and answer.json() == {"success": True}, f"the batch was answered {answer.text}")
    # This one it does make: it checks that there is a name, but not that it is one.
    client, given_up = run.client("threaded", False)
    _, nameless = client.track("bob", "", message_id="nameless")
    finish(client, given_up)
    bad.append(("event_not_defined", nameless))

    told = run.told("dead letter", len(bad))
    reasons = sorted(line.split()[2] for line in told)
    expect(reasons == sorted(reason for reason, _ in bad), f"stdout tells of the dead letters {reasons}")
    letters = run.tables.dead_letters()
    expect(len(letters) == len(bad), f"there are {len(letters)} dead letters, not {len(bad)}")
    by_id = {json.loads(letter["body"])["messageId"]: letter for letter in letters}
    for reason, item in bad:
        letter = by_id[item["messageId"]]
        body = json.loads(letter["body"])
        # What its batch said of all items stands beside what it said itself.
        own = {name: value for name, value in body.items() if name in item or name not in ("sentAt", "context")}
        found = (letter["reason"], letter["stage"], letter["source"], own)
        expect(found == (reason, "ingest", SOURCE, item), f"the letter of {item} is {letter}")
        expect(letter["detail"], f"the letter of {item} does not say what is wrong")
        expect(letter["pk"] == f"{PROJECT}#{letter['first_seen'][:10]}", f"the letter is found under {letter['pk']}")
    run.sent += good
    events, _ = run.stored()
    expect_exactly_once(run.sent, events)
    expect_stored(good, events)
    say(f"invalid: {len(good)} good items are stored; {len(bad)} bad ones are dead letters, {', '.join(reasons)}")
    run.rows.append(("invalid", len(good) + len(bad), len(good), 0, len(bad)))


def read_queues(run):
    urls = run.sqs.list_queues(QueueNamePrefix="holdfast-")["QueueUrls"]
    names = {url.rpartition("/")[2]: url for url in urls}
    expect({EVENTS_QUEUE, QUARANTINE_QUEUE} <= set(names), f"the queues are {sorted(names)}")
    for name in (EVENTS_QUEUE, QUARANTINE_QUEUE):
        expect_empty(run, names[name])
        left = run.sqs.receive_message(QueueUrl=names[name], WaitTimeSeconds=1).get("Messages", [])
        expect(not left, f"{name} is empty and still gave {left}")
    # The pipeline takes what is in its own queues; a queue that it does not know shows what boto3 receives.
    probe = run.sqs.create_queue(QueueName="probe")["QueueUrl"]
    sent = run.sqs.send_message(QueueUrl=probe, MessageBody="Grüße")
    messages = run.sqs.receive_message(QueueUrl=probe, WaitTimeSeconds=1).get("Messages", [])
    received = [(message["MessageId"], message["Body"]) for message in messages]
    expect(received == [(sent["MessageId"], "Grüße")], f"the queue gave {received}")
    run.sqs.delete_message(QueueUrl=probe, ReceiptHandle=messages[0]["ReceiptHandle"])
    run.sqs.delete_queue(QueueUrl=probe)
    say(f"queues: boto3 lists, counts and receives at {run.pipeline.sqs}; queue and quarantine are empty")


def interrupt(run):
    status, seconds, children = run.pipeline.interrupt()
    expect(status == 0, f"local ended with status {status} after SIGINT")
    expect("stopping" in run.pipeline.lines, "local did not say that it stops")
    say(f"interrupt: SIGINT ended it with status 0 after {seconds:.1f} s, and its {children} children with it")


STEPS = [start, send_in_every_way, send_again, kill_in_the_middle, send_invalid_items, read_queues, interrupt]


def print_table(rows):
    say(f"\n{'step':<10}{'sent':>8}{'stored':>8}{'duplicates':>12}{'dead letters':>14}")
    for step, sent, stored, duplicates, dead_letters in rows:
        say(f"{step:<10}{sent:>8}{stored:>8}{duplicates:>12}{dead_letters:>14}")


def run_steps(binary, folder):
    """Runs every step; returns the exit status. The pipeline is gone when it returns, whatever happens."""
    pipeline = LocalPipeline(binary, Path(folder) / "data")
    run = Run(pipeline)
    try:
        for step in STEPS:
            step(run)
    except Exception as error:
        print("\n".join(["", "the last lines of local:", *pipeline.lines[-30:]]), file=sys.stderr)
        print(f"FAILED in {step.__name__}: {error or type(error).__name__}", file=sys.stderr, flush=True)
        if isinstance(error, Failure):
            return 1
        raise
    finally:
        pipeline.clean_up()
    print_table(run.rows)
    return 0


def too_long(_signal, _frame):
    raise Failure(f"it takes longer than {TOTAL_SECONDS} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", required=True, type=Path, help="the built program, target/debug/local")
    binary = parser.parse_args().local.resolve()
    # Both become exceptions, so that the pipeline is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TOTAL_SECONDS)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        status = run_steps(binary, folder)
    if status == 0:
        say(f"\neverything is there exactly once ({time.monotonic() - begun:.0f} s)")
    return status


if __name__ == "__main__":
    sys.exit(main())
