/** Why a request got no result. `outcome` says what that means for what was asked. */
export class NotifierError extends Error {
  /**
   * @param {string} message
   * @param {object} [facts] any of the fields below
   */
  constructor(message, facts = {}) {
    super(message);
    this.name = "NotifierError";
    /** The server's numeric code; 0 when the error is local. @type {number} */
    this.code = facts.code ?? 0;
    /**
     * `refused`: the server said no, nothing was stored. `unsent`: it never left. `unknown`: the
     * connection went before the answer; publish `notification` again, its `id` makes that safe.
     * @type {"refused"|"unsent"|"unknown"}
     */
    this.outcome = facts.outcome ?? "refused";
    /** Whether the same request may succeed later. @type {boolean} */
    this.temporary = facts.temporary ?? false;
    /** Milliseconds after which it may, where the server said. @type {number|null} */
    this.retryAfter = facts.retryAfter ?? null;
    /** @type {string|null} */
    this.field = facts.field ?? null;
    /** @type {string|null} */
    this.docs = facts.docs ?? null;
    /** @type {string|null} */
    this.channel = facts.channel ?? null;
    /** What `publish` was sending, with its `id`. @type {object|null} */
    this.notification = facts.notification ?? null;
  }
}

/** What the server said went wrong, whatever its message holds. */
export function serverError(message, facts) {
  const text = (value) => (typeof value === "string" ? value : null);
  const { retry_after_ms: wait, temporary } = message;
  return new NotifierError(text(message.message) ?? "the server refused", {
    ...facts,
    code: Number.isSafeInteger(message.code) ? message.code : 0,
    temporary: temporary === true,
    retryAfter: temporary === true && Number.isFinite(wait) && wait >= 0 ? wait : null,
    field: text(message.field),
    docs: text(message.docs),
  });
}
