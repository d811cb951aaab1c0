// A browser that does what it is told: a line of JSON on stdin is a command, a line on stdout is its answer. It ends
// when stdin ends. Its first line says that it is there.
//
// node visit.mjs CHROMIUM
//
// Commands: {"do": "open" | "go", "address"}, {"do": "call", "method", "arguments"}, {"do": "close"}. An answer is {} or
// {"error"}. That to `close` has `errors`, what the page's scripts threw and what they asked of other hosts, and `log`,
// what the browser wrote into the page's log, where a request that fails is an error.

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const PATIENCE_MS = 12_000;
const ARGUMENTS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

const browser = await chromium.launch({ executablePath: process.argv[2], headless: true, args: ARGUMENTS });
let visit = null;

const commands = {
  // A visitor whom nothing is known of, on a page with the library.
  async open({ address }) {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const errors = [];
    const log = [];
    visit = { context, page, errors, log };
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => log.push(message.text()));
    page.on('request', (request) => {
      const { protocol, hostname } = new URL(request.url());
      if (protocol !== 'data:' && hostname !== '127.0.0.1') errors.push(`it asked for ${request.url()}`);
    });
    await commands.go({ address });
  },
  async go({ address }) {
    await visit.page.goto(address);
    await visit.page.evaluate(() => window.analytics.ready());
  },
  // A call of the library, whose delivery is not waited for.
  async call({ method, arguments: given }) {
    await visit.page.evaluate(([name, values]) => void window.analytics[name](...values), [method, given]);
  },
  async close() {
    const { context, errors, log } = visit;
    visit = null;
    await context.close();
    return { errors, log };
  },
};

// Ends a wait that the browser itself would not end.
async function withPatience(work) {
  let timer = null;
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`it takes longer than ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

say({ browser: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    say((await withPatience(commands[command.do](command))) ?? {});
  } catch (error) {
    say({ error: String(error) });
  }
}
await browser.close();
