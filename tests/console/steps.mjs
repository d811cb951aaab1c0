// What a person does with the console, and what they must see.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

const HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>';

export async function beginsEmpty(visitor) {
  await visitor.sees('#verdict', /^Nothing has been acknowledged/);
  await visitor.sees('#letters-list', /No dead letters/);
  await visitor.sees('#feed', /Nothing has happened yet/);
}

export async function sendsEvents(visitor) {
  await visitor.sends({ call: 'Segment identify' });
  await visitor.sends({ times: 5 });
  await visitor.sends({ call: 'Vero event', times: 2 });
  await visitor.counts('acknowledged', 8, true);
  await visitor.counts('stored', 7, true);
  await visitor.counts('duplicate', 1, true);
  await visitor.sees('#feed', /stored.*track Signed Up/s);
  await visitor.sees('#verdict', /^✓ Nothing is lost: each/);
}

// Whatever came with an event is text on the page, in the feed, in a letter and in a timeline.
export async function showsHostileTextAsText(visitor) {
  const { page } = visitor;
  const title = await page.title();
  await visitor.sends({ body: { userId: 'mallory', event: HOSTILE, properties: { [HOSTILE]: HOSTILE } } });
  await visitor.sends({ call: 'Segment identify', body: { userId: 'mallory', traits: { [HOSTILE]: HOSTILE } } });
  await visitor.sends({ body: { userId: 'mallory', event: { no: HOSTILE } } }, /^200/);
  await visitor.sees('#feed', /stored.*<img src=x onerror/s);
  await visitor.drains();
  await page.fill('#person-form [name=id]', 'mallory');
  await page.press('#person-form [name=id]', 'Enter');
  await visitor.sees('.profile', /<script>/);
  await visitor.sees('.timeline', /<script>/);
  await visitor.sees('.letters', /event_not_string/);
  await page.locator('.summary', { hasText: 'event_not_string' }).click();
  await visitor.sees('.letter-body:not([hidden]) pre', /<script>/);
  assert.equal(await page.title(), title);
  assert.equal(await page.locator('main img, main script').count(), 0);
  await page.locator('.summary[aria-expanded=true]').click();
}

export async function seesErrorsOfTheApi(visitor) {
  await visitor.sends({ key: 'nobody' }, /^401/);
  await visitor.sends({ body: '{' }, /^400/);
  await visitor.counts('refused', 2, true);
}

export async function breaksSqs(visitor) {
  const stored = await visitor.figure('stored');
  await visitor.turns('sqs', true);
  await visitor.sees('#health', /SQS refuses/);
  await visitor.sends({ times: 6 });
  await visitor.sees('#node-spill .note', /6 events came this way/);
  await visitor.counts('stored', stored + 6);
  await visitor.counts('spill', 0, true);
  await visitor.turns('sqs', false);
  await visitor.sends({ times: 2 });
  await visitor.counts('stored', stored + 8, true);
  await visitor.drains();
}

export async function breaksDynamoDb(visitor) {
  const stored = await visitor.figure('stored');
  await visitor.turns('dynamodb', true);
  await visitor.sends({ times: 20 });
  await visitor.counts('waiting', 20, true);
  await visitor.sees('#verdict', /^✓ Nothing is lost: what waits was found/);
  await visitor.sees('.broken .proof', /20 acknowledged, 0 stored/);
  await visitor.photographs('broken');
  await visitor.turns('dynamodb', false);
  await visitor.drains();
  assert.equal(await visitor.figure('stored'), stored + 20);
}

export async function breaksBoth(visitor) {
  await visitor.turns('sqs', true);
  await visitor.turns('dynamodb', true);
  await visitor.sends({}, /^503 · Retry-After \d+ s/);
  await visitor.turns('sqs', false);
  await visitor.turns('dynamodb', false);
  await visitor.counts('failed', 1);
  // ingest leaves both alone for a while.
  const deadline = Date.now() + 60_000;
  for (;;) {
    await visitor.sends({}, /^(200|503)/);
    if (/^200/.test(await visitor.page.locator('#send-result .chip').first().textContent())) break;
    assert.ok(Date.now() < deadline, 'it goes on answering 503');
    await visitor.page.waitForTimeout(1_000);
  }
  await visitor.drains();
}

export async function crashesTheConsumer(visitor) {
  const stored = await visitor.figure('stored');
  await visitor.turns('consume', true);
  await visitor.sends({ times: 12 });
  await visitor.sees('#feed', /Runtime exited/);
  await visitor.sees('#wait', /hidden for up to/);
  await visitor.sees('#verdict', /^✓ Nothing is lost/);
  await visitor.turns('consume', false);
  await visitor.drains();
  assert.equal(await visitor.figure('stored'), stored + 12, 'each is stored once');
}

// A letter that will never pass is understood and discarded.
export async function discardsALetter(visitor) {
  const { page } = visitor;
  await visitor.sends({ call: 'Segment batch, one item refused' });
  const summary = page.locator('li[data-closed=false] .summary', { hasText: 'event_not_defined' }).first();
  await summary.click();
  const letter = page.locator('li', { has: page.locator('.summary[aria-expanded=true]') });
  await letter.getByRole('button', { name: 'Test' }).click();
  await visitor.sees('.result', /It would come back: event_not_defined/);
  await letter.getByRole('button', { name: 'Redrive' }).click();
  await visitor.sees('.result [role=alert]', /it would come back/);
  await letter.getByRole('button', { name: 'Discard' }).click();
  await visitor.sees('.result [role=alert]', /say why/);
  await letter.getByLabel('Why it need not be stored').fill('a test of ours');
  await visitor.photographs('letter');
  await letter.getByRole('button', { name: 'Discard' }).click();
  await visitor.sees('.result', /^Discarded/);
  await letter.locator('.state', { hasText: 'discarded' }).waitFor();
  await page.locator('.summary[aria-expanded=true]').click();
}

// Events of a key that nobody knew when they came: they are dead letters until somebody makes the key.
export async function redrivesALetter(visitor, pipeline) {
  const { page } = visitor;
  const stored = await visitor.figure('stored');
  await visitor.turns('dynamodb', true);
  await visitor.sends({ key: 'new-key', body: { userId: 'zoe', event: 'Came Early' } });
  await visitor.turns('dynamodb', false);
  await visitor.drains();
  await createKey(pipeline.dynamodb, 'new-key');
  await page.locator('.summary', { hasText: 'unknown_write_key' }).first().click();
  const letter = page.locator('li', { has: page.locator('.summary[aria-expanded=true]') });
  await letter.getByRole('button', { name: 'Test' }).click();
  await visitor.sees('.result', /Only trying would tell/);
  await letter.getByRole('button', { name: 'Redrive' }).click();
  await visitor.sees('.result', /Sent round again/);
  await visitor.counts('stored', stored + 1, true);
  await letter.locator('.state', { hasText: 'settled' }).waitFor();
  await visitor.sees('#verdict', /^✓ Nothing is lost: each/);
  await page.locator('.summary[aria-expanded=true]').click();
}

async function createKey(dynamodb, key) {
  const hash = createHash('sha256').update(key).digest('hex');
  const item = { pk: `KEY#${hash}`, sk: 'KEY', project: 'dev', source: 'new' };
  const texts = Object.fromEntries(Object.entries(item).map(([name, text]) => [name, { S: text }]));
  const response = await fetch(dynamodb, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': 'DynamoDB_20120810.PutItem',
      // The stand-in looks whether a signature is there, and not at what it says.
      'x-amz-date': '20260101T000000Z',
      authorization: 'AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0',
    },
    body: JSON.stringify({ TableName: 'holdfast-EventsTable', Item: texts }),
    signal: AbortSignal.timeout(10_000),
  });
  assert.equal(response.status, 200, await response.text());
}

export async function looksSomebodyUp(visitor) {
  const { page } = visitor;
  await page.fill('#person-form [name=id]', 'nobody-yet');
  await page.press('#person-form [name=id]', 'Enter');
  await visitor.sees('#person-found', /Nothing is known of nobody-yet/);
  await page.fill('#person-form [name=id]', 'ann');
  await page.press('#person-form [name=id]', 'Enter');
  await visitor.sees('.profile', /ann@example\.com/);
  await visitor.sees('.timeline', /track Signed Up/);
  const before = await page.locator('.timeline li').count();
  await page.getByRole('button', { name: 'Earlier events' }).click();
  await page.locator(`.timeline li >> nth=${before}`).waitFor();
}

// Everything is reached and worked with keys alone, and the focus can be seen wherever it is.
export async function walksByKeyboard(visitor) {
  const { page } = visitor;
  await page.reload();
  await visitor.sees('#node-acknowledged .value', /\d/);
  const wanted = ['a.skip', '#switch-sqs', '#switch-dynamodb', '#switch-consume', '#send-call', '#send-body', '#send-button', '#feed-filter',
    '#feed-pause', '#feed', '#letters-form input', '.summary', '#person-form [name=id]'];
  const reached = new Set();
  const focus = page.locator(':focus');
  for (let step = 0; step < 80; step += 1) {
    await page.keyboard.press('Tab');
    if (!(await focus.count())) break;
    for (const selector of wanted) {
      if (await page.locator(`${selector}:focus`).count()) reached.add(selector);
    }
    const outline = await focus.evaluate((element) => getComputedStyle(element).outlineStyle);
    assert.equal(outline, 'solid', `the focus is seen on ${await focus.evaluate((element) => element.outerHTML.slice(0, 100))}`);
  }
  assert.deepEqual(wanted.filter((selector) => !reached.has(selector)), [], 'every control is reached');

  await page.focus('#switch-consume');
  await page.keyboard.press('Space');
  await page.locator('#switch-consume[aria-checked=true]:focus').waitFor();
  await page.keyboard.press('Enter');
  await page.locator('#switch-consume[aria-checked=false]:focus').waitFor();
  const acknowledged = await visitor.figure('acknowledged');
  await page.focus('#send-button');
  await page.keyboard.press('Enter');
  await visitor.counts('acknowledged', acknowledged + 1);
  await page.focus('.summary');
  await page.keyboard.press('Enter');
  await page.locator('.summary[aria-expanded=true]').waitFor();
  await page.keyboard.press('Enter');
  await page.locator('.summary[aria-expanded=true]').waitFor({ state: 'detached' });
}

// Controls have names, and headings an order, for those who hear the page.
export async function isNamed(visitor) {
  const nameless = await visitor.page.locator('button, input, select, textarea, [role=region], nav').evaluateAll((elements) => elements
    .filter((element) => !(element.labels?.length || element.getAttribute('aria-label') || element.getAttribute('aria-labelledby') || element.textContent.trim()))
    .map((element) => element.outerHTML));
  assert.deepEqual(nameless, []);
  assert.equal(await visitor.page.locator('h1').count(), 1);
}

// Nothing is cut off, and nothing makes the page scroll sideways.
export async function fitsItsWindow(visitor) {
  const widths = await visitor.page.locator('html').evaluate((html) => [html.scrollWidth, html.clientWidth]);
  assert.equal(widths[0], widths[1], `the page is ${widths[0]} px wide in a window of ${widths[1]}`);
}

// The contrast of text and ground is at least what WCAG asks of text (4.5:1).
export async function isLegible(visitor, { dark }) {
  const { ground, pairs } = await visitor.page.locator('body').evaluate((body) => {
    const rgb = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
    const cards = getComputedStyle(document.querySelector('.card')).backgroundColor;
    const texts = ['.node .name', '.note', '.promise', '.hint', '.tick', '.muted', 'nav a', '.some .value', '#verdict', '.empty, .summary'];
    const colour = (element) => (element instanceof SVGElement ? getComputedStyle(element).fill : getComputedStyle(element).color);
    const found = texts.map((selector) => [selector, document.querySelector(selector)]).filter(([, element]) => element);
    return {
      ground: rgb(getComputedStyle(body).backgroundColor),
      pairs: found.map(([selector, element]) => ({ selector, text: rgb(colour(element)), card: rgb(cards) })),
    };
  });
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [more, less] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (more + 0.05) / (less + 0.05);
  };
  assert.equal(luminance(ground) < 0.2, dark, 'the ground is of the scheme that was asked for');
  for (const { selector, text, card } of pairs) {
    assert.ok(contrast(text, card) >= 4.5, `${selector} has a contrast of ${contrast(text, card).toFixed(2)}`);
  }
}

// Half a minute of traffic, in the middle of an outage.
export async function posesForAPicture(visitor) {
  await visitor.sends({ call: 'Segment batch, one item refused' });
  await visitor.sends({ call: 'Vero event', times: 3 });
  for (const times of [12, 25, 18, 40, 22, 35, 28, 16]) {
    await visitor.sends({ call: times % 4 ? 'Segment track' : 'Segment page', times });
    await visitor.page.waitForTimeout(2_000);
  }
  await visitor.turns('dynamodb', true);
  for (const times of [24, 30, 21, 26]) {
    await visitor.sends({ times });
    await visitor.page.waitForTimeout(2_000);
  }
  await visitor.isCurrent();
  await visitor.sees('#verdict', /^✓ Nothing is lost: what waits was found/);
  await visitor.page.locator('html').evaluate((html) => html.scrollTo(0, 0));
}

export async function noticesThatThePipelineIsGone(visitor) {
  await visitor.sees('#contact', /No contact with the pipeline/);
  await visitor.sees('#health', /no contact/);
}
