/** Calls the reader back to a hidden page: a count in its title and, if wanted, desktop notices. */

import { byId, imageUrl, text } from "./elements.js";

const WANTED = "notifier.desktop";

export class Attention {
  #title = document.title;
  #unread = 0;
  #box = byId("desktop-on");

  constructor() {
    document.addEventListener("visibilitychange", () => document.hidden || this.#count(0));
    if (!("Notification" in window) || !window.isSecureContext) return;
    byId("desktop").hidden = false;
    this.#box.checked = Notification.permission === "granted" && stored() === "yes";
    this.#box.addEventListener("change", () => this.#ask());
    this.#explain();
  }

  /** @param {import("./notifier.js").Notification} notification that has just come */
  notice(notification) {
    if (!document.hidden) return;
    this.#count(this.#unread + 1);
    if (this.#box.checked) this.#show(notification);
  }

  #count(unread) {
    this.#unread = unread;
    document.title = unread ? `(${unread > 99 ? "99+" : unread}) ${this.#title}` : this.#title;
  }

  async #ask() {
    if (this.#box.checked) this.#box.checked = (await Notification.requestPermission()) === "granted";
    store(this.#box.checked ? "yes" : "no");
    this.#explain();
  }

  #explain() {
    const denied = Notification.permission === "denied";
    this.#box.disabled = denied;
    byId("desktop-hint").textContent = denied
      ? "blocked in the browser's settings"
      : "while this page is hidden";
  }

  #show({ channel, id, key, title, message, icon }) {
    const body = text(title) ? (text(message) ?? "") : "";
    const tag = JSON.stringify([channel, key ?? id]); // a later one with the key takes its place
    try {
      const options = { body, tag, icon: imageUrl(icon) ?? undefined };
      const shown = new Notification(text(title) ?? text(message) ?? channel, options);
      shown.addEventListener("click", () => {
        window.focus();
        shown.close();
      });
    } catch {
      // Android has the class but wants a service worker: the count in the title has to do.
    }
  }
}

/** Storage can be forbidden; the choice is then kept for this visit only. */
function stored() {
  try {
    return localStorage.getItem(WANTED);
  } catch {
    return null;
  }
}

function store(value) {
  try {
    localStorage.setItem(WANTED, value);
  } catch {
    // See above.
  }
}
