// A form that sends calls to the HTTP API, as a producer does.

import { byId, count, h, plural, pretty } from './dom.js';

const SAMPLES = {
  'Segment track': ['/v1/track', { userId: 'ann', event: 'Signed Up', properties: { plan: 'pro', price: 12.5 } }],
  'Segment identify': ['/v1/identify', { userId: 'ann', traits: { name: 'Ann', email: 'ann@example.com' } }],
  'Segment page': ['/v1/page', { userId: 'ann', name: 'Pricing', properties: { path: '/pricing' } }],
  'Segment group': ['/v1/group', { userId: 'ann', groupId: 'acme', traits: { name: 'Acme' } }],
  'Segment alias': ['/v1/alias', { userId: 'ann', previousId: 'visitor-7' }],
  'Segment batch, one item refused': ['/v1/batch', { batch: [
    { type: 'track', userId: 'ann', event: 'Opened' },
    { type: 'track', userId: 'ann' },
  ] }],
  'Vero event': ['/api/v2/events/track', { auth_token: 'dev', identity: { id: 'ann' }, event_name: 'Bought', data: { item: 'lamp' } }],
  'Vero user': ['/api/v2/users/track', { auth_token: 'dev', id: 'ann', email: 'ann@example.com', data: { city: 'Oslo' } }],
  'Vero tags': ['/api/v2/users/tags/edit', { auth_token: 'dev', id: 'ann', add: ['beta'], remove: ['trial'] }],
  'Vero unsubscribe': ['/api/v2/users/unsubscribe', { auth_token: 'dev', id: 'ann' }],
  'Vero delete': ['/api/v2/users/delete', { auth_token: 'dev', id: 'ann' }],
};
const DEADLINE_MS = 35_000;
const TIMES_MAX = 500;
const AT_A_TIME = 4;

export function setUpSend() {
  const form = byId('send-form');
  const calls = h('select', { id: 'send-call', name: 'call', change: fill }, Object.keys(SAMPLES).map((name) => h('option', {}, name)));
  const hint = h('p', { class: 'hint', id: 'send-hint' });
  form.append(
    h('div', { class: 'row' },
      h('label', { class: 'grow' }, 'Call ', calls),
      h('label', {}, 'Write key ', h('input', { name: 'key', value: 'dev', autocomplete: 'off', spellcheck: 'false', size: '8', required: true })),
      h('label', {}, 'Times ', h('input', { name: 'times', type: 'number', min: '1', max: String(TIMES_MAX), value: '1', required: true }))),
    h('label', {}, h('span', {}, 'Body of ', h('code', { id: 'send-path' })),
      h('textarea', { name: 'body', id: 'send-body', rows: '9', spellcheck: 'false', 'aria-describedby': 'send-hint', input: () => check(form) })),
    hint,
    h('div', { class: 'row' }, h('button', { class: 'primary', id: 'send-button' }, 'Send')),
    h('div', { id: 'send-result', role: 'status' }),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    send(form);
  });
  fill();
}

function fill() {
  const form = byId('send-form');
  const [path, sample] = SAMPLES[form.elements.call.value];
  byId('send-path').textContent = `POST ${path}`;
  form.elements.body.value = JSON.stringify(sample, null, 2);
  check(form);
}

function check(form) {
  let words = 'Sent to the HTTP API of this pipeline as it stands, with the write key as the user name.';
  if (form.elements.call.value.startsWith('Vero')) words = 'Sent as it stands; a Vero call carries its key as auth_token. The same again within five minutes is a duplicate.';
  try {
    JSON.parse(form.elements.body.value);
  } catch {
    words = 'This is not JSON. It is sent as it stands, and the API will say what is wrong.';
  }
  byId('send-hint').textContent = words;
}

async function send(form) {
  const { call, key, times, body } = form.elements;
  const button = byId('send-button');
  const [path] = SAMPLES[call.value];
  const headers = { 'content-type': 'application/json' };
  if (!call.value.startsWith('Vero')) headers.authorization = basic(key.value);
  const request = { method: 'POST', headers, body: body.value };
  const wanted = Math.min(Number(times.value) || 1, TIMES_MAX);
  const answers = new Map();
  let left = wanted;
  button.disabled = true;
  const one = async () => {
    while (left > 0) {
      left -= 1;
      const answer = await ask(path, request);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
      if (wanted > 1) show(`Sending: ${count(wanted - left)} of ${count(wanted)}`, answers);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, wanted) }, one));
  button.disabled = false;
  show(wanted > 1 ? `${plural(wanted, 'call')} answered` : 'Answered', answers);
}

function basic(name) {
  return `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(`${name}:`)))}`;
}

// The answer as one text: status, when to come again, and body.
async function ask(path, request) {
  try {
    const response = await fetch(path, { ...request, signal: AbortSignal.timeout(DEADLINE_MS) });
    const again = response.headers.get('retry-after');
    return `${response.status}${again ? ` · Retry-After ${again} s` : ''}\n${pretty(await response.text())}`;
  } catch (error) {
    return `no answer\n${error.message}`;
  }
}

function show(title, answers) {
  const of = ([answer, times]) => {
    const [status, ...body] = answer.split('\n');
    const tone = status.startsWith('2') ? 'good' : status.startsWith('4') ? 'warn' : 'bad';
    return h('div', { class: 'answer' }, h('span', { class: `chip ${tone}` }, status), times > 1 ? ` × ${count(times)}` : null, h('pre', {}, body.join('\n')));
  };
  byId('send-result').replaceChildren(h('p', { class: 'muted' }, title), ...[...answers].map(of));
}
