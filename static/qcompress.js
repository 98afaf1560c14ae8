/**
 * What Qt's `qCompress` makes: the length of the original in four bytes, the highest first, then a
 * zlib stream (RFC 1950). The bytes come from strangers, so nothing is inflated on their word alone.
 */

/** The longest original that is inflated. */
export const MAX_INFLATED_BYTES = 16 * 1024 * 1024;

const HEADER = 4;
// Deflate makes at most 1032 bytes of one, and a piece is inflated whole before we can look.
const PIECE = 2 * 1024;

/** Why a stream was not inflated, or not to its end: a sentence for the reader. */
export class InflateError extends Error {
  name = "InflateError";
}

/**
 * Whether bytes look as if `qCompress` made them: a zlib header with the right check bits stands
 * after the length. Of other bytes one in sixteen thousand does.
 *
 * @param {Uint8Array} bytes
 */
export function looksCompressed(bytes) {
  if (bytes.length < HEADER + 8) return false; // two bytes, the shortest block, the checksum
  const [method, flags] = bytes.subarray(HEADER);
  const preset = (flags & 0x20) !== 0; // a dictionary that only its maker has
  return method === 0x78 && ((method << 8) | flags) % 31 === 0 && !preset;
}

/**
 * The original.
 *
 * @param {Uint8Array} bytes
 * @param {{limit?: number, signal?: AbortSignal}} [options]
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 * @throws {InflateError} when it claims more than `limit`, makes more than it claims, or is broken
 */
export async function inflate(bytes, { limit = MAX_INFLATED_BYTES, signal } = {}) {
  if (bytes.length < HEADER) throw new InflateError("it is cut off");
  const claimed = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  if (claimed > limit) {
    throw new InflateError(`it claims ${count(claimed)} bytes, ${count(limit)} are allowed`);
  }
  const stream = new DecompressionStream("deflate");
  const feeding = feed(stream.writable.getWriter(), bytes.subarray(HEADER), signal);
  const reader = stream.readable.getReader();
  const original = new Uint8Array(claimed);
  let length = 0;
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      if (length + value.length > claimed) {
        throw new InflateError(`it holds more than the ${count(claimed)} bytes it claims`);
      }
      original.set(value, length);
      length += value.length;
    }
  } catch (error) {
    reader.cancel().catch(() => {}); // it may have failed by itself
    if (error instanceof InflateError) throw error;
    throw new InflateError(signal?.aborted ? "it is no longer wanted" : "its zlib stream is broken");
  } finally {
    await feeding;
  }
  return original.subarray(0, length); // fewer than claimed is what Qt takes as well
}

async function feed(writer, bytes, signal) {
  try {
    for (let start = 0; start < bytes.length; start += PIECE) {
      signal?.throwIfAborted();
      await writer.ready;
      await writer.write(bytes.subarray(start, start + PIECE));
    }
    await writer.close();
  } catch (error) {
    writer.abort(error).catch(() => {}); // the reader hears of it
  }
}

function count(bytes) {
  return bytes.toLocaleString("en");
}
