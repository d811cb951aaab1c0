"""What the pipeline answered to Segment's library, which itself does not tell its caller."""

import gzip
import json
import threading

import segment.analytics.request as segment_request


class Answers:
    """What was answered to the library's requests, seen at the HTTP session that its clients share."""

    def __init__(self):
        self.accepted = set()
        self.requests = self.zipped = self.retries = 0
        self._lock = threading.Lock()
        segment_request._session.hooks["response"].append(self._note)

    def _note(self, response, **_):
        request = response.request
        zipped = request.headers.get("Content-Encoding") == "gzip"
        calls = json.loads(gzip.decompress(request.body) if zipped else request.body)["batch"]
        accepted = response.status_code == 200 and response.json() == {"success": True}
        with self._lock:
            self.requests += 1
            self.zipped += zipped
            self.retries += "X-Retry-Count" in request.headers
            if accepted:
                self.accepted.update(call["messageId"] for call in calls)

    def among(self, calls):
        """Those of the calls that were answered 200."""
        with self._lock:
            return [call for call in list(calls) if call["messageId"] in self.accepted]
