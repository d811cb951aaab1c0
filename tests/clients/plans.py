"""What each client is told to do: its calls, and the faults that it meets.

A call is a dict that the client's own script understands: `call` is the library's method, `user` a subject that no
other call has, so that what is found of it in the tables is this call's, and the rest are the method's arguments.
"""

from dataclasses import dataclass

from fault_proxy import CUT_AFTER, CUT_BEFORE, SLOW

# Values that are easily spoilt on the way, and that every language here can hold.
VALUES = {
    "price": 19.25,
    "count": 3,
    "text": 'Grüße, "名前" \\ \U0001f980\n',
    "yes": True,
    "list": [1, [True, {}], "2"],
    "nested": {"a": {"b": {"c": 1}}},
}
# What Vero's libraries take: texts and numbers.
FLAT = {"price": 19.25, "count": 3, "text": VALUES["text"]}
# Not in UTC, so that a key's time must be converted.
TIME = "2026-03-01T12:00:00.123+02:00"
UTC_TIME = "2026-03-01T10:00:00.123Z"
CONTEXT = {"ip": "203.0.113.7", "app": {"name": "tests", "build": 7}}


@dataclass(frozen=True)
class Fault:
    """What befalls the requests with the first event, one after the other."""

    title: str
    # The name of its task.
    name: str
    done: tuple
    forever: bool = False
    # The client's time-out, where it has one to set; the bound of the caller's patience where it has none.
    timeout_seconds: float | None = None
    # Whether a caller whose library does not try again does so by hand.
    cured: bool = True


FAULTS = [
    Fault("503 twice", "503", ("503", "503")),
    Fault("429 twice", "429", ("429", "429")),
    Fault("cut before", "cut-before", (CUT_BEFORE,)),
    Fault("cut after", "cut-after", (CUT_AFTER,)),
    Fault("too slow", "slow", (SLOW,), timeout_seconds=4.0),
    Fault("413", "413", ("413",), forever=True, cured=False),
]


@dataclass(frozen=True)
class ClientPlan:
    """A library, and what it is told to do."""

    title: str
    # The beginning of its subjects, and the name of its script's folder or file.
    name: str
    protocol: str
    # The calls of each way in which the library is used: (name of the way, options of the task, calls).
    ways: list
    # The calls that meet faults; the first is the one that is hit.
    faulted: list
    # Whether the caller has to try again by hand.
    by_hand: bool = False
    # Ways to make a call in which it is an event of its own each time: (what to call it, options, calls).
    own_each_time: tuple = ()


def subject(client, task, call):
    return f"{client}/{task}/{call}"


def segment_calls(full=True):
    """Every call that Segment's libraries have, some with everything that they take, some with the least."""
    calls = [
        {"call": "identify", "as": "identify", "traits": {"email": "ann@example.com", **VALUES}, "timestamp": TIME},
        {
            "call": "track",
            "as": "track",
            "event": "Order Completed ✓",
            "properties": VALUES,
            "timestamp": TIME,
            "context": CONTEXT,
            "integrations": {"All": False, "Vero": True},
            "message_id": "given",
        },
        {"call": "page", "as": "page", "name": "Home", "properties": {"path": "/"}, "timestamp": TIME},
        {"call": "screen", "as": "screen", "name": "Start", "properties": {}, "timestamp": TIME},
        {"call": "group", "as": "group", "group": "group-7", "traits": {"employees": 40}, "timestamp": TIME},
        {"call": "alias", "as": "alias", "previous": "former", "timestamp": TIME},
        {"call": "track", "as": "track, anonymous", "anonymous": True, "event": "Seen", "properties": {"n": 1}},
        {"call": "track", "as": "track, both ids", "both": True, "event": "Seen", "properties": {"n": 2}},
    ]
    if full:
        calls[2]["category"] = "Docs"
    return calls


def segment_faulted():
    return [
        {"call": "track", "as": "track", "event": "Paid", "properties": VALUES, "timestamp": TIME},
        {"call": "identify", "as": "identify", "traits": {"plan": "pro"}, "timestamp": TIME},
        {"call": "page", "as": "page", "name": "Home", "properties": {"path": "/"}, "timestamp": TIME},
    ]


def vero_python_calls():
    return [
        {"call": "add_user", "data": VALUES, "email": "ann@example.com"},
        {"call": "reidentify_user", "former": True},
        {"call": "edit_user", "data": {"plan": "pro", **VALUES}},
        {"call": "add_tags", "tags": ["vip", "Grüße"]},
        {"call": "remove_tags", "tags": ["trial"]},
        {"call": "unsubscribe_user"},
        {"call": "resubscribe_user"},
        {"call": "add_event", "event": "Bought ✓", "data": VALUES, "email": "ann@example.com"},
        {
            "call": "add_event",
            "as": "add_event, erased",
            "event": "Old",
            "data": {"n": 1},
            "subject": "delete_user",
            "fate": "erased",
        },
        {"call": "delete_user"},
        {"call": "heartbeat", "fate": "none"},
    ]


def vero_tracking_calls():
    return [
        {
            "call": "user.identify",
            "email": "ann@example.com",
            "data": FLAT,
            "channels": [{"type": "push", "address": "token", "platform": "ios"}],
        },
        {"call": "user.alias", "former": True},
        {"call": "user.unsubscribe"},
        {"call": "user.resubscribe"},
        {"call": "tag.edit", "add": ["vip", "Grüße"], "remove": ["trial"]},
        {
            "call": "event.track",
            "event": "Bought ✓",
            "data": FLAT,
            "email": "ann@example.com",
            "created_at": TIME,
            "source": "tests",
        },
        {
            "call": "event.track",
            "as": "event.track, no createdAt",
            "event": "Seen",
            "data": FLAT,
            "email": "ann@example.com",
        },
        {
            "call": "event.track",
            "as": "event.track, erased",
            "event": "Old",
            "data": FLAT,
            "email": "x@example.com",
            "subject": "user.delete",
            "fate": "erased",
        },
        {"call": "user.delete"},
    ]


def rust_calls():
    singles = segment_calls(full=False)
    singles.append({"call": "track", "as": "track, no time", "event": "Seen", "properties": {"n": 3}})
    batch = [{**call, "message_id": None} for call in segment_calls(full=False)]
    return singles, batch


def clients():
    """Every client that can be installed."""
    singles, batch = rust_calls()
    vero_event = {"call": "event.track", "event": "Paid", "data": FLAT, "email": "ann@example.com"}
    return [
        *[
            ClientPlan(
                f"`segment-analytics-python` {version}",
                f"segment-python-{version}",
                "segment",
                [
                    ("plain", {}, segment_calls()),
                    ("gzip", {"gzip": True}, segment_calls()),
                    ("sync", {"sync": True}, segment_calls()),
                ],
                segment_faulted(),
            )
            for version in ("2.4.0", "2.3.4")
        ],
        ClientPlan(
            "`@segment/analytics-node` 3.1.0",
            "segment-node",
            "segment",
            [("plain", {}, segment_calls())],
            segment_faulted(),
        ),
        ClientPlan(
            "`analytics-node` 6.2.0", "analytics-node", "segment", [("plain", {}, segment_calls())], segment_faulted()
        ),
        ClientPlan(
            "`segment` 0.2.6 (Rust)",
            "segment-rust",
            "segment",
            [
                ("plain", {}, singles),
                ("batcher", {"batcher": True}, batch),
                ("auto-batcher", {"auto_batcher": True}, batch),
            ],
            segment_faulted()[:2],
            by_hand=True,
            own_each_time=(
                (
                    "without `timestamp`",
                    {},
                    [{"call": "track", "as": "track", "event": "Paid", "properties": {"n": 1}}],
                ),
            ),
        ),
        ClientPlan(
            "`@getvero/tracking` 2.1.0",
            "vero-tracking",
            "vero",
            [("plain", {}, vero_tracking_calls())],
            [{**vero_event, "created_at": TIME}, {"call": "user.identify", "email": "ann@example.com", "data": FLAT}],
            by_hand=True,
            own_each_time=(("without `createdAt`", {}, [vero_event]),),
        ),
        ClientPlan(
            "`vero` 2.0.1 (PyPI)",
            "vero-python",
            "vero",
            [("plain", {}, vero_python_calls())],
            [
                {"call": "add_event", "event": "Paid", "data": VALUES, "email": None},
                {"call": "add_user", "data": VALUES, "email": "ann@example.com"},
            ],
            by_hand=True,
        ),
    ]


def placed(plan, task, calls):
    """The calls with their subjects and message ids, so that no two tasks share any."""
    result = []
    for call in calls:
        title = call.get("as", call["call"])
        # Subjects are written into bodies as they are, so that the proxy finds the first of them there.
        user = subject(plan.name, task, call.get("subject", title).replace(", ", "-").replace(" ", "-"))
        one = {**call, "as": title, "user": user}
        if call.get("former"):
            one["former"] = f"{user}/former"
        if call.get("previous"):
            one["previous"] = f"{user}/former"
        if call.get("message_id"):
            one["message_id"] = f"{user}/given"
        result.append(one)
    return result
