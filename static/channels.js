/** The channels and patterns this page listens to: chips to add and drop, kept in its address. */

import { colourOf } from "./card.js";
import { byId, make } from "./elements.js";
import { isAboutCredential } from "./notifier/credential.js";
import { isPattern, matches } from "./notifier/positions.js";

const DEFAULT = "alerts";
const REPLAY = "-50"; // how much of a channel's history a fresh page shows
const REPLAY_EACH = "-10"; // of each channel that a pattern brings: they may be many

export class Channels {
  #notifier;
  #timeline;
  #chips = new Map(); // name -> {subscription, element}
  #heard;

  /**
   * @param {import("./notifier.js").Notifier} notifier
   * @param {import("./timeline.js").Timeline} timeline
   * @param {(notification: object) => void} heard called for each notification
   */
  constructor(notifier, timeline, heard) {
    this.#notifier = notifier;
    this.#timeline = timeline;
    this.#heard = heard;
    const named = new URLSearchParams(location.search).getAll("channel").map((name) => name.trim());
    const names = new Set(named.filter(Boolean));
    for (const name of names.size ? names : [DEFAULT]) this.#add(name);
    this.#list();
    notifier.on("subscribed", ({ channel }) => this.#mark(channel, "joined"));
    notifier.on("state", ({ state }) => state === "open" || this.#markAll("waiting"));
    notifier.on("error", (error) => this.#refused(error));
    byId("add-channel").addEventListener("submit", (event) => this.#submit(event));
  }

  get names() {
    return [...this.#chips.keys()];
  }

  /** @param {"waiting"|"joined"|"refused"} state @returns {string[]} the names in it */
  those(state) {
    return this.names.filter((name) => this.#chips.get(name).element.dataset.state === state);
  }

  #submit(event) {
    event.preventDefault();
    const input = byId("channel-name");
    const name = input.value.trim().normalize("NFC");
    if (!name) return;
    this.#problem("");
    input.value = "";
    if (this.#chips.has(name)) return;
    this.#add(name);
    this.#keep();
  }

  #add(name) {
    const drop = make("button", { type: "button", title: `Drop ${name}`, textContent: "×" });
    drop.setAttribute("aria-label", `Drop channel ${name}`);
    drop.addEventListener("click", () => {
      const next = element.nextElementSibling ?? element.previousElementSibling;
      this.#drop(name);
      (next?.querySelector("button") ?? byId("channel-name")).focus();
    });
    const label = make("span", { className: `channel ${colourOf(name)}` }, name);
    const element = make("li", { className: "chip" }, label, drop);
    element.dataset.state = "waiting";
    byId("chips").append(element);
    const since = isPattern(name) ? REPLAY_EACH : REPLAY;
    // The same function for all: what is listened to twice is shown once.
    const subscription = this.#notifier.subscribe(name, this.#heard, { since });
    this.#chips.set(name, { subscription, element });
  }

  #drop(name) {
    const { subscription, element } = this.#chips.get(name);
    this.#chips.delete(name);
    subscription.unsubscribe();
    element.remove();
    const others = this.names;
    this.#timeline.remove(
      ({ channel }) => matches(name, channel) && !others.some((other) => matches(other, channel)),
    );
    this.#keep();
  }

  /** A channel that can't be had is given back to the box, to be mended. */
  #refused({ channel, code, message, temporary }) {
    if (channel === null) return;
    if (isAboutCredential(code)) {
      this.#mark(channel, "refused"); // it stays: access.js asks who the reader is
      return;
    }
    this.#problem(message.includes(channel) ? message : `${channel}: ${message}`);
    if (temporary || !this.#chips.has(channel)) return; // not one that a pattern would have brought
    this.#drop(channel);
    byId("channel-name").value ||= channel;
  }

  #problem(message) {
    byId("channel-problem").hidden = message === "";
    byId("channel-problem").textContent = message;
  }

  #mark(name, state) {
    const chip = this.#chips.get(name);
    if (!chip) return;
    chip.element.dataset.state = state;
    this.onmark?.();
  }

  #markAll(state) {
    for (const name of this.names) this.#mark(name, state);
  }

  #keep() {
    const url = new URL(location.href);
    url.searchParams.delete("channel");
    for (const name of this.names) url.searchParams.append("channel", name);
    history.replaceState(null, "", url);
    this.#list();
  }

  /** The names, for the box that sends and for the line to try. */
  #list() {
    const single = this.names.filter((name) => !isPattern(name));
    const options = single.map((name) => make("option", { value: name }));
    byId("channel-names").replaceChildren(...options);
    this.onchange?.(this.names);
  }

  /** Called with the names whenever they change. */
  onchange = null;

  /** Called whenever what one of them is in changes. */
  onmark = null;
}
