/**
 * Follows channels with notifier.js over npm's EventSource and prints each notification as a line.
 * Run with the folder that has node_modules, the server's URL, and names of channels and patterns.
 */

import { createRequire } from "node:module";
import { join } from "node:path";

import { Notifier } from "../../static/notifier.js";

const [folder, url, ...names] = process.argv.slice(2);
const { EventSource } = createRequire(join(folder, "package.json"))("eventsource");
const notifier = new Notifier(`${url}/ws`, { transport: "sse", EventSource, maxDelay: 500 });
const print = (type, detail) => console.log(JSON.stringify([type, detail]));
for (const type of ["subscribed", "gap"]) notifier.on(type, (detail) => print(type, detail));
notifier.on("error", ({ code, message }) => print("error", { code, message }));
const heard = (notification) => print("message", notification);
for (const name of names) notifier.subscribe(name, heard);
