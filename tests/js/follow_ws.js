/**
 * Connects npm's WebSocket to a URL and prints what happens as lines: a name and its data. Each
 * notification is published again, to the channel "copies".
 * Run with the folder that has node_modules, and the URL.
 */

import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, url] = process.argv.slice(2);
const WebSocket = createRequire(join(folder, "package.json"))("ws");
// What it sends is compressed from the first byte on.
const socket = new WebSocket(url, { perMessageDeflate: { threshold: 0 } });
const print = (name, data) => console.log(JSON.stringify([name, data]));
let received = 0;
socket.on("open", () => {
  socket._socket.prependListener("data", (data) => (received += data.length));
  print("open", { extensions: socket.extensions });
});
socket.on("message", (data) => {
  const message = JSON.parse(data);
  print(message.type, { ...message, received });
  if (message.type === "notification") {
    socket.send(JSON.stringify({ type: "publish", channel: "copies", message: message.message }));
  }
});
socket.on("error", ({ message }) => print("error", { message }));
socket.on("close", (code) => print("close", { code }));
