/** One listener on a channel or a pattern. Made by `Notifier.subscribe`. */
export class Subscription {
  #channel;
  #leave;

  constructor(channel, leave) {
    this.#channel = channel;
    this.#leave = leave;
  }

  /** @returns {string} */
  get channel() {
    return this.#channel.name;
  }

  /** Where the channel stands: the last position received; null for a pattern.
   * @returns {string|null} */
  get position() {
    return this.#channel.position;
  }

  /**
   * Whether all that was missed before the latest (re)connection has been replayed; null before
   * the server has answered, and in an ephemeral namespace.
   * @returns {boolean|null}
   */
  get recovered() {
    return this.#channel.recovered;
  }

  /** Ends this listener; the channel is left with its last one. */
  unsubscribe() {
    this.#leave();
  }
}
