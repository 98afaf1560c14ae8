import { askTicket } from "./ticket.js";

/**
 * How a client reaches the server: a *link* carries the messages of the native protocol as objects.
 *
 * @typedef {object} Link
 * @property {"websocket"|"sse"} transport
 * @property {(message: object) => void} send
 * @property {(code: number, reason: string) => void} close no handler is called after it
 *
 * @typedef {object} Handlers
 * @property {() => void} opened commands may be sent
 * @property {(message: any, source?: object) => void} heard a message, or null for what is none;
 *   `source`: what it came through, when that is not the link as a whole
 * @property {() => void} alive there was a sign of life
 * @property {(time: number) => void} time the newest that is known by the server's clock
 * @property {(ref: number, reason: string) => void} unanswered no answer to this will ever come
 * @property {(code: number, reason: string, permanent?: boolean) => void} lost the link is gone
 */

/** Close codes that mean: the same again would fail again (RFC 6455 §7.4.1). */
const PERMANENT = new Set([1002, 1007, 1008, 1009]);

export function isPermanent(code) {
  return PERMANENT.has(code) || (code >= 4500 && code <= 4999);
}

const NATIVE = "notifier.v1";
const REFUSALS = new Set([401, 403]);

/** A link over one WebSocket. */
export class SocketLink {
  transport = "websocket";
  #socket;

  /**
   * @param {object} options
   * @param {typeof WebSocket} options.WebSocket
   * @param {typeof fetch} options.fetch
   * @param {string} options.url
   * @param {string|string[]} options.protocols
   * @param {string|null} options.token to be shown
   * @param {Handlers} handlers
   */
  constructor(options, handlers) {
    const { WebSocket, url, protocols, token } = options;
    const socket = new WebSocket(url, token ? withToken(protocols, token) : protocols);
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      handlers.opened();
    };
    socket.onmessage = ({ data }) => handlers.heard(parse(data));
    socket.onclose = ({ code, reason }) => {
      if (opened || !token) handlers.lost(code, reason);
      else this.#ask(options, () => handlers.lost(code, reason), handlers.lost);
    };
    socket.onerror = () => {}; // a close event follows and says more
  }

  /** A browser does not tell why a handshake was refused; the token may be to blame. */
  async #ask(options, otherwise, lost) {
    const { error } = await askTicket(options);
    if (this.#socket.onclose === null) return; // closed meanwhile
    if (error && REFUSALS.has(Math.floor(error.code / 100))) lost(error.code, error.message, true);
    else otherwise();
  }

  send(message) {
    try {
      this.#socket.send(JSON.stringify(message));
    } catch {
      // The socket is closing; its close event settles what is pending.
    }
  }

  close(code, reason) {
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    try {
      socket.close(code, reason);
    } catch {
      // A socket that can't be closed is one that is gone.
    }
  }
}

/** A browser fails a handshake that picks none of what it offers, and a token is never picked. */
function withToken(protocols, token) {
  const offered = [protocols].flat();
  return [...(offered.length > 0 ? offered : [NATIVE]), `bearer.${token}`];
}

/** JSON, or null for what is none. */
export function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
