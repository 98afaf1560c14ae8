/**
 * Which transport the next try uses. WebSocket first; once it has failed twice in a row without
 * getting through (or once by silence, which takes long enough), server-sent events, and from then
 * on each in turn until one gets through. That one is used until it fails in the same way.
 */
export class Route {
  #usable;
  #next;
  #strikes = 0;

  /** @param {{websocket: boolean, sse: boolean}} usable */
  constructor(usable) {
    this.#usable = usable;
    this.#next = usable.websocket ? "websocket" : "sse";
  }

  /** @returns {"websocket"|"sse"} */
  get next() {
    return this.#next;
  }

  /** Whether another transport may be tried where one is refused for good. */
  get hasOther() {
    return this.#usable.websocket && this.#usable.sse;
  }

  worked(transport) {
    this.#next = transport;
    this.#strikes = 0;
  }

  /** A try ended before the server had said a word. */
  failed(transport, { silent = false } = {}) {
    if (transport !== this.#next || !this.hasOther) return;
    this.#strikes += silent ? 2 : 1;
    if (this.#strikes < 2) return;
    this.#next = transport === "sse" ? "websocket" : "sse";
    this.#strikes = 1;
  }

  /** This transport is not there at all. */
  unavailable(transport) {
    this.#usable = { ...this.#usable, [transport]: false };
    this.#next = this.#usable.websocket ? "websocket" : "sse";
    this.#strikes = 0;
  }
}

/**
 * The way the options leave open.
 *
 * @throws {TypeError} when there is none
 */
export function route({ transport = "auto", WebSocket, EventSource }) {
  if (!["auto", "websocket", "sse"].includes(transport)) {
    throw new TypeError(`transport is auto, websocket or sse, not ${transport}`);
  }
  const usable = {
    websocket: transport !== "sse" && Boolean(WebSocket),
    sse: transport !== "websocket" && Boolean(EventSource),
  };
  if (!usable.websocket && !usable.sse) {
    throw new TypeError("pass a class to connect with: {WebSocket} or {EventSource}");
  }
  return new Route(usable);
}

/** @throws {TypeError} for a URL no WebSocket can use */
export function socketUrl(url) {
  const resolved =
    url === undefined ? new URL("../../ws", import.meta.url) : new URL(url, globalThis.location?.href);
  resolved.protocol = resolved.protocol.replace(/^http/, "ws");
  if (!/^wss?:$/.test(resolved.protocol)) throw new TypeError(`no WebSocket URL: ${resolved}`);
  resolved.hash = ""; // RFC 6455 §3: no fragments
  return resolved.href;
}

/** `/events` beside `/ws`, with what the URL carries besides channels. */
export function eventsUrl(url) {
  const resolved = new URL(url.replace(/^ws/, "http"));
  const { searchParams } = resolved;
  for (const name of ["channel", "since"]) searchParams.delete(name);
  return Object.assign(new URL("events", resolved), { search: searchParams.toString() }).href;
}
