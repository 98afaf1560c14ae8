/** The channels this page listens to: chips to add and drop, kept in the page's address. */

import { colourOf } from "./card.js";
import { byId, make } from "./elements.js";

const DEFAULT = "alerts";
const REPLAY = "-50"; // how much of a channel's history a fresh page shows

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
    const heard = (notification) => this.#heard(notification);
    const subscription = this.#notifier.subscribe(name, heard, { since: REPLAY });
    this.#chips.set(name, { subscription, element });
  }

  #drop(name) {
    const { subscription, element } = this.#chips.get(name);
    this.#chips.delete(name);
    subscription.unsubscribe();
    element.remove();
    this.#timeline.remove(({ channel }) => channel === name);
    this.#keep();
  }

  /** A channel that can't be had is given back to the box, to be mended. */
  #refused({ channel, message, temporary }) {
    if (!this.#chips.has(channel)) return;
    this.#problem(message.includes(channel) ? message : `${channel}: ${message}`);
    if (temporary) return;
    this.#drop(channel);
    byId("channel-name").value ||= channel;
  }

  #problem(message) {
    byId("channel-problem").hidden = message === "";
    byId("channel-problem").textContent = message;
  }

  #mark(name, state) {
    const chip = this.#chips.get(name);
    if (chip) chip.element.dataset.state = state;
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
    const options = this.names.map((name) => make("option", { value: name }));
    byId("channel-names").replaceChildren(...options);
    this.onchange?.(this.names);
  }

  /** Called with the names whenever they change. */
  onchange = null;
}
