/** The box that sends. */

import { byId, link, make } from "./elements.js";
import { isAboutCredential } from "./notifier/credential.js";

/** Which input to point at when the server names a field it refused. */
const INPUTS = { actions: "url" };

export class Composer {
  #notifier;
  #access;
  #form = byId("send");
  #outcome = byId("send-outcome");

  /**
   * @param {import("./notifier.js").Notifier} notifier
   * @param {import("./access.js").Access} access
   */
  constructor(notifier, access) {
    this.#notifier = notifier;
    this.#access = access;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#submit();
    });
    this.#form.addEventListener("input", ({ target }) => target.removeAttribute("aria-invalid"));
    byId("composer").open = matchMedia("(min-width: 56rem)").matches; // a phone shows the list first
  }

  /** Offers another channel, unless the sender has already chosen one. */
  suggest(channel) {
    const input = this.#form.elements.channel;
    if (input.value !== input.defaultValue) return;
    input.value = input.defaultValue = channel;
  }

  #submit() {
    const inputs = this.#form.elements;
    const channel = inputs.channel.value.trim();
    if (!channel) return this.#complain("Which channel?", "channel");
    const fields = {};
    for (const name of ["title", "message", "key", "click", "icon"]) {
      if (inputs[name].value.trim()) fields[name] = inputs[name].value;
    }
    const tags = inputs.tags.value.split(",").map((tag) => tag.trim());
    if (tags.some(Boolean)) fields.tags = tags.filter(Boolean);
    if (inputs.priority.value !== "3") fields.priority = Number(inputs.priority.value);
    const label = inputs.label.value.trim();
    const url = inputs.url.value.trim();
    if (label || url) {
      if (!url) return this.#complain("Where should the button lead?", "url");
      fields.actions = [{ action: "view", label: label || "Open", url }];
    }
    try {
      if (inputs.data.value.trim()) fields.data = JSON.parse(inputs.data.value);
    } catch (error) {
      return this.#complain(`Data is not JSON: ${error.message}`, "data");
    }
    if (Object.keys(fields).length === 0) return this.#complain("Write a message first", "message");
    return this.#publish(channel, fields);
  }

  async #publish(channel, notification) {
    const button = this.#form.querySelector("[type=submit]");
    button.disabled = true;
    this.#tell("Sending…");
    try {
      const { position, subscribers } = await this.#notifier.publish(channel, notification);
      this.#access.sent(channel);
      this.#clear();
      const listening = `${subscribers} ${subscribers === 1 ? "listener" : "listeners"}`;
      this.#tell(`Sent to ${channel} · ${listening}`, "good", position);
    } catch (error) {
      this.#failed(channel, error);
    } finally {
      button.disabled = false;
    }
  }

  #failed(channel, error) {
    if (error.outcome === "unknown") {
      const retry = make("button", { type: "button", className: "quiet" }, "Send again");
      retry.title = "Safe: it carries the same id, and is stored once";
      retry.addEventListener("click", () => this.#publish(channel, error.notification));
      this.#tell("No answer: it may or may not have been stored. ", "bad");
      this.#outcome.append(retry);
      return;
    }
    if (isAboutCredential(error.code) && error.outcome === "refused") {
      this.#tell(this.#access.refuse("send", channel), "bad");
      return;
    }
    const field = INPUTS[error.field] ?? error.field;
    this.#complain(error.outcome === "unsent" ? "Not sent: no connection" : error.message, field);
    const docs = error.docs && link(error.docs, {}, `${error.code}`);
    if (docs) this.#outcome.append(" (", docs, ")");
  }

  #complain(message, field) {
    const input = field && this.#form.elements[field];
    if (input) {
      const more = input.closest("details.more");
      if (more) more.open = true;
      input.setAttribute("aria-invalid", "true");
      input.focus();
    }
    this.#tell(message, "bad");
  }

  #tell(message, mood = "", title = "") {
    this.#outcome.dataset.mood = mood;
    this.#outcome.title = title ?? "";
    this.#outcome.textContent = message;
    if (mood) this.#outcome.scrollIntoView({ block: "nearest" });
  }

  /** The channel stays: who sends one often sends another. */
  #clear() {
    const channel = this.#form.elements.channel.value;
    this.#form.reset();
    this.#form.elements.channel.value = channel;
    for (const input of this.#form.elements) input.removeAttribute("aria-invalid");
  }
}
