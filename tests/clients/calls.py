"""The calls that a test makes: every kind, for every kind of user, with values that are easily spoilt on the way."""

from datetime import datetime, timedelta, timezone

USERS = ["ann", "bob@example.com", "zoë", "user#4", 42]
ANONYMOUS = ["anon-1", "3f1c8a52-7d0e-4b61-9a55-0c2f4de7a911"]
KINDS = ["track", "identify", "page", "screen", "group", "alias", "track"]
# Not in UTC, so that a key's time must be converted.
START = datetime(2026, 3, 1, 12, 0, 0, 123_000, timezone(timedelta(hours=2)))


def plan(label, count, day):
    """Calls as (method of the library, arguments), each with an id and a time of its own.

    The times are minutes apart, and each plan has a day to itself, so that which value of a trait is the last does not
    hang on how many milliseconds a request took.
    """
    calls = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        arguments = {
            "context": {"ip": "203.0.113.7", "app": {"name": "tests", "build": number}},
            "timestamp": START + timedelta(days=day, minutes=number),
            "integrations": {"All": number % 2 == 0},
            "message_id": f"{label}-{number}",
            **particulars(kind, number),
        }
        if kind != "alias" and number % 11 == 0:
            arguments["anonymous_id"] = ANONYMOUS[number % len(ANONYMOUS)]
        else:
            arguments["user_id"] = USERS[number % len(USERS)]
        calls.append((kind, arguments))
    return calls


def particulars(kind, number):
    """What a call of a kind has of its own."""
    values = {
        "price": number + 0.25,
        # The first whole number that a double cannot hold, and those after it.
        "large": 2**53 + 1 + number,
        "text": 'Grüße, "名前" \\ \U0001f980\n',
        "null": None,
        "list": [1, [True, {}], "2"],
        "nested": {"a": {"b": {"c": number}}},
    }
    return {
        "track": {"event": f"Event {number % 5} ✓", "properties": values},
        "identify": {"traits": {f"trait {number % 3}": number, "email": f"u{number}@example.com", "tags": ["x"]}},
        "page": {"category": "Docs", "name": f"Page {number}", "properties": {"path": f"/{number}"}},
        "screen": {"name": f"Screen {number}", "properties": {}},
        "group": {"group_id": f"group-{number % 4}", "traits": {"employees": number}},
        "alias": {"previous_id": f"former-{number}"},
    }[kind]


def send(client, calls):
    """Makes calls with a client of the library; returns each as the library puts it into a request."""
    sent = []
    for method, arguments in calls:
        # The library writes into the context that it is given.
        queued, call = getattr(client, method)(**{**arguments, "context": dict(arguments["context"])})
        if not queued:
            raise RuntimeError("the client's own queue is full")
        sent.append(call)
    return sent


def invalid_items(now):
    """A batch with three good items and bad ones between them: (all items, the good ones, [(reason, bad item)])."""
    number = iter(range(100))

    def item(**members):
        return {"messageId": f"item-{next(number)}", "timestamp": now, **members}

    def good():
        context = {"library": {"name": "tests"}}
        return item(type="track", userId="ann", event="Good", properties={"n": 1}, context=context)

    items = [
        (None, good()),
        ("no_user_anon_id", item(type="track", event="Nobody")),
        (None, good()),
        ("event_not_defined", item(type="track", userId="ann")),
        ("properties_not_object", item(type="track", userId="ann", event="List", properties=[1])),
        (None, good()),
        ("unsupported_event_type", item(type="sing", userId="ann")),
        ("id_required", item(type="group", userId="ann", traits={"a": 1})),
    ]
    goods = [item for reason, item in items if reason is None]
    return [item for _, item in items], goods, [(reason, item) for reason, item in items if reason]
