// What happened last, the latest first.

import { byId, clock, count, empty, h } from './dom.js';

const WORDS = {
  accepted: 'accepted',
  refused: 'refused',
  failed: 'send again',
  stored: 'stored',
  duplicate: 'duplicate',
  erased: 'erased',
  dead: 'dead letter',
  trouble: 'trouble',
};
const TONES = { accepted: 'accent', stored: 'good', dead: 'bad', failed: 'warn', refused: 'warn', trouble: 'warn' };
const SHOWN_MAX = 120;

let paused = false;
let all = [];
let shown = '';

function setUp() {
  const filter = byId('feed-filter');
  filter.append(h('option', { value: '' }, 'everything'));
  for (const [what, word] of Object.entries(WORDS)) filter.append(h('option', { value: what }, word));
  filter.addEventListener('change', () => draw());
  const pause = byId('feed-pause');
  pause.addEventListener('click', () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
    if (!paused) draw();
  });
}

export function showFeed(feed) {
  if (!byId('feed-filter').options.length) setUp();
  all = feed;
  if (!paused) draw();
}

function draw() {
  const wanted = byId('feed-filter').value;
  const entries = all.filter(({ what }) => !wanted || what === wanted).slice(-SHOWN_MAX).reverse();
  const key = `${wanted} ${entries.length} ${entries[0]?.seq ?? ''} ${entries[0]?.at ?? ''}`;
  if (key === shown) return;
  shown = key;
  const nothing = all.length
    ? empty('Nothing of this kind yet.', 'Choose “everything” to see the others.')
    : empty('Nothing has happened yet.', 'Send an event from the form, or with the command that the pipeline printed.');
  byId('feed').replaceChildren(entries.length ? h('ol', { class: 'feed' }, entries.map(row)) : nothing);
}

function row({ at, what, text, project, id, times }) {
  return h('li', { class: what },
    h('time', { datetime: new Date(at).toISOString() }, clock(at)),
    h('span', { class: `chip ${TONES[what] ?? ''}` }, WORDS[what] ?? what),
    h('span', { class: 'text' }, text, times > 1 ? h('span', { class: 'muted' }, ` × ${count(times)}`) : null),
    project || id ? h('span', { class: 'id', title: id }, [project, id].filter(Boolean).join(' · ')) : null);
}
