"""The tables that a run prints, and that docs/CLIENTS.md holds, those of each suite between two comments."""

from pathlib import Path

from plans import FAULTS
from stored import expect

PAGE = Path(__file__).resolve().parents[2] / "docs" / "CLIENTS.md"
BEGIN = "<!-- tables: written by tests/clients/run.py --write -->"
BROWSER_BEGIN = "<!-- table of the browser: written by tests/clients/run.py --write -->"
END = "<!-- end of tables -->"


def table(heads, rows):
    lines = [f"| {' | '.join(heads)} |", f"|{'|'.join('---' for _ in heads)}|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def tables(call_rows, fault_rows, shape_rows):
    """The three tables as Markdown."""
    # The ways in which a client makes the same request with the same result share a row.
    merged = {}
    for client, way, call, request, fate in call_rows:
        merged.setdefault((client, call, request, fate), []).append(way)
    calls = [
        (client, f"`{call}`" if " " not in call else call, ", ".join(ways), request, fate)
        for (client, call, request, fate), ways in merged.items()
    ]
    parts = [
        "### Faults on the way",
        table(("client", "who tries again", *[fault.title for fault in FAULTS]), fault_rows),
        "### Every call",
        table(("client", "call", "ways", "request", "stored"), calls),
        "### Requests of libraries that are not installed",
        table(("library", "what it sends", "request", "answer", "stored, though sent twice"), shape_rows),
    ]
    return "\n\n".join(parts)


def expect_same(text, write, begin=BEGIN):
    """Fails if the page has other tables; with `write`, writes these into it."""
    page = PAGE.read_text()
    before, found_begin, rest = page.partition(begin)
    held, found_end, after = rest.partition(END)
    expect(found_begin and found_end, f"{PAGE.name} lacks the comments around the tables")
    if write:
        PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{END}{after}")
        return
    lines, found = held.strip().splitlines(), text.splitlines()
    differing = [line for line in found if line not in lines] + [line for line in lines if line not in found]
    expect(held.strip() == text, f"the tables differ; see what changed, and run with --write: {differing[:6]}")
