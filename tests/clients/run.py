"""What the steps of a run share: the pipeline, its tables, the library's clients, and what has been sent so far."""

import threading

from answers import Answers
from local_pipeline import wait_for
from segment.analytics.client import Client
from stored import Tables, expect, queues

WRITE_KEY = "dev"
# From the answer to a request until its events are in the table.
STORED_SECONDS = 30
# Everything of one client, its retries included.
FLUSH_SECONDS = 45


class Run:
    """What the steps share."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.answers = Answers()
        self.tables = None
        self.sqs = None
        # Each call as the library sent it, once.
        self.sent = []
        # What the library was told to send in the step `send`.
        self.planned = []
        # The lines of the table at the end: step, sent, stored, duplicates, dead letters.
        self.rows = []

    def connect(self):
        self.tables = Tables(self.pipeline.dynamodb)
        self.sqs = queues(self.pipeline.sqs)

    def client(self, mode, zipped, **options):
        """A client of the library, and the list of what it gave up on."""
        given_up = []
        client = Client(
            WRITE_KEY,
            host=self.pipeline.api,
            sync_mode=mode == "sync",
            gzip=zipped,
            timeout=5,
            on_error=lambda error, batch: given_up.append(f"{len(batch)} calls: {error!r}"),
            **options,
        )
        return client, given_up

    def stored(self):
        """Events and profiles, once there are as many events as were sent."""

        def all_there():
            found = self.tables.scan()
            return found if len(found[0]) >= len(self.sent) else None

        return wait_for(f"{len(self.sent)} events in the table", all_there, STORED_SECONDS, pause=0.3)

    def told(self, outcome, count):
        """The lines of stdout about an outcome, once there are as many."""

        def all_told():
            lines = self.pipeline.told(outcome)
            return lines if len(lines) >= count else None

        return wait_for(f"{count} lines `{outcome}` on stdout", all_told, STORED_SECONDS)


def finish(client, given_up):
    """Flushes a client and ends it, within a bound that the library does not have."""
    if not client.sync_mode:
        thread = threading.Thread(target=client.shutdown, daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)
        expect(not thread.is_alive(), f"the client has not sent everything within {FLUSH_SECONDS} s")
    expect(not given_up, f"the client gave up on {given_up}")
