// A small chart of the last five minutes, with axes that can be read.

import { clock, count, h, say, svg } from './dom.js';

const SPAN_MS = 300_000;
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [560, 150, 38, 8, 10, 22];

// Up to five round numbers from 0 to at least `most`.
export function ticks(most) {
  const step = [1, 2, 5, 10, 20, 25, 50].flatMap((n) => [n, n * 100, n * 10_000]).sort((a, b) => a - b).find((n) => n * 4 >= most) ?? most;
  return Array.from({ length: Math.max(1, Math.ceil(most / step)) + 1 }, (_, index) => index * step);
}

export function showChart(figure, { title, series }) {
  const now = Math.max(0, ...series.flatMap(({ points }) => points.slice(-1).map(({ at }) => at)));
  const shown = series.map((one) => ({ ...one, points: one.points.filter(({ at }) => at >= now - SPAN_MS) }));
  const values = ticks(Math.max(1, ...shown.flatMap(({ points }) => points.map(({ value }) => value))));
  const most = values.at(-1);
  const x = (at) => (LEFT + (WIDTH - LEFT - RIGHT) * (1 - (now - at) / SPAN_MS)).toFixed(1);
  const y = (value) => (TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most)).toFixed(1);

  const latest = shown.map(({ name, points }) => `${name} ${count(points.at(-1)?.value ?? 0)}`).join(', ');
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${title} over the last five minutes. Now: ${latest}.` });
  for (const value of values) {
    drawing.append(
      svg('line', { class: value ? 'grid' : 'axis', x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      svg('text', { class: 'tick', x: LEFT - 6, y: Number(y(value)) + 4, 'text-anchor': 'end' }, count(value)),
    );
  }
  for (let minutes = 5; minutes >= 0; minutes -= 1) {
    const anchor = minutes === 5 ? 'start' : minutes ? 'middle' : 'end';
    const at = x(now - minutes * 60_000);
    drawing.append(svg('text', { class: 'tick', x: at, y: HEIGHT - 5, 'text-anchor': anchor }, minutes ? `−${minutes} min` : 'now'));
  }
  for (const { points, tone } of shown) {
    if (!points.length) continue;
    const line = points.map(({ at, value }) => `${x(at)} ${y(value)}`).join('L');
    drawing.append(svg('path', { class: `line ${tone}`, d: `M${line}` }));
    if (points.length > 1) {
      drawing.append(svg('path', { class: `area ${tone}`, d: `M${x(points[0].at)} ${y(0)}L${line}L${x(points.at(-1).at)} ${y(0)}Z` }));
    }
  }
  if (!figure.firstChild) {
    const legend = h('span', { class: 'legend' });
    figure.append(h('figcaption', {}, h('strong', {}, title), legend), h('div', {}));
  }
  const [caption, place] = figure.children;
  const legend = caption.lastChild;
  if (legend.children.length !== shown.length) {
    legend.replaceChildren(...shown.map(({ name, tone }) => h('span', { class: `key ${tone}` }, `${name} `, h('b', {}))));
  }
  shown.forEach(({ points }, index) => say(legend.children[index].lastChild, count(points.at(-1)?.value ?? 0)));
  place.title = now ? `at ${clock(now)}` : '';
  place.replaceChildren(drawing);
}
