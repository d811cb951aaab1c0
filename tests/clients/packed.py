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
        expanded = {name: json.dumps(value) for name, value in inflated.items()}
        return [{name: value for name, value in item.items() if name != "z"} | expanded]
    ids = inflate(item["ids"])["events"]
    if {item["n"], *map(len, inflated.values())} != {len(ids)}:
        raise ValueError(f"the bundle {item['pk']} {item['sk']} does not have as many of everything as events")
    events = [{"pk": item["pk"], "sk": sort_key, "rcpt": origin} for sort_key, origin in ids]
    for name, column in inflated.items():
        for event, value in zip(events, column, strict=True):
            if value is not None:
                event[name] = json.dumps(value) if name in JSON_TEXTS else value
    return events


def inflate(binary):
    return json.loads(zlib.decompress(bytes(binary)))
