"""Plays an operator's day on `local`, with the program `holdfast` and nothing else.

Bad events arrive, are found and understood; the cause is mended, and they are sent round again; a user is erased, and no
redrive brings them back; another is erased by the operator; a write key is rotated under load without a refused request.

Usage: day.py --local target/debug/local --holdfast target/debug/holdfast
Standard library only.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))

from local_pipeline import Failure, LocalPipeline, wait_for  # noqa: E402
from producers import Producers, post  # noqa: E402
from tool import Holdfast  # noqa: E402

# By the template's default an event has up to 262,144 bytes; the stack's owner may allow up to 393,216.
LARGER = "393216"
LARGE = "x" * 300_000
# From a request to a fate; a batch waits for a second.
FATE_SECONDS = 30
# `ingest` remembers a key for a minute.
REMEMBERED_SECONDS = 75
# Requests that the producers have answered before, between and after the steps of a rotation.
REQUESTS = 100


def expect(what, found, wanted):
    """Fails unless two things are the same."""
    if found != wanted:
        raise Failure(f"{what}: {found!r}, and not {wanted!r}")


def say(text):
    print(text, flush=True)


class Day:
    """One day with one pipeline."""

    def __init__(self, pipeline, binary, folder):
        self.folder = folder
        self.pipeline = pipeline
        self.binary = binary
        self.holdfast = None
        self.key = None

    def start(self, *options):
        self.pipeline.start(*options)
        self.holdfast = Holdfast(self.binary, self.pipeline)

    def send(self, events):
        """Sends events from a file, since an argument cannot be as large as they are."""
        file = self.folder / "events.ndjson"
        file.write_text("".join(f"{json.dumps(event)}\n" for event in events))
        sent = self.holdfast.one("send", "--file", str(file), "--write-key", self.key)
        expect("events accepted", sent["accepted"], len(events))
        return sent["receipts"]

    def letters(self, *filters, state="any"):
        return self.holdfast("dead", "list", "--project", "shop", "--state", state, *filters)

    def events(self, user):
        """The events of a user in project shop, all of them."""
        found = []
        place = []
        while True:
            page = self.holdfast("events", "list", user, "--project", "shop", "--count", "1000", *place, status=(0, 3))
            found += [event for event in page if "id" in event]
            place = [part for line in page if "next" in line for part in ("--after", line["next"])]
            if not place:
                return found

    def bad_events_arrive(self):
        made = self.holdfast.one("keys", "create", "shop", "web")
        self.key = made["writeKey"]
        expect("the projects", [line["project"] for line in self.holdfast("projects")], ["dev", "shop"])
        lines = [
            {"userId": "bob", "event": "Uploaded", "properties": {"file": LARGE}},
            {"userId": "bob", "event": "Signed Up"},
            {"userId": "carol", "event": "Uploaded", "properties": {"file": LARGE}},
            {"userId": "carol", "event": "Signed Up"},
            {"event": "Nobody's"},
        ]
        receipts = self.send(lines)
        wait_for("three dead letters", lambda: len(self.letters()) == 3, FATE_SECONDS)
        wait_for("the good events", lambda: len(self.events("bob")) == len(self.events("carol")) == 1, FATE_SECONDS)
        told = [item for receipt in receipts for item in self.holdfast("receipt", receipt)]
        fates = sorted(item["reason"] or item["fate"] for item in told)
        wanted = ["event_too_large", "event_too_large", "no_user_anon_id", "stored", "stored"]
        expect("what the receipts tell", fates, wanted)
        other = self.holdfast("receipt", receipts[0], "--project", "dev", status=3)
        expect("what they tell of another project", other, [None])

    def they_are_found_and_understood(self):
        reasons = sorted(letter["reason"] for letter in self.letters())
        expect("the reasons", reasons, ["event_too_large", "event_too_large", "no_user_anon_id"])
        found = self.letters("--reason", "event_too_large", "--like", '"bob"')
        expect("letters of bob", len(found), 1)
        shown = self.holdfast.one("dead", "show", found[0]["name"])
        expect("the body's event", json.loads(shown["body"])["properties"]["file"], LARGE)
        expect("what would become of it", shown["verdict"]["reason"], "event_too_large")
        status = self.holdfast.one("status")
        expect("healthy", status["healthy"], True)
        waiting = {"event_too_large": 2, "no_user_anon_id": 1}
        expect("letters that wait", status["deadLetters"]["byReason"], waiting)
        tested = self.holdfast("dead", "test", "--project", "shop", "--reason", "event_too_large", status=3)
        expect("letters that would come back", [line["stillDead"] for line in tested], [2])
        tried = self.holdfast.one("dead", "redrive", "--project", "shop", "--yes", status=3)
        expect("letters sent in vain", (tried["sent"], tried["skipped"]), (0, {"still_dead": 3}))

    def the_cause_is_mended(self):
        status, _, _ = self.pipeline.interrupt()
        expect("status of local", status, 0)
        self.start("--parameter", f"EventBytesMax={LARGER}")
        rules = ("--event-bytes-max", LARGER)
        tested = self.holdfast("dead", "test", "--project", "shop", "--reason", "event_too_large", *rules)
        expect("letters that would pass", [line["storable"] for line in tested], [2])
        self.send([{"userId": "dave", "event": "Uploaded", "properties": {"file": LARGE}}])
        wait_for("a large event to be stored", lambda: len(self.events("dave")) == 1, FATE_SECONDS)

    def a_user_is_erased(self):
        erasure = ("send", "--protocol", "vero", "--call", "users/delete", "--write-key", self.key)
        self.holdfast(*erasure, '{"id": "carol"}')
        wait_for("the end of carol's events", lambda: not self.events("carol"), FATE_SECONDS)
        erased = lambda: len(self.letters("--reason", "event_too_large", state="erased")) == 1  # noqa: E731
        wait_for("the end of what carol's letter said", erased, FATE_SECONDS)

    def letters_are_sent_round_again(self):
        command = ("dead", "redrive", "--project", "shop", "--reason", "event_too_large", "--event-bytes-max", LARGER)
        dry = self.holdfast.one(*command, "--dry-run")
        expect("a dry run", (dry["dryRun"], dry["wouldPass"], dry["sent"]), (True, 1, 0))
        states = {letter["state"] for letter in self.letters()}
        expect("the states after it", states, {"waiting", "erased"})
        sent = self.holdfast.one(*command, "--yes")
        expect("letters sent", (sent["dryRun"], sent["sent"], sent["failed"]), (False, 1, 0))
        of_reason = ("--reason", "event_too_large")
        settled = lambda: {letter["state"] for letter in self.letters(*of_reason)} == {"settled", "erased"}  # noqa: E731
        wait_for("the letter to be settled", settled, FATE_SECONDS)
        bob = self.events("bob")
        expect("bob's events", sorted(event["name"] for event in bob), ["Signed Up", "Uploaded"])
        expect("carol's events after the redrive", self.events("carol"), [])
        self.repeating_it_changes_nothing(command, bob)

    def repeating_it_changes_nothing(self, command, bob):
        again = self.holdfast.one(*command, "--yes")
        expect("letters of a second redrive", (again["letters"], again["sent"]), (0, 0))
        names = [letter["name"] for letter in self.letters("--reason", "event_too_large")]
        named = self.holdfast.one("dead", "redrive", *names, "--yes", "--again", status=3)
        expect("letters of a third one", (named["sent"], named["skipped"]), (0, {"closed": 2}))
        expect("bob's events", self.events("bob"), bob)
        expect("carol's events", self.events("carol"), [])
        carol = self.holdfast.one("profile", "show", "carol", "--project", "shop")
        expect("whether carol is forgotten", (carol["traits"], carol["deleted"] is not None), ({}, True))
        left = self.letters("--reason", "no_user_anon_id")[0]["name"]
        self.holdfast("dead", "discard", left, "--note", "a test of the producer's")
        expect("open letters", self.holdfast("dead", "list", "--project", "shop"), [])

    def a_key_is_rotated_under_load(self):
        producers = Producers(self.pipeline.api, self.key)
        producers.start()
        try:
            self.let_pass(producers, REQUESTS)
            made = self.holdfast.one("keys", "rotate", "shop", "web")
            self.let_pass(producers, REQUESTS)
            producers.move_to(made["writeKey"])
            wait_for("the producers to move", producers.all_moved, FATE_SECONDS)
            self.holdfast("keys", "disable", "--write-key", self.key)
            self.let_pass(producers, REQUESTS)
            refused = lambda: self.status_with(self.key) == 401  # noqa: E731
            wait_for("the former key to be refused", refused, REMEMBERED_SECONDS, pause=1)
            self.let_pass(producers, REQUESTS)
        finally:
            producers.stop()
        expect("the answers", producers.statuses, {200: producers.count()})
        for user, count in producers.sent.items():
            wanted = [f"{user}-{number}" for number in range(count)]
            stored = lambda: len(self.events(user)) >= len(wanted)  # noqa: B023, E731
            wait_for(f"all events of {user}", stored, FATE_SECONDS, pause=0.5)
            expect(f"events of {user}", sorted(event["id"] for event in self.events(user)), sorted(wanted))
        states = sorted(key["disabled"] for key in self.holdfast("keys", "list", "--project", "shop"))
        expect("which keys are disabled", states, [False, True])
        say(f"  {producers.count()} requests, none of them refused")

    def status_with(self, key):
        return post(self.pipeline.api, key, "/v1/track", {"userId": "probe", "event": "Probe"})

    @staticmethod
    def let_pass(producers, requests):
        goal = producers.count() + requests
        wait_for(f"{requests} requests", lambda: producers.count() >= goal, FATE_SECONDS)

    def another_is_erased_by_the_operator(self):
        on = {"anonymousId": "erins-phone", "event": "Opened"}
        self.send([{**on, "messageId": "e1"}, {**on, "userId": "erin", "messageId": "e2"}, {"userId": "erin"}])
        wait_for("erin's events", lambda: len(self.events("erin")) == 2, FATE_SECONDS)
        letters = lambda state: len(self.letters("--like", '"erin"', state=state))  # noqa: E731
        wait_for("erin's letter", lambda: letters("waiting") == 1, FATE_SECONDS)
        command = ("people", "erase", "erin", "--project", "shop")
        tried = self.holdfast.one(*command, "--dry-run")
        counts = {"ids": 1, "devices": 1, "sharedDevices": 0, "events": 2, "letters": 1, "lettersByText": 0}
        expect("what would be erased", {name: tried[name] for name in counts}, counts)
        expect("erin's events and letters after a dry run", (len(self.events("erin")), letters("waiting")), (2, 1))
        done = self.holdfast.one(*command, "--yes")
        expect("what was erased", done, {**tried, "dryRun": False})
        expect("erin's events and letters", (self.events("erin"), letters("waiting")), ([], 0))
        erased = [letter["name"] for letter in self.letters("--reason", "event_not_defined", state="erased")]
        expect("letters that were erased", len(erased), 1)
        shown = self.holdfast.one("dead", "show", *erased)
        expect("what is left of it", (shown["body"], shown["verdict"]), ("", {"verdict": "erased"}))

    def all_is_well(self):
        self.holdfast("doctor")
        load = self.holdfast.one("load", "--rate", "100", "--seconds", "3", "--users", "10")
        counts = (load["acknowledged"], load["once"], load["missing"], load["doubled"])
        expect("the load", counts, (300, 300, 0, 0))
        expect("the last look", self.holdfast.one("status")["healthy"], True)

    def play(self):
        for step in (
            self.bad_events_arrive,
            self.they_are_found_and_understood,
            self.the_cause_is_mended,
            self.a_user_is_erased,
            self.letters_are_sent_round_again,
            self.another_is_erased_by_the_operator,
            self.a_key_is_rotated_under_load,
            self.all_is_well,
        ):
            began = time.monotonic()
            step()
            say(f"ok  {step.__name__.replace('_', ' ')} ({time.monotonic() - began:.1f} s)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", required=True, type=Path, help="the built program, target/debug/local")
    parser.add_argument("--holdfast", required=True, type=Path, help="the built program, target/debug/holdfast")
    arguments = parser.parse_args()
    for binary in (arguments.local, arguments.holdfast):
        if not binary.exists():
            raise Failure(f"{binary} is not there: build it with `cargo build -p local -p cli`")
    with tempfile.TemporaryDirectory() as folder:
        pipeline = LocalPipeline(arguments.local.resolve(), Path(folder) / "data")
        day = Day(pipeline, arguments.holdfast.resolve(), Path(folder))
        try:
            day.start()
            day.play()
            status, _, _ = pipeline.interrupt()
            expect("status of local", status, 0)
        except Failure:
            print("\n".join(["the last of what local said:", *pipeline.lines[-20:]]), file=sys.stderr)
            raise
        finally:
            pipeline.clean_up()
    say("the day is over, and everything is as it should be")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        sys.exit(1)
