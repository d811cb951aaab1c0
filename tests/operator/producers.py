"""Producers that send without a pause, and are moved from one write key to another while they do."""

import base64
import http.client
import json
import threading
import time
from urllib.parse import urlsplit

PRODUCERS = 4
# Of one producer, so that together they stay a load that any machine bears.
PAUSE_SECONDS = 0.02
ANSWER_SECONDS = 20


def post(api, key, path, body):
    """Posts an event; returns the status."""
    connection = http.client.HTTPConnection(urlsplit(api).netloc, timeout=ANSWER_SECONDS)
    try:
        credentials = base64.b64encode(f"{key}:".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


class Producers:
    """Each sends events of a user of its own with a number each."""

    def __init__(self, api, key):
        self._api = api
        self._key = key
        self._stop = threading.Event()
        self._sent_with = {}
        self.statuses = {}
        self.sent = {self.user(number): 0 for number in range(PRODUCERS)}
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(PRODUCERS)]

    @staticmethod
    def user(number):
        return f"producer-{number}"

    def start(self):
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        user = self.user(number)
        while not self._stop.is_set():
            key, event = self._key, self.sent[user]
            body = {"userId": user, "event": "Tick", "messageId": f"{user}-{event}", "properties": {"n": event}}
            try:
                status = post(self._api, key, "/v1/track", body)
            except OSError as error:
                status = str(error)
            with self._lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                self._sent_with[number] = key
                self.sent[user] += 1
            time.sleep(PAUSE_SECONDS)

    def move_to(self, key):
        """Has the requests to come sent with another key."""
        self._key = key

    def all_moved(self):
        """Whether the last answer of each was to a request with the present key."""
        with self._lock:
            return len(self._sent_with) == PRODUCERS and set(self._sent_with.values()) == {self._key}

    def count(self):
        with self._lock:
            return sum(self.sent.values())

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(ANSWER_SECONDS)
