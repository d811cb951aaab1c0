"""Invokes the built functions through `sam local` with every sample of events/, and checks answers and effects.

Usage: run.py --sam SAM --template BUILT_TEMPLATE --local target/debug/local --client PYTHON [--image NAME]
It needs a Docker engine. SQS and DynamoDB are the project's stand-ins. Standard library only; PYTHON is one that has
segment-analytics-python.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

sys.dont_write_bytecode = True
# Where it is said how events are stored.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))

from functions import ROOT, Sam
from processes import Failure, Server
from stand_ins import BATCH_MAX, StandIns

# About three minutes on an idle machine of two cores.
TOTAL_SECONDS = 900
READY_SECONDS = 30
# A core each, and one more while others wait for Docker.
INVOCATIONS_MAX = 3
CLIENT_SECONDS = 60
SETTLED = {"batchItemFailures": []}
# A message is left to the stream for 15 minutes before the sweep takes it.
LONG_AGO_MILLIS = 60 * 60 * 1000


def say(text):
    print(text, flush=True)


def expect(found, wanted, what):
    """Fails unless both are the same."""
    if found != wanted:
        raise Failure(f"{what}: {found}, not {wanted}")


class Run:
    """Everything that the steps need."""

    def __init__(self, arguments, stack):
        outcomes = json.loads((ROOT / "events" / "outcomes.json").read_text())
        # A sample without an outcome, and the other way round, is an error of the tests in Rust.
        self.outcomes = {kind: sorted(samples.items()) for kind, samples in outcomes.items()}
        self.client = arguments.client
        self.stack = stack
        self.stand_ins = StandIns(arguments.local)
        stack.callback(self.stand_ins.stop)
        endpoint = [sys.executable, Path(__file__).with_name("endpoint.py")]
        endpoint += ["--sqs", self.stand_ins.sqs, "--dynamodb", self.stand_ins.dynamodb]
        stack.callback(Server(endpoint, "ready on ", READY_SECONDS).stop)
        self.sam = Sam(arguments.sam, arguments.template, arguments.image)
        self.fronts = self.start("start-lambda")

    def start(self, name):
        """Starts a server of SAM's, which is stopped at the end."""
        front = self.sam.start(name)
        self.stack.callback(front.stop)
        return front

    def consume(self, records):
        """Gives messages to consume, in batches as large as the queue's mapping makes them."""
        for first in range(0, len(records), BATCH_MAX):
            answer = self.fronts.invoke("ConsumeFunction", {"Records": records[first : first + BATCH_MAX]})
            expect(answer, SETTLED, "consume answered")

    def expect_left(self, outcome, name, **more):
        """Checks what is in the tables, and empties them."""
        wanted = {kind: outcome.get(kind, 0) for kind in ("events", "dead_letters")} | {"spilled": 0} | more
        left = self.stand_ins.left()
        expect({kind: left[kind] for kind in wanted}, wanted, f"{name} left")
        self.stand_ins.clear()

    def message_of(self, sample):
        """The message that comes of the sample of a call."""
        self.sam.invoke("IngestFunction", path("http", sample))
        [record] = self.stand_ins.messages()
        return record["body"]


def path(kind, name):
    return ROOT / "events" / kind / f"{name}.json"


def invoke_with_calls(run):
    """The invocations overlap, since most of their time is SAM's own; their messages are told apart by their receipts."""
    samples = run.outcomes["http"]
    # SAM makes its own image of the first one.
    first = run.sam.invoke("IngestFunction", path("http", samples[0][0]))
    with ThreadPoolExecutor(INVOCATIONS_MAX) as pool:
        others = pool.map(lambda sample: run.sam.invoke("IngestFunction", path("http", sample[0])), samples[1:])
        invoked = [first, *others]
    messages = run.stand_ins.messages()
    for (name, outcome), (answer, log) in zip(samples, invoked, strict=True):
        expect_answer(name, outcome, answer)
        receipts = {line["receipt"] for line in log if line.get("receipt")}
        run.consume([record for record in messages if json.loads(record["body"])["receipt"] in receipts])
        run.expect_left(outcome, name)


def expect_answer(name, outcome, answer):
    headers = {header.lower(): value for header, value in answer["headers"].items()}
    headers |= {header.lower(): values[0] for header, values in answer.get("multiValueHeaders", {}).items()}
    is_image = name.startswith("segment_pixel")
    body = {} if is_image else json.loads(answer["body"])
    found = (answer["statusCode"], body.get("code", ""), headers["content-type"])
    wanted_type = "image/gif" if is_image else "application/json"
    expect(found, (outcome["status"], outcome.get("code", ""), wanted_type), f"{name} was answered")
    expect(headers["access-control-allow-origin"], "*", f"{name} may be read by origins")


def invoke_with_questions(run):
    for name, outcome in run.outcomes["receipts"]:
        answer = run.sam.invoke("ReceiptsFunction", path("receipts", name))[0]
        expect_answer(name, outcome, answer)
        missing = json.loads(answer["body"]).get("missing", [])
        expect(len(missing), outcome.get("missing", 0), f"{name} told as missing")
        run.expect_left({}, name)


def invoke_with_messages(run):
    for name, outcome in run.outcomes["sqs"]:
        expect(run.sam.invoke("ConsumeFunction", path("sqs", name))[0], SETTLED, f"{name} was answered")
        run.expect_left(outcome, name, profiles=outcome.get("profiles", 0))


def invoke_with_stream(run):
    for name, outcome in run.outcomes["stream"]:
        event = path("stream", name)
        if "spilled" in outcome:
            [record] = json.loads(event.read_text())["Records"]
            pk = record["dynamodb"]["Keys"]["pk"]["S"]
            run.stand_ins.spill(pk, run.message_of(outcome["spilled"]), now_millis())
        expect(run.sam.invoke("ConsumeFunction", event)[0], SETTLED, f"{name} was answered")
        expect(len(run.stand_ins.messages()), outcome.get("enqueued", 0), f"{name} enqueued")
        run.expect_left(outcome, name)


def invoke_with_schedule(run):
    for name, outcome in run.outcomes["schedule"]:
        if "spilled" in outcome:
            body = run.message_of(outcome["spilled"])
            run.stand_ins.spill("018bcfe56800700080000000000000a1.0", body, now_millis() - LONG_AGO_MILLIS)
        run.sam.invoke("ConsumeFunction", path("schedule", name))
        expect(len(run.stand_ins.messages()), outcome.get("enqueued", 0), f"{name} enqueued")
        run.expect_left(outcome, name)


def now_millis():
    return int(time.time() * 1000)


def serve_clients(run):
    """curl and Segment's own library against `sam local start-api`, and what they sent through to the table."""
    api = run.start("start-api").url
    expect(json.loads(curl(f"{api}/health"))["status"], 200, "the health was answered")
    call = '{"userId":"ann","event":"By curl","messageId":"by-curl"}'
    expect(curl("-u", "dev:", "-d", call, f"{api}/v1/track"), '{"success":true}', "curl was answered")
    call = '{"auth_token":"dev","identity":{"id":"bob"},"event_name":"By curl too","extras":{"check_id":"1"}}'
    answer = json.loads(curl("-H", "Content-Type: application/json", "-d", call, f"{api}/api/v2/events/track"))
    expect(answer, {"status": 200, "message": "Success."}, "Vero's call was answered")
    calls = [
        {"call": "identify", "user": "cid", "traits": {"plan": "pro"}, "message_id": "by-library-0"},
        {"call": "track", "user": "cid", "event": "By library", "message_id": "by-library-1"},
        {"call": "page", "user": "cid", "name": "Home", "message_id": "by-library-2"},
    ]
    task = {"name": "sam", "write_key": "dev", "host": api, "timeout_seconds": 20, "calls": calls}
    script = ROOT / "tests" / "clients" / "client_segment_python.py"
    done = subprocess.run(
        [run.client, script],
        input=json.dumps({"tasks": [task]}),
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
    )
    expect((done.returncode, done.stderr), (0, ""), "the library ended with")
    expect(json.loads(done.stdout)["gave_up"], [], "the library gave up")
    run.consume(run.stand_ins.messages())
    ids = {event["sk"].rpartition("#")[2] for event in run.stand_ins.events()}
    wanted = {"by-curl", *(call["message_id"] for call in calls)}
    expect(wanted - ids, set(), "of what was sent is missing")
    run.expect_left({"events": 5}, "the clients", profiles=1)


def curl(*arguments):
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_SECONDS + 10)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr}")
    return done.stdout


STEPS = [
    ("http", invoke_with_calls),
    ("receipts", invoke_with_questions),
    ("sqs", invoke_with_messages),
    ("stream", invoke_with_stream),
    ("schedule", invoke_with_schedule),
    ("api", serve_clients),
]


def containers_of(image):
    """Containers of a function's image, ended ones included."""
    command = ["docker", "ps", "--all", "--format", "{{.ID}} {{.Image}}"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    return {line.split()[0] for line in listed.splitlines() if line.split()[1].startswith(image)}


def run_steps(arguments):
    """Runs every step; returns the exit status. What was started has ended when it returns."""
    with ExitStack() as stack:
        run = Run(arguments, stack)
        for name, step in STEPS:
            begun = time.monotonic()
            try:
                step(run)
            except Exception:
                print("\n".join(["the last lines of start-lambda:", *run.fronts.lines[-20:]]), file=sys.stderr)
                print(f"FAILED in {name}", file=sys.stderr, flush=True)
                raise
            count = len(run.outcomes.get(name, [])) or "all"
            say(f"{name:<9} {count:>3} as they must be, {time.monotonic() - begun:.0f} s")


def too_long(_signal, _frame):
    raise Failure(f"it takes longer than {TOTAL_SECONDS} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sam", required=True, help="the program `sam`")
    parser.add_argument("--template", required=True, type=Path, help="the template that `sam build` has written")
    parser.add_argument("--local", required=True, type=Path, help="the built program, target/debug/local")
    parser.add_argument("--client", required=True, type=Path, help="a Python with segment-analytics-python")
    parser.add_argument("--image", required=True, help="what stands in for AWS's image of the runtime")
    arguments = parser.parse_args()
    # Both become exceptions, so that everything is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TOTAL_SECONDS)
    before = containers_of(arguments.image)
    try:
        run_steps(arguments)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        signal.alarm(0)
        left = containers_of(arguments.image) - before
        if left:
            subprocess.run(["docker", "rm", "--force", *left], capture_output=True, timeout=60)
    if left:
        print(f"SAM left containers behind: {sorted(left)}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
