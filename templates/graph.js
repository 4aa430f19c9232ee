"use strict";
// Builds the tables from the data, and ties them to the drawings: everything that can be clicked leads to a #hash.
const data = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");
const detail = document.getElementById("detail");
const search = document.getElementById("search");
const DAY = 86400000;
const now = data.on ? new Date(data.on) : new Date();
const index = new Map(data.clusters.map((c, i) => [c.name, i]));
const cluster = name => data.clusters[index.get(name)];
const whole = new Set(data.whole);

// An element with attributes and children; text is only ever set as text.
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value);
  element.append(...children.flat(Infinity).filter(c => c !== null && c !== undefined));
  return element;
}
const link = (...path) => "#/" + path.map(encodeURIComponent).join("/");
const word = (state, text) => h("span", { class: "word " + state }, h("span", { class: "sign", "aria-hidden": "true" }), text);
const date = iso => iso.slice(0, 10);
const plural = (n, noun) => n.toLocaleString("en") + " " + noun + (n === 1 ? "" : "s");

// How many days are left: by the browser's clock, so that the page does not depend on the day on which it was made.
// Like `check`, it warns when less than 30 days, or less than a tenth of a certificate's life, are left.
function left(until, from) {
  const rest = (new Date(until) - now) / DAY;
  const days = Math.floor(rest);
  const warns = Math.min(30, from ? (new Date(until) - new Date(from)) / DAY / 10 : 30);
  if (from && new Date(from) > now) return { state: "broken", text: "not valid yet", bar: "over" };
  if (rest <= 0) return { state: "broken", text: `expired ${plural(-days, "day")} ago`, bar: "over" };
  return { state: rest < warns ? "warning" : "ok", text: plural(days, "day") + " left", bar: rest < warns ? "soon" : "" };
}
const lasts = c => left(c.until, c.from);

// Edges

const MEANS = {
  r: ["ok", "reads"],
  p: ["pending", "waits for a token or a server"],
  n: ["stale", "tree out of date"],
  x: ["broken", "edited or deleted by hand"],
};
function letter(reader, other) {
  return data.rows[index.get(reader)][index.get(other)];
}
function meaning(reader, other) {
  const code = letter(reader, other);
  if (code === ".") return ["none", "does not read"];
  if (code === "n" && whole.has(reader)) return ["pending", "not rendered yet"];
  return MEANS[code];
}
const edges = [];
data.clusters.forEach((c, i) => data.clusters.forEach((o, j) => data.rows[i][j] !== "." && edges.push([c.name, o.name])));

// Tables

function section(id, title, note, ...children) {
  const made = h("section", { id, "aria-labelledby": id + "-title" }, h("header", {}, h("h2", { id: id + "-title" }, title), note ? h("p", {}, note) : null), ...children);
  main.append(made);
  return made;
}
function cell(label, ...children) {
  return h("td", { "data-label": label }, h("span", {}, ...children));
}
function table(heads, rows) {
  return h("table", {}, h("thead", {}, h("tr", {}, heads.map(t => h("th", { scope: "col" }, t)))), h("tbody", {}, rows));
}
const row = (key, text, ...cells) => h("tr", { "data-key": key, "data-text": text.toLowerCase() }, ...cells);
const marks = c => c.marks.map(([state, text]) => word(state, text));

const clusterRows = data.clusters.map(c =>
  row("cluster/" + c.name, [c.name, c.context, c.network, c.plane, c.until, c.server, ...c.marks.map(m => m[1])].join(" "),
    cell("cluster", h("a", { href: link("cluster", c.name) }, c.name)),
    cell("network", c.network),
    cell("Istio", c.plane.replace(/^Istio /, "")),
    cell("certificate", c.certificate ? [c.until.replace("CA ", ""), " · ", word(lasts(c.certificate).state, lasts(c.certificate).text)] : c.until),
    cell("state", ...marks(c))));
section("clusters", "Clusters", null, table(["cluster", "network", "Istio", "certificate", "state"], clusterRows));

// A time line of validity: from the first certificate to the last that is no root; a root that lasts longer ends in a point.
const certificates = [
  ...data.roots.map((c, i) => ({ key: data.roots.length > 1 ? "root-" + (i + 1) : "root", kind: "root", c })),
  ...data.clusters.filter(c => c.certificate).map(c => ({ key: c.name, kind: "intermediate", c: c.certificate })),
];
const tokens = data.clusters.flatMap(c => c.tokens.filter(t => t.expires).map(t => ({ cluster: c.name, peer: t.peer, until: t.expires })));
const spans = [...certificates.filter(x => x.kind !== "root").map(x => x.c.until), ...tokens.map(t => t.until)].map(t => +new Date(t));
const begin = Math.min(+now, ...certificates.map(x => +new Date(x.c.from)));
const close = Math.max(+now, ...(spans.length ? spans : certificates.map(x => +new Date(x.c.until))));
const first = begin - (close - begin) * 0.02, last = close + (close - begin) * 0.04;
const at = time => Math.max(0, Math.min(100, 100 * (time - first) / (last - first)));
function track(kind, from, until) {
  const bar = h("i", { class: kind + " " + left(until, kind === "token" ? null : from).bar + (+new Date(until) > last ? " beyond" : "") });
  bar.style.left = at(+new Date(from)) + "%";
  bar.style.right = 100 - at(+new Date(until)) + "%";
  const today = h("b", {});
  today.style.left = at(+now) + "%";
  return h("span", { class: "track", "aria-hidden": "true" }, bar, today);
}
function scale() {
  const marks = [];
  const years = (last - first) / (365.25 * DAY);
  const months = years > 40 ? 240 : years > 16 ? 60 : years > 6 ? 24 : years > 3 ? 12 : years > 1 ? 6 : years > 0.4 ? 2 : 1;
  const start = new Date(first);
  for (let month = start.getUTCFullYear() * 12; ; month += months) {
    const time = Date.UTC(Math.floor(month / 12), month % 12, 1);
    if (time > last) break;
    if (time < first || at(time) < 3 || at(time) > 97) continue;
    const mark = h("span", {}, months % 12 ? new Date(time).toISOString().slice(0, 7) : String(Math.floor(month / 12)));
    mark.style.left = at(time) + "%";
    marks.push(mark);
  }
  const today = h("span", { class: "today" }, (data.on ? "" : "today ") + now.toISOString().slice(0, 10));
  today.style.left = Math.max(6, Math.min(94, at(+now))) + "%";
  return h("div", { class: "scale", "aria-hidden": "true" }, marks, today);
}
function barRow(key, name, kind, from, until, extra) {
  const rest = left(until, kind === "token" ? null : from);
  return h("div", { class: "bar-row", "data-key": key, "data-text": [name, kind, extra, date(until), rest.text].join(" ").toLowerCase() },
    h("a", { href: "#/" + key.split("/").map(encodeURIComponent).join("/") }, name), track(kind, from, until),
    h("span", {}, date(until) + " · ", word(rest.state, rest.text)));
}
const bars = [
  ...certificates.map(x => barRow("certificate/" + x.key, x.key, x.kind, x.c.from, x.c.until, x.c.subject + " " + x.c.serial + " " + x.c.fingerprint)),
  ...tokens.map(t => barRow("cluster/" + t.cluster, `token of ${t.cluster}${t.peer ? " for " + t.peer : ""}`, "token", new Date(first).toISOString(), t.until, "")),
];
section("certificates", "Certificates", bars.length ? `valid until; the line is ${data.on ? date(data.on) : "today"}` : null,
  bars.length ? h("div", { class: "time" }, scale(), bars) : h("p", { class: "nothing" }, "There are none here: " + (data.clusters[0] || { until: "" }).until + "."));

// Edges may be thousands: so many rows are made at first.
const STEP = 60;
let room = STEP;
const shownEdges = h("tbody", {});
const more = h("button", { type: "button", class: "more" });
const noEdges = h("p", { class: "nothing", hidden: "" }, "No edge is like that.");
const only = h("select", { id: "only" }, h("option", { value: "" }, "all"), h("option", { value: "odd" }, "only what is not plain"));
const edgeSection = section("edges", "Edges", "who discovers whose services, by a remote secret",
  h("table", {}, h("thead", {}, h("tr", {}, ["reader", "reads", "state", "back"].map(t => h("th", { scope: "col" }, t)))), shownEdges), noEdges, more);
edgeSection.querySelector("header").append(h("label", {}, "show ", only));
function back(reader, other) {
  if (letter(other, reader) !== ".") return "and is read by it";
  return cluster(other).primary ? "the other has no istiod" : "one way";
}
function drawEdges() {
  const words = query();
  const found = edges.filter(([a, b]) => {
    const [state, text] = meaning(a, b);
    if (only.value && state === "ok" && back(a, b) === "and is read by it") return false;
    const line = `${a} ${b} ${text} ${back(a, b)}`.toLowerCase();
    return words.every(w => line.includes(w));
  });
  shownEdges.replaceChildren(...found.slice(0, room).map(([a, b]) => {
    const [state, text] = meaning(a, b);
    return row(`edge/${a}/${b}`, "", cell("reader", h("a", { href: link("edge", a, b) }, a)), cell("reads", b), cell("state", word(state, text)), cell("back", back(a, b)));
  }));
  noEdges.hidden = found.length > 0;
  more.hidden = found.length <= room;
  more.textContent = `Show more (${(found.length - room).toLocaleString("en")} left)`;
  markSelected();
  return found.length;
}
more.addEventListener("click", () => { room += 10 * STEP; drawEdges(); });
only.addEventListener("change", () => { room = STEP; drawEdges(); });

// Checks: what was found stands at whom it concerns; what depends on the day is judged here.
const dated = {
  "certs-expired": () => certificates.filter(x => lasts(x.c).bar === "over").map(x => ["error", x.key, new Date(x.c.from) > now ? `is not valid before ${date(x.c.from)}` : `expired on ${date(x.c.until)}`, link("certificate", x.key)]),
  "certs-expiring": () => certificates.filter(x => lasts(x.c).bar === "soon").map(x => ["warning", x.key, `expires on ${date(x.c.until)}`, link("certificate", x.key)]),
  "token-expired": () => tokens.filter(t => new Date(t.until) <= now).map(t => ["error", t.cluster, `its token expired on ${date(t.until)}`, link("cluster", t.cluster)]),
  "token-expiring": () => tokens.filter(t => left(t.until).bar === "soon").map(t => ["warning", t.cluster, `its token expires on ${date(t.until)}`, link("cluster", t.cluster)]),
};
const found = {};
const put = (f, name, href) => (found[f.id] = found[f.id] || []).push([f.severity, name || f.where, f.what, href, f.fix]);
data.findings.forEach(f => put(f, "", null));
data.networks.forEach(n => n.findings.forEach(f => put(f, "network " + n.name, null)));
data.clusters.forEach(c => c.findings.forEach(f => put(f, c.name, link("cluster", c.name))));
const results = data.checks.map(c => {
  const list = c.status === "dated" ? (dated[c.id] ? dated[c.id]() : []) : found[c.id] || [];
  const status = list.some(f => f[0] === "error") ? "error" : list.length ? "warning" : c.status === "dated" ? (dated[c.id] ? "ok" : "unknown") : c.status;
  return { ...c, status, list, unknown: c.unknown || "this page does not have the dates; run: kubectl mesh check --id " + c.id };
});
// What found something stands first.
const group = c => (c.status === "error" || c.status === "warning" ? "found something" : c.category);
const checkGroups = [...new Set(["found something", ...results.map(c => c.category)])].map(name => [name, results.filter(c => group(c) === name)]).filter(([, list]) => list.length).map(([name, list]) => [
  h("h3", {}, name),
  list.map(c =>
    h("div", { class: "check " + c.status, "data-key": "check/" + c.id, "data-text": [c.id, c.category, c.sentence, c.status, ...c.list.map(f => f[1] + " " + f[2])].join(" ").toLowerCase() },
      h("span", { class: "sign", "aria-hidden": "true" }),
      h("div", {}, h("a", { href: link("check", c.id) }, c.id), h("span", { class: "hidden" }, " " + c.status), " ", h("span", {}, c.sentence),
        c.status === "skipped" ? h("p", {}, "not asked: not there yet, or for the errors above") : null,
        c.status === "unknown" ? h("p", {}, "cannot be known here: " + c.unknown) : null),
      c.list.length ? h("ul", {}, c.list.slice(0, 8).map(f => h("li", {}, f[3] ? h("a", { href: f[3] }, f[1]) : h("strong", {}, f[1]), ": " + f[2])),
        c.list.length > 8 ? h("li", {}, `and ${c.list.length - 8} more`) : null) : null)),
]);
const wrong = results.filter(c => c.status === "error").length, warned = results.filter(c => c.status === "warning").length;
section("checks", "Checks", [wrong ? plural(wrong, "check") + " failed" : "", warned ? plural(warned, "check") + " warned" : ""].filter(Boolean).join(", ") || "all is well",
  h("div", { class: "checks" }, checkGroups));

// Details

const field = (name, value) => (value === null || value === undefined || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]);
const note = f => h("div", { class: "note " + f.severity }, h("a", { href: link("check", f.id) }, f.id), ": " + f.what, f.fix ? h("code", {}, f.fix) : null);
const waits = p => h("div", { class: "note pending" }, p.what + " is not known, which holds back " + p.holdsBack, h("code", {}, p.command));
function chips(title, names, to, state) {
  if (!names.length) return h("p", { class: "nothing" }, title + ": none");
  const all = h("div", { class: "chips" }, names.map(n => h("a", { href: to(n), class: state(n) }, n)));
  return names.length > 12 ? h("details", {}, h("summary", {}, `${title} ${names.length}`), all) : h("div", {}, h("h3", {}, title), all);
}
function certificateFields(c) {
  const rest = lasts(c);
  return [
    ...field("subject", c.subject), ...field("issuer", c.issuer), ...field("key", c.keyType), ...field("valid", `${date(c.from)} to ${date(c.until)}`),
    ...field("left", word(rest.state, rest.text)), ...field("serial", h("span", { class: "mono" }, c.serial)), ...field("SHA-256", h("span", { class: "mono" }, c.fingerprint)),
  ];
}
function show(title, kind, ...children) {
  const shut = h("button", { type: "button", "aria-label": "Close" }, "✕");
  shut.addEventListener("click", leave);
  detail.replaceChildren(h("header", {}, h("h2", {}, h("small", {}, kind), title), shut), ...children.flat(Infinity).filter(Boolean));
  detail.scrollTop = 0;
  document.querySelector(".page").classList.add("open");
}
const views = {
  cluster(name) {
    const c = cluster(name);
    if (!c) return false;
    const others = data.clusters.map(o => o.name).filter(o => o !== name);
    const n = data.networks.find(x => x.name === c.network);
    const findings = [...c.findings, ...n.findings].filter(f => !f.id.endsWith("-pending"));
    const token = c.tokens.length ? c.tokens.map(t => (t.peer ? `for ${t.peer}: ` : "") + (t.expires ? `until ${date(t.expires)}` : "there")).join(", ") : c.pending.some(p => p.kind === "token") ? "awaited" : "";
    show(c.name, "cluster",
      h("p", {}, marks(c)),
      c.pending.length || n.pending.length ? [h("h3", {}, "Pending"), ...c.pending.map(waits), ...n.pending.map(waits)] : [],
      findings.length ? [h("h3", {}, "Findings"), ...findings.map(note)] : [],
      h("dl", {}, field("context", c.context), field("network", c.network), field("gateway", n.gateways.replace(/^gateway /, "")), field("server", c.server), field("namespace", c.namespace),
        field("Istio", c.plane.replace(/^Istio /, "")), field("served by", c.primary ? h("a", { href: link("cluster", c.primary) }, c.primary) : null), field("tree", c.tree), field("login", c.credential === "tokenFile" ? null : c.credential), field("token", token),
        field("certificate", c.certificate ? null : c.until)),
      c.certificate ? [h("h3", {}, h("a", { href: link("certificate", name) }, "Certificate")), h("dl", {}, certificateFields(c.certificate))] : [],
      h("h3", {}, "Edges"),
      chips("reads", others.filter(o => letter(name, o) !== "."), o => link("edge", name, o), o => (meaning(name, o)[0] === "ok" ? "" : meaning(name, o)[0] === "broken" ? "broken" : "stale")),
      chips("is read by", others.filter(o => letter(o, name) !== "."), o => link("edge", o, name), o => (meaning(o, name)[0] === "ok" ? "" : meaning(o, name)[0] === "broken" ? "broken" : "stale")));
    return true;
  },
  edge(reader, other) {
    if (!cluster(reader) || !cluster(other)) return false;
    const [state, text] = meaning(reader, other);
    const [backState, backText] = meaning(other, reader);
    const said = data.lines.filter(l => [l.source, l.target].sort().join() === [reader, other].sort().join());
    show(`${reader} → ${other}`, "edge of discovery",
      h("p", {}, word(state, `${reader} ${text === "reads" || state === "none" ? text : "should read"} ${other}${text === "reads" || state === "none" ? "" : ": " + text}`)),
      h("p", {}, word(backState, `${other} ${backText === "reads" || backState === "none" ? backText : "should read"} ${reader}${backText === "reads" || backState === "none" ? "" : ": " + backText}`)),
      said.map(l => h("div", { class: "note " + l.kind }, l.text)),
      h("dl", {}, field("reader", h("a", { href: link("cluster", reader) }, reader)), field("reads", h("a", { href: link("cluster", other) }, other)), field("server", cluster(other).server),
        field("remote secret", cluster(reader).primary ? "none: " + reader + " has no istiod of its own" : letter(reader, other) === "." ? "none" : `of ${other}, in the directory of ${reader}`)),
      h("p", {}, h("a", { href: link("edge", other, reader) }, "look at the way back")));
    return true;
  },
  certificate(name) {
    const x = certificates.find(c => c.key === name);
    if (!x) return false;
    show(name, x.kind === "root" ? "root certificate" : "intermediate certificate", h("dl", {}, certificateFields(x.c)),
      x.kind === "root" ? null : h("p", {}, h("a", { href: link("cluster", name) }, "look at the cluster")));
    return true;
  },
  check(id) {
    const c = results.find(x => x.id === id);
    if (!c) return false;
    show(c.id, "check, " + c.category, h("p", {}, word(c.status, c.status), " ", c.sentence),
      c.list.map(f => h("div", { class: "note " + f[0] }, f[3] ? h("a", { href: f[3] }, f[1]) : h("strong", {}, f[1]), ": " + f[2], f[4] ? h("code", {}, f[4]) : null)),
      c.list.length ? null : h("p", { class: "nothing" }, "Nothing was found."));
    return true;
  },
};

// What stands there while nothing is chosen.
function overview() {
  const waiting = [...data.networks, ...data.clusters].flatMap(x => x.pending.map(p => ({ name: x.name, p, cluster: index.has(x.name) })));
  detail.replaceChildren(...[
    h("header", {}, h("h2", {}, h("small", {}, "overview"), data.mesh)),
    h("p", {}, data.statement),
    data.lines.length ? [h("h3", {}, "What is not plain"), h("ul", {}, data.lines.map(l => h("li", {}, h("a", { href: link("edge", ...ends(l)) }, l.text))))] : null,
    data.notes.length ? [data.lines.length ? null : h("h3", {}, "What is not plain"), h("ul", {}, data.notes.map(n => h("li", {}, n.text)))] : null,
    data.findings.length ? [h("h3", {}, "The mesh as a whole"), ...data.findings.map(note)] : null,
    waiting.length ? [h("h3", {}, "Pending"), h("ul", {}, waiting.slice(0, 12).map(w => h("li", {}, w.cluster ? h("a", { href: link("cluster", w.name) }, w.name) : w.name, ": " + w.p.what))),
      waiting.length > 12 ? h("p", {}, `and ${waiting.length - 12} more`) : null] : null,
    h("p", { class: "hint" }, "Choose a cluster, a line, a certificate, an edge or a check. / searches, Esc goes back."),
  ].flat(Infinity).filter(Boolean));
  document.querySelector(".page").classList.remove("open");
}
const ends = l => (letter(l.source, l.target) === "." && letter(l.target, l.source) !== "." ? [l.target, l.source] : [l.source, l.target]);

// Selection

let selected = [];
let opener = null;
function markSelected() {
  const key = selected.join("/");
  document.querySelectorAll("[data-key]").forEach(e => {
    const mine = e.dataset.key === key;
    e.classList.toggle("selected", mine);
    mine ? e.setAttribute("aria-current", "true") : e.removeAttribute("aria-current");
  });
}
function relation(chosen, other) {
  const there = letter(chosen, other) !== ".", here = letter(other, chosen) !== ".";
  const fine = (!there || meaning(chosen, other)[0] === "ok") && (!here || meaning(other, chosen)[0] === "ok");
  const tail = fine ? "" : " …";
  if (there && here) return "⇄ both ways" + tail;
  if (there) return "→ is read" + tail;
  if (here) return "← reads it" + tail;
  return "✕ no edge";
}
function paint() {
  const [kind, a, b] = selected;
  const name = kind === "cluster" || kind === "certificate" || kind === "edge" ? a : null;
  // A word that is in no cluster is looked for elsewhere.
  const sought = data.clusters.some(c => matches(c.name));
  document.querySelectorAll(".drawing .node").forEach(node => {
    const own = node.dataset.cluster;
    const chosen = own === name || (kind === "edge" && own === b);
    const text = kind === "cluster" && name !== own ? relation(name, own) : "";
    node.classList.toggle("selected", chosen);
    node.classList.toggle("dim", (kind === "edge" && !chosen) || text === "✕ no edge" || (sought && !matches(own)));
    node.querySelector(".relation").textContent = text;
    node.setAttribute("aria-pressed", String(chosen));
  });
  document.querySelectorAll(".drawing .edge[data-source]").forEach(e => {
    const ends = [e.dataset.source, e.dataset.target];
    const mine = kind === "edge" ? ends.includes(a) && ends.includes(b) : kind === "cluster" && ends.includes(a);
    e.classList.toggle("selected", mine);
    e.classList.toggle("dim", (kind === "edge" || kind === "cluster") && !mine);
  });
}
function route() {
  let parts = [];
  try { parts = location.hash.startsWith("#/") ? location.hash.slice(2).split("/").map(decodeURIComponent) : []; } catch (error) { parts = []; }
  const view = Object.hasOwn(views, parts[0] || "") ? views[parts[0]] : null;
  if (view && view(...parts.slice(1))) {
    selected = parts;
    const target = document.querySelector(`[data-key="${CSS.escape(parts.join("/"))}"]`);
    document.getElementById("told").textContent = `${detail.querySelector("h2").textContent} is shown in the details`;
    if (target && parts[0] !== "cluster" && target.getClientRects().length && opener === null) target.scrollIntoView({ block: "center" });
    detail.focus({ preventScroll: true });
  } else {
    selected = [];
    overview();
  }
  markSelected();
  paint();
}
function leave() {
  history.pushState(null, "", location.pathname + location.search);
  route();
  if (opener && opener.isConnected) opener.focus({ preventScroll: true });
  opener = null;
}
function go(hash, from) {
  opener = from;
  if (location.hash === hash) route();
  else location.hash = hash;
}
window.addEventListener("hashchange", route);

document.querySelectorAll(".drawing svg").forEach(svg => svg.setAttribute("role", "group"));
document.querySelectorAll(".drawing .node").forEach(node => {
  node.setAttribute("tabindex", "0");
  node.setAttribute("role", "button");
  node.setAttribute("aria-label", node.querySelector("title").textContent);
  node.addEventListener("click", event => { if (!event.target.closest(".badge")) go(link("cluster", node.dataset.cluster), node); });
});
document.querySelectorAll(".drawing [data-line]").forEach(mark => {
  const line = data.lines[mark.dataset.line - 1];
  mark.addEventListener("click", event => { event.stopPropagation(); go(link("edge", ...ends(line)), mark); });
  if (mark.classList.contains("badge")) {
    mark.setAttribute("tabindex", "0");
    mark.setAttribute("role", "button");
    mark.setAttribute("aria-label", line.text);
  }
});
document.addEventListener("keydown", event => {
  const mark = event.target.closest(".drawing [tabindex]");
  if (mark && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    mark.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  } else if (event.key === "Escape") {
    if (event.target === search && search.value) { search.value = ""; filter(); }
    else if (selected.length) leave();
  } else if (event.key === "/" && !event.target.closest("input,select,textarea")) {
    event.preventDefault();
    search.focus();
  }
});
main.addEventListener("click", event => {
  const anchor = event.target.closest("a");
  const line = event.target.closest("[data-key]");
  if (anchor) opener = anchor;
  else if (line && !String(getSelection())) go("#/" + line.dataset.key.split("/").map(encodeURIComponent).join("/"), line.querySelector("a"));
});

// Search: words that all have to be there, in whatever order.

function query() {
  return search.value.toLowerCase().split(/\s+/).filter(Boolean);
}
const clusterText = new Map(clusterRows.map(r => [r.dataset.key.slice(8), r.dataset.text]));
function matches(name) {
  return query().every(w => clusterText.get(name).includes(w));
}
const filtered = [...document.querySelectorAll("#clusters tbody tr,.bar-row,.check")];
function filter() {
  const words = query();
  const count = { clusters: 0, certificates: 0, checks: 0 };
  filtered.forEach(r => {
    r.hidden = !words.every(w => r.dataset.text.includes(w));
    if (!r.hidden) count[r.closest("section").id] += 1;
  });
  document.querySelectorAll(".checks h3").forEach(title => {
    let next = title.nextElementSibling, any = false;
    for (; next && next.tagName !== "H3"; next = next.nextElementSibling) any = any || !next.hidden;
    title.hidden = !any;
  });
  room = STEP;
  count.edges = drawEdges();
  for (const [id, number] of Object.entries(count)) {
    const anchor = document.querySelector(`#nav a[href="#${id}"] small`);
    if (anchor) anchor.textContent = number.toLocaleString("en");
  }
  paint();
  if (words.length) document.getElementById("told").textContent = `found: ${plural(count.clusters, "cluster")}, ${plural(count.certificates, "certificate")}, ${plural(count.edges, "edge")}, ${plural(count.checks, "check")}`;
}
search.addEventListener("input", filter);

// Sections, and light or dark

const nav = document.getElementById("nav");
nav.append(...[...document.querySelectorAll("main > section")].map(s => h("a", { href: "#" + s.id }, s.id[0].toUpperCase() + s.id.slice(1), s.id === "picture" ? null : [" ", h("small", {})])));
const seen = new IntersectionObserver(entries => entries.forEach(e => nav.querySelector(`a[href="#${e.target.id}"]`).classList.toggle("here", e.isIntersecting)), { rootMargin: "-30% 0px -69.9% 0px" });
document.querySelectorAll("main > section").forEach(s => seen.observe(s));

const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
function dress() {
  const own = document.documentElement.dataset.theme;
  const is = own ? own === "dark" : dark.matches;
  theme.textContent = is ? "Light" : "Dark";
  theme.setAttribute("aria-pressed", String(is));
  theme.setAttribute("aria-label", is ? "Change to light colours" : "Change to dark colours");
}
function remember(value) {
  try { if (value === undefined) return localStorage.getItem("kubectl-mesh-theme"); localStorage.setItem("kubectl-mesh-theme", value); } catch (error) { return null; }
  return value;
}
if (["light", "dark"].includes(remember())) document.documentElement.dataset.theme = remember();
theme.addEventListener("click", () => {
  const own = document.documentElement.dataset.theme;
  const is = own ? own === "dark" : dark.matches;
  document.documentElement.dataset.theme = is ? "light" : "dark";
  remember(is ? "light" : "dark");
  dress();
});
dark.addEventListener("change", dress);
dress();
filter();
route();
