"""Segment's library for browsers, in a browser, against `local`: an event that names another user when it is sent again
is stored once.

Usage: browser.py --local target/debug/local --env .venv/clients [--chromium PROGRAM] [--write] [--only SCENARIO]...

The page is of another origin than the API, and a proxy is between the two, so that the browser's own rules for such
requests hold. Each scenario must have had the library send what it is about, and fails otherwise.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

# A proxy in the environment must not come between this process and the pipeline. It is read when a library is loaded.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

import document
import expected
from browser_plans import NOBODY, SCENARIOS
from browser_visit import Browser, PageServer, Visit, calls_of
from compare import Holdings, expect_said
from environment import Environment
from fault_proxy import HELD, UserFaultProxy, user_of
from judge import TIMES, Problems
from local_pipeline import Failure, LocalPipeline
from stored import Tables, expect, identities, queues, settle

# The whole script, so that a hang anywhere ends it.
TOTAL_SECONDS = 140
ANSWER_SECONDS = 15


def say(text):
    print(text, flush=True)


def refusals(api, origin):
    """A 503 as the pipeline gives it to a page of an origin. What the page may read of it is as in a real refusal."""
    headers = {"Content-Type": "text/plain", "Origin": origin}
    request = urllib.request.Request(f"{api}/v1/t", b'{"writeKey":"nobody"}', headers)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            raise Failure(f"a write key that nobody has was answered {answer.status}")
    except urllib.error.HTTPError as error:
        expect(error.code == 401, f"a write key that nobody has was answered {error.code}")
        shared = [(name, value) for name, value in error.headers.items() if name.lower().startswith("access-control-")]
    own = [("Content-Type", "application/json"), ("Retry-After", "1"), ("Access-Control-Expose-Headers", "Retry-After")]
    body = {"success": False, "status": 503, "code": "unavailable", "message": "Try again after a moment."}
    return {"503": (own + shared, json.dumps(body).encode())}


def run_scenario(scenario, browser, page, api, answers):
    """Has a visitor go the way of a scenario; returns the proxy, which knows what was sent."""
    faults = {scenario.user(who): fault for who, fault in scenario.faults}
    proxy = UserFaultProxy(api, answers, scenario.event, faults)
    users = [scenario.user(who) for who in scenario.sent_as if who != NOBODY]
    visit = Visit(browser, page, proxy, scenario.event, users)
    try:
        scenario.way(visit)
        visit.ends(len(scenario.events))
    except Failure as failure:
        raise Failure(f"{failure}; the page's log ends with {visit.gives_up()}") from failure
    finally:
        proxy.close()
    return proxy


def run_scenarios(scenarios, browser, page, api, problems):
    """Runs the scenarios; returns each with its proxy. One that cannot be gone to its end is a problem."""
    done = []
    answers = refusals(api, page.rstrip("/"))
    for scenario in scenarios:
        begun = time.monotonic()
        try:
            done.append((scenario, run_scenario(scenario, browser, page, api, answers)))
        except Failure as failure:
            problems.found.append(f"{scenario.name}: {failure}")
        say(f"{scenario.name}: {time.monotonic() - begun:.1f} s")
    return done


def say_what_was_sent(scenario, proxy):
    for request in proxy.attempts():
        body = request.json()
        said = {name: body.get(name) for name in ("messageId", "userId", "anonymousId", "timestamp")}
        fate = "never came to the pipeline" if request.status is None else f"was answered {request.status}"
        say(f"  {scenario.name}: POST {request.path} {json.dumps(said)} {fate}; the proxy: {request.done}")


def expect_premise(scenario, proxy):
    """The library has sent one and the same event as those whom the scenario is about, one after the other."""
    attempts = proxy.attempts()
    bodies = [request.json() for request in attempts]
    for name in ("messageId", "anonymousId", "timestamp"):
        values = {body.get(name) for body in bodies}
        expect(len(values) == 1 and all(values), f"premise not met: {name} is {values}")
    users = [user_of(request) for request in attempts]
    found = tuple(scenario.who(user) for place, user in enumerate(users) if place == 0 or user != users[place - 1])
    expect(found == scenario.sent_as, f"premise not met: it was sent as {found}, and not as {scenario.sent_as}")
    faults = dict(scenario.faults)
    for request in attempts:
        fault = faults.get(scenario.who(user_of(request)))
        status = 200 if fault in (None, HELD) else None
        expect(request.status == status, f"premise not met: the pipeline answered {request.status}, not {status}")
    asked = [request for request in proxy.requests if request.method == "OPTIONS" and request.status == 200]
    expect(asked, "premise not met: the browser did not ask whether the page may send")


def expect_kinds(scenario, sent):
    """The page made the events that it was to make, and no other."""
    kinds = sorted(request[0].path.rpartition("/")[2] for request in sent.values())
    wanted = sorted(kind[0] for kind in scenario.events)
    expect(kinds == wanted, f"it sent {kinds}, and not {wanted}")


def expect_once(event_id, requests, holdings):
    """An event is stored once, and says what one of its requests said."""
    items = holdings.with_id(event_id)
    first = requests[0].json()
    what = f"{first.get('event') or first['type']}, {event_id},"
    places = ", ".join(item["pk"] for item in items)
    expect(len(items) == 1, f"{what} is stored {TIMES.get(len(items), f'{len(items)} times')}: {places or 'nowhere'}")
    (item,) = items
    wanted = [expected.of_segment(request.path, request.json())[0] for request in requests]
    failures = []
    for one in wanted:
        try:
            expect_said(one, item)
        except Failure as failure:
            failures.append(str(failure))
    expect(len(failures) < len(wanted), f"{what} is not stored as it was sent: {failures}")
    found, said = identities(item), [one.identities() for one in wanted]
    expect(found in said, f"{what} has the ids {sorted(found)}, and was sent with {said}")
    expect(first["anonymousId"] in found, f"{what} does not say on which device it happened: {sorted(found)}")


def judge(scenario, proxy, holdings, problems):
    """The row of a scenario: what happens, as whom the event was sent, what is stored."""
    say_what_was_sent(scenario, proxy)
    sent = {}
    for request in calls_of(proxy):
        sent.setdefault(request.json()["messageId"], []).append(request)
    problems.check(scenario.name, lambda: expect_premise(scenario, proxy))
    problems.check(scenario.name, lambda: expect_kinds(scenario, sent))
    for event_id, requests in sent.items():
        problems.check(scenario.name, lambda sent=(event_id, requests): expect_once(*sent, holdings))
    counts = {len(holdings.with_id(event_id)) for event_id in sent}
    fates = " or ".join(TIMES.get(count, f"{count} times") for count in sorted(counts))
    return scenario.name, scenario.about, ", then ".join(scenario.sent_as), f"{len(sent)} events, each {fates}"


def run_all(arguments, folder):
    """Runs everything; returns the exit status. Pipeline and browser are gone when it returns, whatever happens."""
    environment = Environment(arguments.env, arguments.local.parent.parent)
    library = environment.browser_library()
    version = json.loads((library / "package.json").read_text())["version"]
    scenarios = [scenario for scenario in SCENARIOS if not arguments.only or scenario.name in arguments.only]
    problems, same = Problems(), Problems()
    pipeline = LocalPipeline(arguments.local, Path(folder) / "data")
    pages, browser = PageServer(library / "dist" / "umd"), None
    try:
        pipeline.start()
        browser = Browser(environment.browser_command(arguments.chromium))
        say(f"@segment/analytics-next {version} in Chromium {browser.version}")
        done = run_scenarios(scenarios, browser, pages.address, pipeline.api, problems)
        settle(queues(pipeline.sqs))
        holdings = Holdings(Tables(pipeline.dynamodb).items())
        rows = [judge(scenario, proxy, holdings, problems) for scenario, proxy in done]
        status, _, _ = pipeline.interrupt()
        expect(status == 0, f"local ended with status {status} after SIGINT")
    except Exception:
        print("\n".join(["", "the last lines of local:", *pipeline.lines[-30:]]), file=sys.stderr)
        raise
    finally:
        if browser is not None:
            browser.close()
        pages.close()
        pipeline.clean_up()
    heads = ("library", "scenario", "what happens", "the event is sent as", "stored")
    text = document.table(heads, [(f"`@segment/analytics-next` {version}", f"`{name}`", *row) for name, *row in rows])
    say(f"\n{text}")
    if not arguments.only:
        begin = document.BROWSER_BEGIN
        same.check("docs/CLIENTS.md", lambda: document.expect_same(text, write=arguments.write, begin=begin))
    for problem in problems.found + same.found:
        say(f"FAILED {problem}")
    say(problems.summary("browser"))
    say(same.summary("docs/CLIENTS.md"))
    return 1 if problems.found or same.found else 0


def too_long(_signal, _frame):
    raise Failure(f"it takes longer than {TOTAL_SECONDS} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", required=True, type=lambda path: Path(path).resolve(), help="the built program")
    parser.add_argument("--env", required=True, type=lambda path: Path(path).resolve(), help="where libraries are")
    parser.add_argument("--chromium", default="chromium", help="the browser")
    parser.add_argument("--write", action="store_true", help="write the table into docs/CLIENTS.md")
    parser.add_argument("--only", action="append", help="run this scenario alone, and compare no table")
    arguments = parser.parse_args()
    arguments.chromium = shutil.which(arguments.chromium)
    if arguments.chromium is None:
        sys.exit("chromium is not installed, and the browser's library needs it: apt-get install chromium")
    # Both become exceptions, so that the pipeline is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TOTAL_SECONDS)
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        return run_all(arguments, folder)


if __name__ == "__main__":
    sys.exit(main())
