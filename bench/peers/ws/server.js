// server.js PORT: what is posted goes to everybody, as ws's README does it.
"use strict";
const http = require("node:http");
const WebSocket = require("ws");

// Publishers stay: the default hangs up on one that has been idle for five seconds.
const server = http.createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    // A Buffer, not a string: a string would become bytes again for each client.
    const payload = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    for (const client of wss.clients) {
      if (client.readyState === WebSocket.OPEN) {
        client.send(payload, { binary: false });
      }
    }
    response.writeHead(204).end();
  });
});

// No compression (its default, and what its README advises); nothing comes whose UTF-8 is to be checked.
const wss = new WebSocket.Server({ server, perMessageDeflate: false, skipUTF8Validation: true });
// Without a listener an error of a client that is gone would end the process.
wss.on("connection", (client) => client.on("error", () => {}));

server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
