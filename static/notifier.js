/**
 * A client for the notifier service: one connection for any number of channels, which comes back by
 * itself, resumes where it was, and says out loud what could not be resumed. It is a WebSocket;
 * where that is blocked, server-sent events.
 *
 *     import { Notifier } from "/static/notifier.js";
 *     const notifier = new Notifier();
 *     notifier.subscribe("alerts", (n) => console.log(n.title, n.message));
 *     notifier.on("gap", ({ channel, after, before }) => reload(channel));
 *
 * No dependencies but the folder beside it. Runs in every current browser and, given a WebSocket
 * class, in Node 20 and later.
 *
 * @module notifier
 */

import { firstUnread, TOO_FAST, waitFor } from "./notifier/again.js";
import { Channel, Pattern } from "./notifier/channel.js";
import { Connection } from "./notifier/connection.js";
import {
  Credential,
  expiry,
  isAboutCredential,
  isExpired,
  renewIn,
} from "./notifier/credential.js";
import { NotifierError, serverError } from "./notifier/errors.js";
import { EventLink } from "./notifier/eventsource.js";
import { browser, clamp, randomId, report } from "./notifier/platform.js";
import { hasEnds, hasPlace, isPattern, resumeToken, skipped } from "./notifier/positions.js";
import { eventsUrl, route, socketUrl } from "./notifier/route.js";
import { Subscription } from "./notifier/subscription.js";
import { isPermanent, SocketLink } from "./notifier/websocket.js";

export { NotifierError, Subscription };

/**
 * @typedef {import("./notifier/types.js").Notification} Notification
 * @typedef {import("./notifier/types.js").Gap} Gap
 * @typedef {import("./notifier/types.js").StateChange} StateChange
 * @typedef {import("./notifier/types.js").Options} Options
 * @typedef {import("./notifier/types.js").Token} Token
 */

const FIRST_DELAY = 1_000;
const STABLE_AFTER = 5_000; // a connection that lives this long takes the back-off to its start
const PING_INTERVAL = 25_000; // until the server's welcome says otherwise
const PROBE_AFTER = 2_000; // silence after which a page that wakes up doubts its connection
const SOCKET_AGAIN = 60_000; // on server-sent events, how long until WebSocket is tried again
const SOCKET_AGAIN_MOST = 3_600_000; // the wait doubles up to this
const ALREADY_SUBSCRIBED = 40902;
const NO_EVENTS = new Set([40401, 40501]); // a server of before there were any

/**
 * Events, each with its facts in `event.detail` (or as the argument with `on`):
 * - `state` {StateChange}
 * - `welcome` the server's message: connection, ping_interval_ms, time, version (WebSocket only)
 * - `subscribed` {channel, position, recovered}; with `pattern` for a channel that one brought, with
 *   `channels` (how many) for the pattern itself
 * - `gap` {Gap}, in its place between the notifications of that channel
 * - `presence` {channel, event, member?, count} where `presence: true` was asked for
 * - `error` {NotifierError} what no promise reports: a refused channel, a broken frame
 */
export class Notifier extends EventTarget {
  #url;
  #options;
  #platform;
  #channels = new Map(); // name -> Channel or Pattern
  #since;
  #current = null; // the connection in use
  #successor = null; // the one that takes over from it while the server drains
  #leaving = new Set(); // handed over, waiting for their last replies
  #queue = new Set(); // requests that wait for a connection
  #state = {
    state: "connecting",
    transport: null,
    retryAt: null,
    attempt: 0,
    code: null,
    reason: "",
  };
  #wanted = false;
  #attempt = 0;
  #triedAt = -Infinity;
  #retry = null;
  #ref = 0;
  #route;
  #heardCount = 0;
  #time = 0; // the newest we know by the server's clock
  #again = null; // the timer of the next try of a WebSocket, while it goes without
  #againAfter = SOCKET_AGAIN;
  #credential;
  #renewal = null; // the timer of the next fresh token
  #skew = 0; // how far the server's clock is ahead of ours

  /**
   * Connects at once (in the next microtask, so that listeners can be added first).
   *
   * @param {string|URL} [url] of the WebSocket; http and relative URLs are understood. Default:
   *   `/ws` of the server this module came from.
   * @param {Options} [options]
   * @throws {TypeError} for a URL no WebSocket can use, or without a class for the transport
   * @throws {NotifierError} for what can't be a key or a token
   */
  constructor(url, options = {}) {
    super();
    this.#platform = { ...browser(), ...options.platform };
    this.#options = { maxDelay: 30_000, answerTimeout: 10_000, ...options };
    this.#options.WebSocket ??= globalThis.WebSocket;
    this.#options.EventSource ??= globalThis.EventSource;
    this.#options.fetch ??= (...request) => globalThis.fetch(...request);
    this.#url = socketUrl(url);
    this.#route = route(this.#options);
    this.#credential = new Credential(options.token);
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
    const known = [...this.#channels.values()].filter(({ position }) => position !== null);
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
   * A pattern such as `builds:*` brings every channel that matches, also those that come to life
   * later; `notification.channel` tells which. A function given for several patterns or channels
   * is called once for each notification.
   *
   * @param {string} channel or a pattern
   * @param {(notification: Notification) => void} callback
   * @param {object} [options]
   * @param {string} [options.since] where to start: a position, `all`, `latest` (default), a count
   *   `-20`, a duration `10m` or an RFC 3339 time. Later connections resume.
   * @param {boolean} [options.presence] whether to hear who joins and leaves, as `presence` events;
   *   the first listener's choice
   * @returns {Subscription}
   */
  subscribe(channel, callback, { since, presence } = {}) {
    const name = channel.normalize("NFC"); // as the server will call it
    let log = this.#channels.get(name);
    if (!log) {
      log = new (isPattern(name) ? Pattern : Channel)(name, {
        since: since ?? this.#since.get(name),
        presence,
      });
      this.#since.delete(name); // a later subscription begins anew
      this.#channels.set(name, log);
      for (const connection of this.#live()) this.#join(connection, log);
    } else if (!log.named) {
      log.named = true; // until now it was here for a pattern alone
      for (const connection of this.#live()) this.#join(connection, log);
    }
    const listener = { callback };
    log.listeners.add(listener);
    return new Subscription(log, () => {
      if (log.listeners.delete(listener) && log.listeners.size === 0) this.#drop(log);
    });
  }

  /** Ends every listener on the channel, or on the pattern. @param {string} channel */
  unsubscribe(channel) {
    const log = this.#channels.get(channel.normalize("NFC"));
    if (!log?.named) return;
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

  /**
   * Who is on a channel now.
   *
   * @param {string} channel
   * @returns {Promise<{channel: string, count: number, members: object[]|null}>} `members` is null
   *   where they are too many to be listed
   * @throws {NotifierError}
   */
  presence(channel) {
    return this.#ask({ type: "presence", channel }, { channel });
  }

  /**
   * Is somebody else from now on, or nobody (`null`). It connects anew, and asks again for what was
   * refused; positions are kept, so nothing is missed. What the server thinks of it is a `state`.
   *
   * @param {Token|null} token
   * @throws {NotifierError} for what can't be a key or a token
   */
  authenticate(token) {
    this.#credential = new Credential(token);
    this.#leaveAll();
    this.connect();
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
    this.#leaveAll();
    for (const request of [...this.#queue]) {
      this.#fail(request, new NotifierError(reason, { ...request.facts, outcome: "unsent" }));
    }
    this.#setState(state, { code, reason });
  }

  #leaveAll() {
    this.#clearRetry();
    for (const timer of [this.#again, this.#renewal]) this.#platform.clearTimeout(timer);
    const connections = [this.#current, this.#successor, ...this.#leaving].filter(Boolean);
    this.#current = this.#successor = null;
    this.#leaving.clear();
    for (const connection of connections) this.#end(connection, 1000, "");
  }

  #dial() {
    if (!this.#wanted || this.#successor || (this.#current && !this.#current.draining)) return;
    this.#clearRetry();
    this.#connect(this.#route.next);
  }

  #connect(transport) {
    this.#triedAt = this.#platform.now();
    const connection = new Connection(transport, (this.#ref += 1), this.#platform.now());
    if (this.#current) this.#successor = connection;
    else this.#current = connection;
    const token = this.#credential.held(this.#serverNow());
    if (token === undefined) this.#openWithFresh(connection);
    else if (!this.#open(connection, token)) return;
    if (connection === this.#current) this.#setState("connecting");
  }

  /** Makes its link; whether that was possible. */
  #open(connection, token) {
    connection.token = token;
    try {
      connection.link = this.#link(connection);
    } catch (error) {
      // A URL or a page's policy that forbids it.
      const { hasOther } = this.#route;
      this.#route.unavailable(connection.transport);
      connection.transport = this.#route.next;
      if (hasOther) return this.#open(connection, token);
      this.#stop("failed", null, error.message);
      return false;
    }
    this.#platform.clearTimeout(connection.timer);
    connection.timer = this.#after(this.#options.answerTimeout, () => {
      this.#route.failed(connection.transport, { silent: true });
      this.#lose(connection, 1006, "the server did not answer");
    });
    return true;
  }

  /** Opens it once the application has given a token for it. */
  async #openWithFresh(connection) {
    const isNeeded = () => [this.#current, this.#successor].includes(connection);
    connection.isFresh = true;
    connection.timer = this.#after(this.#options.answerTimeout, () => {
      this.#lose(connection, null, "the application gave no token in time");
    });
    try {
      const token = await this.#credential.fresh();
      if (isNeeded()) this.#open(connection, token);
    } catch (error) {
      if (!isNeeded()) return;
      const { code = null, message } = error ?? {};
      if (error instanceof NotifierError) this.#lose(connection, code, message, true);
      else this.#lose(connection, null, `the application gave no token: ${message}`);
    }
  }

  #link(connection) {
    const { answerTimeout: timeout, protocols = [] } = this.#options;
    const { token } = connection;
    const options = { ...this.#options, platform: this.#platform, timeout, protocols, token };
    const handlers = {
      opened: () => this.#opened(connection),
      heard: (message, source = connection) => this.#heard(connection, message, source),
      alive: () => this.#alive(connection),
      time: (time) => this.#keepTime(time),
      unanswered: (ref, reason) => this.#unanswered(connection, ref, reason),
      lost: (code, reason, permanent) => {
        const isAnswer = connection.welcomed || isAboutCredential(code);
        if (!isAnswer) this.#route.failed(connection.transport);
        this.#lose(connection, code, reason, permanent);
      },
    };
    return connection.transport === "sse"
      ? new EventLink({ ...options, url: eventsUrl(this.#url) }, handlers)
      : new SocketLink({ ...options, url: this.#url }, handlers);
  }

  #opened(connection) {
    connection.open = true;
    const named = [...this.#channels.values()].filter((log) => log.named);
    for (const log of named) if (!log.isPattern) this.#join(connection, log);
    for (const log of named) if (log.isPattern) this.#join(connection, log);
    if (connection === this.#current) this.#flush();
  }

  /** Lets go of a connection: nothing is heard from its link any more. */
  #end(connection, code, reason) {
    connection.open = false;
    for (const timer of [connection.timer, connection.stable, ...connection.rejoin]) {
      this.#platform.clearTimeout(timer);
    }
    connection.link.close(code, reason);
    for (const request of [...connection.requests.values()]) {
      if (!request.resolve) continue;
      const lost = "the connection was lost before the answer";
      this.#fail(request, new NotifierError(lost, { ...request.facts, outcome: "unknown" }));
    }
    connection.requests.clear();
  }

  #lose(connection, code, reason, permanent = isPermanent(code)) {
    const left = this.#leaving.delete(connection);
    this.#end(connection, 4408, "no answer");
    if (left) return;
    if (permanent && connection.transport === "sse" && NO_EVENTS.has(code) && this.#route.hasOther) {
      this.#route.unavailable("sse");
      permanent = false;
    }
    const { isFixed, isRenewable } = this.#credential;
    let isSoon = false;
    if (isExpired(code)) {
      permanent = isFixed;
      // A fresh one that is over as well says nothing of how soon there will be a better one.
      isSoon = isRenewable && (!connection.isFresh || this.#lifetime(connection) >= FIRST_DELAY);
    }
    if (isAboutCredential(code)) this.#credential.drop();
    if (connection === this.#successor) {
      // The old connection still serves: it is left only for one that works.
      this.#successor = null;
      for (const log of this.#channels.values()) {
        if (log.source === connection) log.source = this.#current;
      }
      if (!this.#current.draining) this.#trySocketLater();
      else if (!permanent) this.#retryLater();
      return;
    }
    if (connection !== this.#current) return;
    this.#current = this.#successor;
    this.#successor = null;
    if (this.#current) {
      this.#flush();
      this.#setState(this.#current.welcomed ? "open" : "connecting", { code, reason });
    } else if (permanent) {
      const state = isAboutCredential(code) ? "refused" : "failed";
      this.#stop(state, code, reason || `the server closed with ${code}`);
    } else if (isSoon) {
      this.#dial();
    } else {
      const retryAt = this.#retryLater();
      this.#setState("waiting", { retryAt, code, reason });
    }
  }

  #lifetime(connection) {
    return this.#platform.now() - connection.madeAt;
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

  /** Without a WebSocket each publication costs more, and dead links are noticed late. One try now
   * and then is cheap: it is made beside what works, which is left when it got through. */
  #trySocketLater() {
    this.#platform.clearTimeout(this.#again);
    if (this.#current?.transport !== "sse" || !this.#route.hasOther) return;
    this.#again = this.#after(this.#againAfter, () => {
      this.#againAfter = Math.min(SOCKET_AGAIN_MOST, 2 * this.#againAfter);
      const { welcomed, draining } = this.#current ?? {};
      if (welcomed && !draining && !this.#successor) this.#connect("websocket");
      else this.#trySocketLater();
    });
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
    if (event.type === "online") {
      this.#againAfter = SOCKET_AGAIN; // it may be another network
      this.#trySocketLater();
    }
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
    const transport = this.#current?.transport ?? null;
    this.#state = { state, transport, retryAt, attempt: this.#attempt, code, reason };
    this.#emit("state", this.state);
  }

  // --- who we are -------------------------------------------------------------------------------

  #serverNow() {
    return this.#platform.now() + this.#skew;
  }

  /** Before a token is over, the server is shown another: in place, so that nothing is torn. */
  #renewBefore(end) {
    this.#platform.clearTimeout(this.#renewal);
    if (!this.#credential.isRenewable || end === null) return;
    const left = end - this.#serverNow();
    if (left <= 0) return; // the server will say so
    this.#renewal = this.#after(renewIn(left), () => this.#renew(end));
  }

  async #renew(end) {
    const credential = this.#credential;
    let token = null;
    try {
      token = await credential.fresh();
    } catch {
      // Asked again as long as there is time; then the connection ends, and tells why.
    }
    if (credential !== this.#credential || !this.#wanted) return;
    this.#renewBefore((token && expiry(token)) ?? end);
    if (token) for (const connection of this.#live()) this.#show(connection, token);
  }

  async #show(connection, token) {
    try {
      const sent = new Promise((resolve, reject) => {
        const message = { type: "authenticate", token };
        const again = () => this.#command(connection, request);
        const request = { message, again, facts: {}, resolve, reject };
        this.#command(connection, request);
      });
      const { expires } = (await sent) ?? {};
      if (expiry(token) === null) this.#renewBefore(Date.parse(expires) || null);
    } catch (error) {
      if (error.outcome === "refused") this.#emit("error", error);
    }
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
    this.#trySocketLater();
  }

  /** Closes a connection that was handed over, unless it still owes a reply. */
  #leave(connection) {
    if (!this.#leaving.has(connection) || connection.owes) return;
    this.#leaving.delete(connection);
    this.#end(connection, 1000, "moved");
  }

  // --- receiving --------------------------------------------------------------------------------

  #alive(connection) {
    connection.heardAt = this.#platform.now();
    connection.answered = true;
  }

  #heard(connection, message, source) {
    this.#alive(connection);
    switch (message?.type) {
      case "welcome":
        return this.#welcome(connection, message);
      case "subscribed":
        return hasPlace(message) ? this.#subscribed(connection, message) : this.#broken(message);
      case "notification":
        return hasPlace(message) ? this.#notified(connection, message, source) : this.#broken(message);
      case "gap":
        return hasEnds(message) ? this.#gap(connection, message) : this.#broken(message);
      case "unsubscribed":
        return this.#unsubscribed(connection, message);
      case "reply":
        return this.#replied(connection, message);
      case "error":
        return this.#refused(connection, message);
      case "presence":
        return this.#present(message);
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
    this.#route.worked(connection.transport);
    const time = Date.parse(message.time);
    this.#keepTime(time);
    if (Number.isFinite(time)) this.#skew = time - this.#platform.now();
    this.#renewBefore(connection.token && expiry(connection.token));
    this.#watch(connection);
    if (connection.transport === "websocket") this.#emit("welcome", message);
    if (connection === this.#current) {
      this.#setState("open");
      this.#trySocketLater();
    } else this.#handOver();
  }

  #subscribed(connection, message) {
    const log = connection.requests.get(message.ref)?.log ?? this.#followed(message);
    connection.requests.delete(message.ref);
    connection.unsettled.delete(log);
    if (!log || this.#channels.get(log.name) !== log) return; // dropped in the meantime
    const { channel, position, recovered = null, pattern, channels } = message;
    const unnamed = connection.unnamed.delete(log.name);
    const gap = message.gap ?? (unnamed && skipped(log.position, position));
    connection.joined.add(log);
    if (pattern) connection.brought.add(log);
    else connection.brought.delete(log);
    log.source = connection;
    log.asked = true;
    log.refusals = 0;
    log.position = position;
    log.recovered = recovered;
    log.ended = false;
    if (log.isPattern) this.#prune(log);
    this.#emit("subscribed", { channel, position, recovered, ...defined({ pattern, channels }) });
    const ends = { ...gap, channel };
    if (hasEnds(ends)) this.#gap(connection, ends);
    this.#handOver();
  }

  /** The channel a message is about; one that a pattern of ours brings is made here. */
  #followed({ channel, pattern }) {
    const log = this.#channels.get(channel);
    if (log || !pattern || isPattern(channel) || !this.#isBrought(channel)) return log;
    const brought = new Channel(channel, { named: false });
    this.#since.delete(channel);
    this.#channels.set(channel, brought);
    return brought;
  }

  /** A pattern has told of its channels. Those it no longer has are forgotten, or they would pile
   * up; but not one that could not be joined, whose position is still to be resumed. */
  #prune(pattern) {
    for (const log of this.#channels.values()) {
      if (log.named || log.ended || !pattern.matches(log.name)) continue;
      if (!this.#live().some(({ joined }) => joined.has(log))) this.#channels.delete(log.name);
    }
  }

  #patterns() {
    return [...this.#channels.values()].filter((log) => log.isPattern);
  }

  #isBrought(channel) {
    return this.#patterns().some((pattern) => pattern.matches(channel));
  }

  #keepTime(time) {
    if (time > this.#time) this.#time = time; // NaN is not
  }

  #notified(connection, message, source) {
    const log = this.#channels.get(message.channel);
    if (!log || !connection.joined.has(log)) return;
    this.#keepTime(Date.parse(message.time));
    if (log.source === connection) log.position = message.position;
    if (!log.isNew(message, source)) return;
    log.heard = this.#heardCount += 1;
    const matching = this.#patterns().filter((pattern) => pattern.matches(log.name));
    const listeners = [log, ...matching].flatMap((followed) => [...followed.listeners]);
    for (const callback of new Set(listeners.map((listener) => listener.callback))) {
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

  #present({ type, ...detail }) {
    if (this.#channels.has(detail.channel)) this.#emit("presence", detail);
  }

  #unsubscribed(connection, message) {
    connection.requests.delete(message.ref);
    const { channel, code } = message;
    if (!code) return; // the answer to our own
    const log = this.#channels.get(channel);
    if (log) {
      if (!connection.joined.delete(log)) return;
      log.ended = true;
    } else if (typeof channel !== "string" || !this.#isBrought(channel)) return;
    const reason = String(message.reason ?? "the server ended the subscription");
    this.#emit("error", new NotifierError(reason, { code: Number(code), channel }));
  }

  #unanswered(connection, ref, reason) {
    const request = connection.requests.get(ref);
    if (!request?.resolve) return;
    const facts = { ...request.facts, outcome: "unknown", temporary: true };
    this.#fail(request, new NotifierError(reason, facts));
  }

  #replied(connection, message) {
    const request = connection.requests.get(message.ref);
    if (!request?.resolve) return;
    this.#settle(request);
    request.resolve(message.result);
  }

  #refused(connection, message) {
    const isUnread = message.code === TOO_FAST && message.ref === undefined;
    const request = isUnread
      ? firstUnread([...connection.requests.values()])
      : connection.requests.get(message.ref);
    const error = serverError(message, request?.facts);
    connection.requests.delete(request?.ref ?? message.ref);
    if (isUnread && !request) return; // a ping, which has been answered with that
    if (request && error.retryAfter !== null && this.#askAgain(connection, request, error)) return;
    if (request?.resolve) this.#fail(request, error);
    else if (request?.log) this.#joinRefused(connection, request.log, error);
    else if (!request) this.#emit("error", error);
  }

  // --- asking -----------------------------------------------------------------------------------

  #live() {
    return [this.#current, this.#successor].filter((connection) => connection?.open);
  }

  #join(connection, log) {
    const place = log.asked ? (log.position ?? undefined) : log.since;
    const since = log.isPattern ? this.#resume(connection, log) : place;
    const presence = log.presence || undefined;
    const message = { type: "subscribe", channel: log.name, since, presence };
    connection.unsettled.add(log);
    this.#command(connection, { log, message, facts: { channel: log.name } });
  }

  /** Where a pattern goes on: the places of all the channels it has brought, as one token. When
   * they are too many, the busiest are named; one that is not goes on from the token's time, and
   * what that may have skipped is reported as a gap. */
  #resume(connection, pattern) {
    if (!pattern.asked) {
      const saved = [...this.#since].filter(([channel]) => pattern.matches(channel));
      // Without their time: what has come to life since then is wanted from its beginning.
      return pattern.since ?? (saved.length > 0 ? resumeToken(saved, 0).token : undefined);
    }
    const known = [...this.#channels.values()].filter(
      (log) => !log.isPattern && log.position !== null && pattern.matches(log.name),
    );
    known.sort((a, b) => b.heard - a.heard);
    const places = known.map(({ name, position }) => [name, position]);
    const { token, unnamed } = resumeToken(places, this.#time);
    for (const name of unnamed) connection.unnamed.add(name);
    return token;
  }

  #joinRefused(connection, log, error) {
    if (this.#channels.get(log.name) !== log) return;
    if (error.code === ALREADY_SUBSCRIBED) {
      // By the URL: its own answer settles it; or by a pattern, which has joined it before.
      if (connection.joined.has(log)) connection.unsettled.delete(log);
      this.#handOver();
      return;
    }
    if (!error.temporary) connection.unsettled.delete(log);
    else {
      const timer = this.#after(this.#joinDelay(error, log.refusals++), () => {
        connection.rejoin.delete(timer);
        if (this.#channels.get(log.name) === log) this.#join(connection, log);
      });
      connection.rejoin.add(timer);
    }
    if (error.code !== TOO_FAST) this.#emit("error", error);
    this.#handOver();
  }

  #joinDelay({ retryAfter }, refusals) {
    const { maxDelay } = this.#options;
    const { random } = this.#platform;
    if (retryAfter !== null) return waitFor(retryAfter, refusals, { random, maxDelay });
    return Math.min(maxDelay, FIRST_DELAY * 2 ** refusals) * (0.5 + random() / 2);
  }

  #drop(log) {
    if (!log.isPattern && this.#isBrought(log.name)) log.named = false;
    else this.#channels.delete(log.name);
    const gone = [...this.#channels.values()].filter(
      ({ name, named }) => !named && !this.#isBrought(name),
    );
    for (const { name } of gone) this.#channels.delete(name);
    if (!this.#channels.has(log.name)) gone.push(log);
    for (const connection of this.#live()) {
      for (const left of gone) {
        connection.joined.delete(left);
        connection.brought.delete(left);
      }
      connection.unsettled.delete(log);
      this.#unjoin(connection, log);
    }
    this.#handOver();
  }

  #unjoin(connection, log, tries = 0) {
    const message = { type: "unsubscribe", channel: log.name };
    const again = () => {
      this.#unjoin(connection, log, tries + 1);
      // What was asked for in the meantime was there still.
      const wanted = this.#channels.get(log.name);
      if (wanted?.named) this.#join(connection, wanted);
    };
    // An error is no news.
    this.#command(connection, { message, again, tries, facts: { channel: log.name } });
    if (log.isPattern) this.#keep(connection, log);
  }

  /** With a pattern goes all that it brought, also what has got a listener of its own since. */
  #keep(connection, pattern) {
    for (const log of connection.brought) {
      if (log.named && pattern.matches(log.name)) this.#join(connection, log);
    }
  }

  #ask(message, facts) {
    return new Promise((resolve, reject) => {
      if (!this.#wanted) {
        const text = `not connected: ${this.#state.reason || this.#state.state}`;
        reject(new NotifierError(text, { ...facts, outcome: "unsent" }));
        return;
      }
      const { answerTimeout } = this.#options;
      const deadline = this.#platform.now() + answerTimeout;
      const request = { message, facts, resolve, reject, deadline, connection: null };
      request.timer = this.#after(answerTimeout, () => {
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
      if (request.isWaiting) continue;
      this.#queue.delete(request);
      this.#command(connection, request);
    }
  }

  /** Sends what is answered under its ref. */
  #command(connection, request) {
    request.ref = this.#ref += 1;
    request.connection = connection;
    connection.requests.set(request.ref, request);
    this.#send(connection, { ...request.message, ref: request.ref });
  }

  /** Asks again once the server may be asked; whether there is time for that. */
  #askAgain(connection, request, { retryAfter }) {
    if (request.log) return false; // has its own way
    const { maxDelay } = this.#options;
    const { now, random } = this.#platform;
    request.tries ??= 0;
    const delay = waitFor(retryAfter, request.tries, { random, maxDelay });
    request.tries += 1;
    if (request.again) {
      // Is about this connection, and ends with it.
      const timer = this.#after(delay, () => {
        connection.rejoin.delete(timer);
        request.again();
      });
      connection.rejoin.add(timer);
      return true;
    }
    if (now() + delay >= request.deadline) return false;
    request.connection = null;
    request.isWaiting = true;
    this.#queue.add(request);
    request.retry = this.#after(delay, () => {
      request.isWaiting = false;
      this.#flush();
    });
    this.#leave(connection);
    return true;
  }

  #settle(request) {
    for (const timer of [request.timer, request.retry]) this.#platform.clearTimeout(timer);
    this.#queue.delete(request);
    request.connection?.requests.delete(request.ref);
    this.#leave(request.connection);
  }

  #fail(request, error) {
    this.#settle(request);
    request.reject(error);
  }

  #send(connection, message) {
    connection.link.send(message);
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

/** Without the members that are undefined. */
function defined(members) {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
