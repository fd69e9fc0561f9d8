// What the status pages of both programs share: texts, tables, graphs, and asking once a second. Text goes into the page as text only:
// client ids, identities and reasons are strangers' words.
"use strict";

const PERIOD_MS = 1000;
// What a graph may show: the shortest of these that has all samples, as long as there are few.
const SPANS_S = [60, 120, 300, 600];

const byId = (id) => document.getElementById(id);

function show(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit++; }
  return `${count.toFixed(unit > 0 && count < 100 ? 1 : 0)} ${units[unit]}`;
}

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

function duration(us) {
  if (us === 0) return "–";
  if (us >= 1e6) return `${(us / 1e6).toFixed(1)} s`;
  return us < 1000 ? `${us} µs` : us < 100000 ? `${(us / 1000).toFixed(1)} ms` : `${Math.round(us / 1000)} ms`;
}

const rate = (now, then, seconds) => (seconds > 0 ? Math.max(0, (now - then) / seconds) : 0);
const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

// rows: arrays of cells, which are texts or [text, class].
function fill(id, rows, empty) {
  const body = byId(id).tBodies[0];
  const heads = [...byId(id).tHead.rows[0].cells];
  if (rows.length === 0) rows = [[[empty, "empty"]]];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, number) => {
    const row = body.rows[number] || body.insertRow();
    while (row.cells.length > cells.length) row.deleteCell(-1);
    cells.forEach((cell, at) => {
      const [text, name] = Array.isArray(cell) ? cell : [cell, ""];
      const element = row.cells[at] || row.insertCell();
      if (element.textContent !== text) element.textContent = text;
      if (element.className !== name) element.className = name;
      element.colSpan = cells.length === 1 ? heads.length : 1;
      // For narrow windows, where each row is a list.
      element.dataset.head = cells.length === 1 ? "" : heads[at].textContent;
    });
  });
}

// ---- graphs

// The next round number: 1, 2 or 5 times a power of ten.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value);
}

function line(context, values, place, color, dash) {
  let drawing = false;
  context.strokeStyle = context.fillStyle = color;
  context.lineWidth = 1.75;
  context.lineJoin = "round";
  context.setLineDash(dash);
  context.beginPath();
  values.forEach((value, at) => {
    if (value === null) { drawing = false; return; }
    const [x, y] = place(at, value);
    if (drawing) context.lineTo(x, y);
    else context.moveTo(x, y);
    // A lonely sample is seen, too.
    if (!drawing && (at + 1 === values.length || values[at + 1] === null)) context.lineTo(x + 1, y);
    drawing = true;
  });
  context.stroke();
}

// series: [{name, color, dash, values}], all of the same length, the newest last, null where nothing was measured.
// down: for each sample whether there was no link.
function graph(id, series, { least, format, down }) {
  const canvas = byId(id);
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const peak = Math.max(...series.flatMap((s) => s.values.map((v) => v ?? 0)), 0);
  const top = round(Math.max(least, peak));
  context.scale(scale, scale);
  context.font = "12px system-ui, sans-serif";
  const left = Math.ceil(Math.max(...[0, top / 2, top].map((v) => context.measureText(format(v)).width))) + 8;
  const right = width - 4, floor = height - 20, ceiling = 8;
  const count = series[0].values.length;
  const length = SPANS_S.find((s) => s * 1000 / PERIOD_MS >= count) ?? count;
  const x = (at) => left + (right - left) * (length - count + at) / (length - 1);
  const y = (value) => floor - (floor - ceiling) * value / top;

  context.fillStyle = color("--gap");
  (down || []).forEach((is, at) => { if (is) context.fillRect(x(at) - 0.5, ceiling, (right - left) / length + 1, floor - ceiling); });
  context.strokeStyle = color("--line");
  context.fillStyle = color("--soft");
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const value of [0, top / 2, top]) {
    context.beginPath();
    context.moveTo(left, Math.round(y(value)) + 0.5);
    context.lineTo(right, Math.round(y(value)) + 0.5);
    context.stroke();
    context.fillText(format(value), left - 6, y(value));
  }
  context.textBaseline = "alphabetic";
  for (const [share, text] of [[0, `${span(length * PERIOD_MS)} ago`], [0.5, span(length * PERIOD_MS / 2)], [1, "now"]]) {
    context.textAlign = share === 0 ? "left" : share === 1 ? "right" : "center";
    context.fillText(text, left + (right - left) * share, height - 5);
  }
  for (const s of series) line(context, s.values, (at, value) => [x(at), y(value)], color(s.color), s.dash || []);
  const last = (s) => s.values[count - 1];
  canvas.setAttribute("aria-label", count === 0 ? "Nothing measured yet" : series.map((s) =>
    `${s.name}: now ${last(s) === null ? "not measured" : format(last(s))}, at most ${format(Math.max(0, ...s.values.map((v) => v ?? 0)))}`).join("; "));
}

// A column of /history.json.
function column(history, name) {
  const at = history.fields.indexOf(name);
  return history.samples.map((sample) => (sample === null ? null : sample[at]));
}

// ---- asking

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  return answer.json();
}

// put(status, the status before or null, seconds between, history) shows them; gone() says that nobody answers.
function watch(put, gone) {
  let before = null;
  const update = async () => {
    let status = null;
    try {
      const [now, history] = await Promise.all([ask("/status.json"), ask("/history.json")]);
      status = now;
      put(status, before, before ? (status.now_ms - before.now_ms) / 1000 : 0, history);
      before = status;
    } catch (error) {
      gone();
      if (status) console.error(error);
    }
    setTimeout(update, PERIOD_MS);
  };
  update();
}
