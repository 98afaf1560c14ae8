/** The page at `/`: listens to channels, shows what comes, and sends. */

import { Access } from "./access.js";
import { Attention } from "./attention.js";
import { Channels } from "./channels.js";
import { Composer } from "./composer.js";
import { byId } from "./elements.js";
import { Listening } from "./listening.js";
import { Notifier } from "./notifier.js";
import { isPattern } from "./notifier/positions.js";
import { Status } from "./status.js";
import { Timeline } from "./timeline.js";

// `?transport=sse` for a look at how it is without WebSocket.
const [asked] = new URLSearchParams(location.search).getAll("transport");
const transport = ["websocket", "sse"].includes(asked) ? asked : "auto";
const notifier = new Notifier(undefined, { transport });
const access = new Access(notifier);
const timeline = new Timeline();
const attention = new Attention();
const composer = new Composer(notifier, access);
const status = new Status(notifier);
notifier.on("gap", (gap) => timeline.gap(gap));

const channels = new Channels(notifier, timeline, (notification) => {
  timeline.add(notification);
  attention.notice(notification);
});
const listening = new Listening(notifier, status, channels, access);
channels.onmark = () => {
  offer(channels.names);
  listening.show();
};
channels.onchange = (names) => {
  offer(names);
  listening.show();
};
access.onchange = () => offer(channels.names);
offer(channels.names);

/** The line to try and the box that sends both name a channel that is listened to. */
function offer(names) {
  const heard = names.filter((name) => !channels.those("refused").includes(name));
  const named = [...heard, ...names].find((name) => !isPattern(name));
  const channel = named ?? names[0]?.replaceAll("*", "1") ?? "alerts"; // one that matches
  const base = new URL(".", document.baseURI).href;
  const short = base.replace(/^http:\/\//, ""); // curl assumes http
  const path = encodeURIComponent(channel).replaceAll("%3A", ":").replaceAll("%40", "@");
  const shown = access.isNeeded ? '-H "Authorization: Bearer $KEY" ' : "";
  byId("curl").textContent = `curl ${shown}-d "Disk full on db1" ${short}notify/${path}`;
  composer.suggest(channel);
  access.only(names);
}

byId("copy").addEventListener("click", async ({ target }) => {
  const line = byId("curl");
  try {
    await navigator.clipboard.writeText(line.textContent);
  } catch {
    getSelection().selectAllChildren(line); // no clipboard on plain http: ready for Ctrl+C
    return;
  }
  target.textContent = "Copied";
  setTimeout(() => {
    target.textContent = "Copy";
  }, 2000);
});
