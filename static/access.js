/** Who the reader is: asks for a key or a token where the server does, and can forget it again. */

import { byId } from "./elements.js";
import { isAboutCredential } from "./notifier/credential.js";

const KEPT = "notifier.token"; // in sessionStorage, which ends with the tab

export class Access {
  #notifier;
  #token = null;
  #refused = { listen: new Set(), send: new Set() }; // channels
  #problem = ""; // what is wrong with what was shown
  #asked = false; // by the reader: the next refusal is an answer
  onchange = () => {};

  /** @param {import("./notifier.js").Notifier} notifier */
  constructor(notifier) {
    this.#notifier = notifier;
    notifier.on("state", (state) => this.#changed(state));
    notifier.on("subscribed", ({ channel }) => this.#let("listen", channel));
    notifier.on("error", ({ code, channel }) => {
      if (channel !== null && isAboutCredential(code)) this.refuse("listen", channel);
    });
    byId("access-form").addEventListener("submit", (event) => this.#submit(event));
    byId("access-forget").addEventListener("click", () => this.#forget());
    const kept = stored((storage) => storage.getItem(KEPT));
    if (kept) this.#use(kept);
  }

  /**
   * What the server would not let us do, in plain words; and asks who the reader is.
   *
   * @param {"listen"|"send"} deed
   * @param {string} channel
   * @returns {string}
   */
  refuse(deed, channel) {
    this.#refused[deed].add(channel);
    this.#show();
    return this.#sentence(deed, [channel]);
  }

  /** It was let in there. @param {string} channel */
  sent(channel) {
    this.#let("send", channel);
  }

  /** Whether the server is known to ask for a key or a token. */
  get isNeeded() {
    return this.isKnown || !byId("access").hidden;
  }

  /** Whether a key or a token was given. */
  get isKnown() {
    return this.#token !== null;
  }

  /**
   * Why the reader may not, in plain words.
   *
   * @param {"listen"|"send"} deed
   * @param {string[]} channels none: what is wrong with the key or token itself
   * @returns {string}
   */
  why(deed, channels) {
    return channels.length > 0 ? this.#sentence(deed, channels) : this.#problem;
  }

  /** Leads the reader to where a key or a token is given. */
  ask() {
    byId("access-token").focus();
  }

  /** Forgets channels that are listened to no more. @param {string[]} names those that are */
  only(names) {
    for (const name of this.#refused.listen) if (!names.includes(name)) this.#let("listen", name);
  }

  #let(deed, channel) {
    if (this.#refused[deed].delete(channel)) this.#show();
  }

  #submit(event) {
    event.preventDefault();
    const input = byId("access-token");
    const token = input.value.trim();
    input.value = "";
    if (!token) return;
    this.#asked = true;
    if (!this.#use(token)) return;
    const keep = byId("access-keep").checked;
    stored((storage) => (keep ? storage.setItem(KEPT, token) : storage.removeItem(KEPT)));
  }

  #forget() {
    stored((storage) => storage.removeItem(KEPT));
    this.#use(null);
  }

  #use(token) {
    this.#problem = "";
    try {
      this.#notifier.authenticate(token);
    } catch (error) {
      this.#problem = sentence(error.message);
      this.#show();
      return false;
    }
    this.#token = token;
    for (const channels of Object.values(this.#refused)) channels.clear();
    this.#show();
    return true;
  }

  #changed({ state, reason }) {
    if (state === "refused") {
      this.#problem = sentence(reason);
      stored((storage) => storage.removeItem(KEPT)); // it would be refused again
      this.#show();
    } else if (state === "open" && this.#problem) {
      this.#problem = "";
      this.#show();
    }
  }

  get #kind() {
    return this.#token?.startsWith("nk_") ? "key" : "token";
  }

  #sentence(deed, channels) {
    const what = `${deed} to ${listed(channels)}`;
    if (this.#token === null) return `To ${what} you need a key or a token.`;
    return `This ${this.#kind} may not ${what}.`;
  }

  #show() {
    const deeds = Object.entries(this.#refused).filter(([, channels]) => channels.size > 0);
    const lines = deeds.map(([deed, channels]) => this.#sentence(deed, [...channels]));
    const asks = this.#problem !== "" || lines.length > 0;
    byId("access-why").textContent = [this.#problem, ...lines].filter(Boolean).join(" ");
    byId("access-why").hidden = !asks;
    byId("access-title").textContent = asks && this.#token === null ? "Who are you?" : "Your access";
    byId("access-form").hidden = !asks;
    byId("access-known").hidden = this.#token === null;
    byId("access-who").textContent = asks ? `The ${this.#kind} you gave` : `Your ${this.#kind} is in use`;
    byId("access").hidden = !asks && this.#token === null;
    this.onchange();
    if (!asks || !this.#asked) return;
    this.#asked = false;
    byId("access-token").focus();
  }
}

/** A tab may be forbidden to keep anything: then nothing is kept. */
function stored(work) {
  try {
    return work(sessionStorage);
  } catch {
    return null;
  }
}

function listed(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

function sentence(text) {
  const whole = text && text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) || !whole ? whole : `${whole}.`;
}
