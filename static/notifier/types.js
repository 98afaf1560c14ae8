/** What goes in and out of a Notifier, for those who read and for their editors. */

/**
 * A publication as a subscriber gets it. Its own fields are as the server checked them; a page
 * still has to insert them as text.
 *
 * @typedef {object} Notification
 * @property {string} channel
 * @property {string|null} position `epoch:offset`; null in an ephemeral namespace
 * @property {number|null} offset
 * @property {string} id
 * @property {string} time RFC 3339
 * @property {string} [title]
 * @property {string} [message]
 * @property {1|2|3|4|5} [priority] 3 when absent
 * @property {string[]} [tags]
 * @property {string} [click]
 * @property {string} [icon]
 * @property {object[]} [actions]
 * @property {*} [data]
 * @property {string} [key] a later publication with the same key replaces this one
 * @property {string} [expires] RFC 3339
 * @property {string} [content_type] with `data_base64`: a binary payload
 * @property {string} [data_base64]
 */

/**
 * What lies strictly between two positions was missed and can't be had any more.
 *
 * @typedef {object} Gap
 * @property {string} channel
 * @property {string|null} after null when the old end is not known
 * @property {string|null} before
 */

/**
 * @typedef {object} StateChange
 * @property {"connecting"|"open"|"waiting"|"closed"|"failed"|"refused"} state
 *   `waiting`: between two tries. `closed`: by `close()`. `failed`: the server does not want us
 *   back, or the URL can't be used; only `connect()` tries again. `refused`: it does not take who
 *   we say we are; `authenticate()` with another key or token tries again, and so does `connect()`.
 * @property {"websocket"|"sse"|null} transport what it is made over, while there is a connection
 * @property {number|null} retryAt when the next try is, in milliseconds since 1970 (`waiting`)
 * @property {number} attempt tries since the last stable connection
 * @property {number|null} code the close code, or the server's error, that led here
 * @property {string} reason
 */

/**
 * A key or a token; or a function that gives a fresh one each time it is called, or null where
 * there is nobody to name.
 *
 * @typedef {string|(() => string|null|Promise<string|null>)} Token
 */

/**
 * @typedef {object} Options
 * @property {Token} [token] who we are
 * @property {Object<string, string>} [since] where to start, per channel: what `positions` gave
 * @property {"auto"|"websocket"|"sse"} [transport] `auto`: server-sent events where WebSocket
 *   does not get through
 * @property {string|string[]} [protocols] offered as Sec-WebSocket-Protocol
 * @property {number} [maxDelay] the longest back-off, in milliseconds (30,000)
 * @property {number} [answerTimeout] how long to wait for a welcome, a pong or a reply, in
 *   milliseconds (10,000)
 * @property {typeof WebSocket} [WebSocket] the class to use instead of the global one
 * @property {typeof EventSource} [EventSource] likewise
 * @property {typeof fetch} [fetch] likewise, with EventSource
 * @property {object} [platform] for tests: `now`, `setTimeout`, `clearTimeout`, `random`, `window`,
 *   `document`
 */

export {};
