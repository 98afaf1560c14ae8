/** The live list: newest first, bounded, and still under the eyes of who reads further down. */

import { Card, colourOf } from "./card.js";
import { byId, make } from "./elements.js";

const LIMIT = 500;
const TICK = 10_000;
const HIDDEN_FRAME = 250; // a hidden page gets no animation frames
const AWAY = 48; // pixels of the list above the window before new cards stop pushing it down

/** A mark where something was missed. */
class GapMark {
  /** @param {number} time of what was last seen of the channel: the mark belongs right after it */
  constructor({ channel, after, before }, time) {
    this.channel = channel;
    this.time = time;
    const title = after ? `between ${after} and ${before}` : `before ${before}`;
    const name = make("span", { className: `channel ${colourOf(channel)}` }, channel);
    this.element = make("li", { className: "gap", title }, make("span", {}, name, missed(after, before)));
  }

  tick() {}

  dispose() {}
}

function missed(after, before) {
  const [epoch, offset] = before.split(":");
  const [lastEpoch, last] = (after ?? "").split(":");
  if (!after) return " Earlier notifications are no longer kept by the server";
  if (epoch !== lastEpoch) return " The server lost its history: something may be missing here";
  const most = Number(offset) - Number(last) - 1; // expired ones leave holes: it may be fewer
  const what = most === 1 ? "One notification was" : `Up to ${most} notifications were`;
  return ` ${what} missed: the server no longer has them`;
}

export class Timeline {
  #entries = []; // as shown, newest first
  #keyed = new Map(); // channel and key -> Card
  #incoming = [];
  #scheduled = false;
  #unread = 0; // new above the window
  #cut = false;
  #announced = [];
  #announcing = null;
  #list = byId("list");
  #pill = byId("pill");

  constructor() {
    setInterval(() => this.#tick(), TICK);
    byId("clear").addEventListener("click", () => this.remove(() => true));
    this.#pill.addEventListener("click", () => this.#backToTop());
    addEventListener("scroll", () => this.#away() || this.#setUnread(0), { passive: true });
    this.#summarise();
  }

  /** @param {import("./notifier.js").Notification} notification */
  add(notification) {
    this.#take({ notification });
  }

  /** @param {import("./notifier.js").Gap} gap */
  gap(gap) {
    this.#take({ gap });
  }

  /** Takes away the entries that match, such as those of a channel that was dropped. */
  remove(matches) {
    this.#incoming = this.#incoming.filter((item) => !matches(item.notification ?? item.gap));
    const gone = this.#entries.filter(matches);
    this.#entries = this.#entries.filter((entry) => !gone.includes(entry));
    gone.forEach((entry) => this.#discard(entry));
    this.#setUnread(0);
    this.#summarise();
  }

  #take(item) {
    this.#incoming.push(item);
    // Only as many as the list can hold are kept: a hidden page may gather for hours.
    if (this.#incoming.length > 2 * LIMIT) this.#incoming.splice(0, LIMIT, { cut: true });
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (document.hidden) setTimeout(() => this.#render(), HIDDEN_FRAME);
    else requestAnimationFrame(() => this.#render());
  }

  #render() {
    this.#scheduled = false;
    const anchor = this.#away() ? this.#firstVisible() : null;
    const top = anchor?.element.getBoundingClientRect().top;
    const items = this.#incoming.splice(0);
    let added = 0;
    for (const { notification, gap, cut } of items) {
      if (notification) added += this.#place(notification);
      else if (gap) this.#insert(new GapMark(gap, this.#lastTime(gap.channel)));
      this.#cut ||= cut === true;
    }
    for (const entry of this.#entries.splice(LIMIT)) {
      this.#cut = true;
      this.#discard(entry);
    }
    this.#summarise();
    if (anchor?.element.isConnected) {
      scrollBy({ top: anchor.element.getBoundingClientRect().top - top, behavior: "instant" });
      this.#setUnread(this.#unread + added);
    }
    this.#announce(items);
  }

  /** Shows a notification as a card of its own, or in the card that has its key. */
  #place(notification) {
    const card = this.#keyed.get(slot(notification));
    if (card) {
      card.update(notification);
      return 0;
    }
    const made = new Card(notification);
    if (made.key) this.#keyed.set(slot(made), made);
    this.#insert(made);
    return 1;
  }

  /** Channels are replayed one after the other: by time between them, as received within one. */
  #insert(entry) {
    const below = this.#entries.findIndex(
      (other) => other.channel === entry.channel || other.time <= entry.time,
    );
    const index = below === -1 ? this.#entries.length : below;
    this.#list.insertBefore(entry.element, this.#entries[index]?.element ?? null);
    this.#entries.splice(index, 0, entry);
  }

  #lastTime(channel) {
    return this.#entries.find((entry) => entry.channel === channel)?.time ?? -Infinity;
  }

  #discard(entry) {
    entry.element.remove();
    entry.dispose();
    if (entry.key && this.#keyed.get(slot(entry)) === entry) this.#keyed.delete(slot(entry));
  }

  #tick() {
    const now = Date.now();
    for (const entry of this.#entries) entry.tick(now);
  }

  #summarise() {
    const cards = this.#list.querySelectorAll(".card").length;
    if (this.#entries.length === 0) this.#cut = false;
    byId("empty").hidden = this.#entries.length > 0;
    byId("clear").hidden = this.#entries.length === 0;
    byId("count").hidden = cards === 0;
    byId("count").textContent = cards;
    byId("end").hidden = !this.#cut;
    byId("end").textContent = `Only the newest ${LIMIT} are shown`;
  }

  // --- the reader's place -----------------------------------------------------------------------

  #away() {
    return this.#list.getBoundingClientRect().top < this.#barHeight() - AWAY;
  }

  #barHeight() {
    return document.querySelector(".bar").offsetHeight;
  }

  #firstVisible() {
    const edge = this.#barHeight();
    return this.#entries.find(({ element }) => element.getBoundingClientRect().bottom > edge);
  }

  #setUnread(count) {
    this.#unread = count;
    this.#pill.hidden = count === 0;
    if (count) this.#pill.textContent = `↑ ${count} new`;
  }

  #backToTop() {
    this.#setUnread(0);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    scrollTo({ top: 0, behavior: still ? "instant" : "smooth" });
    this.#list.focus({ preventScroll: true });
  }

  /** Tells screen readers, in one sentence a second at most. */
  #announce(items) {
    this.#announced.push(...items.map((item) => item.notification ?? item.gap).filter(Boolean));
    this.#announcing ??= setTimeout(() => {
      const news = this.#announced.splice(0);
      this.#announcing = null;
      const [{ channel, title, message }] = news;
      byId("announcer").textContent =
        news.length > 1
          ? `${news.length} new notifications`
          : `${channel}: ${title ?? message ?? "new notification"}`;
    }, 1000);
  }
}

function slot({ channel, key }) {
  return JSON.stringify([channel, key]);
}
