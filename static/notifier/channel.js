/** What a client follows, across its connections: channels, and patterns of them. */

import { matches, parsePosition } from "./positions.js";

const REMEMBERED_EPOCHS = 8;
const REMEMBERED_IDS = 256;

/** A channel that was asked for by its name, or brought by a pattern. */
export class Channel {
  #seen = new Map(); // epoch -> highest offset delivered
  #ids = new Map(); // id -> where it came from first, where there is no position
  #told = null; // the end of the last gap that was reported

  isPattern = false;
  listeners = new Set();
  position = null;
  recovered = null;
  asked = false; // whether the server has said where we are, so that `since` is spent
  source = null; // the connection whose positions count
  refusals = 0;
  heard = 0; // when it had something last, among all channels
  ended = false; // by the server: its position is kept, for another try on the next connection

  constructor(name, { since, presence = false, named = true } = {}) {
    this.name = name;
    this.since = since;
    this.presence = presence;
    this.named = named; // by a listener of its own; else it lives as long as a pattern wants it
  }

  /** Whether this has not been delivered yet. Within an epoch each source is in order, so a mark
   * at the highest offset is enough, also while two connections overlap. */
  isNew({ position, id }, source) {
    if (position === null) {
      const first = this.#ids.get(id) ?? source;
      remember(this.#ids, id, first, REMEMBERED_IDS);
      return first === source;
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

/** Many channels by one name, such as `builds:*`. Each that it brings is a channel of its own. */
export class Pattern {
  isPattern = true;
  named = true;
  listeners = new Set();
  position = null;
  recovered = null;
  asked = false;
  source = null;
  refusals = 0;

  constructor(name, { since, presence = false } = {}) {
    this.name = name;
    this.since = since;
    this.presence = presence;
  }

  matches(channel) {
    return matches(this.name, channel);
  }
}

/** Sets a key as the newest of a map that forgets its oldest. */
function remember(map, key, value, size) {
  map.delete(key);
  map.set(key, value);
  if (map.size > size) map.delete(map.keys().next().value);
}
