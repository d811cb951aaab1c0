"""The job of `consume` as it is commonly written in Python: Powertools' batch and idempotency around one write an event."""

import json
import os
from decimal import Decimal
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.parser import BaseModel, parse

logger = Logger(service="consume")
table = boto3.resource("dynamodb").Table(os.environ["EVENTS_TABLE_NAME"])
processor = BatchProcessor(event_type=EventType.SQS)
persistence = DynamoDBPersistenceLayer(table_name=os.environ["IDEMPOTENCY_TABLE_NAME"])
config = IdempotencyConfig(event_key_jmespath="[project, messageId]")


class Event(BaseModel):
    project: str
    received_at: str
    type: str
    messageId: str
    userId: str | None = None
    anonymousId: str | None = None
    event: str | None = None
    timestamp: str | None = None
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}


@idempotent_function(data_keyword_argument="event", persistence_store=persistence, config=config)
def store(event: dict[str, Any]) -> None:
    subject = event.get("userId") or event.get("anonymousId")
    key = {
        "pk": f"{event['project']}#{subject}",
        "sk": f"E#{event.get('timestamp') or event['received_at']}#{event['messageId']}",
    }
    table.put_item(Item={**key, **event})


def record_handler(record: SQSRecord) -> None:
    # DynamoDB's types know no floating point.
    event = parse(event=json.loads(record.body, parse_float=Decimal), model=Event)
    store(event=event.model_dump(exclude_none=True))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    config.register_lambda_context(context)
    response = process_partial_response(
        event=event, record_handler=record_handler, processor=processor, context=context
    )
    logger.info("delivered", extra={"records": len(event["Records"])})
    return response
