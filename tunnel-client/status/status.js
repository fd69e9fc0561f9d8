// The client's page: its links, listeners and connections. See page.js.
"use strict";

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

const TAKES = { plain: "plaintext", either: "TLS or plaintext", tls: "TLS only" };
const REFUSED = {
  plaintext: ["Plaintext where only TLS is taken", "--listener-tls optional"], handshake: ["TLS handshakes that failed", "listener_tls_failed in the log"],
  client_refused: ["Clients that did not trust the listener's certificate", "tunnel-client listener-ca"],
  certificate: ["Client certificates that are missing or not trusted", "--listener-client-ca"],
  timeout: ["TLS handshakes that took too long", "listener_tls_failed in the log"], silent: ["Connections that sent nothing", "a probe of the port?"],
  crowded: ["Too many in their handshake at a time", "connection_refused in the log"], user: ["Users who may not use the listeners", "--allow-users"],
  limit: ["Too many connections, or no memory", "--max-streams, --memory"], no_link: ["No link in time", "--connect-wait"],
};

function showLink(status) {
  const link = status.link;
  byId("state").dataset.state = link.state;
  show("version", status.version);
  show("state-text", STATES[link.state] || link.state);
  let more = `for ${span(status.now_ms - link.since_ms)}; ${link.server}`;
  if (link.state === "up") more += `; ${link.protection || "no TLS"}; ${link.software}`;
  else if (link.failed_dials > 0) {
    more += `; ${counted(link.failed_dials, "attempt")} failed`;
    if (link.retry_ms > 0) more += `; the next one is in ${link.retry_ms < 1000 ? "less than a second" : span(link.retry_ms)}`;
  }
  show("state-more", more);
}

function showFigures(status, history) {
  const t = status.totals;
  const last = (name) => column(history, name).at(-1) ?? 0;
  show("rate-up", `${bytes(last("bytes_up"))}/s`);
  show("rate-down", `${bytes(last("bytes_down"))}/s`);
  show("rtt", duration(status.link.rtt_us));
  show("connections", String(t.streams));
  show("waiting", String(status.waiting));
  byId("waiting").className = status.waiting > 0 ? "bad" : "";
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
  const at = (l) => (l.broker ? ` at ${l.broker}` : "");
  const leads = {
    bootstrap: (l) => `any bootstrap broker of ${l.target}`, broker: (l) => `broker ${l.node} of ${l.target}` + at(l),
    controller: (l) => `controller ${l.node} of ${l.target}` + at(l), tcp: (l) => `raw target ${l.target}`,
  };
  fill("listeners", status.listeners.map((l) => [
    l.name, leads[l.kind](l), l.listen, l.advertised + l.listen.slice(l.listen.lastIndexOf(":")), TAKES[l.security] || l.security,
    [String(l.connections), "number"], [String(l.waiting), l.waiting > 0 ? "number bad" : "number"],
  ]), "No listeners.");
  const tls = status.listener_tls;
  show("listener-tls", tls ? `TLS with ${tls.local_ca ? "a certificate of the local CA" : tls.certificate}, issued by ${tls.issuer}, ` +
    `valid until ${tls.valid_until}${tls.current ? "" : ": clients refuse it"}.` : "");
  byId("listener-tls").classList.toggle("bad", Boolean(tls) && !tls.current);
}

function showRefused(status) {
  byId("refused-section").hidden = status.refused.length === 0;
  fill("refused", status.refused.map((r) => {
    const [what, where] = REFUSED[r.name] || [r.name, ""];
    return [what, [String(r.count), "number"], where];
  }), "");
}

// As whom the server has logged in at the broker; else whom the client names, when it logs in itself.
const userOf = (stream) => (stream.login ? `${stream.login}; by the server` : stream.kafka_user || "–");

function tlsOf(stream) {
  if (stream.security === "plain") return "–";
  const version = stream.security.split(" ")[0];
  return stream.certificate ? `${version}; ${stream.certificate}` : version;
}

function showStreams(status, before, seconds) {
  const old = new Map((before ? before.streams : []).map((s) => [s.stream, s]));
  fill("streams", status.streams.map((s) => {
    const was = old.get(s.stream) || s;
    return [
      s.listener, s.client_id || "–", `${s.software} ${s.software_version}`.trim() || "–", userOf(s), s.peer, tlsOf(s), [span(s.age_ms), "number"],
      [bytes(s.bytes_up), "number"], [bytes(s.bytes_down), "number"],
      [`${bytes(rate(s.bytes_up, was.bytes_up, seconds))}/s`, "number"], [`${bytes(rate(s.bytes_down, was.bytes_down, seconds))}/s`, "number"],
    ];
  }), status.waiting > 0 ? `${counted(status.waiting, "connection")} wait for a link.` : "No program is connected.");
  const more = [];
  if (status.streams_not_shown > 0) more.push(`${counted(status.streams_not_shown, "more connection")} not shown.`);
  if (status.waiting > 0 && status.streams.length > 0) more.push(`${counted(status.waiting, "more connection")} waiting for a link.`);
  show("streams-more", more.join(" "));
}

function showEvents(status) {
  fill("events", status.events.map((e) => {
    const what = (EVENTS[e.event] || e.event) + (e.times > 1 ? `, ${e.times} times` : "");
    let why = e.reason;
    if (e.event === "link_lost" || e.event === "link_left") why += ` (it had lasted ${span(e.ms)})`;
    return [new Date(e.time_ms).toLocaleString(), [what, GOOD.has(e.event) ? "good" : "bad"], why];
  }), "Nothing yet.");
}

function showGraphs(history) {
  const down = column(history, "links").map((links) => links === 0);
  const whole = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(1));
  graph("graph", [{ name: "up", color: "--up", values: column(history, "bytes_up") },
    { name: "down", color: "--down", dash: [6, 3], values: column(history, "bytes_down") }],
  { least: 1000, format: (value) => `${bytes(value)}/s`, down });
  graph("graph-rtt", [{ name: "round trip", color: "--up", values: column(history, "rtt_us").map((us) => us || null) }],
    { least: 100, format: (us) => (us === 0 ? "0" : duration(us)), down });
  graph("graph-connections", [{ name: "connections", color: "--up", values: column(history, "streams") },
    { name: "waiting", color: "--down", dash: [6, 3], values: column(history, "waiting") }], { least: 2, format: whole, down });
}

watch((status, before, seconds, history) => {
  showLink(status);
  showFigures(status, history);
  showLinks(status);
  showListeners(status);
  showRefused(status);
  showStreams(status, before, seconds);
  showEvents(status);
  showGraphs(history);
}, () => {
  byId("state").dataset.state = "gone";
  show("state-text", STATES.gone);
  show("state-more", "");
});
