/** What the connection is doing, in words and colour, and the button that starts and ends it. */

import { byId } from "./elements.js";

const TEXTS = {
  connecting: "Connecting…",
  open: "Live",
  waiting: "Connection lost",
  closed: "Disconnected",
  failed: "Refused",
  refused: "Not let in",
};

/** How it ends by itself. */
const ENDED = ["failed", "refused"];

const SECOND = "Over server-sent events: WebSocket does not get through here";

export class Status {
  #notifier;
  #state;
  #timer = null;
  #isDeaf = false;

  /** @param {import("./notifier.js").Notifier} notifier */
  constructor(notifier) {
    this.#notifier = notifier;
    this.#show(notifier.state);
    notifier.on("state", (state) => this.#show(state));
    byId("try-now").addEventListener("click", () => notifier.connect());
    byId("connect").addEventListener("click", () => {
      if (["closed", ...ENDED].includes(this.#state.state)) notifier.connect();
      else notifier.close();
    });
  }

  /** Every channel is refused, so nothing can come. @param {boolean} isDeaf */
  deaf(isDeaf) {
    if (isDeaf === this.#isDeaf) return;
    this.#isDeaf = isDeaf;
    this.#show(this.#state);
  }

  #show(state) {
    this.#state = state;
    const { state: name, transport, attempt, code, reason } = state;
    byId("status").dataset.state = name;
    const again = name === "connecting" && attempt > 0;
    byId("status").classList.toggle("deaf", name === "open" && this.#isDeaf);
    byId("status").classList.toggle("trouble", again || ["waiting", ...ENDED].includes(name));
    const second = name === "open" && transport === "sse";
    const trouble = name === "open" ? "" : [reason, code].filter(Boolean).join(" · ");
    byId("status").title = second ? SECOND : trouble;
    byId("status").dataset.transport = transport ?? "";
    const why = name === "failed" && reason ? `: ${reason}${code ? ` (${code})` : ""}` : "";
    const text = name === "open" && this.#isDeaf ? "No access" : TEXTS[name];
    byId("status-text").textContent = text + (second ? " · SSE" : "") + why;
    byId("try-now").hidden = name !== "waiting";
    const off = ["closed", ...ENDED].includes(name);
    byId("connect").textContent = off ? "Connect" : "Disconnect";
    byId("connect").classList.toggle("primary", off);
    clearInterval(this.#timer);
    this.#count();
    if (name === "waiting") this.#timer = setInterval(() => this.#count(), 250);
  }

  #count() {
    const { state, retryAt } = this.#state;
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    byId("status-countdown").textContent = state === "waiting" ? `next try in ${seconds} s` : "";
  }
}
