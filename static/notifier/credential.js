/** Who a client says it is: a key or a token, from whoever has fresh ones. */

import { NotifierError } from "./errors.js";

const MOST_AHEAD = 60_000; // of its end, that a token is renewed
const SOONEST = 1_000; // whatever a token says: who gives them out is not to be stormed
const LONGEST = 2 ** 31 - 1; // that a timer can wait

/** What a key, a token and a subprotocol are made of; of anything else a browser would make an
 * error whose text has all of it. */
const SENDABLE = /^[\w.~+-]+$/;

/**
 * A text is shown as long as the server takes it. A function is asked for another whenever one is
 * needed; one that gives null or nothing says that there is nobody to name.
 */
export class Credential {
  #source;
  #held; // what the function gave, while it is good
  #asking = null;

  /** @param {string|(() => string|null|Promise<string|null>)|null} [source] */
  constructor(source = null) {
    if (!["string", "function"].includes(typeof source) && source !== null) {
      throw new TypeError("token is a string, or a function that gives one");
    }
    this.#source = typeof source === "string" ? checked(source) : source;
  }

  /** Whether there may be another when this one is over. */
  get isRenewable() {
    return typeof this.#source === "function";
  }

  /** Whether there is nothing but this one. */
  get isFixed() {
    return typeof this.#source === "string";
  }

  /**
   * What can be shown without asking; undefined: ask for a fresh one.
   *
   * @param {number} now by the server's clock, as well as it is known
   * @returns {string|null|undefined}
   */
  held(now) {
    if (!this.isRenewable) return this.#source;
    if (this.#held && now >= (expiry(this.#held) ?? Infinity)) this.#held = undefined;
    return this.#held;
  }

  /** Asks for a fresh one; those who ask meanwhile share the answer. Rejects as the function does.
   * @returns {Promise<string|null>} */
  fresh() {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** The server takes it no more. */
  drop() {
    this.#held = undefined;
  }

  async #ask() {
    const given = (await this.#source()) ?? null;
    this.#held = given === null ? undefined : checked(given);
    return this.#held ?? null;
  }
}

/**
 * When a token ends, in milliseconds since 1970, as it says itself (RFC 7519 §4.1.4). Null for a
 * key, and for what says nothing of it.
 */
export function expiry(token) {
  const [, payload = ""] = token.split(".");
  try {
    const { exp } = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
    return Number.isFinite(exp) ? exp * 1000 : null;
  } catch {
    return null;
  }
}

/** How long to wait before a token that is good for so long is renewed. */
export function renewIn(left) {
  return Math.min(LONGEST, Math.max(SOONEST, left - Math.min(MOST_AHEAD, left / 2)));
}

/** Whether a close code, or an error's, is about who one is. */
export function isAboutCredential(code) {
  return [4401, 4503, 40302].includes(code) || Math.floor(code / 100) === 401;
}

/** Whether a fresh one may do. */
export function isExpired(code) {
  return code === 4401 || code === 40102;
}

function checked(token) {
  const text = String(token).trim();
  if (SENDABLE.test(text)) return text;
  const message = "this is no key and no token: it is empty, or has characters that none has";
  throw new NotifierError(message, { code: 40101 });
}
