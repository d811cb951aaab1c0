// A small chart of the last minutes, five at the most, with axes that can be read.

import { clock, count, h, say, svg } from './dom.js';

const MINUTE_MS = 60_000;
const MINUTES_MAX = 5;
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [560, 150, 38, 8, 10, 22];

// Up to five round numbers from 0 to at least `most`.
export function ticks(most) {
  const step = [1, 2, 5, 10, 20, 25, 50].flatMap((n) => [n, n * 100, n * 10_000]).sort((a, b) => a - b).find((n) => n * 4 >= most) ?? most;
  return Array.from({ length: Math.max(1, Math.ceil(most / step)) + 1 }, (_, index) => index * step);
}

export function showChart(figure, { title, series }) {
  const now = Math.max(0, ...series.flatMap(({ points }) => points.slice(-1).map(({ at }) => at)));
  const first = Math.min(now, ...series.flatMap(({ points }) => points.slice(0, 1).map(({ at }) => at)));
  const minutes = Math.min(MINUTES_MAX, Math.max(1, Math.ceil((now - first) / MINUTE_MS)));
  const span = minutes * MINUTE_MS;
  const shown = series.map((one) => ({ ...one, points: one.points.filter(({ at }) => at >= now - span) }));
  const values = ticks(Math.max(1, ...shown.flatMap(({ points }) => points.map(({ value }) => value))));
  const most = values.at(-1);
  const x = (at) => (LEFT + (WIDTH - LEFT - RIGHT) * (1 - (now - at) / span)).toFixed(1);
  const y = (value) => (TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most)).toFixed(1);

  const latest = shown.map(({ name, points }) => `${name} ${count(points.at(-1)?.value ?? 0)}`).join(', ');
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${title} over the last ${minutes} min. Now: ${latest}.` });
  for (const value of values) {
    drawing.append(
      svg('line', { class: value ? 'grid' : 'axis', x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      svg('text', { class: 'tick', x: LEFT - 6, y: Number(y(value)) + 4, 'text-anchor': 'end' }, count(value)),
    );
  }
  for (let back = 0; back <= span; back += minutes > 1 ? MINUTE_MS : MINUTE_MS / 4) {
    const anchor = back === span ? 'start' : back ? 'middle' : 'end';
    const words = minutes > 1 ? `−${back / MINUTE_MS} min` : `−${back / 1000} s`;
    drawing.append(svg('text', { class: 'tick', x: x(now - back), y: HEIGHT - 5, 'text-anchor': anchor }, back ? words : 'now'));
  }
  for (const { points, tone } of shown) {
    // What has been nothing all the time would only hide the others.
    if (!points.some(({ value }) => value)) continue;
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
