/** What a client needs of the world around it; tests bring their own. */
export function browser() {
  return {
    now: () => Date.now(),
    setTimeout: (callback, delay) => setTimeout(callback, delay),
    clearTimeout: (timer) => clearTimeout(timer),
    random: Math.random,
    window: globalThis.window,
    document: globalThis.document,
  };
}

/** `crypto.randomUUID` exists on https and localhost only; this works on a plain http LAN too. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A listener's mistake is its own: it is reported as uncaught, and stops nobody else. */
export function report(error) {
  if (globalThis.reportError) globalThis.reportError(error);
  else
    queueMicrotask(() => {
      throw error;
    });
}

export function clamp(value, low, high, otherwise) {
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
}
