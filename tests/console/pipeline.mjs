// A pipeline of its own for the test, in memory and on free ports.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 30_000;

// Starts it, and waits until it says that it is ready.
export async function start(program) {
  const options = ['--ephemeral', '--port', '0', '--sqs-port', '0', '--dynamodb-port', '0'];
  // Tests run in either mode of storage.
  const period = process.env.PACKED_PERIOD;
  if (period) options.push('--parameter', `PackedPeriod=${period}`);
  const child = spawn(program, options, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = [];
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const ready = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      if (line === 'ready') resolve();
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`it ended with ${code}:\n${lines.join('\n')}`)));
    setTimeout(() => reject(new Error(`it was not ready in time:\n${lines.join('\n')}`)), START_LIMIT_MS).unref();
  });
  await ready.catch((error) => {
    child.kill('SIGKILL');
    throw error;
  });
  const address = (name) => lines.find((line) => line.startsWith(name)).split(/ +/).at(-1);
  return {
    api: address('HTTP API'),
    console: address('console'),
    dynamodb: address('DynamoDB'),
    async stop() {
      child.kill('SIGINT');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}
