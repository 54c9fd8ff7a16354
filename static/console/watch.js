// A page that follows what moves in a workspace (apps/console/watching.py): the socket says what changed,
// the fragment is asked for again, and only what differs is put into place. The server escapes the
// fragment; from the socket only ids and states are used.

const root = document.querySelector("[data-watch]");
const place = document.getElementById("watched");
const badge = document.getElementById("watch-connection");
const { onlyTask, onlyMission } = root.dataset;

const SOON = 250; // ms: what changes together is fetched together
const RARELY = 1_000; // ms between two fetches at least
const LONGEST_WAIT = 30_000;
const GONE_FOR_GOOD = new Set([4401, 4403, 4404, 4410]);

// --- The socket -----------------------------------------------------------------------------------
let socket = null;
let tries = 0;
let over = false;
let timer = 0;

function connect() {
  if (over || socket || !root.dataset.socket) return;
  clearTimeout(timer);
  show(tries ? "retry" : "off", tries ? "reconnecting…" : "connecting…");
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(`${scheme}//${location.host}${root.dataset.socket}`);
  socket = opened;
  opened.addEventListener("open", () => {
    tries = 0;
    show("on", "live");
    refreshSoon(); // what moved between the page and the socket, or while it was gone
  });
  opened.addEventListener("message", (event) => read(JSON.parse(event.data)));
  opened.addEventListener("close", (event) => {
    if (socket !== opened) return;
    socket = null;
    over = GONE_FOR_GOOD.has(event.code);
    again();
  });
}

function again() {
  if (over) {
    show("failed", "not live: reload the page");
    return;
  }
  const wait = Math.min(1000 * 2 ** tries, LONGEST_WAIT);
  tries += 1;
  show("retry", `reconnecting in ${Math.round(wait / 1000)} s`);
  timer = setTimeout(connect, wait);
}

function show(state, text) {
  badge.textContent = text;
  badge.dataset.state = state;
}

function read(frame) {
  const told = frame.payload ?? {};
  if (frame.type === "task" && told.state) put(told.id, told.state);
  if (concerns(frame.type, told)) refreshSoon();
}

function concerns(type, told) {
  if (onlyTask) return type !== "mission" && isShown(told.id);
  if (onlyMission) return told.id === onlyMission || told.mission_id === onlyMission || isShown(told.id);
  return type !== "work";
}

function isShown(id) {
  return place.querySelector(`[data-task="${CSS.escape(id)}"]`) !== null;
}

// A state shows at once; the fragment brings the rest of what it means.
function put(id, state) {
  for (const known of place.querySelectorAll(`[data-task="${CSS.escape(id)}"]`)) {
    known.dataset.state = state;
    const word = known.querySelector("[data-state-word]");
    if (word) word.textContent = state.replaceAll("_", " ");
  }
}

// --- The fragment -----------------------------------------------------------------------------------
let due = 0;
let isBusy = false;
let isStale = false;
let last = 0;

function refreshSoon() {
  isStale = true;
  if (due || isBusy || document.hidden) return;
  due = setTimeout(refresh, Math.max(SOON, last + RARELY - Date.now()));
}

async function refresh() {
  due = 0;
  isBusy = true;
  isStale = false;
  last = Date.now();
  try {
    const answer = await fetch(root.dataset.fragment, { credentials: "same-origin" });
    if (answer.ok && !answer.redirected) {
      // In a <div>, as in the page: a body would swallow the blanks before its first element.
      const text = `<div>${await answer.text()}</div>`;
      morphChildren(place, new DOMParser().parseFromString(text, "text/html").body.firstChild);
    } else if (answer.status < 500 && answer.status !== 429) {
      over = true; // logged out, or the row is gone
      socket?.close(1000);
    }
  } catch {
    isStale = true; // the network: the socket's return asks again
  } finally {
    isBusy = false;
    if (isStale && !over && socket?.readyState === WebSocket.OPEN) refreshSoon();
  }
}

// What is the same stays the same element: focus, scroll position and open details survive.
function morph(old, fresh) {
  if (old.nodeName !== fresh.nodeName || old.dataset?.key !== fresh.dataset?.key) {
    old.replaceWith(document.importNode(fresh, true));
  } else if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
  } else {
    morphAttributes(old, fresh);
    morphChildren(old, fresh);
  }
}

function morphAttributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
}

function morphChildren(old, fresh) {
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((child, index) => {
    if (index < before.length) morph(before[index], child);
    else old.append(document.importNode(child, true));
  });
  for (const child of before.slice(after.length)) child.remove();
}

addEventListener("online", connect);
addEventListener("pagehide", () => socket?.close(1000));
addEventListener("pageshow", (event) => event.persisted && connect());
document.addEventListener("visibilitychange", () => !document.hidden && isStale && refreshSoon());
connect();
