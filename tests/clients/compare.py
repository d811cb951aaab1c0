"""Compares what is in the tables with what must be there, event by event and field by field."""

import base64
import hashlib
import json
import re
from datetime import datetime, timedelta, timezone

from expected import without_null
from stored import (
    PROJECT,
    SOURCE,
    event_id,
    expect,
    home_of,
    identities,
    is_event,
    subject_of,
    without_identities,
)

# The sort keys of what is known of a user, and of a device before any user is named.
PROFILES = ("PROFILE", "PROFILE#DEVICE")
TOMBSTONE = "DELETED"
# The parts of a profile: values with their times.
SECTIONS = ("traits", "tags", "groups", "subscription")


class Holdings:
    """Everything that the events table holds: events by whom they are about and by their ids, the rest by partition."""

    def __init__(self, items):
        self._by_home, self._by_subject, self._by_id = {}, {}, {}
        for item in items:
            if item["pk"].partition("#")[0] != PROJECT or home_of(item).startswith("SEEN#"):
                continue
            if is_event(item):
                key = item["sk"], item["pk"]
                self._by_subject.setdefault(subject_of(item), {})[key] = item
                self._by_id.setdefault(event_id(item), {})[key] = item
            else:
                self._by_home.setdefault(home_of(item), {})[item["sk"]] = item

    def events(self, subject):
        """The events that are about a subject, whichever partitions they are in."""
        return [item for _, item in sorted(self._by_subject.get(subject, {}).items())]

    def with_id(self, id_of_event):
        """Every item of an event, found by the event's own id."""
        return [item for _, item in sorted(self._by_id.get(id_of_event, {}).items())]

    def profile(self, subject):
        """The profile's values without their times; `None` if there is none."""
        items = self._by_home.get(subject, {})
        found = [items[sort] for sort in PROFILES if sort in items]
        if not found:
            return None
        expect(len(found) == 1, f"{subject} is known both as a user and as a device")
        return {
            name: {key: value[0] for key, value in json.loads(found[0][name]).items()}
            for name in SECTIONS
            if name in found[0]
        }

    def has_link(self, subject, kind, other):
        """Whether a link of a kind leads from one id to another. Links have hashes of ids, and nothing else to read."""
        return f"{kind}#{hash_of(other)}" in self._by_home.get(f"LINKS#{hash_of(subject)}", {})

    def is_deleted(self, subject):
        return TOMBSTONE in self._by_home.get(f"DELETED#{hash_of(subject)}", {})


def hash_of(subject):
    """The hash of an id as the keys of links and tombstones have it: 128 bits of SHA-256 over parts with their lengths."""
    digest = hashlib.sha256()
    for part in (b"id", subject.encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return base64.urlsafe_b64encode(digest.digest()[:16]).decode().rstrip("=")


def moment(text):
    """A time as a client writes it, in milliseconds since 1970, finer digits cut."""
    if isinstance(text, int | float) or re.fullmatch(r"\d{9,}", text):
        seconds = float(text)
        return round(seconds if seconds > 1e11 else seconds * 1000)
    text = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text.strip().replace("Z", "+00:00"))
    # Python reads neither nine digits, nor a month of one.
    text = re.sub(r"\.(\d+)", lambda digits: "." + digits[1][:6].ljust(6, "0"), text)
    text = re.sub(r"^(\d{4})-(\d)-", r"\1-0\2-", text)
    if re.fullmatch(r"\d{4}", text):
        text += "-01-01"
    time = datetime.fromisoformat(text)
    time = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return (time - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)


def as_key(millis):
    time = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=millis)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{millis % 1000:03d}Z"


def expect_event(wanted, item):
    """The item says all that was sent, and nothing else."""
    expect_said(wanted, item)
    found, carried = identities(item), wanted.identities()
    expect(found == carried, f"the ids of {item['pk']} {item['sk']} are {sorted(found)} and not {sorted(carried)}")


def expect_said(wanted, item):
    """The item says all that was sent, and nothing else; but not whom it is about, which a retry may say anew."""
    where = f"{item['pk']} {item['sk']}"
    received = int(item["recv"])
    client = None if wanted.time is None else moment(wanted.time)
    sent = None if wanted.sent is None else moment(wanted.sent)
    corrected = received if client is None else client if sent is None else received - (sent - client)
    fields = {
        "kind": wanted.kind,
        "name": wanted.name,
        "target": wanted.target,
        "data": wanted.data,
        "ctx": wanted.context,
        "more": without_identities(wanted.more),
        "src": SOURCE,
        "time": min(corrected, received),
        "sent": sent,
    }
    for name, value in fields.items():
        found = item.get(name)
        if name in ("data", "ctx", "more") and found is not None:
            found = json.loads(found)
        if name == "more" and found is not None:
            found = without_null(without_identities(found))
        expect(found == value, f"{name} of {where} is {found!r} and not {value!r}")
    expect(item.get("rcpt"), f"{where} does not say which request it came from")
    extra = set(item) - set(fields) - {"pk", "sk", "recv", "rcpt", "user"}
    expect(not extra, f"{where} has attributes that nobody sent: {sorted(extra)}")
    time, own_id = item["sk"].split("#", 2)[1:]
    expect(time == as_key(received if client is None else client), f"the time in the key of {where} is wrong")
    expect(wanted.event_id in (None, own_id), f"{where} has not the id {wanted.event_id!r}")


def expect_profile(wanted, holdings):
    """The profile of a subject that only this event is about has just what the event says."""
    found = holdings.profile(wanted.subject)
    expected = {name: value for name, value in (wanted.profile or {}).items() if name != "from"} or None
    expect(found == expected, f"the profile of {wanted.subject} is {found!r} and not {expected!r}")
    if wanted.kind == "alias":
        for one, kind, other in [(wanted.subject, "FORMER", wanted.target), (wanted.target, "LATER", wanted.subject)]:
            expect(holdings.has_link(one, kind, other), f"nothing leads from {one} to {other}")
