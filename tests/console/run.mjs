// Opens the console in a browser, does with it what a person does, and checks what they see.
//
// node run.mjs --local PROGRAM [--chromium PROGRAM] [--screenshots FOLDER] [--picture FILE]
//
// With --picture it only takes the picture of the README, while DynamoDB throttles.

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { start } from './pipeline.mjs';
import * as steps from './steps.mjs';
import { launch, Visitor } from './visitor.mjs';

const { values } = parseArgs({
  options: {
    local: { type: 'string' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
    screenshots: { type: 'string' },
    picture: { type: 'string' },
  },
});
assert.ok(values.local, '--local names the program of the pipeline');

async function step(name, work) {
  const begun = Date.now();
  await work();
  console.log(`ok  ${name} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
}

async function atADesk(browser, pipeline, folder) {
  const visitor = await Visitor.open(browser, pipeline.console, { width: 1280, height: 900, folder });
  await step('it begins empty, and says what to do next', async () => {
    await steps.beginsEmpty(visitor);
    await visitor.photographs('empty');
  });
  await step('events are sent by the form, and arrive', () => steps.sendsEvents(visitor));
  await step('hostile text is text', () => steps.showsHostileTextAsText(visitor));
  await step('refusals of the API are shown', () => steps.seesErrorsOfTheApi(visitor));
  await step('without DynamoDB, they wait, and drain', () => steps.breaksDynamoDb(visitor));
  await step('a consumer that crashes loses and repeats nothing', () => steps.crashesTheConsumer(visitor));
  await step('a dead letter is tested and discarded', () => steps.discardsALetter(visitor));
  await step('a dead letter is redriven and stored', () => steps.redrivesALetter(visitor, pipeline));
  // From here on ingest may leave SQS alone for a while.
  await step('without SQS, events go through the spill table', () => steps.breaksSqs(visitor));
  await step('without both, they are to be sent again', () => steps.breaksBoth(visitor));
  await step('somebody is looked up', () => steps.looksSomebodyUp(visitor));
  await step('controls have names', () => steps.isNamed(visitor));
  await step('it fits and is legible', async () => {
    await steps.fitsItsWindow(visitor);
    await steps.isLegible(visitor, { dark: false });
    await visitor.photographs('light');
  });
  await step('the keyboard is enough', () => steps.walksByKeyboard(visitor));
  assert.deepEqual(visitor.wentWrong(), [], 'no error, and no request to another host');
  return visitor;
}

async function elsewhere(browser, pipeline, folder) {
  for (const [name, window] of [
    ['dark', { width: 1280, height: 900, dark: true }],
    ['phone', { width: 360, height: 740 }],
    ['phone-dark', { width: 360, height: 740, dark: true }],
    ['tablet', { width: 820, height: 1100 }],
  ]) {
    await step(`it fits and is legible: ${name}`, async () => {
      const visitor = await Visitor.open(browser, pipeline.console, { ...window, folder });
      await visitor.sees('.letters', /event_not_defined/);
      await steps.looksSomebodyUp(visitor);
      await visitor.page.locator('.summary').first().click();
      await visitor.sees('.letter-body:not([hidden]) pre', /\{/);
      await steps.fitsItsWindow(visitor);
      await steps.isLegible(visitor, { dark: Boolean(window.dark) });
      await visitor.photographs(name);
      assert.deepEqual(visitor.wentWrong(), []);
      await visitor.context.close();
    });
  }
}

async function visit(browser, pipeline, folder) {
  const visitor = await atADesk(browser, pipeline, folder);
  await elsewhere(browser, pipeline, folder);
  await step('a pipeline that has gone is noticed', async () => {
    await pipeline.stop();
    await steps.noticesThatThePipelineIsGone(visitor);
  });
}

async function takePicture(browser, pipeline, path) {
  const visitor = await Visitor.open(browser, pipeline.console, { width: 1240, height: 1010 });
  await steps.posesForAPicture(visitor);
  await visitor.page.screenshot({ path, animations: 'disabled' });
}

const pipeline = await start(values.local);
let browser = null;
try {
  browser = await launch(values.chromium);
  if (values.picture) {
    await takePicture(browser, pipeline, values.picture);
  } else {
    await visit(browser, pipeline, values.screenshots);
  }
} finally {
  await browser?.close();
  await pipeline.stop();
}
