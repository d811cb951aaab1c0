"""The mode that events are stored in while tests run, and the events of an item in either. Standard library only."""

import json
import os
import zlib

# The function reads it too.
PERIOD = os.environ.get("PACKED_PERIOD")
# The attributes that are JSON as its producer wrote it.
JSON_TEXTS = ("ctx", "data", "more")


def parameters():
    """The options that have `local` store events in the mode that is asked for."""
    return ["--parameter", f"PackedPeriod={PERIOD}"] if PERIOD else []


def events_of(item):
    """The events of an item, as they would be as items of their own; of what holds none, the item itself."""
    if "z" not in item:
        return [item]
    inflated = inflate(item["z"])
    if "ids" not in item:
        folded = {name: json.dumps(value) for name, value in inflated.items()}
        return [{name: value for name, value in item.items() if name != "z"} | folded]
    ids = inflate(item["ids"])["events"]
    if item["n"] != len(ids) or len(ids) != len(inflated):
        raise ValueError(f"the bundle {item['pk']} {item['sk']} says {item['n']}, {len(ids)} and {len(inflated)} events")
    return [
        {"pk": item["pk"], "sk": sort_key, "rcpt": origin} | texts(event)
        for (sort_key, origin), event in zip(ids, inflated, strict=True)
    ]


def texts(event):
    return {name: json.dumps(value) if name in JSON_TEXTS else value for name, value in event.items()}


def inflate(binary):
    return json.loads(zlib.decompress(bytes(binary)))
