// Draws a load while it goes on, from the events that its process sends. The names of events and of their fields are those of watch.go
// and outcome.go of package load.
import { Chart, clock } from './charts.js';

// kept is how many samples the charts have. The server keeps as many for those who come late.
const kept = 600, faultsKept = 200, rowsShown = 120;

const $ = (id) => document.getElementById(id);
const count = (n) => Math.trunc(n).toLocaleString('en-US');

// span writes milliseconds with three digits or so, as the terminal does.
function span(ms) {
  if (ms <= 0) return '0 ms';
  if (ms < 100) return `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
  if (ms < 1000) return `${ms.toFixed(0)} ms`;
  return `${(ms / 1000).toFixed(ms < 100_000 ? 2 : 0)} s`;
}

// decade writes a power of ten of milliseconds.
function decade(ms) {
  if (ms < 1) return `${Math.round(ms * 1e3)} µs`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${count(ms / 1000)} s`;
}

// What the page knows of the run. A run that follows on the same address begins anew.
let run, last, settings, samples, faults, phase, outcome, cursor, connected = false;

function begin(id) {
  run = id;
  last = 0;
  samples = [];
  faults = [];
  settings = phase = outcome = cursor = null;
  $('verdict').hidden = $('result').hidden = $('faults').hidden = true;
  $('none').hidden = false;
  $('faults').replaceChildren();
}

// Cards. Each has a value while the run goes on, and the name of the result's figure that is its value at the end.
const cards = [
  { label: 'acquired', of: (s) => count(s.acquired), figure: 'acquired' },
  { label: 'per second', of: (s) => count(s.per_second), figure: 'acquired_per_second', at_end: 'per second, on average' },
  { label: 'wait p50', of: (s) => span(s.wait_ms.p50), figure: 'wait_ms.p50', at_end: 'wait p50, of all' },
  { label: 'wait p99', of: (s) => span(s.wait_ms.p99), figure: 'wait_ms.p99', at_end: 'wait p99, of all' },
  { label: 'waiting callers', of: (s) => count(s.waiting), live: true },
  { label: 'holders', of: (s) => count(s.holding), live: true },
  { label: 'sessions', of: (s) => count(s.sessions.total), figure: 'sessions', at_end: 'sessions at most' },
  { label: 'cancelled', of: (s) => count(s.cancelled), figure: 'cancelled', when: () => settings?.cancels },
  { label: 'lost locks', of: (s) => count(s.lost), figure: 'lost', bad: true },
  { label: 'failed', of: (s) => count(s.failed), figure: 'failed', bad: true },
  { label: 'violations', of: (s) => count(s.violations), figure: 'violations', bad: true },
];
for (const card of cards) {
  card.box = document.createElement('div');
  card.box.className = 'card';
  card.box.innerHTML = '<dt></dt><dd>–</dd>';
  card.box.dataset.card = card.label;
  $('cards').append(card.box);
}

function drawCards() {
  const s = samples.at(-1);
  for (const { box, label, of, figure, at_end: atEnd, live, when, bad } of cards) {
    const result = outcome?.figures?.find((f) => f.name === figure);
    box.hidden = (when && !when()) || (live && outcome != null);
    box.children[0].textContent = (result && atEnd) || label;
    const text = result?.text ?? (s && !outcome ? of(s) : '–');
    box.children[1].textContent = text;
    box.classList.toggle('bad', Boolean(bad) && text !== '0' && text !== '–');
  }
}

// Charts, and the columns of the table that says the same.
const session = (name) => (s) => s.sessions[name];
const keys = (name) => (s) => s.keys?.[name] ?? 0;
const charts = [
  new Chart({ name: 'Acquisitions per second', format: count, move, series: [{ name: 'per second', colour: '--a', of: (s) => s.per_second }] }),
  new Chart({ name: 'Wait of the acquisitions that ended lately', log: true, format: span, tick: decade, move, series: [
    { name: 'p99', colour: '--b', of: (s) => s.wait_ms.p99, dash: '1 5' },
    { name: 'p90', colour: '--d', of: (s) => s.wait_ms.p90, dash: '7 4' },
    { name: 'p50', colour: '--a', of: (s) => s.wait_ms.p50 }] }),
  new Chart({ name: 'Keys by state', stacked: true, format: count, move, series: [
    { name: 'held, others wait', colour: '--b', of: keys('contended') },
    { name: 'held', colour: '--a', of: keys('held') },
    { name: 'shared', colour: '--c', of: keys('shared'), when: () => settings?.readers },
    { name: 'handed over', colour: '--d', of: keys('handover') },
    { name: 'free', colour: '--pale', of: keys('free') }] }),
  new Chart({ name: 'Database sessions for locks', stacked: true, format: count, move, series: [
    { name: 'shared by many keys', colour: '--a', of: session('shared') },
    { name: 'waiting for a key', colour: '--b', of: session('waiting') },
    { name: 'with one key', colour: '--d', of: session('dedicated') },
    { name: 'idle', colour: '--pale', of: session('idle') }] }),
];
$('charts').append(...charts.map((c) => c.figure));
$('kept').textContent = kept;
const columns = [['time', (s) => `${s.at.toFixed(1)} s`], ['acquired', (s) => count(s.acquired)], ['waiting', (s) => count(s.waiting)],
  ...charts.flatMap((c) => c.series.map((s) => [c.stacked || c.log ? `${c === charts[1] ? 'wait' : c === charts[2] ? 'keys' : 'sessions'}: ${s.name}` : s.name,
    (v) => c.format(s.of(v))]))];
for (const [name] of columns) {
  const cell = document.createElement('th');
  cell.scope = 'col';
  cell.textContent = name;
  $('columns').append(cell);
}

// move reads another moment: the next, the first, the last, or the one nearest to a time.
function move({ step = 0, first, last: final, at, follow }) {
  if (samples.length === 0) return;
  let i = cursor ? samples.indexOf(cursor) : samples.length - 1;
  if (first) i = 0;
  else if (final) i = samples.length - 1;
  else if (at != null) i = samples.reduce((best, s, n) => (Math.abs(s.at - at) < Math.abs(samples[best].at - at) ? n : best), 0);
  cursor = follow ? null : samples[Math.min(Math.max(i + step, 0), samples.length - 1)];
  drawCharts();
}

function drawCharts() {
  if (cursor && !samples.includes(cursor)) cursor = null;
  const from = samples.length >= kept ? samples[0].at : 0;
  const to = Math.max(from + 1, samples.at(-1)?.at ?? 0, from === 0 && samples.length < kept ? Math.min(settings?.duration_seconds ?? 10, kept / 2) : 0);
  for (const chart of charts) chart.draw({ samples, faults, domain: [from, to], shown: cursor ?? samples.at(-1), cursor });
  charts[2].figure.hidden = samples.length > 0 && samples.at(-1).keys == null;
}

function drawTable() {
  if (!$('samples').open) return;
  $('rows').replaceChildren(...samples.slice(-rowsShown).reverse().map((s) => {
    const row = document.createElement('tr');
    row.append(...columns.map(([, of]) => {
      const cell = document.createElement('td');
      cell.textContent = of(s);
      return cell;
    }));
    return row;
  }));
}

function drawHead() {
  const duration = settings?.duration_seconds ?? 1;
  const at = outcome?.report?.seconds ?? samples.at(-1)?.at ?? 0;
  $('progress').value = Math.min(1, at / duration);
  $('clock').textContent = settings ? `${at.toFixed(1)} s of ${clock(duration)}` : '';
  $('server').textContent = settings ? `on ${settings.server}` : '';
  $('settings').textContent = settings?.text ?? '';
  let state = ['busy', 'Connecting', 'to the run'];
  if (outcome) state = [outcome.ok ? 'good' : 'bad', 'Over', outcome.interrupted ? 'The run was interrupted: the figures are those up to then.' : 'The run is over.'];
  else if (!connected && run) state = ['bad', 'Connection lost', 'Trying again; the figures below are the last ones that came.'];
  else if (phase) state = [phase.name === 'running' ? 'good' : 'busy', phase.name[0].toUpperCase() + phase.name.slice(1), phase.name === 'running' ? '' : phase.text];
  $('state').className = `pill ${state[0]}`;
  for (const [id, text] of [['state', state[1]], ['said', state[2]]]) {
    if ($(id).textContent !== text) $(id).textContent = text; // what is live is told when it changes
  }
  document.title = `${outcome ? outcome.heading.toLowerCase() : state[1].toLowerCase()} – demo load`;
}

let drawing = false;

// draw draws everything before the next picture that the browser shows.
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawHead();
    drawCards();
    drawCharts();
    drawTable();
  });
}

function addFault(fault) {
  const item = document.createElement('li');
  item.innerHTML = '<time></time><b></b><span></span>';
  [clock(fault.at), fault.kind, fault.text].forEach((text, i) => { item.children[i].textContent = text; });
  $('faults').prepend(item);
  while ($('faults').children.length > faultsKept) $('faults').lastChild.remove();
  $('faults').hidden = false;
  $('none').hidden = true;
}

function showOutcome() {
  $('verdict').classList.toggle('ok', outcome.ok);
  for (const name of ['heading', 'detail', 'left']) $(name).textContent = outcome[name] ?? '';
  $('problems').replaceChildren(...(outcome.problems ?? []).map((text) => {
    const line = document.createElement('p');
    line.className = 'problem';
    line.textContent = text;
    return line;
  }));
  $('verdict').hidden = false;
  if (!outcome.report) return;
  $('figures').replaceChildren(...outcome.figures.map(({ name, label, text }) => {
    const row = document.createElement('div');
    row.innerHTML = '<dt></dt><dd></dd>';
    row.children[0].textContent = label;
    row.children[1].textContent = text;
    row.children[1].dataset.figure = name;
    return row;
  }));
  $('json').textContent = JSON.stringify(outcome.report, null, 2);
  $('report').textContent = outcome.text;
  $('result').hidden = false;
}

const handlers = {
  run: (value) => { settings = value; },
  phase: (value) => { phase = value; },
  sample: (value) => {
    samples.push(value);
    if (samples.length > kept) samples.shift();
  },
  fault: (value) => {
    faults.push(value);
    if (faults.length > faultsKept) faults.shift();
    addFault(value);
  },
  result: (value) => {
    outcome = value;
    source.close();
    showOutcome();
    drawHead();
  },
};

let source;

function connect() {
  source = new EventSource('events');
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (e) => {
      const [id, number] = e.lastEventId.split('.');
      if (id !== run) begin(id);
      if (Number(number) <= last) return; // sent twice
      last = Number(number);
      handle(JSON.parse(e.data));
      draw();
    });
  }
  source.onopen = () => {
    connected = true;
    draw();
  };
  source.onerror = () => {
    if (outcome) return;
    connected = false;
    draw();
    // Most failures a browser mends by itself. One that it gives up is tried again here.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

$('samples').addEventListener('toggle', drawTable);
new ResizeObserver(draw).observe($('charts'));
begin('');
connect();
draw();
