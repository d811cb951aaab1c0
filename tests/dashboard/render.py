"""Draws the template's dashboard with sample data, so that it can be looked at without an account.

Usage: python3 tests/dashboard/render.py OUT.svg
It reads DashboardBody from template.yaml, places the widgets on CloudWatch's grid of 24 columns, and needs no library.
"""

import json
import math
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLUMN, ROW, GAP, HEAD = 58, 52, 6, 22
POINTS = 60
COLOURS = ["#1f77b4", "#2ca02c", "#9467bd", "#17becf", "#8c564b", "#bcbd22", "#7f7f7f", "#e377c2"]

# The size of each metric in a quiet hour; what is not here is 0.
SIZES = {
    "Count": 1200, "4xx": 14, "Latency": 24, "EventsAccepted": 5200, "EventsRefused": 18, "EventsStored": 5100,
    "EventsDuplicate": 90, "EventsErased": 3, "EventsDeadLettered": 18, "EventsDue": 26000, "EventsSettled": 26000,
    "ApproximateNumberOfMessagesVisible": 6, "ApproximateNumberOfMessagesNotVisible": 20,
    "ApproximateAgeOfOldestMessage": 2, "QueueDelayMs": 1900, "MessagesRetried": 2, "MemoryUsedPct": 31,
    "ConcurrentExecutions": 6, "Invocations": 70000, "Duration": 900000, "NumberOfMessagesSent": 70000,
    "NumberOfMessagesReceived": 70000, "NumberOfMessagesDeleted": 70000, "ConsumedWriteCapacityUnits": 400000,
    "ConsumedReadCapacityUnits": 90000, "IncomingBytes": 40000000,
}


def dashboard():
    lines = (ROOT / "template.yaml").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if "DashboardBody: !Sub |" in line)
    indent = len(lines[start]) - len(lines[start].lstrip())
    body = []
    for line in lines[start + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        body.append(line)
    return json.loads("\n".join(body))


def sample(metric, period):
    """A series of a metric: its size with a slow wave and a little noise that is always the same."""
    name, where = metric[1], " ".join(part for part in metric if isinstance(part, str))
    size = SIZES.get(name, 0)
    if "Quarantine" in where or ("reason" in where and "no_user_anon_id" not in where and "bad_request" not in where):
        size = 0
    if isinstance(metric[-1], dict) and metric[-1].get("stat") == "p99":
        size *= 4
    if name == "Count":
        size *= period / 60
    seed = sum(map(ord, where)) if name not in ("EventsDue", "EventsSettled") else 1
    noise = [math.sin(seed + step * 12.9898) * 43758.5453 % 1 for step in range(POINTS)]
    return [size * (0.85 + 0.1 * math.sin(step / 9) + 0.15 * noise[step]) for step in range(POINTS)]


def series(widget):
    """The visible series of a widget: label, colour, values and whether they belong to the right axis."""
    period = widget["period"]
    rows, known, shown = widget["metrics"], {}, []
    for row in rows:
        options = row[-1] if isinstance(row[-1], dict) else {}
        if "expression" in options:
            expression = re.sub(r"FILL\((\w+), 0\)", r"\1", options["expression"])
            steps = range(POINTS)
            values = [eval(expression, {}, {name: of[step] for name, of in known.items()}) for step in steps]
        else:
            values = sample(row, period)
            known[options.get("id", "")] = values
        if options.get("visible", True):
            colour = options.get("color", COLOURS[len(shown) % len(COLOURS)])
            is_right = options.get("yAxis") == "right"
            shown.append((options.get("label") or row[1], colour, values, is_right))
    return shown


def text(x, y, words, size=11, colour="#16191f", anchor="start", weight="normal"):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{words}</text>'
    )


def number(value):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def draw_alarms(names, width):
    out, columns = [], 6
    cell = (width - 2 * GAP) / columns
    for place, name in enumerate(names):
        x, y = GAP + place % columns * cell, HEAD + 12 + place // columns * 38
        words = re.sub(r"(?<!^)(?=[A-Z])", "-", name.strip("${}").removesuffix("Alarm.Arn")).lower()
        out.append(f'<rect x="{x:.0f}" y="{y}" width="{cell - 6:.0f}" height="32" fill="#eaf6ea" stroke="#1d8102"/>')
        out.append(text(x + 8, y + 20, f"OK  {words}", colour="#1d8102"))
    return out


def draw_chart(widget, width, height):
    shown = series(widget)
    if widget["stacked"]:
        below, stacked = [0] * POINTS, []
        for label, colour, values, is_right in shown:
            below = [one + other for one, other in zip(below, values)]
            stacked.append((label, colour, below, is_right))
        shown = stacked
    axis = widget.get("yAxis", {}).get("left", {})
    peaks = {side: max([1] + [max(values) for *_, values, is_right in shown if is_right == side]) for side in (False, True)}
    tops = {False: axis.get("max") or peaks[False] * 1.1, True: peaks[True] * 1.1}
    has_right = any(is_right for *_, is_right in shown)
    # The legend stands in rows under the chart, as many as it takes.
    legend, rows, x = [], 0, 40.0
    for label, colour, *_ in shown:
        needs = 24 + 6.2 * len(label)
        if x + needs > width and x > 40:
            rows, x = rows + 1, 40.0
        legend.append((x, rows, label, colour))
        x += needs
    left, right, upper, lower = 40, width - (34 if has_right else 10), HEAD + 10, height - 20 - 15 * (rows + 1)
    out = []
    for part in (0, 0.5, 1):
        y = lower - part * (lower - upper)
        out.append(f'<line x1="{left}" y1="{y:.0f}" x2="{right}" y2="{y:.0f}" stroke="#e1e4ea"/>')
        out.append(text(left - 4, y + 4, number(tops[False] * part), 9, "#687078", "end"))
        if has_right:
            out.append(text(right + 4, y + 4, number(tops[True] * part), 9, "#687078"))
    for mark in widget.get("annotations", {}).get("horizontal", []):
        y = lower - mark["value"] / tops[False] * (lower - upper)
        out.append(f'<line x1="{left}" y1="{y:.0f}" x2="{right}" y2="{y:.0f}" stroke="#d62728" stroke-dasharray="4 3"/>')
        out.append(text(right, y - 3, mark["label"], 9, "#d62728", "end"))
    across = (right - left) / (POINTS - 1)
    for _, colour, values, is_right in reversed(shown):
        top = tops[is_right]
        places = [(left + step * across, lower - value / top * (lower - upper)) for step, value in enumerate(values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        if widget["stacked"]:
            out.append(f'<polygon points="{left},{lower} {path} {right},{lower}" fill="{colour}"/>')
        else:
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    for x, row, label, colour in legend:
        y = lower + 22 + 15 * row
        out.append(f'<rect x="{x:.0f}" y="{y - 8}" width="9" height="9" fill="{colour}"/>')
        out.append(text(x + 13, y, label, 10))
    return out


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    widgets = dashboard()["widgets"]
    height = max(widget["y"] + widget["height"] for widget in widgets) * ROW + GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{24 * COLUMN}" height="{height}" font-family="DejaVu Sans, sans-serif">',
        '<rect width="100%" height="100%" fill="#f2f3f3"/>',
    ]
    for widget in widgets:
        properties = widget["properties"]
        wide, high = widget["width"] * COLUMN - GAP, widget["height"] * ROW - GAP
        out.append(f'<g transform="translate({widget["x"] * COLUMN + GAP // 2},{widget["y"] * ROW + GAP})">')
        out.append(f'<rect width="{wide}" height="{high}" fill="white" stroke="#d5dbdb"/>')
        out.append(text(8, 16, properties["title"], 12, weight="bold"))
        alarms = widget["type"] == "alarm"
        out += draw_alarms(properties["alarms"], wide) if alarms else draw_chart(properties, wide, high)
        out.append("</g>")
    out.append("</svg>")
    Path(sys.argv[1]).write_text("\n".join(out) + "\n")


main()
