/**
 * A client for the notifier service: one WebSocket for any number of channels, which comes back by
 * itself, resumes where it was, and says out loud what could not be resumed.
 *
 *     import { Notifier } from "/static/notifier.js";
 *     const notifier = new Notifier();
 *     notifier.subscribe("alerts", (n) => console.log(n.title, n.message));
 *     notifier.on("gap", ({ channel, after, before }) => reload(channel));
 *
 * No dependencies. Runs in every current browser and, given a WebSocket class, in Node 20 and later.
 *
 * @module notifier
 */

/**
 * A publication as a subscriber gets it. Its own fields are as the server checked them; a page
 * still has to insert them as text.
 *
 * @typedef {object} Notification
 * @property {string} channel
 * @property {string|null} position `epoch:offset`; null in an ephemeral namespace
 * @property {number|null} offset
 * @property {string} id
 * @property {string} time RFC 3339
 * @property {string} [title]
 * @property {string} [message]
 * @property {1|2|3|4|5} [priority] 3 when absent
 * @property {string[]} [tags]
 * @property {string} [click]
 * @property {string} [icon]
 * @property {object[]} [actions]
 * @property {*} [data]
 * @property {string} [key] a later publication with the same key replaces this one
 * @property {string} [expires] RFC 3339
 * @property {string} [content_type] with `data_base64`: a binary payload
 * @property {string} [data_base64]
 */

/**
 * What lies strictly between two positions was missed and can't be had any more.
 *
 * @typedef {object} Gap
 * @property {string} channel
 * @property {string|null} after null when the old end is not known
 * @property {string|null} before
 */

/**
 * @typedef {object} StateChange
 * @property {"connecting"|"open"|"waiting"|"closed"|"failed"} state
 *   `waiting`: between two tries. `closed`: by `close()`. `failed`: the server does not want us
 *   back, or the URL can't be used; only `connect()` tries again.
 * @property {number|null} retryAt when the next try is, in milliseconds since 1970 (`waiting`)
 * @property {number} attempt tries since the last stable connection
 * @property {number|null} code the close code that led here
 * @property {string} reason
 */

/**
 * @typedef {object} Options
 * @property {Object<string, string>} [since] where to start, per channel: what `positions` gave
 * @property {string|string[]} [protocols] offered as Sec-WebSocket-Protocol
 * @property {number} [maxDelay] the longest back-off, in milliseconds (30,000)
 * @property {number} [answerTimeout] how long to wait for a welcome, a pong or a reply, in
 *   milliseconds (10,000)
 * @property {typeof WebSocket} [WebSocket] the class to use instead of the global one
 * @property {object} [platform] for tests: `now`, `setTimeout`, `clearTimeout`, `random`, `window`,
 *   `document`
 */

/** Close codes that mean: the same again would fail again (RFC 6455 §7.4.1). */
const PERMANENT = new Set([1002, 1007, 1008, 1009]);

const FIRST_DELAY = 1_000;
const STABLE_AFTER = 5_000; // a connection that lives this long takes the back-off to its start
const PING_INTERVAL = 25_000; // until the server's welcome says otherwise
const PROBE_AFTER = 2_000; // silence after which a page that wakes up doubts its connection
const ALREADY_SUBSCRIBED = 40902;
const REMEMBERED_EPOCHS = 8;
const REMEMBERED_IDS = 256;

/** Why a request got no result. `outcome` says what that means for what was asked. */
export class NotifierError extends Error {
  /**
   * @param {string} message
   * @param {object} [facts] any of the fields below
   */
  constructor(message, facts = {}) {
    super(message);
    this.name = "NotifierError";
    /** The server's numeric code; 0 when the error is local. @type {number} */
    this.code = facts.code ?? 0;
    /**
     * `refused`: the server said no, nothing was stored. `unsent`: it never left. `unknown`: the
     * connection went before the answer; publish `notification` again, its `id` makes that safe.
     * @type {"refused"|"unsent"|"unknown"}
     */
    this.outcome = facts.outcome ?? "refused";
    /** Whether the same request may succeed later. @type {boolean} */
    this.temporary = facts.temporary ?? false;
    /** @type {string|null} */
    this.field = facts.field ?? null;
    /** @type {string|null} */
    this.docs = facts.docs ?? null;
    /** @type {string|null} */
    this.channel = facts.channel ?? null;
    /** What `publish` was sending, with its `id`. @type {object|null} */
    this.notification = facts.notification ?? null;
  }
}

/** One listener on one channel. Made by `Notifier.subscribe`. */
export class Subscription {
  #channel;
  #leave;

  constructor(channel, leave) {
    this.#channel = channel;
    this.#leave = leave;
  }

  /** @returns {string} */
  get channel() {
    return this.#channel.name;
  }

  /** Where the channel stands: the last position received. @returns {string|null} */
  get position() {
    return this.#channel.position;
  }

  /**
   * Whether all that was missed before the latest (re)connection has been replayed; null before
   * the server has answered, and in an ephemeral namespace.
   * @returns {boolean|null}
   */
  get recovered() {
    return this.#channel.recovered;
  }

  /** Ends this listener; the channel is left with its last one. */
  unsubscribe() {
    this.#leave();
  }
}

/**
 * Events, each with its facts in `event.detail` (or as the argument with `on`):
 * - `state` {StateChange}
 * - `welcome` the server's message: connection, ping_interval_ms, version
 * - `subscribed` {channel, position, recovered}
 * - `gap` {Gap}, in its place between the notifications of that channel
 * - `error` {NotifierError} what no promise reports: a refused channel, a broken frame
 */
export class Notifier extends EventTarget {
  #url;
  #options;
  #platform;
  #channels = new Map();
  #since;
  #current = null; // the connection in use
  #successor = null; // the one that takes over from it while the server drains
  #leaving = new Set(); // handed over, waiting for their last replies
  #queue = new Set(); // requests that wait for a connection
  #state = { state: "connecting", retryAt: null, attempt: 0, code: null, reason: "" };
  #wanted = false;
  #attempt = 0;
  #triedAt = -Infinity;
  #retry = null;
  #ref = 0;

  /**
   * Connects at once (in the next microtask, so that listeners can be added first).
   *
   * @param {string|URL} [url] of the WebSocket; http and relative URLs are understood. Default:
   *   `/ws` of the server this module came from.
   * @param {Options} [options]
   * @throws {TypeError} for a URL no WebSocket can use
   */
  constructor(url, options = {}) {
    super();
    this.#platform = { ...browser(), ...options.platform };
    this.#options = { maxDelay: 30_000, answerTimeout: 10_000, ...options };
    this.#options.WebSocket ??= globalThis.WebSocket;
    if (!this.#options.WebSocket) throw new TypeError("pass a WebSocket class: {WebSocket}");
    this.#url = socketUrl(url);
    this.#since = new Map(Object.entries(options.since ?? {}));
    this.#want();
    queueMicrotask(() => this.#dial());
  }

  /** The latest `state` event. @returns {StateChange} */
  get state() {
    return { ...this.#state };
  }

  /** Position per channel, to be given back as `since` to another Notifier.
   * @returns {Object<string, string>} */
  get positions() {
    const known = [...this.#channels.values()].filter((channel) => channel.position !== null);
    return Object.fromEntries(known.map((channel) => [channel.name, channel.position]));
  }

  /**
   * Adds a listener and returns how to take it away again.
   *
   * @param {string} type
   * @param {(detail: any) => void} listener
   * @returns {() => void}
   */
  on(type, listener) {
    const heard = (event) => listener(event.detail);
    this.addEventListener(type, heard);
    return () => this.removeEventListener(type, heard);
  }

  /**
   * Calls `callback` for each notification of the channel: in order, none twice, also across
   * reconnections. A second listener on a channel shares the first one's place in it, and hears
   * what comes from now on.
   *
   * @param {string} channel
   * @param {(notification: Notification) => void} callback
   * @param {{since?: string}} [options] where to start: a position, `all`, `latest` (default), a
   *   count `-20`, a duration `10m` or an RFC 3339 time. Later connections resume.
   * @returns {Subscription}
   */
  subscribe(channel, callback, { since } = {}) {
    const name = channel.normalize("NFC"); // as the server will call it
    let log = this.#channels.get(name);
    if (!log) {
      log = new Channel(name, since ?? this.#since.get(name));
      this.#since.delete(name); // a later subscription begins anew
      this.#channels.set(name, log);
      for (const connection of this.#live()) this.#join(connection, log);
    }
    const listener = { callback };
    log.listeners.add(listener);
    return new Subscription(log, () => {
      if (log.listeners.delete(listener) && log.listeners.size === 0) this.#drop(log);
    });
  }

  /** Ends every listener on the channel. @param {string} channel */
  unsubscribe(channel) {
    const log = this.#channels.get(channel.normalize("NFC"));
    if (!log) return;
    log.listeners.clear();
    this.#drop(log);
  }

  /**
   * Publishes, and resolves when it is stored. Waits for a connection that is being made. An `id`
   * is added where there is none, so that publishing `error.notification` again stores it once.
   *
   * @param {string} channel
   * @param {object|string} notification its own fields, or just the message
   * @returns {Promise<{id: string, channel: string, position: string|null, subscribers: number}>}
   * @throws {NotifierError}
   */
  publish(channel, notification) {
    const fields = typeof notification === "string" ? { message: notification } : notification;
    const sent = { ...fields, id: fields.id ?? randomId() };
    return this.#ask({ ...sent, type: "publish", channel }, { channel, notification: sent });
  }

  /**
   * Reads what the server still has of a channel, without subscribing.
   *
   * @param {string} channel
   * @param {{since?: string, limit?: number}} [options]
   * @returns {Promise<object>} position, recovered, gap?, publications, next
   * @throws {NotifierError}
   */
  history(channel, { since, limit } = {}) {
    return this.#ask({ type: "history", channel, since, limit }, { channel });
  }

  /** Connects again after `close()` or a failure, or cuts a wait short; positions are kept. */
  connect() {
    this.#attempt = 0;
    this.#want();
    this.#dial();
  }

  /** Leaves, and stays away until `connect()`. Channels, listeners and positions are kept. */
  close() {
    this.#stop("closed", 1000, "closed by this client");
  }

  // --- connecting -------------------------------------------------------------------------------

  #want() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#platform.window?.addEventListener("online", this.#wake);
    this.#platform.document?.addEventListener("visibilitychange", this.#wake);
  }

  #stop(state, code, reason) {
    this.#wanted = false;
    this.#platform.window?.removeEventListener("online", this.#wake);
    this.#platform.document?.removeEventListener("visibilitychange", this.#wake);
    this.#clearRetry();
    const connections = [this.#current, this.#successor, ...this.#leaving].filter(Boolean);
    this.#current = this.#successor = null;
    this.#leaving.clear();
    for (const connection of connections) this.#end(connection, 1000, "");
    for (const request of [...this.#queue]) {
      this.#fail(request, new NotifierError(reason, { ...request.facts, outcome: "unsent" }));
    }
    this.#setState(state, { code, reason });
  }

  #dial() {
    if (!this.#wanted || this.#successor || (this.#current && !this.#current.draining)) return;
    this.#clearRetry();
    this.#triedAt = this.#platform.now();
    const { WebSocket, protocols } = this.#options;
    let socket;
    try {
      socket = new WebSocket(this.#url, protocols ?? []);
    } catch (error) {
      this.#stop("failed", null, error.message); // a URL or a page's policy that forbids it
      return;
    }
    const connection = new Connection(socket, (this.#ref += 1), this.#platform.now());
    if (this.#current) this.#successor = connection;
    else {
      this.#current = connection;
      this.#setState("connecting");
    }
    connection.timer = this.#after(this.#options.answerTimeout, () => {
      this.#lose(connection, 1006, "the server did not answer");
    });
    socket.onopen = () => this.#opened(connection);
    socket.onmessage = (event) => this.#heard(connection, event.data);
    socket.onclose = (event) => this.#lose(connection, event.code, event.reason);
    socket.onerror = () => {}; // a close event follows and says more
  }

  #opened(connection) {
    connection.open = true;
    for (const log of this.#channels.values()) this.#join(connection, log);
    if (connection === this.#current) this.#flush();
  }

  /** Lets go of a connection: no event of its socket is heard any more. */
  #end(connection, code, reason) {
    const { socket } = connection;
    socket.onopen = socket.onmessage = socket.onclose = null;
    connection.open = false;
    for (const timer of [connection.timer, connection.stable, ...connection.rejoin]) {
      this.#platform.clearTimeout(timer);
    }
    try {
      socket.close(code, reason);
    } catch {
      // A socket that can't be closed is one that is gone.
    }
    for (const request of [...connection.requests.values()]) {
      if (!request.resolve) continue;
      const lost = "the connection was lost before the answer";
      this.#fail(request, new NotifierError(lost, { ...request.facts, outcome: "unknown" }));
    }
    connection.requests.clear();
  }

  #lose(connection, code, reason) {
    const left = this.#leaving.delete(connection);
    this.#end(connection, 4408, "no answer");
    if (left) return;
    const permanent = PERMANENT.has(code) || (code >= 4500 && code <= 4999);
    if (connection === this.#successor) {
      // The old connection still serves: it is left only for one that works.
      this.#successor = null;
      for (const log of this.#channels.values()) {
        if (log.source === connection) log.source = this.#current;
      }
      if (!permanent) this.#retryLater();
      return;
    }
    if (connection !== this.#current) return;
    this.#current = this.#successor;
    this.#successor = null;
    if (this.#current) {
      this.#flush();
      this.#setState(this.#current.welcomed ? "open" : "connecting", { code, reason });
    } else if (permanent) {
      this.#stop("failed", code, reason || `the server closed with ${code}`);
    } else {
      const retryAt = this.#retryLater();
      this.#setState("waiting", { retryAt, code, reason });
    }
  }

  /** Full jitter: anywhere between now and a limit that doubles, so that a crowd spreads out. */
  #retryLater() {
    const limit = Math.min(this.#options.maxDelay, FIRST_DELAY * 2 ** Math.min(this.#attempt, 30));
    const delay = this.#platform.random() * limit;
    this.#attempt += 1;
    this.#clearRetry();
    this.#retry = this.#after(delay, () => this.#dial());
    return this.#platform.now() + delay;
  }

  #clearRetry() {
    this.#platform.clearTimeout(this.#retry);
    this.#retry = null;
  }

  /** The network or the reader is back: don't sit out the wait, don't trust an old silence. */
  #wake = (event) => {
    const hidden = this.#platform.document?.visibilityState === "hidden";
    if (event.type === "visibilitychange" && hidden) return;
    const now = this.#platform.now();
    if (this.#state.state === "waiting") {
      const wait = Math.max(0, this.#triedAt + FIRST_DELAY - now);
      if (now + wait >= this.#state.retryAt) return;
      this.#clearRetry();
      this.#retry = this.#after(wait, () => this.#dial());
      this.#setState("waiting", { ...this.#state, retryAt: now + wait });
      return;
    }
    const connection = this.#current;
    if (!connection?.welcomed || !connection.answered) return; // nobody to ask, or asked already
    if (now - connection.heardAt >= PROBE_AFTER) this.#ping(connection);
  };

  #setState(state, { retryAt = null, code = null, reason = "" } = {}) {
    this.#state = { state, retryAt, attempt: this.#attempt, code, reason };
    this.#emit("state", this.state);
  }

  // --- keeping it alive -------------------------------------------------------------------------

  #watch(connection) {
    const silent = Math.max(0, this.#platform.now() - connection.heardAt); // clocks can jump back
    const left = connection.interval - silent;
    if (left <= 0) return this.#ping(connection);
    this.#platform.clearTimeout(connection.timer);
    connection.timer = this.#after(left, () => this.#watch(connection));
    return undefined;
  }

  /** Asks for a sign of life: anything heard is one, silence ends the connection. */
  #ping(connection) {
    this.#platform.clearTimeout(connection.timer);
    connection.answered = false;
    this.#send(connection, { type: "ping" });
    connection.timer = this.#after(this.#options.answerTimeout, () => {
      if (connection.answered) this.#watch(connection);
      else this.#lose(connection, 1006, "the server did not answer");
    });
  }

  /** The server drains: receive here until our slot, then be somewhere else. */
  #drain(connection, message) {
    if (connection === this.#successor) return this.#lose(connection, 4000, "it drains as well");
    if (connection !== this.#current || connection.draining) return undefined;
    const slot = clamp(message.after_ms, 0, 300_000, 0);
    connection.draining = true;
    this.#attempt = 0;
    this.#clearRetry();
    this.#retry = this.#after(slot, () => this.#dial());
    return undefined;
  }

  /** The successor takes over once every channel is attached to it: what comes twice is dropped. */
  #handOver() {
    const next = this.#successor;
    if (!next?.welcomed || next.unsettled.size > 0) return;
    const old = this.#current;
    this.#current = next;
    this.#successor = null;
    this.#leaving.add(old);
    this.#leave(old);
    this.#flush();
    this.#setState("open");
  }

  /** Closes a connection that was handed over, unless it still owes a reply. */
  #leave(connection) {
    if (!this.#leaving.has(connection)) return;
    if ([...connection.requests.values()].some((request) => request.resolve)) return;
    this.#leaving.delete(connection);
    this.#end(connection, 1000, "moved");
  }

  // --- receiving --------------------------------------------------------------------------------

  #heard(connection, text) {
    connection.heardAt = this.#platform.now();
    connection.answered = true;
    let message = null;
    try {
      message = JSON.parse(text);
    } catch {
      // Reported below, with everything else that is not a message.
    }
    switch (message?.type) {
      case "welcome":
        return this.#welcome(connection, message);
      case "subscribed":
        return hasPlace(message) ? this.#subscribed(connection, message) : this.#broken(message);
      case "notification":
        return hasPlace(message) ? this.#notified(connection, message) : this.#broken(message);
      case "gap":
        return hasEnds(message) ? this.#gap(connection, message) : this.#broken(message);
      case "unsubscribed":
        return this.#unsubscribed(connection, message);
      case "reply":
        return this.#replied(connection, message);
      case "error":
        return this.#refused(connection, message);
      case "reconnect":
        return this.#drain(connection, message);
      default: // a type this client doesn't know is from a newer server, and is no mistake
        return typeof message?.type === "string" ? undefined : this.#broken(message);
    }
  }

  #broken(message) {
    const what = message?.type ? `a broken ${message.type} message` : "a frame that is no message";
    this.#emit("error", new NotifierError(`the server sent ${what}; it was skipped`));
  }

  #welcome(connection, message) {
    if (connection.welcomed) return;
    connection.welcomed = true;
    connection.interval = clamp(message.ping_interval_ms, 100, 300_000, PING_INTERVAL);
    connection.stable = this.#after(STABLE_AFTER, () => {
      this.#attempt = 0;
    });
    this.#watch(connection);
    this.#emit("welcome", message);
    if (connection === this.#current) this.#setState("open");
    else this.#handOver();
  }

  #subscribed(connection, message) {
    const log = connection.requests.get(message.ref)?.log ?? this.#channels.get(message.channel);
    connection.requests.delete(message.ref);
    connection.unsettled.delete(log);
    if (!log || this.#channels.get(log.name) !== log) return; // dropped in the meantime
    connection.joined.add(log);
    log.source = connection;
    log.asked = true;
    log.refusals = 0;
    log.position = message.position;
    log.recovered = message.recovered ?? null;
    const { channel, position } = message;
    this.#emit("subscribed", { channel, position, recovered: log.recovered });
    const gap = { ...message.gap, channel };
    if (hasEnds(gap)) this.#gap(connection, gap);
    this.#handOver();
  }

  #notified(connection, message) {
    const log = this.#channels.get(message.channel);
    if (!log || !connection.joined.has(log)) return;
    if (log.source === connection) log.position = message.position;
    if (!log.isNew(message, connection)) return;
    for (const { callback } of [...log.listeners]) {
      try {
        callback(message);
      } catch (error) {
        report(error);
      }
    }
  }

  #gap(connection, { channel, after = null, before }) {
    const log = this.#channels.get(channel);
    if (!log || !connection.joined.has(log) || !log.isMissing(before)) return;
    this.#emit("gap", { channel, after, before });
  }

  #unsubscribed(connection, message) {
    connection.requests.delete(message.ref);
    const log = this.#channels.get(message.channel);
    if (!log || !connection.joined.has(log) || !message.code) return; // the answer to our own
    connection.joined.delete(log);
    const reason = String(message.reason ?? "the server ended the subscription");
    const facts = { code: Number(message.code), channel: log.name };
    this.#emit("error", new NotifierError(reason, facts));
  }

  #replied(connection, message) {
    const request = connection.requests.get(message.ref);
    if (!request?.resolve) return;
    this.#settle(request);
    request.resolve(message.result);
  }

  #refused(connection, message) {
    const request = connection.requests.get(message.ref);
    const error = serverError(message, request?.facts);
    connection.requests.delete(message.ref);
    if (request?.resolve) this.#fail(request, error);
    else if (request?.log) this.#joinRefused(connection, request.log, error);
    else if (!request) this.#emit("error", error);
  }

  // --- asking -----------------------------------------------------------------------------------

  #live() {
    return [this.#current, this.#successor].filter((connection) => connection?.open);
  }

  #join(connection, log) {
    const ref = (this.#ref += 1);
    const since = log.asked ? (log.position ?? undefined) : log.since;
    connection.unsettled.add(log);
    connection.requests.set(ref, { log, facts: { channel: log.name } });
    this.#send(connection, { type: "subscribe", ref, channel: log.name, since });
  }

  #joinRefused(connection, log, error) {
    if (this.#channels.get(log.name) !== log) return;
    if (error.code === ALREADY_SUBSCRIBED) return; // by the URL: its own answer settles it
    if (!error.temporary) connection.unsettled.delete(log);
    else {
      const limit = Math.min(this.#options.maxDelay, FIRST_DELAY * 2 ** log.refusals++);
      const timer = this.#after(limit * (0.5 + this.#platform.random() / 2), () => {
        connection.rejoin.delete(timer);
        if (this.#channels.get(log.name) === log) this.#join(connection, log);
      });
      connection.rejoin.add(timer);
    }
    this.#emit("error", error);
    this.#handOver();
  }

  #drop(log) {
    this.#channels.delete(log.name);
    for (const connection of this.#live()) {
      connection.joined.delete(log);
      connection.unsettled.delete(log);
      const ref = (this.#ref += 1);
      connection.requests.set(ref, { facts: { channel: log.name } }); // an error is no news
      this.#send(connection, { type: "unsubscribe", ref, channel: log.name });
    }
    this.#handOver();
  }

  #ask(message, facts) {
    return new Promise((resolve, reject) => {
      if (!this.#wanted) {
        const text = `not connected: ${this.#state.reason || this.#state.state}`;
        reject(new NotifierError(text, { ...facts, outcome: "unsent" }));
        return;
      }
      const request = { message, facts, resolve, reject, connection: null };
      request.timer = this.#after(this.#options.answerTimeout, () => {
        const outcome = request.connection ? "unknown" : "unsent";
        const text = request.connection ? "the server did not answer" : "not connected";
        this.#fail(request, new NotifierError(text, { ...facts, outcome, temporary: true }));
      });
      this.#queue.add(request);
      this.#flush();
    });
  }

  #flush() {
    const connection = this.#current;
    if (!connection?.open) return;
    for (const request of this.#queue) {
      this.#queue.delete(request);
      request.ref = this.#ref += 1;
      request.connection = connection;
      connection.requests.set(request.ref, request);
      this.#send(connection, { ...request.message, ref: request.ref });
    }
  }

  #settle(request) {
    this.#platform.clearTimeout(request.timer);
    this.#queue.delete(request);
    request.connection?.requests.delete(request.ref);
    this.#leave(request.connection);
  }

  #fail(request, error) {
    this.#settle(request);
    request.reject(error);
  }

  #send(connection, message) {
    try {
      connection.socket.send(JSON.stringify(message));
    } catch {
      // The socket is closing; its close event settles what is pending.
    }
  }

  #after(delay, callback) {
    return this.#platform.setTimeout(callback, delay);
  }

  #emit(type, detail) {
    this.dispatchEvent(new NotifierEvent(type, detail));
  }
}

class NotifierEvent extends Event {
  constructor(type, detail) {
    super(type);
    this.detail = detail;
  }
}

/** A channel as this client follows it, across connections. */
class Channel {
  #seen = new Map(); // epoch -> highest offset delivered
  #ids = new Map(); // id -> number of the connection it came on, where there is no position
  #told = null; // the end of the last gap that was reported

  constructor(name, since) {
    this.name = name;
    this.since = since;
    this.listeners = new Set();
    this.position = null;
    this.recovered = null;
    this.asked = false; // whether the server has said where we are, so that `since` is spent
    this.source = null; // the connection whose positions count
    this.refusals = 0;
  }

  /** Whether this has not been delivered yet. Within an epoch each connection is in order, so a
   * mark at the highest offset is enough, also while two connections overlap. */
  isNew({ position, id }, connection) {
    if (position === null) {
      const first = this.#ids.get(id) ?? connection.number;
      remember(this.#ids, id, first, REMEMBERED_IDS);
      return first === connection.number;
    }
    const { epoch, offset } = parsePosition(position);
    if (offset <= (this.#seen.get(epoch) ?? -1)) return false;
    remember(this.#seen, epoch, offset, REMEMBERED_EPOCHS);
    return true;
  }

  /** Whether a gap that ends before this position is news: not told, and not filled meanwhile. */
  isMissing(before) {
    const { epoch, offset } = parsePosition(before);
    if (before === this.#told || offset - 1 <= (this.#seen.get(epoch) ?? -1)) return false;
    this.#told = before;
    return true;
  }
}

/** One WebSocket and what hangs on it. */
class Connection {
  constructor(socket, number, now) {
    this.socket = socket;
    this.number = number;
    this.open = false;
    this.welcomed = false;
    this.draining = false;
    this.answered = true;
    this.heardAt = now;
    this.interval = PING_INTERVAL;
    this.timer = null; // for the welcome first, then for pings and their answers
    this.stable = null;
    this.rejoin = new Set(); // timers of subscriptions that were refused for now
    this.requests = new Map(); // ref -> what waits for its answer
    this.joined = new Set(); // channels the server has confirmed here
    this.unsettled = new Set(); // channels it has not answered about
  }
}

function browser() {
  return {
    now: () => Date.now(),
    setTimeout: (callback, delay) => setTimeout(callback, delay),
    clearTimeout: (timer) => clearTimeout(timer),
    random: Math.random,
    window: globalThis.window,
    document: globalThis.document,
  };
}

function socketUrl(url) {
  const resolved =
    url === undefined ? new URL("../ws", import.meta.url) : new URL(url, globalThis.location?.href);
  resolved.protocol = resolved.protocol.replace(/^http/, "ws");
  if (!/^wss?:$/.test(resolved.protocol)) throw new TypeError(`no WebSocket URL: ${resolved}`);
  resolved.hash = ""; // RFC 6455 §3: no fragments
  return resolved.href;
}

function parsePosition(text) {
  const parts = typeof text === "string" && /^([^:]{1,64}):(\d{1,16})$/.exec(text);
  const offset = parts ? Number(parts[2]) : NaN;
  return Number.isSafeInteger(offset) ? { epoch: parts[1], offset } : null;
}

function hasPlace({ channel, position }) {
  return typeof channel === "string" && (position === null || parsePosition(position) !== null);
}

function hasEnds({ channel, after = null, before }) {
  return hasPlace({ channel, position: after }) && parsePosition(before) !== null;
}

function serverError(message, facts) {
  const text = (value) => (typeof value === "string" ? value : null);
  return new NotifierError(text(message.message) ?? "the server refused", {
    ...facts,
    code: Number.isSafeInteger(message.code) ? message.code : 0,
    temporary: message.temporary === true,
    field: text(message.field),
    docs: text(message.docs),
  });
}

function clamp(value, low, high, otherwise) {
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
}

/** Sets a key as the newest of a map that forgets its oldest. */
function remember(map, key, value, size) {
  map.delete(key);
  map.set(key, value);
  if (map.size > size) map.delete(map.keys().next().value);
}

/** `crypto.randomUUID` exists on https and localhost only; this works on a plain http LAN too. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A listener's mistake is its own: it is reported as uncaught, and stops nobody else. */
function report(error) {
  if (globalThis.reportError) globalThis.reportError(error);
  else
    queueMicrotask(() => {
      throw error;
    });
}
