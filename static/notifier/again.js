/** When to ask again what the server has refused for the moment. */

/** The server's number for commands that come too fast; it has looked at none of them. */
export const TOO_FAST = 42905;

const LEAST = 100; // so that a crowd that was told to wait for nothing spreads out
const UNREAD = 4096; // characters above which the server does not look for the ref of such a command

/**
 * As long as the server said, and by chance up to as long again; more each time, for those who were
 * refused with us come again as well.
 *
 * @param {number} retryAfter milliseconds, as the server told them
 * @param {number} tries that were refused before
 * @param {{random: () => number, maxDelay: number}} options
 * @returns {number} milliseconds
 */
export function waitFor(retryAfter, tries, { random, maxDelay }) {
  const limit = Math.max(LEAST, retryAfter) * 2 ** Math.min(tries, 30);
  return Math.min(retryAfter, maxDelay) + random() * Math.min(limit, maxDelay);
}

/** The one among those asked that was refused without a ref: answers come in order. */
export function firstUnread(requests) {
  return requests.find(({ message }) => JSON.stringify(message).length > UNREAD - 32);
}
