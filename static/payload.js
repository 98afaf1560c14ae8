/** The bytes of a notification on the page: a picture, a text, or something to download. */

import { make, text } from "./elements.js";
import { isPlainSvg, isShown, pictureType } from "./images.js";
import { inflate, looksCompressed } from "./qcompress.js";

const UNKNOWN = "application/octet-stream";
const SVG = "image/svg+xml";
const MAX_TEXT = 20_000; // characters shown; the download has all

let inflating = Promise.resolve(); // one at a time: a flood of them must not fill the memory

/** What a notification's `content_type` and `data_base64` hold, as an element. */
export class Payload {
  #n;
  #url = null;
  #gone = new AbortController();

  /** @param {import("./notifier.js").Notification} notification with `data_base64` */
  constructor(notification) {
    const bytes = decoded(notification.data_base64);
    const content = typeOf(notification.content_type);
    this.#n = notification;
    this.element = make("div", { className: "payload" });
    /** What it is, for a card that has nothing else to say. */
    this.summary = bytes ? `${content.type} · ${size(bytes.length)}` : content.type;
    if (bytes) this.#show(bytes, content);
    else this.#say("A payload that is not valid Base64");
  }

  /** Lets go of what the browser keeps for it. */
  dispose() {
    this.#gone.abort();
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }

  #show(bytes, { type, encoding, charset }) {
    const declared = encoding === "qcompress" || type === "application/x-qcompress";
    if (declared || (type === UNKNOWN && looksCompressed(bytes))) {
      this.#inflate(bytes, declared && type !== "application/x-qcompress" ? type : UNKNOWN);
    } else if (isShown(type)) this.#picture(bytes, type);
    else if (type === UNKNOWN && pictureType(bytes)) this.#picture(bytes, pictureType(bytes));
    else if (type.startsWith("text/")) this.#text(bytes, type, charset);
    else this.#download(bytes, type);
  }

  async #inflate(bytes, type) {
    this.#say("Inflating…");
    const { signal } = this.#gone;
    const turn = inflating.then(() => inflate(bytes, { signal }));
    inflating = turn.catch(() => {});
    let original;
    try {
      original = await turn;
    } catch (error) {
      if (signal.aborted) return;
      this.#warn(`Not inflated: ${error.message}`);
      this.#download(bytes, "compressed data");
      return;
    }
    if (signal.aborted) return;
    this.element.replaceChildren();
    const found = isShown(type) ? type : pictureType(original);
    if (found) this.#picture(original, found, bytes.length);
    else if (type.startsWith("text/")) this.#text(original, type);
    else this.#download(original, type === UNKNOWN ? "inflated data" : type);
  }

  /** Opens in the page, not in a tab: a picture stays an <img>, in which no script of an SVG runs. */
  #picture(bytes, type, packed = null, asked = false) {
    if (type === SVG && !asked && !isPlainSvg(bytes)) {
      this.#offer(`Show SVG picture (${size(bytes.length)})`, () => {
        this.#picture(bytes, type, packed, true);
      });
      return;
    }
    const alt = text(this.#n.title) ?? text(this.#n.message) ?? `Picture on ${this.#n.channel}`;
    const image = make("img", { className: "picture", alt, decoding: "async" });
    const note = [name(type), size(bytes.length), packed && `${size(packed)} compressed`];
    const open = make("button", { type: "button", className: "open-picture" }, image);
    open.title = note.filter(Boolean).join(" · ");
    open.setAttribute("aria-label", `Open picture: ${alt}`);
    image.addEventListener("error", () => {
      this.#warn(`A ${name(type)} picture that can't be shown`);
      this.#download(bytes, type);
    });
    open.addEventListener("click", () => enlarge(image, open.title));
    // An SVG that someone opens in a tab all the same finds itself in an origin of its own.
    image.src = type === SVG ? dataUrl(bytes, type) : this.#address(bytes, type);
    this.element.replaceChildren(open);
  }

  #text(bytes, type, charset = "utf-8") {
    let decoder;
    try {
      decoder = new TextDecoder(charset);
    } catch {
      decoder = new TextDecoder(); // a charset nobody knows
    }
    const all = decoder.decode(bytes.subarray(0, 4 * MAX_TEXT));
    const shown = make("pre", { className: "message", tabIndex: 0 }, all.slice(0, MAX_TEXT));
    this.element.replaceChildren(shown);
    if (all.length > MAX_TEXT || bytes.length > 4 * MAX_TEXT) this.#download(bytes, type);
  }

  #offer(label, action) {
    const button = make("button", { type: "button", className: "action" }, label);
    button.addEventListener("click", action);
    this.element.replaceChildren(button);
  }

  /** Whatever it is, the browser is told that it is nothing it could open. */
  #download(bytes, what) {
    const href = this.#address(bytes, UNKNOWN);
    const label = `Download ${what} (${size(bytes.length)})`;
    const download = String(this.#n.id);
    this.element.append(make("a", { className: "action", href, download }, label));
  }

  #address(bytes, type) {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = URL.createObjectURL(new Blob([bytes], { type }));
    return this.#url;
  }

  #say(words) {
    this.element.replaceChildren(make("p", { className: "unreadable" }, words));
  }

  #warn(words) {
    this.element.replaceChildren(make("p", { className: "refused", role: "note" }, words));
  }
}

/** Shows a picture in its full size over the page, until it is clicked or Escape is pressed. */
function enlarge(image, note) {
  const full = make("img", { src: image.src, alt: image.alt });
  const close = make("button", { type: "button", textContent: "Close" });
  const caption = make("p", {}, make("span", {}, note), close);
  const dialog = make("dialog", { className: "viewer" }, full, caption);
  dialog.setAttribute("aria-label", image.alt);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function dataUrl(bytes, type) {
  const letters = [];
  for (let start = 0; start < bytes.length; start += 8192) {
    letters.push(String.fromCharCode(...bytes.subarray(start, start + 8192)));
  }
  return `data:${type};base64,${btoa(letters.join(""))}`;
}

function decoded(base64) {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}

/** `image/png; encoding=qcompress` in its parts, in lower case. */
function typeOf(contentType) {
  const [type, ...parameters] = (text(contentType) ?? UNKNOWN).toLowerCase().split(";");
  const pairs = parameters.map((parameter) => {
    const [key, value = ""] = parameter.split("=");
    return [key.trim(), value.trim().replace(/^"(.*)"$/, "$1")];
  });
  const { encoding, charset } = Object.fromEntries(pairs);
  return { type: type.trim() || UNKNOWN, encoding, charset };
}

function name(type) {
  return type.replace("image/", "").replace("svg+xml", "svg").toUpperCase();
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} ${bytes === 1 ? "byte" : "bytes"}`;
  if (bytes < 1024 * 1024) return `${Math.round(bytes / 1024)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
