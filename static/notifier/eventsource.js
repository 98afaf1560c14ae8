/** A link where WebSocket is blocked: server-sent events one way, HTTP requests the other. */

import { isAboutCredential, isExpired } from "./credential.js";
import {
  byteLength,
  hasPlace,
  isPattern,
  matches,
  parsePosition,
  parseToken,
  resumeToken,
} from "./positions.js";
import { askTicket, bearer } from "./ticket.js";
import { parse } from "./websocket.js";

// Script can't see the comments that keep a stream alive, so a silent one is opened anew.
const SILENCE = 60_000;
const MAX_STREAM_BYTES = 3_500; // of places in one stream: the server's resume tokens hold 4,096
const PLACE_BYTES = 32; // of a position in a token
const EVENTS = ["subscribed", "gap", "unsubscribed", "presence", "reconnect", "keepalive"];

/**
 * A link of streams that are opened anew whenever what is wanted changes: a stream's URL names its
 * channels, and can't be changed. The new ones begin where the old ones are, and take over when
 * all their channels are attached; what comes twice meanwhile has the same position.
 *
 * Commands are answered as a WebSocket would answer them: `publish`, `history` and `presence` by
 * HTTP, `subscribe` by the streams, `ping` by opening them anew.
 *
 * @implements {import("./websocket.js").Link}
 */
export class EventLink {
  transport = "sse";
  #options;
  #handlers;
  #token;
  #wanted = new Map(); // name -> {name, since, presence, ref, stream}
  #places = new Map(); // channel -> the last position received
  #brought = new Set(); // channels that patterns brought, and we have told of
  #time = 0; // the newest we know by the server's clock
  #streams = new Set();
  #planned = false;
  #refresh = false; // a sign of life is wanted
  #welcomed = false;
  #gone = new AbortController();

  /**
   * @param {object} options
   * @param {typeof EventSource} options.EventSource
   * @param {typeof fetch} options.fetch
   * @param {string} options.url of `/events`
   * @param {string|null} options.token to be shown
   * @param {number} options.timeout for a stream to be attached, in milliseconds
   * @param {{setTimeout: Function, clearTimeout: Function}} options.platform
   * @param {import("./websocket.js").Handlers} handlers
   */
  constructor(options, handlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#token = options.token ?? null;
    queueMicrotask(() => {
      if (this.#closed) return;
      handlers.opened();
      this.#plan();
    });
  }

  send({ ref = null, ...message }) {
    const { type, channel, since, limit } = message;
    switch (type) {
      case "subscribe":
        this.#want(channel, { since, presence: message.presence === true, ref });
        return this.#plan();
      case "unsubscribe":
        this.#forget(channel);
        this.#handlers.heard({ type: "unsubscribed", channel, code: 0, ref });
        return this.#plan();
      case "publish":
        return this.#publish(ref, message);
      case "history":
        return this.#request(ref, `${resource(channel)}/history`, { query: { since, limit } });
      case "presence":
        return this.#request(ref, `${resource(channel)}/presence`);
      case "authenticate":
        this.#token = message.token; // shown by streams that take over from those there are
        this.#handlers.heard({ type: "reply", ref, result: {} });
        this.#refresh = true;
        return this.#plan();
      default:
        this.#refresh = true;
        return this.#plan();
    }
  }

  #want(name, { since, presence, ref }) {
    this.#wanted.set(name, { name, since, presence, ref, stream: null });
  }

  close() {
    this.#gone.abort();
    for (const stream of this.#streams) this.#drop(stream);
  }

  get #closed() {
    return this.#gone.signal.aborted;
  }

  #lose(code, reason, permanent = false) {
    if (this.#closed) return;
    this.close();
    this.#handlers.lost(code, reason, permanent);
  }

  // --- streams ----------------------------------------------------------------------------------

  /** Once the caller has said all that it wants: what is to be opened? */
  #plan() {
    if (this.#planned) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      if (!this.#closed) this.#arrange();
    });
  }

  #arrange() {
    const wanted = [...this.#wanted.values()];
    const fresh = wanted.filter((entry) => entry.stream === null);
    if (fresh.length > 0) {
      for (const pack of this.#packs(fresh)) this.#open(pack);
      return;
    }
    if (wanted.length === 0) {
      for (const stream of this.#streams) this.#drop(stream);
      if (this.#refresh || !this.#welcomed) this.#greet();
      return;
    }
    const streams = [...this.#streams];
    if (streams.some((stream) => stream.waiting.size > 0)) return; // it plans again when it is done
    const packs = this.#packs(wanted);
    const stale = streams.some(({ entries }) => entries.some((entry) => !this.#isWanted(entry)));
    if (streams.length <= packs.length && !stale && !this.#refresh) return;
    this.#refresh = false;
    for (const stream of streams) stream.leaving = true;
    for (const pack of packs) this.#open(pack);
  }

  /** One stream has one `since`, and room for only so many places. */
  #packs(entries) {
    const packs = new Map();
    for (const entry of entries) {
      const key = JSON.stringify([entry.presence, this.#isPlaced(entry) || entry.since]);
      const size = this.#size(entry);
      let pack = packs.get(key)?.at(-1);
      if (!pack || pack.size + size > MAX_STREAM_BYTES) {
        pack = { entries: [], size: 0 };
        packs.set(key, [...(packs.get(key) ?? []), pack]);
      }
      pack.entries.push(entry);
      pack.size += size;
    }
    return [...packs.values()].flat().map((pack) => pack.entries);
  }

  #size({ name }) {
    const channels = isPattern(name) ? this.#matching(name) : [name];
    return channels.reduce((size, channel) => size + byteLength(channel) + PLACE_BYTES, 0);
  }

  /** Whether it goes on from places we know, so that it may share a stream with others. */
  #isPlaced({ ref, since }) {
    return ref === null || parsePosition(since) !== null || parseToken(since) !== null;
  }

  #matching(pattern) {
    return [...this.#places.keys()].filter((channel) => matches(pattern, channel));
  }

  #open(entries) {
    const { platform, timeout } = this.#options;
    const waiting = new Set(entries.map(({ name }) => name));
    const stream = { entries, waiting, leaving: false, source: null };
    for (const entry of entries) entry.stream = stream;
    this.#streams.add(stream);
    stream.timer = platform.setTimeout(() => this.#lose(1006, "the server did not answer"), timeout);
    const url = this.#url(entries);
    if (this.#token) this.#present(stream, url);
    else this.#listen(stream, url);
  }

  /** EventSource has no header to set: what stands in its URL is good once, and for seconds. */
  async #present(stream, url) {
    const { fetch, url: address } = this.#options;
    const { signal } = this.#gone;
    const { ticket, error } = await askTicket({ fetch, url: address, token: this.#token, signal });
    if (this.#closed || !this.#streams.has(stream)) return;
    if (error) this.#lose(error.code, error.message, error.temporary !== true);
    else if (!ticket) this.#lose(1006, "the stream could not be opened");
    else this.#listen(stream, withTicket(url, ticket));
  }

  #listen(stream, url) {
    try {
      stream.source = new this.#options.EventSource(url);
    } catch (error) {
      this.#lose(0, error.message, true); // the page's policy forbids it
      return;
    }
    const heard = (event) => this.#heard(stream, event);
    stream.source.onmessage = heard;
    for (const type of EVENTS) stream.source.addEventListener(type, heard);
    stream.source.addEventListener("refused", ({ data }) => {
      const error = parse(data);
      if (error?.temporary === false) this.#turnedDown(stream, error);
      else this.#ended(stream, error?.code ?? 0, error?.message ?? "the server refused");
    });
    stream.source.onerror = () => {
      // Its own way of coming back would keep neither our pace nor that of a crowd.
      const refused = stream.source.readyState === 2;
      stream.source.close();
      if (refused && this.#streams.has(stream)) this.#ask(stream);
      else this.#ended(stream, 1006, "the stream ended");
    };
  }

  #ended(stream, code, reason) {
    if (stream.leaving) this.#drop(stream);
    else if (this.#streams.has(stream)) this.#lose(code, reason);
  }

  #url(entries) {
    const url = new URL(this.#options.url);
    // What is asked for by name is no longer a pattern's to bring.
    const names = entries.map(({ name }) => name).sort((a, b) => isPattern(a) - isPattern(b));
    for (const name of names) url.searchParams.append("channel", name);
    const since = this.#since(entries);
    if (since !== undefined) url.searchParams.set("since", since);
    if (entries[0].presence) url.searchParams.set("presence", "1");
    return url.href;
  }

  #since(entries) {
    if (!this.#isPlaced(entries[0])) return entries[0].since;
    const places = new Map();
    let time = this.#time || Infinity;
    let tokens = 0;
    for (const { name, since } of entries) {
      const token = parseToken(since);
      if (token) {
        time = Math.min(time, token.time);
        tokens += 1;
        for (const [channel, position] of token.places) places.set(channel, position);
      } else if (parsePosition(since)) places.set(name, since);
    }
    for (const [channel, position] of this.#places) {
      if (entries.some(({ name }) => matches(name, channel))) places.set(channel, position);
    }
    const patterns = entries.some(({ name }) => isPattern(name));
    if (places.size === 0 && tokens === 0 && !patterns) return undefined; // all are ephemeral
    return resumeToken(places, Number.isFinite(time) ? time : 0).token;
  }

  #drop(stream) {
    this.#options.platform.clearTimeout(stream.timer);
    this.#streams.delete(stream);
    stream.source?.close();
  }

  // --- what comes -------------------------------------------------------------------------------

  #heard(stream, { type, data, lastEventId }) {
    if (this.#closed || !this.#streams.has(stream)) return;
    this.#handlers.alive();
    const message = parse(data);
    if (type === "keepalive") return;
    this.#keepTime(parseToken(lastEventId)?.time, Date.parse(message?.time));
    if (message?.type === "subscribed" && hasPlace(message)) this.#attached(stream, message);
    else if (message?.type === "notification" && hasPlace(message)) this.#notified(stream, message);
    else this.#handlers.heard(message, stream);
  }

  #keepTime(...times) {
    for (const time of times) if (time > this.#time) this.#time = time; // NaN is not
    this.#handlers.time(this.#time);
  }

  #notified(stream, message) {
    if (!this.#follows(message.channel)) return;
    if (message.position !== null) this.#places.set(message.channel, message.position);
    this.#handlers.heard(message, stream);
  }

  #attached(stream, message) {
    const { channel, position, pattern, gap } = message;
    this.#welcome();
    stream.waiting.delete(channel);
    if (this.#follows(channel)) {
      const entry = this.#wanted.get(channel);
      if (position !== null) this.#places.set(channel, position);
      if (entry && entry.ref !== null && stream.entries.includes(entry)) {
        this.#handlers.heard({ ...message, ref: entry.ref }, stream);
        entry.ref = null;
        entry.since = undefined; // spent: from here on by its places
      } else if (pattern && !this.#brought.has(channel)) {
        this.#brought.add(channel);
        this.#handlers.heard(message, stream);
      } else if (gap) this.#handlers.heard({ type: "gap", channel, ...gap }, stream);
    }
    this.#settle(stream);
  }

  /** When all that were opened are attached, those they replace are left. */
  #settle(stream) {
    if (stream.waiting.size > 0) return;
    this.#options.platform.clearTimeout(stream.timer);
    if ([...this.#streams].some(({ waiting }) => waiting.size > 0)) return;
    for (const old of this.#streams) if (old.leaving) this.#drop(old);
    this.#plan();
  }

  #isWanted(entry) {
    return this.#wanted.get(entry.name) === entry;
  }

  #follows(channel) {
    if (this.#wanted.has(channel)) return true;
    return [...this.#wanted.keys()].some((name) => matches(name, channel));
  }

  #forget(name) {
    this.#wanted.delete(name);
    for (const channel of this.#places.keys()) {
      if (this.#follows(channel)) continue;
      this.#places.delete(channel);
      this.#brought.delete(channel);
    }
  }

  #welcome() {
    if (this.#welcomed) return;
    this.#welcomed = true;
    this.#handlers.heard({ type: "welcome", connection: null, ping_interval_ms: SILENCE });
  }

  // --- refusals ---------------------------------------------------------------------------------

  /** EventSource keeps to itself why it was refused, so the same is asked once more. */
  async #ask(stream) {
    const refusal = await this.#refusal(stream.entries);
    if (this.#closed) return undefined;
    if (refusal === null) return this.#lose(1006, "the stream could not be opened");
    if (refusal.temporary) return this.#lose(refusal.code, refusal.message);
    return this.#turnedDown(stream, refusal);
  }

  /** Refused for good: the channels that are to blame are given up, the others asked for again. */
  async #turnedDown(stream, refusal) {
    stream.source?.close();
    if (stream.leaving && isExpired(refusal.code)) return this.#drop(stream); // what replaces it is not
    if (!concernsChannels(refusal)) return this.#lose(refusal.code, refusal.message, true);
    const refused = await this.#culprits(stream.entries, refusal);
    if (this.#closed) return undefined;
    this.#drop(stream);
    for (const other of this.#streams) other.leaving = false;
    for (const entry of stream.entries) {
      entry.stream = [...this.#streams].find(({ entries }) => entries.includes(entry)) ?? null;
    }
    this.#welcome(); // it does answer
    for (const [entry, error] of refused) this.#reject(entry, error);
    return this.#plan();
  }

  /** Which of the channels can't be had, and why: each is tried alone. */
  async #culprits(entries, refusal) {
    if (entries.length === 1) return [[entries[0], refusal]];
    const refused = [];
    for (const entry of entries) {
      const alone = await this.#refusal([entry]);
      if (alone && !alone.temporary) refused.push([entry, alone]);
    }
    if (refused.length > 0) return refused;
    const fresh = entries.filter(({ ref }) => ref !== null); // they are too many, all together
    return (fresh.length > 0 ? fresh : entries).map((entry) => [entry, refusal]);
  }

  #reject(entry, { code, message, ...facts }) {
    if (!this.#isWanted(entry)) return;
    this.#forget(entry.name);
    if (entry.ref !== null) {
      this.#handlers.heard({ ...facts, type: "error", ref: entry.ref, code, message });
    } else {
      this.#handlers.heard({ type: "unsubscribed", channel: entry.name, code, reason: message });
    }
  }

  /** The server's error, or null where it has none or can't be reached. */
  async #refusal(entries) {
    const once = new AbortController();
    const stop = () => once.abort();
    this.#gone.signal.addEventListener("abort", stop);
    try {
      const response = await this.#options.fetch(this.#url(entries), {
        headers: { Accept: "text/event-stream", ...bearer(this.#token) },
        signal: once.signal,
      });
      if (response.ok) return null;
      const { error } = await response.json();
      return typeof error?.code === "number" ? error : null;
    } catch {
      return null;
    } finally {
      this.#gone.signal.removeEventListener("abort", stop);
      once.abort(); // a stream that would have opened after all
    }
  }

  // --- requests ---------------------------------------------------------------------------------

  #publish(ref, { type, ...notification }) {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify(notification);
    return this.#request(ref, "notify", { request: { method: "POST", headers, body } });
  }

  async #request(ref, path, { query = {}, request } = {}) {
    const url = new URL(path, this.#options.url);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, value);
    }
    let answer = null;
    let reason = "the connection was lost before the answer";
    try {
      const headers = { ...request?.headers, ...bearer(this.#token) };
      const response = await this.#options.fetch(url.href, { ...request, headers });
      reason = `the server answered ${response.status}`;
      answer = { ok: response.ok, body: await response.json() };
    } catch {
      // No answer, or one that is not the server's: whether it was done is not known.
    }
    if (this.#closed) return;
    const error = answer?.body?.error;
    if (answer?.ok) this.#handlers.heard({ type: "reply", ref, result: answer.body });
    else if (error) this.#handlers.heard({ ...error, type: "error", ref });
    else this.#handlers.unanswered(ref, reason);
  }

  /** Without channels there is no stream to hear from. */
  async #greet() {
    this.#refresh = false;
    try {
      const { ok, status } = await this.#options.fetch(new URL("health/live", this.#options.url));
      if (!ok) return this.#lose(1006, `the server answered ${status}`);
    } catch {
      return this.#lose(1006, "the server can't be reached");
    }
    if (this.#closed) return;
    this.#welcome();
    this.#handlers.alive();
  }
}

function resource(channel) {
  return `channels/${encodeURIComponent(channel)}`;
}

/** Whether an error is about what was subscribed to, not about this client as a whole. */
function concernsChannels({ code, field, channel }) {
  if (isAboutCredential(code)) return typeof channel === "string";
  const status = Math.floor(code / 100);
  return ["channel", "since", "presence"].includes(field) || [409, 429, 431].includes(status);
}

function withTicket(address, ticket) {
  const url = new URL(address);
  url.searchParams.set("ticket", ticket);
  return url.href;
}
