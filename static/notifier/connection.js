const NOWHERE = { send() {}, close() {} };

/** One link to the server and what hangs on it. */
export class Connection {
  /**
   * @param {"websocket"|"sse"} transport
   * @param {number} number of its own
   * @param {number} now
   */
  constructor(transport, number, now) {
    this.transport = transport;
    this.link = NOWHERE; // until it is known who we are
    this.token = null; // that it was made with
    this.isFresh = false; // whether that was got for it
    this.number = number;
    this.open = false;
    this.welcomed = false;
    this.draining = false;
    this.answered = true;
    this.madeAt = now;
    this.heardAt = now;
    this.interval = 0; // of silence after which to ask for a sign of life
    this.timer = null; // for the welcome first, then for pings and their answers
    this.stable = null;
    this.rejoin = new Set(); // timers of subscriptions that were refused for now
    this.requests = new Map(); // ref -> what waits for its answer
    this.joined = new Set(); // channels and patterns the server has confirmed here
    this.brought = new Set(); // those of them that came by a pattern
    this.unsettled = new Set(); // those it has not answered about
    this.unnamed = new Set(); // channels that found no room in the resume token
  }

  /** Whether someone waits for an answer on it. */
  get owes() {
    return [...this.requests.values()].some((request) => request.resolve);
  }
}
