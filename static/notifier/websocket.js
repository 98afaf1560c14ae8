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

/** A link over one WebSocket. */
export class SocketLink {
  transport = "websocket";
  #socket;

  /**
   * @param {{WebSocket: typeof WebSocket, url: string, protocols: string|string[]}} options
   * @param {Handlers} handlers
   */
  constructor({ WebSocket, url, protocols }, handlers) {
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    socket.onopen = () => handlers.opened();
    socket.onmessage = ({ data }) => handlers.heard(parse(data));
    socket.onclose = ({ code, reason }) => handlers.lost(code, reason);
    socket.onerror = () => {}; // a close event follows and says more
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

/** JSON, or null for what is none. */
export function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
