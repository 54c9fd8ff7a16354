// The live session page: speaks the session's WebSocket (contract/polymux.md §11).
// All text from the wire is set with textContent; nothing here builds HTML from it.

const page = document.getElementById("live");
const log = document.getElementById("live-log");
const empty = document.getElementById("live-empty");
const pendingBox = document.getElementById("live-pending");
const errorBox = document.getElementById("live-error");
const connection = document.getElementById("live-connection");
const statusBadge = document.getElementById("live-session");
const form = document.getElementById("live-form");
const input = document.getElementById("live-input");
const buttons = {};
for (const name of ["send", "stop", "pause", "resume"]) {
  buttons[name] = document.getElementById(`live-${name}`);
}

const LONGEST_WAIT = 30_000;
const MOST_ON_PAGE = 400;

let socket = null;
let token = "";
let since = page.dataset.since;
let tries = 0;
let over = false; // a fatal frame came: do not reconnect
let timer = 0;
let session = { status: page.dataset.status };
const bubbles = new Map(); // message id -> <article>
const pending = new Map(); // request id -> <div>
for (const article of log.querySelectorAll("[data-message-id]")) {
  bubbles.set(article.dataset.messageId, article);
}

// --- Connection ---------------------------------------------------------------------------------
async function connect() {
  if (over || socket) return;
  clearTimeout(timer);
  show(connection, tries ? "retry" : "off", tries ? "reconnecting…" : "connecting…");
  try {
    token ||= await fetchTicket();
  } catch (error) {
    if (!over) again();
    return;
  }
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const query = since ? `?since=${encodeURIComponent(since)}` : "";
  const opened = new WebSocket(`${scheme}//${location.host}${page.dataset.socket}${query}`, [
    "polymux.v1",
    `bearer.${token}`,
  ]);
  socket = opened;
  let wasOpen = false;
  opened.addEventListener("open", () => {
    wasOpen = true;
    tries = 0;
    show(connection, "on", "connected");
    settle();
  });
  opened.addEventListener("message", (event) => read(event.data));
  opened.addEventListener("close", (event) => {
    if (socket !== opened) return;
    socket = null;
    // A refused handshake and a revoked token look alike from here: ask for a new one.
    if (!wasOpen || event.code === 4401) token = "";
    if (event.code === 4404 || event.code === 4410) over = true;
    settle();
    again();
  });
}

async function post(url, fields = {}) {
  const answer = await fetch(url, {
    method: "POST",
    body: new URLSearchParams(fields),
    headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
    credentials: "same-origin",
  });
  return [answer, await answer.json().catch(() => ({}))];
}

async function fetchTicket() {
  const [answer, body] = await post(page.dataset.ticket);
  if (!answer.ok) {
    fail(body.error || `The console refused a ticket (${answer.status}).`);
    over = answer.status < 500 && answer.status !== 429;
    if (over) show(connection, "failed", "not connected");
    throw new Error("no ticket");
  }
  return body.token;
}

function again() {
  if (over) {
    show(connection, "off", "closed");
    return;
  }
  const wait = Math.min(1000 * 2 ** tries, LONGEST_WAIT);
  tries += 1;
  show(connection, "retry", `reconnecting in ${Math.round(wait / 1000)} s`);
  timer = setTimeout(connect, wait);
}

function send(type, payload = {}) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify({ type, payload, id: newId(), timestamp: new Date().toISOString() }));
  return true;
}

// --- Frames ---------------------------------------------------------------------------------------
const readers = {
  session_state(payload) {
    if (payload.resync && renderAnew()) return;
    session = payload.session ?? session;
    if (payload.is_running && session.status === "idle") session.status = "running";
    clearPending();
    for (const request of payload.pending ?? []) ask(request);
    settle();
  },
  message(payload) {
    if (payload.is_partial) grow(payload);
    else put(payload);
  },
  tool_call(payload) {
    const article = bubble(`call-${payload.call_id}`, "tool", `tool · ${payload.name}`);
    article.querySelector(".live-text").textContent = short(payload.arguments);
  },
  tool_result(payload) {
    const article = bubble(`call-${payload.call_id}`, "tool", `tool · ${payload.name}`);
    const took = payload.duration_ms === undefined ? "" : ` (${payload.duration_ms} ms)`;
    const said = payload.status === "error" ? payload.error?.message : short(payload.result);
    article.querySelector(".live-text").textContent += `\n→ ${payload.status}${took} ${said ?? ""}`;
  },
  approval_request: ask,
  approval_decided(payload) {
    forget(payload.msg_id);
  },
  messages_removed(payload) {
    // Edit and resend: that message and everything after it is gone.
    let article = bubbles.get(payload.from_message_id);
    while (article) {
      const next = article.nextElementSibling;
      bubbles.delete(article.dataset.messageId);
      if (article.classList.contains("live-message")) article.remove();
      article = next;
    }
  },
  error(payload) {
    fail(`${payload.code}: ${payload.message}`);
    if (payload.recoverable === false) over = true;
  },
  session_ended(payload) {
    session = { ...session, status: "ended", end_reason: payload.end_reason };
    over = true;
    settle();
  },
  session_expired() {
    session = { ...session, status: "ended" };
    over = true;
    settle();
  },
};

function read(data) {
  if (typeof data !== "string") return; // a screencast frame
  const frame = JSON.parse(data);
  if (Number.isSafeInteger(frame.seq)) since = String(frame.seq);
  readers[frame.type]?.(frame.payload ?? {});
}

// Too much was missed: the server renders the transcript. Not twice in ten seconds.
function renderAnew() {
  const last = Number(sessionStorage.getItem("live-rendered") ?? 0);
  if (Date.now() - last < 10_000) return false;
  sessionStorage.setItem("live-rendered", String(Date.now()));
  location.reload();
  return true;
}

function grow(payload) {
  const id = payload.message_id ?? `partial-${payload.agent_id ?? ""}`;
  const known = bubbles.get(id);
  if (known && !("partial" in known.dataset)) return; // its end is already here
  const pinned = atEnd();
  const article = known ?? bubble(id, "assistant", "assistant");
  if (!known) {
    article.dataset.partial = "";
    article.setAttribute("aria-busy", "true"); // announced once, when it is whole
  }
  article.querySelector(".live-text").append(payload.content ?? "");
  session = { ...session, status: "running" };
  settle();
  if (pinned) toEnd();
}

function put(payload) {
  bubbles.get(`partial-${payload.agent_id ?? ""}`)?.remove();
  const article = bubble(payload.message_id, payload.role ?? "assistant", payload.role ?? "assistant");
  delete article.dataset.partial;
  delete article.dataset.waiting;
  article.removeAttribute("aria-busy");
  article.querySelector(".live-text").textContent = payload.content ?? "";
  if (payload.state) article.querySelector("h3").textContent = `${payload.role} · ${payload.state}`;
}

function bubble(id, role, title) {
  const known = bubbles.get(id);
  if (known) return known;
  const pinned = atEnd();
  const article = document.createElement("article");
  article.className = "live-message";
  article.dataset.role = role;
  article.dataset.messageId = id;
  const heading = document.createElement("h3");
  heading.textContent = title;
  const text = document.createElement("p");
  text.className = "live-text";
  article.append(heading, text);
  log.append(article);
  bubbles.set(id, article);
  empty.hidden = true;
  while (bubbles.size > MOST_ON_PAGE) {
    const [oldest, gone] = bubbles.entries().next().value;
    gone.remove();
    bubbles.delete(oldest);
  }
  if (pinned) toEnd();
  return article;
}

// --- Requests that wait for a human ------------------------------------------------------------------
function ask(request) {
  const id = request.msg_id ?? request.id;
  if (!id || pending.has(id)) return;
  const box = document.createElement("div");
  box.className = "live-request";
  const words = document.createElement("p");
  words.textContent = sentence(request);
  box.append(words);
  if (request.reason === "question") {
    const hint = document.createElement("span");
    hint.className = "console-quiet";
    hint.textContent = "Your next message answers it.";
    box.append(hint);
  } else {
    box.append(decision(id, "Approve", true), decision(id, "Reject", false));
  }
  pending.set(id, box);
  pendingBox.append(box);
  pendingBox.hidden = false;
}

function sentence(request) {
  if (request.reason === "budget_exceeded") {
    return `The budget is spent (${request.tokens_used} of ${request.token_budget} tokens). Allow more?`;
  }
  return request.action || "The agent asks for approval.";
}

function decision(id, label, approved) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = approved ? "console-button console-primary" : "console-button";
  button.textContent = label;
  button.addEventListener("click", async () => {
    button.disabled = true;
    // Over HTTP and not the socket: the decision is made in the operator's name.
    const [answer, body] = await post(page.dataset.decide, { approval: id, approved: approved ? "1" : "0" });
    if (answer.ok) forget(id);
    else fail(body.error || `The console refused (${answer.status}).`);
    button.disabled = false;
  });
  return button;
}

function forget(id) {
  pending.get(id)?.remove();
  pending.delete(id);
  pendingBox.hidden = pending.size === 0;
}

function clearPending() {
  pending.clear();
  pendingBox.replaceChildren();
  pendingBox.hidden = true;
}

// --- The page ------------------------------------------------------------------------------------------
function settle() {
  const open = socket?.readyState === WebSocket.OPEN;
  const status = session.status ?? "idle";
  show(statusBadge, status, session.end_reason ? `${status}: ${session.end_reason}` : status);
  if (!form) return;
  const alive = open && status !== "ended";
  buttons.send.disabled = !alive;
  buttons.stop.disabled = !alive || !["running", "waiting"].includes(status);
  buttons.pause.disabled = !alive || !["idle", "running", "waiting"].includes(status);
  buttons.resume.disabled = !alive || status !== "paused";
  input.disabled = status === "ended";
}

function show(badge, state, text) {
  if (badge.textContent !== text) badge.textContent = text;
  badge.dataset.state = state;
}

function fail(text) {
  errorBox.textContent = text;
  errorBox.hidden = false;
}

function atEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
}

function toEnd() {
  log.scrollTop = log.scrollHeight;
}

function short(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value ?? null);
  return text.length > 2000 ? `${text.slice(0, 2000)}…` : text;
}

function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Plain HTTP on another host than localhost is no secure context: build a version 4 UUID by hand.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function say() {
  const content = input.value.trim();
  if (!content) return;
  const id = newId();
  if (!send("user_message", { content, message_id: id })) return;
  errorBox.hidden = true;
  const article = bubble(id, "user", "user");
  article.dataset.waiting = "";
  article.querySelector(".live-text").textContent = content;
  input.value = "";
  toEnd();
}

toEnd();
if (page.dataset.mayAct && session.status !== "ended") {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      say();
    }
  });
  buttons.stop.addEventListener("click", () => send("stop_agent", { agent_id: "orchestrator" }));
  buttons.pause.addEventListener("click", () => send("pause"));
  buttons.resume.addEventListener("click", () => send("resume"));
  addEventListener("online", connect);
  addEventListener("pagehide", () => socket?.close(1000));
  addEventListener("pageshow", (event) => event.persisted && connect());
  connect();
} else {
  settle();
}
