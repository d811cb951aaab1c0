"""What must be in the tables of a request, by what docs/HTTP-API.md promises: requests -> expectations.

It is written from the page and not from the code, so that the two check each other.
"""

import re
from dataclasses import dataclass, field

# The members of a Segment call that have an attribute, or the key, to themselves; all others are kept in `more`.
SEGMENT_TAKEN = {"type", "messageId", "timestamp", "originalTimestamp", "sentAt", "context", "writeKey"}
SEGMENT_KINDS = {"track", "identify", "page", "screen", "group", "alias"}
# The paths of the browser's library.
SEGMENT_LETTERS = {kind[0]: kind for kind in SEGMENT_KINDS}
VERO_KEYS = {"auth_token", "tracking_api_key"}


@dataclass
class Expected:
    """One event that must be stored, or what must be seen of it where none is stored."""

    subject: str
    kind: str
    name: str | None = None
    target: str | None = None
    data: dict | None = None
    context: dict | None = None
    more: dict | None = None
    # The event's own id; `None` where Holdfast makes one.
    event_id: str | None = None
    # The times as they were written.
    time: str | int | None = None
    sent: str | None = None
    # What the profile must hold besides: attribute -> value.
    profile: dict = field(default_factory=dict)

    def identities(self):
        """The ids of whom it is about."""
        more = self.more or {}
        return {self.subject, text_of(more.get("userId")), text_of(more.get("anonymousId"))} - {None}


def without_null(members):
    """The members that are not null, which means the same as being absent; `None` if there are none."""
    return {name: value for name, value in (members or {}).items() if value is not None} or None


def text_of(identity):
    """An id as it is stored: the text of a number."""
    return None if identity in (None, "") else str(identity)


def of_segment(path, body):
    """What a request of Segment's API must leave."""
    last = path.rstrip("/").rpartition("/")[2]
    single = SEGMENT_LETTERS.get(last, last)
    if single in SEGMENT_KINDS:
        return [of_item(single, body, {})]
    envelope = {name: body.get(name) for name in ("context", "integrations", "sentAt")}
    return [of_item(item["type"], item, envelope) for item in body["batch"]]


def of_item(kind, item, envelope):
    subject_member = "userId" if text_of(item.get("userId")) else "anonymousId"
    name_member = "event" if kind == "track" else "name"
    data_member = "traits" if kind in ("identify", "group") else "properties"
    target_member = {"group": "groupId", "alias": "previousId"}.get(kind)
    taken = SEGMENT_TAKEN | {subject_member, name_member, data_member, target_member}
    if item.get("originalTimestamp") is not None:
        # Segment has corrected this one by its own clock; it is not what the key is made of.
        taken = taken - {"timestamp"}
    more = {name: value for name, value in item.items() if name not in taken}
    if envelope.get("integrations") is not None:
        more.setdefault("integrations", envelope["integrations"])
    context = item.get("context")
    if envelope.get("context") is not None:
        context = {**envelope["context"], **(context or {})}
    data = item.get(data_member)
    target = text_of(item.get(target_member)) if target_member else None
    return Expected(
        subject=text_of(item[subject_member]),
        kind=kind,
        name=item.get(name_member) if kind in ("track", "page", "screen") else None,
        target=target,
        data=data,
        context=context,
        more=without_null(more),
        event_id=item.get("messageId"),
        time=item.get("originalTimestamp") or item.get("timestamp"),
        sent=item.get("sentAt") or envelope.get("sentAt"),
        profile=profile_of(kind, data, target),
    )


def profile_of(kind, data, target):
    """What an event must leave in a profile that has nothing else."""
    if kind == "identify":
        return {"traits": data or {}}
    if kind == "group":
        return {"groups": {target: data or {}}}
    if kind == "alias":
        return {"from": [target]}
    if kind == "tags":
        off = {tag: False for tag in data["remove"]}
        return {"tags": {**{tag: True for tag in data["add"]}, **off}}
    if kind in ("unsubscribe", "resubscribe"):
        return {"subscription": {"subscribed": kind == "resubscribe"}}
    return {}


def of_vero(path, parameters):
    """What a call of Vero's API must leave, given its parameters as one object. Empty for a heartbeat."""
    call = re.sub(r"(\.json)?$", "", path.partition("?")[0], count=1).removeprefix("/api/v2/")
    if call == "heartbeat":
        return []
    identity = parameters["identity"] if call == "events/track" else parameters
    subject_member = "id" if text_of(identity.get("id")) else "email"
    subject, kind, name, target, data, taken = (
        text_of(identity[subject_member]),
        None,
        None,
        None,
        None,
        {subject_member},
    )
    if call == "events/track":
        kind, name, data = "track", parameters["event_name"], parameters.get("data")
        taken = {"event_name", "data"}
    elif call in ("users/track", "users/edit"):
        member = "data" if call == "users/track" else "changes"
        beside = {"email", "phone_number", "channels"} if call == "users/track" else {"email"}
        kind, data = "identify", dict(parameters.get(member) or {})
        data.update(without_null({name: parameters.get(name) for name in beside}) or {})
        data = data or None
        taken = {"id", member} | beside
    elif call == "users/tags/edit":
        kind, data = "tags", {name: parameters.get(name) or [] for name in ("add", "remove")}
        taken |= {"add", "remove"}
    elif call == "users/reidentify":
        kind, subject, target = "alias", text_of(parameters["new_id"]), text_of(parameters["id"])
        taken = {"id", "new_id"}
    else:
        kind = call.removeprefix("users/")
    more = {name: value for name, value in parameters.items() if name not in taken | VERO_KEYS}
    return [
        Expected(
            subject=subject,
            kind=kind,
            name=name,
            target=target,
            data=data,
            more=without_null(more),
            time=(parameters.get("extras") or {}).get("created_at"),
            profile=profile_of(kind, data, target),
        )
    ]
