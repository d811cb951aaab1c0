// Asks for the picture once a second, and hands it to the parts of the page.

import { byId, call, say } from './dom.js';
import { showFlow } from './flow.js';
import { showFeed } from './feed.js';
import { showSwitches } from './switches.js';
import { setUpSend } from './send.js';
import { refreshLetters, setUpLetters } from './letters.js';
import { setUpPerson } from './person.js';

const PERIOD_MS = 1_000;
const RETRY_MAX_MS = 5_000;
const SAMPLES_MAX = 300;
const ENTRIES_MAX = 400;

const seen = { started: null, history: [], feed: [], feedLast: 0 };
let misses = 0;
let timer = null;

// Takes in what is new. A pipeline that was started anew begins its numbers anew.
function take(picture) {
  if (seen.started !== picture.started) Object.assign(seen, { started: picture.started, history: [], feed: [], feedLast: 0 });
  seen.history = [...seen.history, ...picture.history].slice(-SAMPLES_MAX);
  // What happened last and then again has come once more, with how often.
  const [last, again] = [seen.feed.at(-1), picture.feed[0]];
  if (last && again?.times > 1 && ['what', 'text', 'id'].every((name) => last[name] === again[name])) seen.feed.pop();
  seen.feed = [...seen.feed, ...picture.feed].slice(-ENTRIES_MAX);
  seen.feedLast = picture.feed_last;
}

async function look() {
  timer = null;
  try {
    const same = seen.started === null ? '' : `&started=${seen.started}`;
    const picture = await call(`state?history=${seen.history.at(-1)?.seq ?? 0}&feed=${seen.feedLast}${same}`);
    const dead = seen.history.at(-1)?.dead_total;
    take(picture);
    show(picture);
    if (dead !== undefined && dead !== seen.history.at(-1)?.dead_total) refreshLetters();
    misses = 0;
  } catch (error) {
    misses += 1;
    lost(error);
  }
  schedule();
}

function schedule() {
  if (timer === null && !document.hidden) timer = setTimeout(look, Math.min(PERIOD_MS * (misses + 1), RETRY_MAX_MS));
}

function show(picture) {
  byId('contact').hidden = true;
  showFlow(picture, seen.history);
  showFeed(seen.feed);
  showSwitches(picture);
  health(picture);
  say(byId('version'), `Code version ${picture.code_version}.`);
}

function health({ switches, places, account }) {
  const names = { sqs: 'SQS refuses', dynamodb: 'DynamoDB throttles', consume: 'the consumer crashes' };
  const broken = Object.keys(names).filter((part) => switches[part]).map((part) => names[part]);
  const pill = byId('health');
  let [state, text] = ['good', 'all well'];
  if (account.looks_without_all > 15) [state, text] = ['bad', 'events are missing'];
  else if (broken.length) [state, text] = ['warn', broken.join(', ')];
  else if (places.quarantine.visible + places.quarantine.hidden) [state, text] = ['warn', 'messages in quarantine'];
  else if (account.waiting) [state, text] = ['busy', 'draining'];
  pill.className = `pill ${state}`;
  say(pill, text);
}

function lost(error) {
  const contact = byId('contact');
  contact.hidden = false;
  const advice = error.code ? error.message : 'Is it still running? This page tries again by itself.';
  say(contact, `No contact with the pipeline. ${advice}`);
  byId('health').className = 'pill bad';
  say(byId('health'), 'no contact');
}

setUpSend();
setUpLetters();
setUpPerson();
document.addEventListener('visibilitychange', schedule);
look();
