"""What the tables and queues hold, read with boto3 through the endpoints that `local` prints."""

import json
from datetime import datetime, timezone

import boto3
from boto3.dynamodb.conditions import Key
from botocore.config import Config
from local_pipeline import Failure, wait_for
from packed import events_of

EVENTS_TABLE = "holdfast-EventsTable"
DEAD_LETTERS_TABLE = "holdfast-DeadLettersTable"
EVENTS_QUEUE = "holdfast-events"
QUARANTINE_QUEUE = "holdfast-quarantine"

PROJECT = "dev"
SOURCE = "default"
# The members of a call that have an attribute, or the key, to themselves; all others are kept in `more`.
TAKEN = {"type", "event", "name", "properties", "traits", "messageId", "timestamp", "context", "groupId", "previousId"}

# The members of a call that say whom it is about.
IDENTITIES = {"userId", "anonymousId"}
# From the last answer until the last event is in the table.
SETTLE_SECONDS = 60

# The stand-ins take any credentials. Every call has a deadline, and a call that fails is tried once more.
AWS = {
    "region_name": "us-east-1",
    "aws_access_key_id": "local",
    "aws_secret_access_key": "local",
    "config": Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 2}),
}


def expect(condition, text):
    """Fails with the text unless the condition holds."""
    if not condition:
        raise Failure(text)


def millis(text):
    """The milliseconds of a time in ISO 8601, cut and not rounded."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def key_time(text):
    """A time as it stands in a key: UTC, to the millisecond."""
    return datetime.fromisoformat(text).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def subject(call):
    """Whom a call is about, and the member that says so."""
    member = "userId" if call.get("userId") else "anonymousId"
    return call[member], member


def key_of(call):
    """Whom a call's event must be about, and the sort key under which it must be found."""
    return subject(call)[0], f"E#{key_time(call['timestamp'])}#{call['messageId']}"


def home_of(item):
    """The id whose partition holds an item."""
    return item["pk"].partition("#")[2]


def subject_of(item):
    """Whom an event is about: the user that it names, else the id whose partition holds it."""
    return item.get("user") or home_of(item)


def place_of(item):
    """The same of an event as `key_of` says of its call."""
    return subject_of(item), item["sk"]


def event_id(item):
    """An event's own id."""
    return item["sk"].split("#", 2)[2]


def identities(item):
    """The ids that an event carries, wherever they stand: in its partition, in an attribute, or beside what it says."""
    more = json.loads(item.get("more") or "{}")
    return {home_of(item), item.get("user"), *map(more.get, IDENTITIES)} - {None, ""}


def without_identities(more):
    """What a call says beside all that has a place of its own; `None` if that is nothing."""
    return {name: value for name, value in (more or {}).items() if name not in IDENTITIES} or None


def is_event(item):
    """Whether an item is an event; what is left of an erased one has no origin."""
    return "rcpt" in item


def traits(profile):
    """The traits of a profile's item, in which each names its event by the place in a list."""
    ids = json.loads(profile["events"])
    return {name: [value, time, ids[place]] for name, (value, time, place) in json.loads(profile["traits"]).items()}


class Tables:
    """The tables of a pipeline."""

    def __init__(self, endpoint):
        resource = boto3.resource("dynamodb", endpoint_url=endpoint, **AWS)
        self.client = resource.meta.client
        self._events = resource.Table(EVENTS_TABLE)
        self._dead_letters = resource.Table(DEAD_LETTERS_TABLE)

    def items(self):
        """Every item of the events table, with events as items of their own, whichever way they are stored."""
        return [event for item in self._scan(self._events) for event in events_of(item)]

    def scan(self):
        """Every item of the events table that is an event, and the traits of every profile by its partition.

        A trait is its value, its time, and the id of the event that set it.
        """
        items = self.items()
        events = [item for item in items if is_event(item)]
        profiles = [item for item in items if item["sk"] in ("PROFILE", "PROFILE#DEVICE") and "traits" in item]
        return events, {item["pk"]: traits(item) for item in profiles}

    def query(self, partition):
        """Every event of a subject."""
        condition = Key("pk").eq(partition) & Key("sk").begins_with("E#")
        items = self._pages(self._events.query, KeyConditionExpression=condition)
        return [event for item in items for event in events_of(item) if is_event(event)]

    def dead_letters(self):
        """Every dead letter, found by scanning; each must be found by its project and day as well."""
        scanned = self._scan(self._dead_letters)
        for partition in {item["pk"] for item in scanned}:
            queried = self._pages(self._dead_letters.query, KeyConditionExpression=Key("pk").eq(partition))
            same = sorted(item["sk"] for item in scanned if item["pk"] == partition)
            expect(sorted(item["sk"] for item in queried) == same, f"query and scan differ on letters of {partition}")
        return scanned

    def _scan(self, table):
        return self._pages(table.scan)

    @staticmethod
    def _pages(read, **arguments):
        items = []
        while True:
            page = read(ConsistentRead=True, **arguments)
            items += page["Items"]
            if "LastEvaluatedKey" not in page:
                return items
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def queues(endpoint):
    """A client of SQS."""
    return boto3.client("sqs", endpoint_url=endpoint, **AWS)


def settle(sqs):
    """Waits until every message has found its fate: nothing waits in the queue, nothing is under way."""
    url = sqs.get_queue_url(QueueName=EVENTS_QUEUE)["QueueUrl"]
    kinds = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def empty():
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=kinds)["Attributes"]
        return all(counts[kind] == "0" for kind in kinds)

    wait_for("an empty queue", empty, SETTLE_SECONDS, pause=0.2)


def expect_exactly_once(calls, events):
    """Every call has exactly one item, under its own key, and there is no other."""
    expected = sorted(key_of(call) for call in calls)
    found = sorted(place_of(item) for item in events)
    expect(len(set(expected)) == len(expected), "the test sends two calls with one key")
    missing, strange = set(expected) - set(found), set(found) - set(expected)
    expect(not missing, f"{len(missing)} events are missing, {min(missing, default='')} is the first")
    expect(not strange, f"{len(strange)} events are there that nobody sent, {min(strange, default='')} is the first")
    ids = [event_id(item) for item in events]
    expect(len(set(ids)) == len(ids) == len(calls), "an event is there more than once")


def expect_stored(calls, items):
    """The item of each call says what the call said, field by field."""
    by_key = {place_of(item): item for item in items}
    for call in calls:
        expect_fields(call, by_key[key_of(call)])


def expect_fields(call, item):
    """The item says what the call said, field by field."""
    data = call.get("traits") if call["type"] in ("identify", "group") else call.get("properties")
    expected = {
        "kind": call["type"],
        "name": call.get("event") if call["type"] == "track" else call.get("name"),
        "target": call.get("groupId", call.get("previousId")),
        "data": data,
        "ctx": call["context"],
        "more": present({name: value for name, value in call.items() if name not in TAKEN | IDENTITIES}),
        "src": SOURCE,
    }
    for name, value in expected.items():
        found = item.get(name)
        if name in ("data", "ctx", "more") and found is not None:
            found = json.loads(found)
        if name == "more" and found is not None:
            found = present(without_identities(found))
        expect(found == value, f"{name} of {item['sk']} is {found!r} and not {value!r}")
    carried = {call[name] for name in IDENTITIES if call.get(name)}
    expect(identities(item) == carried, f"the ids of {item['sk']} are {identities(item)} and not {carried}")
    expect(item.get("rcpt"), f"{item['sk']} does not say which request it came from")
    expect_times(call, item)


def present(members):
    """The members that are not null; `None` if there are none."""
    return {name: value for name, value in members.items() if value is not None} or None


def expect_times(call, item):
    """The event's time is the client's, corrected by how far the client's clock was off when it sent."""
    received, sent = int(item["recv"]), int(item["sent"])
    corrected = min(received, received - (sent - millis(call["timestamp"])))
    expect(item["time"] == corrected, f"time of {item['sk']} is {item['time']} and not {corrected}")


def expect_profiles(calls, events, profiles, exact):
    """The last value of each trait stays, with the id of the identify that set it. Returns how many profiles there are.

    `exact` compares the times as well. A call that was sent twice may have either of two: the correction for the
    client's clock is measured by every request anew.
    """
    times = {event_id(item): int(item["time"]) for item in events}
    expected = {}
    identifies = [call for call in calls if call["type"] == "identify"]
    for call in sorted(identifies, key=lambda call: millis(call["timestamp"])):
        registers = expected.setdefault(f"{PROJECT}#{subject(call)[0]}", {})
        for name, value in call["traits"].items():
            registers[name] = [value, times[call["messageId"]] if exact else None, call["messageId"]]
    expect(set(profiles) == set(expected), f"there are profiles of {sorted(profiles)}, not {sorted(expected)}")
    for partition, registers in expected.items():
        found = {name: [value, time if exact else None, by] for name, (value, time, by) in profiles[partition].items()}
        expect(found == registers, f"the profile of {partition} is {found}, not {registers}")
    return len(expected)
