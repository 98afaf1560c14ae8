/** The page at `/`: listens to channels, shows what comes, and sends. */

import { Attention } from "./attention.js";
import { Channels } from "./channels.js";
import { Composer } from "./composer.js";
import { byId } from "./elements.js";
import { Notifier } from "./notifier.js";
import { Status } from "./status.js";
import { Timeline } from "./timeline.js";

const notifier = new Notifier();
const timeline = new Timeline();
const attention = new Attention();
const composer = new Composer(notifier);
new Status(notifier);
notifier.on("gap", (gap) => timeline.gap(gap));

const channels = new Channels(notifier, timeline, (notification) => {
  timeline.add(notification);
  attention.notice(notification);
});
channels.onchange = offer;
offer(channels.names);

/** The line to try and the box that sends both name a channel that is listened to. */
function offer(names) {
  const [channel = "alerts"] = names;
  const base = new URL(".", document.baseURI).href;
  const short = base.replace(/^http:\/\//, ""); // curl assumes http
  const path = encodeURIComponent(channel).replaceAll("%3A", ":").replaceAll("%40", "@");
  byId("curl").textContent = `curl -d "Disk full on db1" ${short}notify/${path}`;
  composer.suggest(channel);
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
