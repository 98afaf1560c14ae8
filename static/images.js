/** Which pictures the page shows, and how it tells them from other bytes. */

/** What a browser shows in an <img> without asking anybody else. */
const SHOWN = new Set([
  "image/png",
  "image/jpeg",
  "image/gif",
  "image/webp",
  "image/avif",
  "image/svg+xml",
]);

// Where, and what: each has to be there (WHATWG MIME Sniffing §6.1; ISO/IEC 23000-22 for AVIF).
const MAGIC = [
  ["image/png", [0, "\x89PNG\r\n\x1a\n"]],
  ["image/jpeg", [0, "\xff\xd8\xff"]],
  ["image/gif", [0, "GIF87a"]],
  ["image/gif", [0, "GIF89a"]],
  ["image/webp", [0, "RIFF"], [8, "WEBPVP"]],
  ["image/avif", [4, "ftypavif"]],
  ["image/avif", [4, "ftypavis"]],
];

/** @param {string} type without parameters, in lower case */
export function isShown(type) {
  return SHOWN.has(type);
}

/**
 * The type of a picture by its first bytes, else null. Never SVG: that is text which may hold
 * scripts, and is taken for a picture only when its sender says so.
 *
 * @param {Uint8Array} bytes
 */
export function pictureType(bytes) {
  const found = MAGIC.find(([, ...marks]) => marks.every((mark) => has(bytes, mark)));
  return found ? found[0] : null;
}

/**
 * Whether an SVG can be drawn without being asked for. One whose parts refer to each other can say
 * in a thousand bytes to draw a thing a million times, and no browser draws that without standing
 * still. References are links and `url()`; the rest of the list is what could disguise them.
 *
 * @param {Uint8Array} bytes
 */
export function isPlainSvg(bytes) {
  const source = new TextDecoder().decode(bytes);
  return !/href|url|@|\\|&|<!|\0|encoding\s*=\s*(?!["']utf-8)/i.test(source);
}

function has(bytes, [offset, characters]) {
  return [...characters].every((character, i) => bytes[offset + i] === character.charCodeAt(0));
}
