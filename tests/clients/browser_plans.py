"""What a browser's visitor does, and what befalls the visitor's event: each a scenario of its own."""

from collections.abc import Callable
from dataclasses import dataclass

from fault_proxy import CUT_BEFORE, HELD

NOBODY, USER, FIRST, SECOND = "nobody", "the user", "the first user", "the second user"


@dataclass(frozen=True)
class Scenario:
    """One visit, which begins with a browser that knows nothing."""

    name: str
    about: str
    # What the visitor does, told to a `Visit`.
    way: Callable
    # The events that the page makes: (kind, the name of those whose name matters).
    events: tuple
    # As whom the event must be sent, one after the other: that is what the scenario is about.
    sent_as: tuple
    # What befalls the event as long as it is sent so. The pipeline must have accepted what is held.
    faults: tuple = ()

    @property
    def event(self):
        """The name of the event that meets the faults."""
        return f"Seen in {self.name}"

    def user(self, who):
        """The id of somebody of the scenario; `None` for nobody."""
        return None if who == NOBODY else f"browser/{self.name}/{who.replace(' ', '-')}"

    def who(self, user):
        """Somebody by id."""
        return next((who for who in (NOBODY, USER, FIRST, SECOND) if self.user(who) == user), f"`{user}`")


def cut_identify(visit):
    visit.opens()
    visit.tracks()
    visit.is_stored_as(None)
    # While the answer is held, so that it is certain to come before the retry.
    visit.identifies(visit.users[0])
    visit.proxy.let_go(None)


def close_identify(visit):
    visit.opens()
    visit.tracks()
    visit.is_stored_as(None)
    visit.goes_on(visit.users[0])
    visit.proxy.let_go(None)


def identify_while_waiting(visit):
    visit.opens()
    visit.tracks()
    visit.was_sent_as(None)
    visit.identifies(visit.users[0])


def switch_user(visit):
    first, second = visit.users
    visit.opens()
    visit.tracks()
    visit.is_stored_as(None)
    visit.identifies(first)
    visit.proxy.let_go(None)
    visit.is_stored_as(first)
    visit.identifies(second)
    visit.proxy.let_go(first)


def plain(visit):
    user = visit.users[0]
    visit.opens()
    visit.identifies(user)
    visit.tracks()
    visit.calls("page", "Docs", "Home", {"path": "/"})
    visit.calls("screen", "Start", {"n": 2})
    visit.calls("group", "group-7", {"employees": 40})
    visit.calls("alias", f"{user}/later")


TRACKED_AND_NAMED = ("track", "identify")
SCENARIOS = [
    Scenario(
        "plain",
        "`identify`, `track`, `page`, `screen`, `group`, `alias`",
        plain,
        ("identify", "track", "page", "screen", "group", "alias"),
        (USER,),
    ),
    Scenario(
        "cut-identify",
        "`track`, cut after; `identify` before the retry",
        cut_identify,
        TRACKED_AND_NAMED,
        (NOBODY, USER),
        ((NOBODY, HELD),),
    ),
    Scenario(
        "close-identify",
        "`track`; the next page before the answer; `identify` there",
        close_identify,
        TRACKED_AND_NAMED,
        (NOBODY, USER),
        ((NOBODY, HELD),),
    ),
    Scenario(
        "identify-while-waiting-503",
        "`track`, 503; `identify` before the retry",
        identify_while_waiting,
        TRACKED_AND_NAMED,
        (NOBODY, USER),
        ((NOBODY, "503"),),
    ),
    Scenario(
        "identify-while-waiting-cut",
        "`track`, cut before; `identify` before the retry",
        identify_while_waiting,
        TRACKED_AND_NAMED,
        (NOBODY, USER),
        ((NOBODY, CUT_BEFORE),),
    ),
    Scenario(
        "switch-user",
        "`track`, cut after twice; `identify`, then as another, before the retries",
        switch_user,
        (*TRACKED_AND_NAMED, "identify"),
        (NOBODY, FIRST, SECOND),
        ((NOBODY, HELD), (FIRST, HELD)),
    ),
]
