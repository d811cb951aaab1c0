"""The job of `ingest` as it is commonly written in Python: Powertools reads and checks, and each event is a message."""

import base64
import binascii
import gzip
import hashlib
import json
import os
import time
from datetime import datetime, timezone
from typing import Any, Literal

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.parser import BaseModel, ValidationError, parse
from pydantic import AwareDatetime, Field

logger = Logger(service="ingest")
sqs = boto3.client("sqs")
dynamodb = boto3.client("dynamodb")
QUEUE_URL = os.environ["EVENTS_QUEUE_URL"]
TABLE = os.environ["EVENTS_TABLE_NAME"]
BODY_BYTES_MAX = 1_048_576
KEY_FRESH_SECONDS = 60

keys: dict[str, tuple[str, float]] = {}


class Call(BaseModel):
    type: Literal["track", "identify", "page", "screen", "group", "alias"]
    messageId: str = Field(min_length=1, max_length=400)
    userId: str | None = None
    anonymousId: str | None = None
    event: str | None = None
    timestamp: AwareDatetime | None = None
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}


class Batch(BaseModel):
    batch: list[Call] = Field(min_length=1, max_length=2_500)
    sentAt: AwareDatetime | None = None
    writeKey: str | None = None


def answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


def body_of(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    if event["headers"].get("content-encoding") == "gzip":
        raw = gzip.decompress(raw)
    return raw


def project_of(write_key: str) -> str | None:
    """Whose key it is, remembered for a minute."""
    digest = hashlib.sha256(write_key.encode()).hexdigest()
    known = keys.get(digest)
    if known and time.monotonic() - known[1] < KEY_FRESH_SECONDS:
        return known[0]
    found = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": f"KEY#{digest}"}, "sk": {"S": "KEY"}})
    if "Item" not in found:
        return None
    project = found["Item"]["project"]["S"]
    keys[digest] = (project, time.monotonic())
    return project


def write_key_of(event: dict[str, Any], batch: Batch) -> str | None:
    scheme, _, credentials = event["headers"].get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return batch.writeKey


def send(project: str, calls: list[Call]) -> None:
    """Sends each event as a message, ten a call, and those that were refused once more."""
    received_at = datetime.now(timezone.utc).isoformat()
    for start in range(0, len(calls), 10):
        entries = []
        for number, call in enumerate(calls[start : start + 10]):
            message = {"project": project, "received_at": received_at, **call.model_dump(mode="json", exclude_none=True)}
            entries.append({"Id": str(number), "MessageBody": json.dumps(message), "MessageGroupId": project})
        failed = sqs.send_message_batch(QueueUrl=QUEUE_URL, Entries=entries).get("Failed", [])
        if failed:
            ids = {failure["Id"] for failure in failed}
            again = [entry for entry in entries if entry["Id"] in ids]
            if sqs.send_message_batch(QueueUrl=QUEUE_URL, Entries=again).get("Failed"):
                raise RuntimeError("the queue refused messages")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    body = body_of(event)
    if len(body) > BODY_BYTES_MAX:
        return answer(413, {"code": "too_large", "message": "the body is too large"})
    try:
        batch = parse(event=json.loads(body), model=Batch)
    except (ValueError, ValidationError) as error:
        logger.warning("refused", error=type(error).__name__)
        return answer(400, {"code": "bad_request", "message": "the body is not a batch"})
    write_key = write_key_of(event, batch)
    project = project_of(write_key) if write_key else None
    if project is None:
        return answer(401, {"code": "unknown_write_key", "message": "nobody has this write key"})
    send(project, batch.batch)
    logger.info("answered", extra={"events": len(batch.batch), "project": project})
    return answer(200, {"success": True})
