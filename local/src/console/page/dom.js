// Making elements, and calling the console. Whatever comes from an event becomes a text node, never markup.

// An element with attributes and children. Functions become listeners; `true` is an attribute without a value.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// The same in SVG.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

// Sets a text only where it is another, so that nobody is told twice.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const DEADLINE_MS = 25_000;

// Calls the console: GET, or POST with a value. Throws an Error with a message for the person.
export async function call(path, value) {
  const request = value === undefined ? {} : {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(value),
  };
  const response = await fetch(`/console/api/${path}`, { ...request, signal: AbortSignal.timeout(DEADLINE_MS) });
  const answer = await response.json().catch(() => ({ message: `an answer that cannot be read (${response.status})` }));
  if (!response.ok) throw Object.assign(new Error(answer.message), { code: answer.code });
  return answer;
}

const number = new Intl.NumberFormat('en');
export const count = (value) => number.format(value);
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export const clock = (millis) => new Date(millis).toLocaleTimeString('en-GB');

export function duration(millis) {
  const seconds = Math.ceil(millis / 1000);
  if (seconds < 60) return `${seconds} s`;
  return `${Math.floor(seconds / 60)} min${seconds % 60 ? ` ${seconds % 60} s` : ''}`;
}

// JSON for reading; what is no JSON stays as it is.
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export const empty = (title, ...next) => h('div', { class: 'empty' }, h('p', {}, h('strong', {}, title)), h('p', {}, ...next));
export const failed = (message) => h('p', { class: 'notice bad', role: 'alert' }, message);
