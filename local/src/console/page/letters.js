// Dead letters: what they are, and what can be done about each.

import { byId, call, empty, failed, h, plural, pretty, say } from './dom.js';

const STATES = { waiting: 'bad', redriven: 'wait', settled: 'good', discarded: '' };
let asked = 0;
let soon = null;

export function setUpLetters() {
  byId('letters-form').addEventListener('submit', (event) => {
    event.preventDefault();
    load();
  });
  load();
}

// Loads the list again in a moment, since what changes it comes in numbers.
export function refreshLetters() {
  soon ??= setTimeout(() => {
    soon = null;
    load();
  }, 700);
}

async function load() {
  const mine = asked += 1;
  const list = byId('letters-list');
  if (!list.firstChild) list.replaceChildren(h('p', { class: 'empty' }, 'Loading…'));
  const project = byId('letters-form').elements.project.value.trim();
  try {
    const { letters, more, days } = await call(`letters?project=${encodeURIComponent(project)}`);
    if (mine !== asked) return;
    const open = letters.filter(({ state }) => state === 'waiting').length;
    say(byId('letters-count'), letters.length ? `${plural(open, 'letter')} to look at, of ${plural(letters.length, 'letter')} of ${days} days${more ? '; there are more' : ''}` : '');
    if (letters.length) show(list, letters);
    else list.replaceChildren(empty('No dead letters.', 'Send “Segment batch, one item refused” above to make one: the bad item comes here, its neighbour is stored.'));
  } catch (error) {
    if (mine === asked) list.replaceChildren(failed(`The letters cannot be listed: ${error.message}`));
  }
}

// What is open stays open, with what was typed into it.
function show(list, letters) {
  const before = new Map([...list.querySelectorAll('li[data-name]')].map((item) => [item.dataset.name, item]));
  const items = letters.map((letter) => {
    const item = before.get(letter.name) ?? make(letter);
    say(item.querySelector('.state'), letter.state);
    item.querySelector('.state').className = `chip state ${STATES[letter.state] ?? ''}`;
    const closed = ['settled', 'discarded', 'erased'].includes(letter.state);
    item.dataset.closed = closed;
    for (const button of item.querySelectorAll('button.change')) button.disabled = closed;
    return item;
  });
  const present = list.querySelector('ul');
  const ul = present ?? h('ul', { class: 'letters' });
  if (!present) list.replaceChildren(ul);
  // Only what moves is touched, so that the focus stays where it is.
  items.forEach((item, index) => {
    if (ul.children[index] !== item) ul.insertBefore(item, ul.children[index] ?? null);
  });
  while (ul.children.length > items.length) ul.lastChild.remove();
}

function make(letter) {
  const body = h('div', { class: 'letter-body', hidden: true });
  const button = h('button', { type: 'button', class: 'summary', 'aria-expanded': 'false', click: () => toggle(letter, button, body) },
    h('span', { class: 'chip state' }, letter.state),
    h('code', { class: 'reason' }, letter.reason),
    h('span', { class: 'text' }, letter.detail),
    h('time', { datetime: letter.first_seen }, letter.first_seen.replace('T', ' ').replace(/\..*/, '')));
  return h('li', { 'data-name': letter.name }, button, body);
}

async function toggle(letter, button, body) {
  const opens = body.hidden;
  body.hidden = !opens;
  button.setAttribute('aria-expanded', String(opens));
  if (!opens) return;
  body.replaceChildren(h('p', { class: 'muted' }, 'Loading…'));
  try {
    const { letter: fresh, body: text } = await call(`letter?name=${encodeURIComponent(letter.name)}`);
    body.replaceChildren(...details(fresh, text, body));
  } catch (error) {
    body.replaceChildren(failed(error.message));
  }
}

function details(letter, text, body) {
  const facts = [
    ['Letter', letter.name], ['Reason', letter.reason], ['Detail', letter.detail], ['Found out at', letter.stage],
    ['Call', letter.call], ['Source', letter.source], ['Came', letter.first_seen], ['Attempts', String(letter.attempts)],
    ['Redriven', letter.redrives ? plural(letter.redrives, 'time') : ''], ['Note', letter.note],
  ].filter(([, value]) => value);
  const result = h('div', { class: 'result', role: 'status' });
  const act = (path, value, words) => async () => {
    result.replaceChildren(h('p', { class: 'muted' }, 'Working…'));
    try {
      result.replaceChildren(words(await call(path, value?.())));
      if (value) refreshLetters();
    } catch (error) {
      result.replaceChildren(failed(error.message));
    }
  };
  const name = encodeURIComponent(letter.name);
  const note = h('input', { class: 'note', maxlength: '1000', autocomplete: 'off' });
  const closed = () => body.closest('li').dataset.closed === 'true';
  const change = (label, click) => h('button', { type: 'button', class: 'change', disabled: closed(), click }, label);
  return [
    h('dl', {}, facts.map(([term, value]) => [h('dt', {}, term), h('dd', {}, value)])),
    h('pre', { tabindex: '0', role: 'region', 'aria-label': 'Body of the letter' }, pretty(text)),
    h('div', { class: 'row actions' },
      h('button', { type: 'button', click: act(`letter/test?name=${name}`, undefined, verdict) }, 'Test'),
      change('Redrive', act('letter/redrive', () => ({ name: letter.name }), ({ round }) => good(`Sent round again, for the ${plural(round, 'time')} in all. It is settled when everything in it has another fate.`))),
      h('label', { class: 'grow' }, 'Why it need not be stored ', note),
      change('Discard', act('letter/discard', () => ({ name: letter.name, note: note.value }), () => good('Discarded. It is kept until it expires.')))),
    result,
  ];
}

const good = (text) => h('p', { class: 'notice good' }, text);

function verdict({ verdict: word, events, refused, reason, detail }) {
  if (word === 'storable') return good(`It would pass: ${plural(events, 'event')} would be stored, unless stored before${refused ? `; ${plural(refused, 'item')} would be refused again` : ''}.`);
  if (word === 'still_dead') return h('p', { class: 'notice warn' }, `It would come back: ${reason}: ${detail}`);
  return h('p', { class: 'notice' }, `Only trying would tell: ${detail}`);
}
