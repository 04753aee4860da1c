// Charts over the time of a run, as SVG. A chart is a figure with a legend, which has the values, and a plot that is a slider for the
// keyboard: it reads one moment after the other.

const height = 180, left = 58, right = 10, top = 8, bottom = 22;
// gap is how far apart, in seconds, samples are that no line joins: some between them were missed.
const gap = 3.5;

// clock writes a time of the run.
export function clock(seconds) {
  if (seconds < 120) return `${Number(seconds.toFixed(1))} s`;
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;
}

// timeScale maps times to places, and has the ticks of the axis.
function timeScale([from, to], width) {
  const span = Math.max(to - from, 1);
  const most = Math.max(2, Math.floor((width - left - right) / 70));
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200].find((s) => span / s <= most) ?? 14400;
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to + 1e-9; at += step) ticks.push(at);
  return { x: (at) => left + (Math.min(Math.max(at, from), to) - from) / span * (width - left - right), ticks };
}

// linear is the scale of numbers from 0 to the most, which are whole or large.
function linear(most) {
  const rough = Math.max(most / 3, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= rough);
  const end = Math.max(step, Math.ceil(most / step) * step);
  const ticks = [];
  for (let v = 0; v <= end * 1.0001; v += step) ticks.push(v);
  return { y: (v) => top + (height - top - bottom) * (1 - v / end), ticks };
}

// logarithmic is the scale of the decades that have the values, one at least.
function logarithmic(values) {
  const positive = values.filter((v) => v > 0);
  const low = positive.length ? Math.min(...positive) : 0.1, high = positive.length ? Math.max(...positive) : 1;
  const from = Math.floor(Math.log10(low)), to = Math.max(Math.ceil(Math.log10(high)), from + 1);
  const ticks = [];
  for (let e = from; e <= to; e++) ticks.push(10 ** e);
  const y = (v) => top + (height - top - bottom) * (1 - (Math.log10(Math.max(v, 10 ** from)) - from) / (to - from));
  return { y, ticks };
}

// runs splits samples where some are missing between them.
function runs(samples) {
  const out = [];
  samples.forEach((s, i) => {
    if (i === 0 || s.at - samples[i - 1].at > gap) out.push([]);
    out.at(-1).push(s);
  });
  return out;
}

const path = (points, command = 'M') =>
  points.map(([x, y], i) => `${i ? 'L' : command}${x.toFixed(1)} ${y.toFixed(1)}`).join('');

// Chart is one figure. Its series have a name, a colour (a property of the style sheet), a function of a sample, perhaps a dash, and perhaps
// a function that tells whether the legend has them.
export class Chart {
  // move is called with a step, an index or null when somebody reads another moment.
  constructor({ name, series, stacked = false, log = false, format, tick = format, move }) {
    Object.assign(this, { name, series, stacked, log, format, tick });
    this.figure = document.createElement('figure');
    this.figure.innerHTML = '<figcaption></figcaption><ul class="legend" aria-hidden="true"></ul><div class="plot" tabindex="0" role="slider"></div>';
    [this.caption, this.legend, this.plot] = this.figure.children;
    this.caption.textContent = name;
    this.plot.setAttribute('aria-label', name);
    this.values = series.map((s) => {
      const item = document.createElement('li');
      const mark = stacked ? '<rect width="18" height="10" rx="2" style="fill:var(' + s.colour + ')"/>'
        : `<path d="M1 5H17" class="line" style="stroke:var(${s.colour})" stroke-dasharray="${s.dash ?? ''}"/>`;
      item.innerHTML = `<svg viewBox="0 0 18 10" aria-hidden="true">${mark}</svg><span></span> <b></b>`;
      item.children[1].textContent = s.name;
      this.legend.append(item);
      return item.children[2];
    });
    this.plot.addEventListener('keydown', (e) => {
      const how = { ArrowLeft: { step: -1 }, ArrowDown: { step: -1 }, ArrowRight: { step: 1 }, ArrowUp: { step: 1 }, PageDown: { step: -10 },
        PageUp: { step: 10 }, Home: { first: true }, End: { last: true }, Escape: { follow: true } }[e.key];
      if (!how || e.ctrlKey || e.altKey || e.metaKey) return;
      e.preventDefault();
      move(how);
      this.read();
    });
    this.plot.addEventListener('focus', () => this.read());
    this.plot.addEventListener('pointermove', (e) => move({ at: this.timeAt(e.clientX - this.plot.getBoundingClientRect().left) }));
    this.plot.addEventListener('pointerleave', () => move({ follow: true }));
  }

  timeAt(x) {
    const [from, to] = this.view?.domain ?? [0, 1];
    return from + (x - left) / Math.max(1, this.plot.clientWidth - left - right) * (to - from);
  }

  // read tells a screen reader the moment that is shown.
  read() {
    const { samples = [], shown } = this.view ?? {};
    this.plot.setAttribute('aria-valuemin', 0);
    this.plot.setAttribute('aria-valuemax', Math.max(0, samples.length - 1));
    this.plot.setAttribute('aria-valuenow', Math.max(0, samples.indexOf(shown)));
    this.plot.setAttribute('aria-valuetext', shown
      ? `${clock(shown.at)}: ${this.series.map((s) => `${s.name} ${this.format(s.of(shown))}`).join(', ')}` : 'nothing yet');
  }

  // draw shows samples over a domain of time, with marks for faults. shown is the sample whose values the legend has, and cursor tells
  // whether a line marks it.
  draw(view) {
    this.view = view;
    const { samples, faults, domain, shown, cursor } = view;
    const width = this.plot.clientWidth;
    this.series.forEach((s, i) => {
      this.values[i].textContent = shown ? this.format(s.of(shown)) : '';
      this.values[i].parentNode.hidden = s.when != null && !s.when();
    });
    if (width < left + right + 20) return;
    const time = timeScale(domain, width);
    const totals = samples.map((s) => this.series.map((one) => one.of(s)));
    const scale = this.log ? logarithmic(totals.flat())
      : linear(Math.max(1, ...totals.map((t) => (this.stacked ? t.reduce((a, b) => a + b, 0) : Math.max(...t)))));
    const floor = height - bottom;
    const parts = scale.ticks.map((v) => `<line class="grid" x1="${left}" x2="${width - right}" y1="${scale.y(v)}" y2="${scale.y(v)}"/>`
      + `<text class="scale" x="${left - 8}" y="${scale.y(v) + 4}" text-anchor="end">${this.tick(v)}</text>`);
    for (const at of time.ticks) {
      parts.push(`<g class="tick"><line x1="${time.x(at)}" x2="${time.x(at)}" y1="${floor}" y2="${floor + 4}"/>`
        + `<text x="${Math.min(time.x(at), width - 14)}" y="${floor + 17}" text-anchor="middle">${clock(at)}</text></g>`);
    }
    for (const run of runs(samples)) parts.push(...(this.stacked ? this.areas(run, time, scale) : this.lines(run, time, scale)));
    for (const at of new Set(faults.filter((f) => f.at >= domain[0]).map((f) => time.x(f.at).toFixed(1)))) {
      parts.push(`<line class="fault" x1="${at}" x2="${at}" y1="${top}" y2="${floor}"/><path class="fault-head" d="M${at} ${top + 7}l-5 -8h10z"/>`);
    }
    if (cursor && shown) parts.push(`<line class="cursor" x1="${time.x(shown.at)}" x2="${time.x(shown.at)}" y1="${top}" y2="${floor}"/>`);
    // Nothing but numbers and words of this file is in it.
    this.plot.innerHTML = `<svg viewBox="0 0 ${width} ${height}" aria-hidden="true">${parts.join('')}</svg>`;
  }

  lines(run, time, scale) {
    return this.series.map((s) => `<path class="line" style="stroke:var(${s.colour})" stroke-dasharray="${s.dash ?? ''}" d="`
      + `${path([...run, ...(run.length === 1 ? run : [])].map((v) => [time.x(v.at), scale.y(s.of(v))]))}"/>`);
  }

  areas(run, time, scale) {
    let below = run.map(() => 0);
    return this.series.map((s) => {
      const above = run.map((v, i) => below[i] + s.of(v));
      const edge = (heights) => run.map((v, i) => [time.x(v.at), scale.y(heights[i])]);
      const area = `<path class="area" style="fill:var(${s.colour})" d="${path(edge(above))}${path(edge(below).reverse(), 'L')}Z"/>`;
      below = above;
      return area;
    });
  }
}
