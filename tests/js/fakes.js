/** What notifier.js touches of the outside world, under a test's control. */

import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node 18 has no global one

/** Time that passes only when told to. Timers run in order; those made meanwhile run too. */
export class FakeClock {
  time = 1_000_000;
  #timers = new Map();
  #next = 1;

  now = () => this.time;

  setTimeout = (callback, delay) => {
    this.#timers.set(this.#next, { at: this.time + delay, callback });
    return this.#next++;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  get pending() {
    return this.#timers.size;
  }

  advance(milliseconds) {
    const end = this.time + Math.max(0, milliseconds);
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end);
      if (due.length === 0) break;
      due.sort(([a, first], [b, second]) => first.at - second.at || a - b);
      const [id, { at, callback }] = due[0];
      this.#timers.delete(id);
      this.time = Math.max(this.time, at);
      callback();
    }
    this.time = end;
  }
}

/** A WebSocket whose server is the test. */
export class FakeSocket {
  readyState = 0;
  sent = [];
  closedWith = null;

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
  }

  send(text) {
    if (this.readyState !== 1) throw new Error("not open");
    this.sent.push(JSON.parse(text));
  }

  close(code, reason) {
    this.closedWith ??= { code, reason };
    this.readyState = 2;
  }

  // --- the server's side ---

  accept({ welcome = true, ping = 25_000, time } = {}) {
    this.readyState = 1;
    this.onopen?.({});
    if (!welcome) return this;
    return this.tell({ type: "welcome", connection: "c", ping_interval_ms: ping, time, version: "0" });
  }

  tell(...messages) {
    for (const message of messages) this.raw(JSON.stringify(message));
    return this;
  }

  raw(data) {
    this.onmessage?.({ data });
    return this;
  }

  drop(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** The frames of a type this socket was sent. */
  got(type) {
    return this.sent.filter((message) => message.type === type);
  }

  /** Answers the latest subscribe of a channel. */
  confirm(channel, position, { recovered = true, gap } = {}) {
    const { ref } = this.got("subscribe").findLast((message) => message.channel === channel);
    return this.tell({ type: "subscribed", ref, channel, position, recovered, gap });
  }

  notify(channel, ...positions) {
    for (const position of positions) this.tell(notification(channel, position));
    return this;
  }
}

/** An EventSource whose server is the test. */
export class FakeStream extends EventTarget {
  readyState = 0;
  closed = false;

  constructor(url) {
    super();
    this.url = new URL(url);
  }

  get channels() {
    return this.url.searchParams.getAll("channel");
  }

  get since() {
    return this.url.searchParams.get("since");
  }

  close() {
    this.closed = true;
    this.readyState = 2;
  }

  // --- the server's side ---

  tell(...messages) {
    for (const message of messages) {
      const type = message.type === "notification" ? "message" : message.type;
      this.event(type === "error" ? "refused" : type, JSON.stringify(message));
    }
    return this;
  }

  event(type, data, lastEventId = "") {
    const event = Object.assign(new Event(type), { data, lastEventId });
    if (type === "message") this.onmessage?.(event);
    else this.dispatchEvent(event);
    return this;
  }

  confirm(channel, position, more = {}) {
    return this.tell({ type: "subscribed", channel, position, recovered: true, ...more });
  }

  notify(channel, ...positions) {
    return this.tell(...positions.map((position) => notification(channel, position)));
  }

  /** `refused`: by an HTTP status, which ends it for good. */
  drop({ refused = false } = {}) {
    this.readyState = refused ? 2 : 0;
    this.onerror?.(new Event("error"));
  }
}

function notification(channel, position) {
  const offset = position === null ? null : Number(position.split(":")[1]);
  const id = `${channel}-${position}`;
  const time = "2026-11-22T17:24:00.123Z";
  return { type: "notification", channel, position, offset, id, time, message: id };
}

/** A page around one Notifier: its sockets and streams, its clock, its window. */
export class World {
  sockets = [];
  streams = [];
  requests = [];
  answer = () => ({ status: 200, body: {} }); // of a request, which the test may replace
  clock = new FakeClock();
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  random = 0.5;
  events = [];
  received = [];

  get platform() {
    const { now, setTimeout, clearTimeout } = this.clock;
    const { window, document } = this;
    return { now, setTimeout, clearTimeout, window, document, random: () => this.random };
  }

  get WebSocket() {
    const { sockets } = this;
    return class extends FakeSocket {
      constructor(...given) {
        super(...given);
        sockets.push(this);
      }
    };
  }

  get EventSource() {
    const { streams } = this;
    return class extends FakeStream {
      constructor(url) {
        super(url);
        streams.push(this);
      }
    };
  }

  get fetch() {
    return async (url, { method = "GET", headers = {}, body } = {}) => {
      const request = { method, url: new URL(url), headers, body: body && JSON.parse(body) };
      this.requests.push(request);
      const { status, body: answer } = await this.answer(request);
      return { ok: status < 400, status, json: async () => structuredClone(answer) };
    };
  }

  /** The newest stream. */
  get stream() {
    return this.streams.at(-1);
  }

  /** The streams that are open. */
  get open() {
    return this.streams.filter(({ closed }) => !closed);
  }

  /** The newest socket. */
  get socket() {
    return this.sockets.at(-1);
  }

  get positions() {
    return this.received.map(({ position }) => position);
  }

  /** Notes down notifications and gaps of a channel, in the order they come. */
  listen(notifier) {
    for (const type of ["state", "gap", "error", "welcome", "subscribed", "presence"]) {
      notifier.on(type, (detail) => this.events.push({ type, ...detail, detail }));
    }
    return (notification) => this.received.push(notification);
  }

  seen(type) {
    return this.events.filter((event) => event.type === type);
  }

  /** Lets time pass until another socket is made, at most the longest back-off. */
  untilNextTry() {
    const tries = this.sockets.length;
    for (let waited = 0; waited < 300 && this.sockets.length === tries; waited += 1) {
      this.clock.advance(100);
    }
  }

  hide(hidden) {
    this.document.visibilityState = hidden ? "hidden" : "visible";
    this.document.dispatchEvent(new Event("visibilitychange"));
  }
}

/** Lets promises and microtasks run. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));
