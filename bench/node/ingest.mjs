// The job of `ingest` as it is commonly written for Node: Powertools and zod read and check, and each event is a message.

import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { Logger } from '@aws-lambda-powertools/logger';
import { parse } from '@aws-lambda-powertools/parser';
import { DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
import { SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs';
import { z } from 'zod';

const logger = new Logger({ serviceName: 'ingest' });
const sqs = new SQSClient({});
const dynamodb = new DynamoDBClient({});
const QueueUrl = process.env.EVENTS_QUEUE_URL;
const TableName = process.env.EVENTS_TABLE_NAME;
const BODY_BYTES_MAX = 1_048_576;
const KEY_FRESH_MS = 60_000;

const keys = new Map();

const object = z.record(z.string(), z.unknown()).optional();
const time = z.iso.datetime({ offset: true }).optional();
const Batch = z.object({
  batch: z
    .array(
      z.object({
        type: z.enum(['track', 'identify', 'page', 'screen', 'group', 'alias']),
        messageId: z.string().min(1).max(400),
        userId: z.string().optional(),
        anonymousId: z.string().optional(),
        event: z.string().optional(),
        timestamp: time,
        properties: object,
        traits: object,
        context: object,
      }),
    )
    .min(1)
    .max(2_500),
  sentAt: time,
  writeKey: z.string().optional(),
});

const answer = (statusCode, body) => ({
  statusCode,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

function bodyOf(event) {
  const raw = Buffer.from(event.body ?? '', event.isBase64Encoded ? 'base64' : 'utf8');
  return event.headers['content-encoding'] === 'gzip' ? gunzipSync(raw, { maxOutputLength: BODY_BYTES_MAX }) : raw;
}

function writeKeyOf(event, batch) {
  const [scheme, credentials = ''] = (event.headers.authorization ?? '').split(' ');
  if (scheme.toLowerCase() !== 'basic') return batch.writeKey;
  return Buffer.from(credentials, 'base64').toString().split(':')[0];
}

// Whose key it is, remembered for a minute.
async function projectOf(writeKey) {
  const digest = createHash('sha256').update(writeKey).digest('hex');
  const known = keys.get(digest);
  if (known && Date.now() - known.asked < KEY_FRESH_MS) return known.project;
  const Key = { pk: { S: `KEY#${digest}` }, sk: { S: 'KEY' } };
  const { Item } = await dynamodb.send(new GetItemCommand({ TableName, Key }));
  if (!Item) return undefined;
  keys.set(digest, { project: Item.project.S, asked: Date.now() });
  return Item.project.S;
}

// Sends each event as a message, ten a call, and those that were refused once more.
async function send(project, calls) {
  const received_at = new Date().toISOString();
  const batches = [];
  for (let start = 0; start < calls.length; start += 10) {
    batches.push(
      calls.slice(start, start + 10).map((call, number) => ({
        Id: String(number),
        MessageBody: JSON.stringify({ project, received_at, ...call }),
        MessageGroupId: project,
      })),
    );
  }
  await Promise.all(
    batches.map(async (Entries) => {
      const { Failed = [] } = await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
      if (Failed.length === 0) return;
      const ids = new Set(Failed.map(({ Id }) => Id));
      const again = Entries.filter(({ Id }) => ids.has(Id));
      const second = await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries: again }));
      if (second.Failed?.length) throw new Error('the queue refused messages');
    }),
  );
}

export const handler = async (event) => {
  const body = bodyOf(event);
  if (body.length > BODY_BYTES_MAX) return answer(413, { code: 'too_large', message: 'the body is too large' });
  let batch;
  try {
    batch = parse(JSON.parse(body.toString()), undefined, Batch);
  } catch (error) {
    logger.warn('refused', { error: error.name });
    return answer(400, { code: 'bad_request', message: 'the body is not a batch' });
  }
  const writeKey = writeKeyOf(event, batch);
  const project = writeKey && (await projectOf(writeKey));
  if (!project) return answer(401, { code: 'unknown_write_key', message: 'nobody has this write key' });
  await send(project, batch.batch);
  logger.info('answered', { events: batch.batch.length, project });
  return answer(200, { success: true });
};
