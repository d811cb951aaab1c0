// What is known of a person, and what they have done.

import { byId, call, empty, failed, h, plural } from './dom.js';

export function setUpPerson() {
  const found = byId('person-found');
  const form = byId('person-form');
  found.append(empty('Nobody looked up yet.', 'Send an event for “ann” above, and look her up here: what is known of her, and what she has done.'));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const whom = new URLSearchParams({ project: form.elements.project.value.trim(), id: form.elements.id.value.trim() });
    found.replaceChildren(h('p', { class: 'empty' }, 'Looking…'));
    try {
      show(found, whom, await call(`person?${whom}`));
    } catch (error) {
      found.replaceChildren(failed(error.message));
    }
  });
}

function show(found, whom, { known, events, next }) {
  if (!known && !events.length && !next) {
    found.replaceChildren(empty(`Nothing is known of ${whom.get('id')}.`, 'An event that waits is not here yet; one that was refused is among the dead letters.'));
    return;
  }
  const list = h('ol', { class: 'timeline', tabindex: '0', 'aria-label': 'Events, the latest first' }, events.map(item));
  const more = h('button', { type: 'button', hidden: !next }, 'Earlier events');
  more.addEventListener('click', async () => {
    more.disabled = true;
    try {
      const page = await call(`person?${whom}&after=${encodeURIComponent(next)}`);
      list.append(...page.events.map(item));
      next = page.next;
      more.hidden = !next;
    } catch (error) {
      more.before(failed(error.message));
    }
    more.disabled = false;
  });
  found.replaceChildren(h('div', { class: 'person' }, profile(whom, known),
    h('div', { class: 'done' }, h('h3', {}, 'Timeline'), events.length ? list : h('p', { class: 'muted' }, 'No events.'), more)));
}

function profile(whom, known) {
  const title = h('h3', {}, whom.get('id'));
  if (!known) return h('div', { class: 'profile' }, title, h('p', { class: 'muted' }, 'No profile: only events that say nothing of the person.'));
  const others = (ids) => ids.filter((id) => id !== known.id);
  const mail = { true: 'wants mail', false: 'wants no mail' }[String(known.subscribed)];
  const facts = [
    ...Object.entries(known.traits).map(([name, value]) => [name, value]),
    ...Object.entries(known.groups).map(([name, value]) => [`group ${name}`, value]),
  ];
  const chips = [...known.tags.map((tag) => h('span', { class: 'chip accent' }, tag)), mail ? h('span', { class: 'chip' }, mail) : null];
  return h('div', { class: 'profile' }, title,
    h('p', { class: 'chips' }, chips),
    known.deleted ? h('p', { class: 'notice warn' }, `Deleted: nothing from before ${known.deleted} is kept.`) : null,
    others(known.ids).length ? h('p', {}, `Also known as ${others(known.ids).join(', ')}.`) : null,
    known.devices.length ? h('p', {}, `Devices and addresses: ${known.devices.join(', ')}.`) : null,
    known.isWhole ? null : h('p', { class: 'notice warn' }, 'There are more ids or devices than are read as one; what is there is not shown here.'),
    known.laterIds.length ? h('p', {}, `Became ${known.laterIds.join(', ')}.`) : null,
    facts.length
      ? h('dl', {}, facts.map(([name, value]) => [h('dt', {}, name), h('dd', {}, typeof value === 'string' ? value : JSON.stringify(value))]))
      : h('p', { class: 'muted' }, plural(0, 'trait', 'traits')));
}

function item({ kind, name, target, time, home, user, source, data }) {
  const text = data ? JSON.stringify(data) : '';
  return h('li', {},
    h('time', { datetime: time }, time.replace('T', ' ').replace(/\.\d+Z$/, '')),
    h('span', { class: 'what' }, h('span', { class: 'chip' }, kind), ' ', name ?? target ?? ''),
    h('span', { class: 'id' }, `${user ?? `${home}, names nobody`} · ${source}`),
    text && text !== '{}' ? h('code', { class: 'data' }, text) : null);
}
