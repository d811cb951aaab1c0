// The job of `consume` as it is commonly written for Node: Powertools' batch and idempotency around one write an event.

import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import { Logger } from '@aws-lambda-powertools/logger';
import { parse } from '@aws-lambda-powertools/parser';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, PutCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';

const logger = new Logger({ serviceName: 'consume' });
const table = DynamoDBDocumentClient.from(new DynamoDBClient({}));
const TableName = process.env.EVENTS_TABLE_NAME;
const processor = new BatchProcessor(EventType.SQS);
const persistenceStore = new DynamoDBPersistenceLayer({ tableName: process.env.IDEMPOTENCY_TABLE_NAME });
const config = new IdempotencyConfig({ eventKeyJmesPath: '[project, messageId]' });

const object = z.record(z.string(), z.unknown()).optional();
const Event = z.object({
  project: z.string(),
  received_at: z.string(),
  type: z.string(),
  messageId: z.string(),
  userId: z.string().optional(),
  anonymousId: z.string().optional(),
  event: z.string().optional(),
  timestamp: z.string().optional(),
  properties: object,
  traits: object,
  context: object,
});

const store = makeIdempotent(
  async (event) => {
    const subject = event.userId ?? event.anonymousId;
    const sk = `E#${event.timestamp ?? event.received_at}#${event.messageId}`;
    await table.send(new PutCommand({ TableName, Item: { pk: `${event.project}#${subject}`, sk, ...event } }));
  },
  { persistenceStore, config },
);

const recordHandler = (record) => store(parse(JSON.parse(record.body), undefined, Event));

export const handler = async (event, context) => {
  config.registerLambdaContext(context);
  const response = await processPartialResponse(event, recordHandler, processor, { context });
  logger.info('delivered', { records: event.Records.length });
  return response;
};
