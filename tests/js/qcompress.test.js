import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { isPlainSvg, pictureType } from "../../static/images.js";
import { inflate, InflateError, looksCompressed } from "../../static/qcompress.js";

/** As `qCompress` does it; `claimed` may lie. */
function qCompress(original, claimed = original.length) {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(claimed);
  return new Uint8Array(Buffer.concat([length, deflateSync(original)]));
}

const text = Buffer.from("hello, hello, hello");

for (const size of [0, 1, 19, 100_000, 3_000_000]) {
  test(`${size} bytes come out as they went in`, async () => {
    const original = Buffer.from({ length: size }).map((_, i) => (i * i) >> 3);
    const compressed = qCompress(original);
    assert.ok(looksCompressed(compressed));
    assert.deepEqual(Buffer.from(await inflate(compressed)), original);
  });
}

test("a claim above the limit is refused before anything is inflated", async () => {
  const claims = qCompress(text, 0xffffffff);
  claims.fill(0xee, 6); // the stream is broken as well: nobody looks at it
  await assert.rejects(inflate(claims), {
    name: "InflateError",
    message: "it claims 4,294,967,295 bytes, 16,777,216 are allowed",
  });
  await assert.rejects(inflate(qCompress(text), { limit: text.length - 1 }), InflateError);
  assert.equal((await inflate(qCompress(text), { limit: text.length })).length, text.length);
});

test("a stream that makes more than it claims is stopped there", async () => {
  const bomb = qCompress(Buffer.alloc(64 * 1024 * 1024), 1000);
  await assert.rejects(inflate(bomb), { message: "it holds more than the 1,000 bytes it claims" });
  await assert.rejects(inflate(qCompress(text, 0)), InflateError);
  await assert.rejects(inflate(qCompress(text, text.length - 1)), InflateError);
});

test("fewer bytes than claimed are what Qt takes as well", async () => {
  assert.deepEqual(Buffer.from(await inflate(qCompress(text, 1000))), text);
});

test("broken streams are refused", async () => {
  const whole = qCompress(text);
  const flipped = whole.with(-1, whole.at(-1) ^ 1); // the checksum
  const garbage = Uint8Array.of(0, 0, 0, 9, 0x78, 0x9c, 255, 254, 253, 252, 251, 250);
  for (const broken of [whole.subarray(0, 10), flipped, garbage, new Uint8Array(3)]) {
    await assert.rejects(inflate(broken), InflateError);
  }
});

test("what is no longer wanted is not inflated further", async () => {
  const gone = new AbortController();
  const going = inflate(qCompress(randomBytes(100_000)), { signal: gone.signal });
  gone.abort();
  await assert.rejects(going, InflateError);
});

test("other bytes don't look compressed", () => {
  const compressed = qCompress(text);
  for (const bytes of [
    new Uint8Array(0),
    new Uint8Array(64),
    compressed.subarray(4), // zlib without the length
    compressed.subarray(0, 8),
    compressed.with(5, compressed[5] ^ 1),
    Uint8Array.of(0, 0, 0, 9, 0x78, 0xbb, 1, 2, 3, 4, 5, 6), // wants a dictionary
  ]) {
    assert.equal(looksCompressed(bytes), false);
  }
});

test("pictures are known by their first bytes", () => {
  const bytes = (characters) => Uint8Array.from(characters, (c) => c.charCodeAt(0));
  for (const [begins, type] of [
    ["\x89PNG\r\n\x1a\n....", "image/png"],
    ["\xff\xd8\xff\xe0....", "image/jpeg"],
    ["GIF87a....", "image/gif"],
    ["GIF89a....", "image/gif"],
    ["RIFF\x10\0\0\0WEBPVP8 ", "image/webp"],
    ["\0\0\0\x20ftypavif....", "image/avif"],
    ["RIFF\x10\0\0\0WAVEfmt ", null],
    ["<svg xmlns='http://www.w3.org/2000/svg'/>", null],
    ["GIF", null],
    ["", null],
  ]) {
    assert.equal(pictureType(bytes(begins)), type, begins);
  }
});

test("an SVG whose parts may refer to each other is not drawn unasked", () => {
  const plain = (source) => isPlainSvg(new TextEncoder().encode(source));
  const svg = (content) => `<svg xmlns="http://www.w3.org/2000/svg">${content}</svg>`;
  assert.ok(plain(svg('<rect width="9" fill="#fff"/>')));
  assert.ok(plain(`<?xml version="1.0" encoding="UTF-8"?>${svg("")}`));
  for (const content of [
    '<use href="#a"/>',
    '<use xlink:HREF="#a"/>',
    '<rect fill="url(#a)"/>',
    "<style>rect { fill: u\\72l(#a) }</style>",
    '<rect style="fill: u&#114;l(#a)"/>',
    '<style>@import "x"</style>',
    "<!ENTITY a 'b'>",
  ]) {
    assert.equal(plain(svg(content)), false, content);
  }
  assert.equal(plain(`<?xml version="1.0" encoding='utf-16'?>${svg("")}`), false);
  assert.equal(isPlainSvg(Uint8Array.from(Buffer.from(svg(""), "utf16le"))), false);
});
