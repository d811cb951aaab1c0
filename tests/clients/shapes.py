"""Requests of libraries that are not installed, from `shapes/*.json`: sent as they are, each twice.

They are written from what the libraries' source code and documentation say, and not captured from the wire.

A file has `library` and `requests`. A request has `about`, `method`, `path`, `headers`, a body (`json` or `text`),
`as` (what is done to the body: `gzip`, `chunked`, `latin-1`), `answer` (`status`, and `json` or `content_type`), and
`events`: what must be stored of it, as the fields of `expected.Expected`. With `"again": "another"`, the second sending
is another event.
"""

import gzip
import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from compare import expect_event, expect_profile
from expected import Expected, profile_of
from stored import expect

FOLDER = Path(__file__).resolve().parent / "shapes"
ANSWER_SECONDS = 15
SENT_TIMES = 2
CHUNK_BYTES = 100


@dataclass
class Shape:
    """One request of a library."""

    library: str
    request: dict

    @property
    def title(self):
        return f"`{self.request['method']} {self.request['path'].partition('?')[0]}`"


def load():
    """Every request, by library."""
    files = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    return [Shape(file["library"], request) for file in files for request in file["requests"]]


def send(shape, api):
    """Sends a request twice, as a client does that has not seen the first answer; returns (status, headers, body)s."""
    return [send_once(shape.request, api) for _ in range(SENT_TIMES)]


def body_of(request):
    made = request.get("as", [])
    text = json.dumps(request["json"], ensure_ascii=False) if "json" in request else request.get("text", "")
    body = text.encode("latin-1" if "latin-1" in made else "utf-8")
    return gzip.compress(body, mtime=0) if "gzip" in made else body


def send_once(request, api):
    address, body = urlsplit(api), body_of(request)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=ANSWER_SECONDS)
    try:
        connection.putrequest(request["method"], request["path"], skip_accept_encoding=True)
        for name, value in request.get("headers", {}).items():
            connection.putheader(name, value)
        if "chunked" in request.get("as", []):
            connection.putheader("Transfer-Encoding", "chunked")
            chunks = [body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        elif body or request["method"] != "GET":
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        if body:
            connection.send(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def judge(shape, answers, holdings, problems):
    """The row of a request: library, what it sends, request, answer, and what is stored."""
    request, fates = shape.request, []
    where = f"{shape.library}, {request['about']}"
    good = [problems.check(where, lambda answer=answer: expect_answer(request["answer"], answer)) for answer in answers]
    again = SENT_TIMES if request.get("again") == "another" else 1
    for fields in request["events"]:
        wanted = Expected(**fields)
        wanted.profile = profile_of(wanted.kind, wanted.data, wanted.target)
        place = f"{where}, {wanted.subject}"
        good.append(problems.check(place, lambda wanted=wanted: fates.append(judge_event(wanted, again, holdings))))
    status = str(answers[0][0])
    stored = ", ".join(dict.fromkeys(fates)) or ("nothing" if not request["events"] else "")
    if len(request["events"]) > 1:
        stored = f"{len(request['events'])} events, each {stored}"
    return shape.library, request["about"], shape.title, status, stored if all(good) else f"WRONG {stored}"


def judge_event(wanted, again, holdings):
    if wanted.kind == "delete":
        expect(holdings.is_deleted(wanted.subject), "the user is not deleted")
        return "the user is forgotten"
    events = holdings.events(wanted.subject)
    expect(len(events) == again, f"sent twice, it is stored {len(events)} times, and not {again}")
    for item in events:
        expect_event(wanted, item)
    expect_profile(wanted, holdings)
    return "once" if again == 1 else "twice: nothing tells the second from another event"


def expect_answer(wanted, answer):
    status, headers, body = answer
    expect(status == wanted["status"], f"the answer is {status} {body[:200]!r}")
    if "json" in wanted:
        expect(json.loads(body) == wanted["json"], f"the answer is {body[:200]!r}")
    if "content_type" in wanted:
        found = {name.lower(): value for name, value in headers.items()}["content-type"]
        expect(found == wanted["content_type"], f"the answer is {found}")
