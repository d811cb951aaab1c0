// The picture of the flow: where events are, how many, and that they add up.

import { byId, count, h, plural, say, svg } from './dom.js';
import { showChart } from './chart.js';

// What is shown, by columns in the direction in which events flow. `of` gives the figure, `total` what grows in the history.
const COLUMNS = [
  [
    { id: 'acknowledged', big: true, title: 'Accepted', of: (p) => p.account.acknowledged, total: 'acknowledged_total', note: 'answered 200, and durable' },
    { id: 'refused', title: 'Refused', of: (p) => p.refused, note: 'requests answered 4xx' },
    { id: 'failed', title: 'To be sent again', of: (p) => p.failed, note: 'requests answered 503' },
  ],
  [
    { id: 'waiting', big: true, title: 'Waiting', tone: 'wait', of: (p) => p.account.waiting, note: (p) => queueNote(p.places.queue) },
    { id: 'spill', title: 'Spill table', tone: 'wait', of: (p) => p.places.spill, note: (p) => `messages; ${plural(p.spilled, 'event')} came this way` },
    { id: 'quarantine', title: 'Quarantine', tone: 'wait', of: (p) => p.places.quarantine.visible + p.places.quarantine.hidden, note: 'messages, delivered one at a time' },
  ],
  [
    { id: 'stored', big: true, title: 'Stored', tone: 'good', of: (p) => p.account.stored, total: 'stored_total', note: 'in the events table, once' },
    { id: 'duplicate', title: 'Duplicate', of: (p) => p.account.duplicate, note: 'stored before' },
    { id: 'erased', title: 'Erased', of: (p) => p.account.erased, note: 'subject deleted' },
    { id: 'dead', title: 'Dead', tone: 'bad', of: (p) => p.account.dead, note: 'kept with the reason', href: '#letters' },
  ],
];

const nodes = new Map();

function queueNote({ visible, hidden }) {
  if (visible + hidden === 0) return 'the queue is empty';
  const wait = hidden ? `, ${count(hidden)} hidden for now` : '';
  return `${plural(visible + hidden, 'message')} in the queue${wait}`;
}

function makeNode(node) {
  const value = h('strong', { class: 'value' });
  const rate = node.total ? h('span', { class: 'rate' }) : null;
  const note = h('span', { class: 'note' });
  const title = node.href ? h('a', { href: node.href }, node.title) : node.title;
  const element = h('div', { class: `node ${node.big ? 'big' : 'small'} ${node.tone ?? ''}`, id: `node-${node.id}` },
    h('span', { class: 'name' }, title), h('span', { class: 'figures' }, value, rate), note);
  nodes.set(node.id, { node, element, value, rate, note });
  return element;
}

const arrow = () => svg('svg', { class: 'arrow', viewBox: '0 0 24 24', 'aria-hidden': 'true' },
  svg('path', { d: 'M3 12h16m-6-6 6 6-6 6' }));

function makeNodes() {
  const columns = COLUMNS.flatMap((column, position) => {
    const made = h('div', { class: 'column' }, column.filter((node) => node.big).map(makeNode),
      h('div', { class: 'smalls' }, column.filter((node) => !node.big).map(makeNode)));
    return position ? [arrow(), made] : [made];
  });
  byId('nodes').append(...columns);
}

// How many a minute, from the last minute of the history.
function perMinute(history, total) {
  const last = history.at(-1);
  const first = history.find((sample) => sample.at >= last.at - 60_000) ?? last;
  return Math.max(0, last[total] - first[total]);
}

export function showFlow(picture, history) {
  if (!nodes.size) makeNodes();
  for (const { node, element, value, rate, note } of nodes.values()) {
    const now = node.of(picture);
    say(value, count(now));
    say(note, typeof node.note === 'function' ? node.note(picture) : node.note);
    if (rate && history.length) say(rate, `${count(perMinute(history, node.total))} in the last minute`);
    element.classList.toggle('some', now > 0);
  }
  showAccount(picture.account);
  showCharts(history);
}

function showAccount(account) {
  const terms = [['stored', 'good'], ['duplicate', ''], ['erased', ''], ['dead', 'bad'], ['waiting', 'wait']];
  const term = ([name, tone]) => h('span', { class: `term ${tone} ${account[name] ? 'some' : ''}` }, h('b', {}, count(account[name])), ` ${name}`);
  const sum = byId('sum');
  const text = JSON.stringify(account);
  if (sum.dataset.shown !== text) {
    sum.dataset.shown = text;
    const right = terms.flatMap((one, position) => [position ? h('span', { class: 'sign' }, '+') : null, term(one)]);
    sum.replaceChildren(h('span', { class: 'term some' }, h('b', {}, count(account.acknowledged)), ' acknowledged'),
      h('span', { class: 'sign' }, '='), ...right.filter(Boolean));
  }
  const [state, words] = verdict(account);
  byId('verdict').className = `verdict ${state}`;
  say(byId('verdict'), words);
}

// The page's claim, in words: what waits is not what is left of the sum, but what was found in the queue and the tables.
function verdict({ acknowledged, waiting, found, looks_without_all: looks, all_looked_at: all }) {
  if (!acknowledged) return ['', 'Nothing has been acknowledged since the start. Send an event below.'];
  if (!waiting) return ['good', '✓ Nothing is lost: each has come to exactly one fate.'];
  if (found === waiting) return ['good', '✓ Nothing is lost: what waits was found in the queue, the quarantine or the spill table.'];
  if (!all) return ['', `Too much waits to be looked at one by one; of ${count(waiting)} events, ${count(found)} were found.`];
  if (looks < 15) return ['', 'Looking: some events are between two places.'];
  return ['bad', `✗ ${plural(waiting - found, 'event')} of those that wait cannot be found.`];
}

function showCharts(history) {
  const difference = (total) => history.slice(1).map((sample, index) => ({ at: sample.at, value: Math.max(0, sample[total] - history[index][total]) }));
  const level = (name) => history.map((sample) => ({ at: sample.at, value: sample[name] }));
  showChart(byId('chart-rate'), {
    title: 'Events a second',
    series: [
      { name: 'accepted', tone: 'plain', points: difference('acknowledged_total') },
      { name: 'stored', tone: 'good', points: difference('stored_total') },
    ],
  });
  showChart(byId('chart-waiting'), {
    title: 'Messages that wait',
    series: [
      { name: 'queue', tone: 'wait', points: level('waiting') },
      { name: 'spill table', tone: 'spill', points: level('spill') },
      { name: 'quarantine', tone: 'bad', points: level('quarantine') },
    ],
  });
}
