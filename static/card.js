/** One notification on the page. */

import { imageUrl, link, make, text } from "./elements.js";
import { ago, exactly } from "./instants.js";
import { Payload } from "./payload.js";

const PRIORITIES = { 1: "Lowest", 2: "Low", 4: "High", 5: "Urgent" };
const CHANNEL_COLOURS = 8;
const HIGHLIGHT = 2_000;

/** The colour a channel has everywhere on the page: the same on each visit. */
export function colourOf(channel) {
  let hash = 0;
  for (const character of channel) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return `colour-${hash % CHANNEL_COLOURS}`;
}

/** Shows a notification, and the later ones with its key in its place. */
export class Card {
  #updates = 0;
  #time; // the <time> element
  #expires = NaN;
  #payload = null;
  #calming = null;

  /** @param {import("./notifier.js").Notification} notification */
  constructor(notification) {
    this.channel = notification.channel;
    this.key = text(notification.key);
    this.element = make("li", { className: "card" });
    this.#show(notification);
  }

  /** Replaces what is shown by a later notification with the same key. */
  update(notification) {
    this.#updates += 1;
    this.#show(notification);
    // Taken off and put on in two frames, so that the highlight runs for each update.
    this.element.classList.remove("changed");
    requestAnimationFrame(() => this.element.classList.add("changed"));
    clearTimeout(this.#calming);
    this.#calming = setTimeout(() => this.element.classList.remove("changed"), HIGHLIGHT);
  }

  /** Keeps the relative time true. */
  tick(now = Date.now()) {
    this.#time.textContent = ago(this.time, now);
    this.element.classList.toggle("expired", this.#expires <= now);
  }

  /** Lets go of what the browser keeps for this card. */
  dispose() {
    this.#payload?.dispose();
  }

  #show(n) {
    this.dispose();
    this.time = Date.parse(n.time);
    this.#expires = Date.parse(n.expires ?? "");
    this.#time = make("time", { dateTime: n.time, title: moment(n, this.time) });
    this.element.dataset.priority = PRIORITIES[n.priority] ? n.priority : 3;
    this.element.dataset.id = n.id;
    this.element.dataset.position = n.position ?? "";
    this.#payload = text(n.data_base64) === null ? null : new Payload(n);
    const below = text(n.title) ? message(n) : null;
    const bytes = this.#payload?.element ?? null;
    const parts = [this.#head(n), below, bytes, data(n), actions(n), this.#foot(n)];
    const body = make("div", { className: "card-body" }, ...parts);
    this.element.replaceChildren(...[icon(n), body].filter(Boolean));
    this.tick();
  }

  #head(n) {
    const title = text(n.title);
    const heading = make("div", { className: "heading" });
    if (title) heading.append(make("h3", {}, link(n.click, {}, title) ?? title), priority(n) ?? "");
    else heading.append(message(n) ?? this.#untitled());
    return make("div", { className: "card-head" }, heading, this.#time);
  }

  #untitled() {
    return make("p", { className: "untitled" }, this.#payload?.summary ?? "");
  }

  #foot(n) {
    const channel = make("span", { className: `channel ${colourOf(n.channel)}` }, n.channel);
    const tags = (Array.isArray(n.tags) ? n.tags : []).filter(text);
    const times = this.#updates === 1 ? "once" : `${this.#updates} times`;
    return make(
      "div",
      { className: "card-foot" },
      channel,
      text(n.title) ? null : priority(n),
      ...tags.map((tag) => make("span", { className: "tag", textContent: tag })),
      make("span", { className: "expiry", textContent: "Expired" }),
      this.#updates ? make("span", { className: "updates" }, `Updated ${times}`) : null,
    );
  }
}

function moment(n, time) {
  return [exactly(time), n.position].filter(Boolean).join(" · ");
}

function priority(n) {
  const label = PRIORITIES[n.priority];
  return label ? make("span", { className: "priority", textContent: label }) : null;
}

function message(n) {
  const body = text(n.message);
  return body && make("p", { className: "message", textContent: body });
}

function icon(n) {
  const src = imageUrl(n.icon);
  if (src === null) return null;
  const image = make("img", { className: "icon", alt: "", width: 36, height: 36 });
  image.referrerPolicy = "no-referrer";
  image.addEventListener("error", () => image.remove());
  image.src = src;
  return image;
}

/** The data is written out only when it is asked for: it may be long. */
function data(n) {
  if (n.data === undefined) return null;
  const shown = make("pre", { tabIndex: 0 });
  const details = make("details", { className: "data" }, make("summary", {}, "Data"), shown);
  details.addEventListener("toggle", () => {
    shown.textContent = JSON.stringify(n.data, null, 2);
  });
  return details;
}

/** Links only: an `http` action would make this page call other servers in the reader's name. */
function actions(n) {
  const views = (Array.isArray(n.actions) ? n.actions : []).filter((a) => a?.action === "view");
  const links = views.map((a) => link(a.url, { className: "action" }, text(a.label) ?? "Open"));
  if (!text(n.title)) links.unshift(link(n.click, { className: "action" }, "Open link"));
  const shown = links.filter(Boolean);
  return shown.length ? make("div", { className: "actions" }, ...shown) : null;
}
