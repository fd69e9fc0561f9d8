// The server's page: who is connected, how the brokers are, what was refused. See page.js.
"use strict";

const BROKERS = {
  up: ["answers", "good"], untried: ["not tried yet", ""], hanging: ["accepts connections, does not answer", "bad"],
  unreachable: ["cannot be reached", "bad"], not_kafka: ["is no Kafka broker", "bad"],
};
const DOOR = {
  refused: ["Requests that were not granted: a wrong token or certificate, or no such page", "unauthorized in the log"],
  malformed: ["Connections that spoke no HTTP", "peer in the log; a scanner, or a load balancer's TCP probe"],
  too_large: ["Requests with headers that are too large", "--max-header-size"],
  timeout: ["Connections that took too long to ask", "--handshake-timeout"],
  evicted: ["Connections that made way for others during the handshake", "--max-handshakes"],
  tls: ["TLS handshakes that failed", "does the client trust the certificate (--ca)?"],
};
const LIMITS = {
  sessions: ["Sessions", "--max-sessions"], sessions_of_identity: ["Sessions of one identity", "--max-sessions-per-identity"],
  connections: ["Connections", "file descriptors (ulimit -n)"], connections_of_identity: ["Connections of one identity", "--max-streams-per-identity"],
  connections_of_session: ["Connections of one session", "--max-streams"], links: ["Links", "--max-links"],
  dials: ["Connections of one identity in a minute", "--max-dials-per-minute"], memory: ["Connections, for lack of memory", "--memory"],
  gave_way: ["Ended for an identity that had less", "session_gave_way, stream_gave_way, link_gave_way in the log"],
};

const sum = (list, value) => list.reduce((total, item) => total + value(item), 0);

function showState(status) {
  const unreachable = status.clusters.filter((c) => !c.reachable);
  const brokers = status.clusters.flatMap((c) => c.bootstrap);
  const ill = brokers.filter((b) => (BROKERS[b.state] || ["", "bad"])[1] === "bad");
  show("version", status.version);
  let [state, text, more] = ["up", "Serving", ""];
  if (status.draining) [state, text] = ["stopping", "Stopping: clients are asked to go elsewhere"];
  else if (unreachable.length > 0) {
    state = "waiting";
    text = `No broker of ${unreachable.map((c) => c.name).join(", ")} answers`;
    if (unreachable.every((c) => !c.tried)) [state, text] = ["connecting", "Trying the brokers"];
  } else if (ill.length > 0) [state, text] = ["connecting", `Serving; ${ill.length} of ${counted(brokers.length, "bootstrap broker")} cannot be used`];
  else if (!status.ready) [state, text] = ["connecting", "Not ready"];
  more += `for ${span(status.now_ms - status.started_ms)} since its start`;
  byId("state").dataset.state = state;
  show("state-text", text);
  show("state-more", more);
}

function showFigures(status, history) {
  const last = (name) => column(history, name).at(-1) ?? 0;
  show("rate-up", `${bytes(last("bytes_up"))}/s`);
  show("rate-down", `${bytes(last("bytes_down"))}/s`);
  show("sessions-count", String(status.session_count));
  show("connections", String(status.totals.streams));
  show("refused", String(status.totals.refused));
  show("memory", `${bytes(status.memory.retained + status.memory.granted)} of ${bytes(status.memory.limit)}`);
}

function showGraphs(history) {
  const whole = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(1));
  graph("graph", [{ name: "up", color: "--up", values: column(history, "bytes_up") },
    { name: "down", color: "--down", dash: [6, 3], values: column(history, "bytes_down") }],
  { least: 1000, format: (value) => `${bytes(value)}/s` });
  graph("graph-sessions", [{ name: "sessions", color: "--up", values: column(history, "sessions") },
    { name: "connections", color: "--down", dash: [6, 3], values: column(history, "streams") }], { least: 2, format: whole });
  graph("graph-refused", [{ name: "refused", color: "--bad", values: column(history, "refused") }], { least: 2, format: whole });
}

function showBrokers(status) {
  fill("brokers", status.clusters.flatMap((c) => c.bootstrap.map((b) => {
    const [text, name] = BROKERS[b.state] || [b.state, "bad"];
    return [c.name, b.address, [text, name], [b.for_ms === undefined ? "–" : span(b.for_ms), "number"],
      [b.answered_ms_ago === undefined ? "never" : `${span(b.answered_ms_ago)} ago`, "number"], [String(b.failures), "number"], b.reason || "–"];
  })), "No cluster is configured.");
  show("nodes", status.clusters.map((c) => `${c.name} ${c.tls ? "(TLS) " : ""}has announced ${c.node_count > 0 ? counted(c.node_count, "node") : "no nodes yet"}` +
    (c.nodes.length > 0 ? `: ${c.nodes.map((n) => `${n.kind === "controller" ? "controller " : ""}${n.node} at ${n.address}`).slice(0, 24).join(", ")}${c.node_count > 24 ? " …" : ""}` : "")).join(". "));
}

const whose = (session) => session.identity || "anonymous";

// Whom the brokers know: as whom the server has logged in, or whom clients name when they log in themselves.
function usersOf(sessions) {
  const streams = sessions.flatMap((s) => s.streams).filter((s) => s.kafka_user);
  const users = [...new Set(streams.map((s) => s.kafka_user + (s.logged_in ? "" : " (the client's own login)")))].sort();
  return users.length > 8 ? `${users.slice(0, 8).join(", ")} and ${counted(users.length - 8, "more", "more")}` : users.join(", ") || "–";
}

function showIdentities(status, before, seconds) {
  const group = (sessions) => {
    const groups = new Map();
    for (const s of sessions) groups.set(whose(s), [...(groups.get(whose(s)) || []), s]);
    return groups;
  };
  const old = new Map((before ? before.sessions : []).map((s) => [s.session, s]));
  const grown = (sessions, field) => sum(sessions, (s) => (old.has(s.session) ? rate(s[field], old.get(s.session)[field], seconds) : 0));
  fill("identities", [...group(status.sessions)].map(([identity, sessions]) => [
    identity, usersOf(sessions), [String(sessions.length), "number"], [String(sum(sessions, (s) => s.links_now.length)), "number"],
    [String(sum(sessions, (s) => s.stream_count)), "number"],
    [bytes(sum(sessions, (s) => s.bytes_up)), "number"], [bytes(sum(sessions, (s) => s.bytes_down)), "number"],
    [`${bytes(grown(sessions, "bytes_up"))}/s`, "number"], [`${bytes(grown(sessions, "bytes_down"))}/s`, "number"],
  ]), "No client is connected.");
  fill("sessions", status.sessions.map((s) => [
    whose(s), s.peer, s.software || "–", s.linked ? ["linked", "good"] : ["link lost; kept for its client", "bad"], [span(s.age_ms), "number"],
    [duration(s.rtt_us), "number"], [String(s.links_now.length), "number"], [String(s.stream_count), "number"],
  ]), "No client is connected.");
  const more = status.session_count - status.sessions.length;
  show("sessions-more", more > 0 ? `${counted(more, "more session")} not shown.` : "");
}

function showRefusals(status) {
  const rows = (counts, names) => counts.filter((c) => names[c.name]).map((c) => [names[c.name][0], [String(c.count), "number"], names[c.name][1]]);
  fill("refusals", [...rows(status.door, DOOR), ...rows(status.limited, LIMITS)], "Nothing was refused.");
  fill("problems", status.problems.map((p) => [p.event, [String(p.count), "number"]]), "None.");
}

watch((status, before, seconds, history) => {
  showState(status);
  showFigures(status, history);
  showBrokers(status);
  showIdentities(status, before, seconds);
  showRefusals(status);
  showGraphs(history);
}, () => {
  byId("state").dataset.state = "gone";
  show("state-text", "tunnel-server does not answer");
  show("state-more", "");
});
