"""The stand-ins as `cargo run -p local -- --no-functions` starts them, and what they hold."""

import base64
import http.client
import json
import re
from urllib.parse import urlsplit

from packed import events_of
from processes import Failure, Server

EVENTS, DEAD_LETTERS, SPILL = (f"holdfast-{name}Table" for name in ("Events", "DeadLetters", "Spill"))
QUEUE = "holdfast-events"
ACCOUNT = "000000000000"
# A cold start makes tables; a slow machine takes seconds for it.
READY_SECONDS = 60
CALL_SECONDS = 20
# The most that DynamoDB deletes in one call (BatchWriteItem).
DELETES_MAX = 25
# The most that a function is given of the queue at once, by the template.
BATCH_MAX = 10


class StandIns:
    """SQS and DynamoDB, in memory and on free ports, with nothing that reads the queue by itself."""

    def __init__(self, binary):
        ports = ["--sqs-port", "0", "--dynamodb-port", "0"]
        self._server = Server([binary, "--no-functions", "--ephemeral", *ports], "ready", READY_SECONDS)
        self.sqs, self.dynamodb = self._address("SQS"), self._address("DynamoDB")

    def _address(self, name):
        for line in self._server.lines:
            if found := re.fullmatch(rf"{name} +(http://127\.0\.0\.1:\d+)", line):
                return found[1]
        raise Failure(f"local did not print an address of {name} on 127.0.0.1")

    def stop(self):
        self._server.stop()

    def messages(self):
        """Takes the messages out of the queue, as records of the event that a function is given."""
        url = f"{self.sqs}/{ACCOUNT}/{QUEUE}"
        ask = {"QueueUrl": url, "MaxNumberOfMessages": BATCH_MAX, "MessageSystemAttributeNames": ["All"]}
        records = []
        while found := self._call(self.sqs, "AmazonSQS.ReceiveMessage", ask).get("Messages", []):
            for message in found:
                self._call(
                    self.sqs, "AmazonSQS.DeleteMessage", {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
                )
            records += map(record, found)
        return records

    def spill(self, pk, body, written_at):
        """Puts a message into the spill table, as ingest does while the queue is away."""
        item = {"pk": text(pk), "sk": text("0"), "body": text(body), "group": text("dev")}
        item |= {"at": {"N": str(written_at)}, "parts": {"N": "1"}}
        self._table("PutItem", {"TableName": SPILL, "Item": item})

    def left(self):
        """How many items of each kind the tables hold."""
        items = self.items(EVENTS)
        return {
            "events": len(self.events()),
            "profiles": sum(item["sk"]["S"] == "PROFILE" for item in items),
            # A large letter has further parts, which have no reason.
            "dead_letters": sum("reason" in item for item in self.items(DEAD_LETTERS)),
            "spilled": len(self.items(SPILL)),
        }

    def events(self):
        """The events, whichever way they are stored, each attribute as its value."""
        items = [{name: value_of(value) for name, value in item.items()} for item in self.items(EVENTS)]
        # What is left of an erased event has no origin.
        return [event for item in items for event in events_of(item) if "rcpt" in event]

    def items(self, table):
        """All items of a table; of the events table, all but the write keys."""
        found, start = [], {}
        while start is not None:
            page = self._table("Scan", {"TableName": table, "ConsistentRead": True, **start})
            found += page["Items"]
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else None
        return [item for item in found if not item["pk"]["S"].startswith(("KEY#", "KEYS"))]

    def clear(self):
        """Empties queue and tables; the write keys stay."""
        self.messages()
        for table in (EVENTS, DEAD_LETTERS, SPILL):
            keys = [{"DeleteRequest": {"Key": {"pk": item["pk"], "sk": item["sk"]}}} for item in self.items(table)]
            for first in range(0, len(keys), DELETES_MAX):
                self._table("BatchWriteItem", {"RequestItems": {table: keys[first : first + DELETES_MAX]}})

    def _table(self, action, ask):
        return self._call(self.dynamodb, f"DynamoDB_20120810.{action}", ask)

    def _call(self, endpoint, target, ask):
        address = urlsplit(endpoint)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=CALL_SECONDS)
        # The stand-ins take any credentials, but there must be some.
        headers = {
            "X-Amz-Target": target,
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request, "
            "SignedHeaders=host, Signature=0",
            "X-Amz-Date": "20260101T000000Z",
        }
        try:
            connection.request("POST", "/", json.dumps(ask), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise Failure(f"{target} was answered {answer.status} {content[:300]}")
        return json.loads(content or b"{}")


def text(value):
    return {"S": value}


def value_of(attribute):
    [(kind, value)] = attribute.items()
    return int(value) if kind == "N" else base64.b64decode(value) if kind == "B" else value


def record(message):
    """A message as the event source mapping hands it to a function."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{QUEUE}",
        "awsRegion": "us-east-1",
    }
