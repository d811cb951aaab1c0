// The switches that break something, each with what is promised then, and what can be seen of it.

import { byId, call, count, duration, failed, h, plural, say } from './dom.js';

const SWITCHES = [
  {
    part: 'sqs',
    title: 'SQS refuses',
    promise: 'Producers notice nothing: what the queue does not take goes through the spill table, whose stream brings it to consume. When SQS is back, the next requests find out within 30 seconds.',
    proof: ({ acknowledged, spilled, stored }) => `Since then ${count(acknowledged)} acknowledged, ${count(spilled)} through the spill table, ${count(stored)} stored.`,
  },
  {
    part: 'dynamodb',
    title: 'DynamoDB throttles',
    promise: 'Events are acknowledged and wait in the queue: 15 seconds at first, then longer, 10 minutes at the most. When DynamoDB is back, the backlog drains by itself. Looking up people and dead letters must wait, too.',
    proof: ({ acknowledged, calls, stored }) => `Since then ${count(acknowledged)} acknowledged, ${count(stored)} stored, ${plural(calls, 'call')} throttled.`,
  },
  {
    part: 'consume',
    title: 'The consumer crashes',
    promise: 'The function consume is killed in every delivery, before its work or after it, in turn. The messages come back after their visibility time-out of six minutes, each alone; what had been stored is not stored again.',
    proof: ({ acknowledged, stored }) => `Since then ${count(acknowledged)} acknowledged, ${count(stored)} stored by deliveries whose end nobody heard of.`,
  },
];

const made = new Map();
let wait = null;

function make(one) {
  const button = h('button', {
    type: 'button', role: 'switch', 'aria-checked': 'false', id: `switch-${one.part}`,
    'aria-describedby': `promise-${one.part}`, click: () => turn(one.part),
  }, h('span', { class: 'knob', 'aria-hidden': 'true' }), one.title);
  const proof = h('p', { class: 'proof' });
  const trouble = h('div', {});
  const element = h('div', { class: 'card switch' }, button, h('p', { class: 'promise', id: `promise-${one.part}` }, one.promise), proof, trouble);
  made.set(one.part, { one, element, button, proof, trouble, broken: false });
  return element;
}

async function turn(part) {
  const { button, trouble, broken } = made.get(part);
  button.disabled = true;
  try {
    show(await call(`switches/${part}`, { broken: !broken }));
    trouble.replaceChildren();
  } catch (error) {
    trouble.replaceChildren(failed(`It was not switched: ${error.message}`));
  }
  button.disabled = false;
  button.focus();
}

export function showSwitches({ switches, places }) {
  if (!made.size) {
    byId('switches').append(...SWITCHES.map(make));
    makeWait();
  }
  show(switches);
  showWait(switches.hidden_for_ms, places.queue.hidden + places.quarantine.hidden);
}

function show(switches) {
  for (const [part, { one, element, button, proof }] of made) {
    const state = switches[part];
    made.get(part).broken = Boolean(state);
    button.setAttribute('aria-checked', String(Boolean(state)));
    element.classList.toggle('broken', Boolean(state));
    say(proof, state ? one.proof(state) : '');
  }
}

function makeWait() {
  const text = h('p', {});
  const button = h('button', { type: 'button', id: 'reveal', click: reveal }, 'Let the wait pass');
  const told = h('p', { class: 'muted', role: 'status' });
  wait = { text, button, told };
  byId('wait').append(text, button, told);
}

function showWait(millis, hidden) {
  const waits = millis > 0 && hidden > 0;
  say(wait.text, waits
    ? `${plural(hidden, 'message is', 'messages are')} hidden for up to ${duration(millis)}, as on AWS. Here nobody has to sit that out.`
    : 'No message waits for its time-out.');
  wait.button.disabled = !waits;
}

async function reveal() {
  try {
    const { revealed } = await call('reveal', {});
    say(wait.told, revealed ? `${plural(revealed, 'message')} can be received again.` : 'Nothing was hidden any more.');
  } catch (error) {
    say(wait.told, `The wait goes on: ${error.message}`);
  }
}
