/** Places in channels, alone and together. */

const MAX_TOKEN_BYTES = 4096; // what a server takes as `since`

export function parsePosition(text) {
  const parts = typeof text === "string" && /^([^:]{1,64}):(\d{1,16})$/.exec(text);
  const offset = parts ? Number(parts[2]) : NaN;
  return Number.isSafeInteger(offset) ? { epoch: parts[1], offset } : null;
}

/** Whether a message names a channel, and a position in it or none. */
export function hasPlace({ channel, position }) {
  return typeof channel === "string" && (position === null || parsePosition(position) !== null);
}

/** Whether a message names the two ends of a gap. */
export function hasEnds({ channel, after = null, before }) {
  return hasPlace({ channel, position: after }) && parsePosition(before) !== null;
}

/** What lies between where a channel was and where it goes on, if anything may. */
export function skipped(before, now) {
  const [from, to] = [parsePosition(before), parsePosition(now)];
  if (!from || !to || from.epoch !== to.epoch || to.offset <= from.offset) return null;
  return { after: before, before: `${to.epoch}:${to.offset + 1}` };
}

/**
 * Many places as one `since`. Channels it does not name go on from its time.
 *
 * @param {Iterable<[string, string]>} places channel and position; the first are kept when there
 *   are too many
 * @param {number} time in milliseconds since 1970, by the server's clock
 * @returns {{token: string, unnamed: string[]}}
 */
export function resumeToken(places, time) {
  const tail = `;t=${(time / 1000).toFixed(3)}`;
  const parts = [];
  const unnamed = [];
  let room = MAX_TOKEN_BYTES - tail.length;
  for (const [channel, position] of places) {
    const part = `${channel}=${position}`;
    room -= byteLength(part) + 1;
    if (room < 0) unnamed.push(channel);
    else parts.push(part);
  }
  return { token: parts.join(",") + tail, unnamed };
}

/** The places and the time of a resume token, or null if it is none. */
export function parseToken(text) {
  const whole = typeof text === "string" && /^([^;]*);t=(\d{1,12}(?:\.\d{1,9})?)$/.exec(text);
  if (!whole) return null;
  const parts = whole[1].split(",").filter(Boolean);
  const places = parts.map((part) => {
    const equals = part.lastIndexOf("="); // a channel's name may hold one
    return [part.slice(0, equals), part.slice(equals + 1)];
  });
  return { places: new Map(places), time: Number(whole[2]) * 1000 };
}

export function byteLength(text) {
  return new TextEncoder().encode(text).length;
}

/** Whether a name stands for many channels. */
export function isPattern(name) {
  return name.includes("*");
}

/** Whether a channel is the one named, or matches the pattern, in which `*` stands for any
 * characters or none. */
export function matches(pattern, channel) {
  if (!isPattern(pattern)) return pattern === channel;
  const parts = pattern.split("*");
  const [first, last] = [parts.shift(), parts.pop()];
  if (channel.length < first.length + last.length) return false;
  if (!channel.startsWith(first) || !channel.endsWith(last)) return false;
  const end = channel.length - last.length;
  let place = first.length;
  for (const part of parts) {
    place = channel.indexOf(part, place);
    if (place === -1 || place + part.length > end) return false;
    place += part.length;
  }
  return true;
}
