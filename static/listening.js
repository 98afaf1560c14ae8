/** Whether anything can come here at all, in words: in the empty list, and beside the light. */

import { byId } from "./elements.js";

const ADD_ONE = "Add one, and what comes to it is shown here.";

export class Listening {
  #notifier;
  #status;
  #channels;
  #access;

  /**
   * @param {import("./notifier.js").Notifier} notifier
   * @param {import("./status.js").Status} status
   * @param {import("./channels.js").Channels} channels
   * @param {import("./access.js").Access} access
   */
  constructor(notifier, status, channels, access) {
    this.#notifier = notifier;
    this.#status = status;
    this.#channels = channels;
    this.#access = access;
    notifier.on("state", () => this.show());
    byId("empty-access").addEventListener("click", () => access.ask());
    this.show();
  }

  /** Says how it is now. */
  show() {
    const { state } = this.#notifier.state;
    const isOpen = state === "open";
    const { length: all } = this.#channels.names;
    const refused = isOpen ? this.#channels.those("refused") : [];
    const { length: joined } = isOpen ? this.#channels.those("joined") : [];
    const isDeaf = refused.length > 0 && refused.length === all;
    this.#status.deaf(isDeaf);
    byId("empty-title").textContent = title(state, { all, joined, refused: refused.length });
    this.#explain(refused, isDeaf || state === "refused", isOpen && all === 0);
  }

  /** What to do about it; where nothing can come, there is no use in sending something. */
  #explain(refused, isShut, isIdle) {
    const isAsked = isShut || refused.length > 0;
    const why = isAsked ? this.#access.why("listen", refused) : isIdle ? ADD_ONE : "";
    byId("empty-why").textContent = why;
    byId("empty-why").hidden = !why;
    const button = byId("empty-access");
    button.textContent = this.#access.isKnown ? "Give another key or token" : "Give a key or a token";
    button.hidden = !isAsked;
    button.classList.toggle("primary", isShut);
    byId("empty").classList.toggle("deaf", isShut || isIdle);
    byId("empty-try").hidden = byId("empty-text").hidden = isShut || isIdle;
  }
}

function title(state, { all, joined, refused }) {
  if (state === "refused") return "Not let in";
  if (state !== "open") return "Not connected";
  if (all === 0) return "No channel to listen to";
  if (refused === all) return "Not listening";
  if (joined === 0) return "Not listening yet";
  return refused > 0 ? "Listening, but not to all" : "Listening";
}
