/** Asking over HTTP in somebody's name. */

/** The header that shows a key or a token. */
export function bearer(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/**
 * A ticket for one stream, which can send no header; and the cheap way to hear what the server
 * thinks of a key or a token, where a browser keeps that to itself.
 *
 * @param {{fetch: typeof fetch, url: string, token: string, signal?: AbortSignal}} request `url`
 *   of the transport
 * @returns {Promise<{ticket: string|null, error: object|null}>} both null: there was no answer
 */
export async function askTicket({ fetch, url, token, signal }) {
  const address = new URL("ticket", url.replace(/^ws/, "http"));
  try {
    const response = await fetch(address.href, { method: "POST", headers: bearer(token), signal });
    const { ticket, error } = await response.json();
    const refused = !response.ok && Number.isSafeInteger(error?.code);
    const given = response.ok && typeof ticket === "string";
    return { ticket: given ? ticket : null, error: refused ? error : null };
  } catch {
    return { ticket: null, error: null };
  }
}
