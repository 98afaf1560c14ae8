/**
 * Follows a URL with npm's EventSource and prints each event as a line: its name and its data.
 * Run with the folder that has node_modules, and the URL.
 */

import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, url] = process.argv.slice(2);
const { EventSource } = createRequire(join(folder, "package.json"))("eventsource");
const events = new EventSource(url);
const print = ({ type, data }) => console.log(JSON.stringify([type, JSON.parse(data)]));
events.onmessage = print;
for (const type of ["subscribed", "gap", "unsubscribed", "reconnect", "refused"]) {
  events.addEventListener(type, print);
}
events.onerror = ({ code, message }) => {
  console.log(JSON.stringify(["error", { code, message, state: events.readyState }]));
};
