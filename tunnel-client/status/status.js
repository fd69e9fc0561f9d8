// Asks /status.json once a second and shows what it says. Text goes into the page as text only: client ids are strangers' words.
"use strict";

const PERIOD_MS = 1000;
const SAMPLES = 120;
const STATES = {
  up: "The link is up", connecting: "Connecting", waiting: "No link; waiting to try again", stopping: "Stopping",
  gone: "tunnel-client does not answer",
};
const EVENTS = {
  up: "New session", resumed: "Link back, connections continue", link_lost: "Link lost", session_lost: "Session lost, connections reset",
  link_joined: "One more link", link_left: "One of several links lost", join_failed: "No more links to be had",
  dial_failed: "Could not connect", server_going_away: "The server is about to stop",
  smaller_frames: "Smaller frames",
};
const GOOD = new Set(["up", "resumed", "link_joined"]);
const ROLES = {
  lead: "lead: short messages", other: "bulk", suspect: "does not answer", greeting: "connecting",
};
const CAUSES = {
  session: "the session began", resume: "all links were lost", replace: "another one was lost", spare: "the path is long or loses packets",
  room: "no other link had room", server: "the server asked for it",
};

const samples = [];
let before = null;

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
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

function duration(us) {
  if (us === 0) return "–";
  return us < 1000 ? `${us} µs` : us < 100000 ? `${(us / 1000).toFixed(1)} ms` : `${Math.round(us / 1000)} ms`;
}

const rate = (now, then, seconds) => (seconds > 0 ? Math.max(0, (now - then) / seconds) : 0);

// rows: arrays of cells, which are texts or [text, class].
function fill(id, rows, empty) {
  const body = byId(id).tBodies[0];
  const columns = byId(id).tHead.rows[0].cells.length;
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
      element.colSpan = cells.length === 1 ? columns : 1;
    });
  });
}

function showLink(status) {
  const link = status.link;
  byId("state").dataset.state = link.state;
  show("version", status.version);
  show("state-text", STATES[link.state] || link.state);
  let more = `for ${span(status.now_ms - link.since_ms)}; ${link.server}`;
  if (link.state === "up") more += `; ${link.protection || "no TLS"}; ${link.software}`;
  else if (link.failed_dials > 0) more += `; ${link.failed_dials} attempts failed`;
  show("state-more", more);
}

function showFigures(status, seconds) {
  const t = status.totals;
  const up = before ? rate(t.bytes_up, before.totals.bytes_up, seconds) : 0;
  const down = before ? rate(t.bytes_down, before.totals.bytes_down, seconds) : 0;
  if (before) samples.push([up, down]);
  if (samples.length > SAMPLES) samples.shift();
  show("rate-up", `${bytes(up)}/s`);
  show("rate-down", `${bytes(down)}/s`);
  show("rtt", duration(status.link.rtt_us));
  show("connections", status.waiting > 0 ? `${t.streams} + ${status.waiting} waiting` : String(t.streams));
  show("resumes", String(t.resumes));
  show("lost", String(t.sessions_lost));
  show("retained", bytes(status.memory.retained));
}

function linksMore(more, up) {
  if (more.failure) {
    const why = more.spread_over_instances ? "The ingress spreads links over several instances, so another link reaches one without the session" : `There can be no more links now: ${more.failure}`;
    return `${why}. ${more.wanted} links would help; ${more.retry_ms > 0 ? `the next try is in ${span(more.retry_ms)}` : "the next try comes when one is wanted"}.`;
  }
  if (more.most === 1) return "--links allows one link.";
  if (more.wanted > up) return `${more.wanted} links would help; the next one is being opened.`;
  return more.wanted > 1 ? `As many as help now; at most ${more.most}.` : `One link is enough for this path; at most ${more.most}.`;
}

function role(link, count) {
  if (link.leaving) return "ends with its connections";
  return link.role === "lead" && count === 1 ? "carries everything" : ROLES[link.role] || link.role;
}

function showLinks(status) {
  fill("links", status.links.map((l) => [
    String(l.number), [role(l, status.links.length), l.role === "suspect" ? "bad" : ""],
    CAUSES[l.cause] || l.cause, [span(l.age_ms), "number"], [duration(l.rtt_us), "number"],
    [l.rate > 0 ? `${bytes(l.rate)}/s` : "–", "number"], [bytes(l.in_flight), "number"], [String(l.retransmitted_segments), "number"],
    [bytes(l.sent_again), "number"],
  ]), "There is no link.");
  show("links-more", status.link.state === "up" ? linksMore(status.more_links, status.links.length) : "");
  byId("ended").hidden = status.links_ended.length === 0;
  fill("links-ended", status.links_ended.map((l) => [
    new Date(l.time_ms).toLocaleString(), String(l.number), CAUSES[l.cause] || l.cause, [span(l.lived_ms), "number"], l.end, l.reason,
  ]), "");
}

function showListeners(status) {
  const counts = new Map();
  for (const s of status.streams) counts.set(s.listener, (counts.get(s.listener) || 0) + 1);
  const at = (l) => (l.broker ? ` at ${l.broker}` : "");
  const leads = {
    bootstrap: (l) => `any bootstrap broker of ${l.target}`, broker: (l) => `broker ${l.node} of ${l.target}` + at(l),
    controller: (l) => `controller ${l.node} of ${l.target}` + at(l), tcp: (l) => `raw target ${l.target}`,
  };
  fill("listeners", status.listeners.map((l) => [
    l.name, leads[l.kind](l), l.listen, l.advertised + l.listen.slice(l.listen.lastIndexOf(":")),
    [String(counts.get(l.name) || 0), "number"],
  ]), "No listeners.");
}

function showStreams(status, seconds) {
  const old = new Map((before ? before.streams : []).map((s) => [s.stream, s]));
  fill("streams", status.streams.map((s) => {
    const was = old.get(s.stream) || s;
    return [
      s.listener, s.client_id || "–", `${s.software} ${s.software_version}`.trim() || "–", s.peer, [span(s.age_ms), "number"],
      [bytes(s.bytes_up), "number"], [bytes(s.bytes_down), "number"],
      [`${bytes(rate(s.bytes_up, was.bytes_up, seconds))}/s`, "number"], [`${bytes(rate(s.bytes_down, was.bytes_down, seconds))}/s`, "number"],
    ];
  }), "No program is connected.");
  show("streams-more", status.streams_not_shown > 0 ? `${status.streams_not_shown} more connections are not shown.` : "");
}

function showEvents(status) {
  fill("events", status.events.map((e) => {
    const what = (EVENTS[e.event] || e.event) + (e.times > 1 ? `, ${e.times} times` : "");
    let why = e.reason;
    if (e.event === "link_lost" || e.event === "link_left") why += ` (it had lasted ${span(e.ms)})`;
    return [new Date(e.time_ms).toLocaleString(), [what, GOOD.has(e.event) ? "good" : "bad"], why];
  }), "Nothing yet.");
}

function line(context, values, largest, width, height, color, dash) {
  context.strokeStyle = color;
  context.lineWidth = 2;
  context.setLineDash(dash);
  context.beginPath();
  values.forEach((value, at) => {
    const x = width * (SAMPLES - values.length + at + 1) / SAMPLES;
    const y = height - 2 - (height - 6) * value / largest;
    if (at === 0) context.moveTo(x, y); else context.lineTo(x, y);
  });
  context.stroke();
}

function draw() {
  const canvas = byId("graph");
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  const colors = getComputedStyle(document.documentElement);
  context.scale(scale, scale);
  context.strokeStyle = colors.getPropertyValue("--line");
  for (let i = 0; i <= 4; i++) {
    context.beginPath();
    context.moveTo(0, 4 + (height - 6) * i / 4);
    context.lineTo(width, 4 + (height - 6) * i / 4);
    context.stroke();
  }
  const largest = Math.max(1000, ...samples.flat());
  line(context, samples.map((h) => h[0]), largest, width, height, colors.getPropertyValue("--up"), []);
  line(context, samples.map((h) => h[1]), largest, width, height, colors.getPropertyValue("--down"), [7, 4]);
  show("graph-scale", `the top of the graph is ${bytes(largest)}/s`);
}

async function update() {
  try {
    const answer = await fetch("/status.json", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    const status = await answer.json();
    const seconds = before ? (status.now_ms - before.now_ms) / 1000 : 0;
    showLink(status);
    showFigures(status, seconds);
    showLinks(status);
    showListeners(status);
    showStreams(status, seconds);
    showEvents(status);
    before = status;
    draw();
  } catch (error) {
    byId("state").dataset.state = "gone";
    show("state-text", STATES.gone);
    show("state-more", "");
  }
  setTimeout(update, PERIOD_MS);
}

update();
