// server.js PORT: what is posted goes to everybody.
"use strict";
const http = require("node:http");
const { Server } = require("socket.io");

const DAY = 24 * 60 * 60 * 1000;

// Publishers stay: the default hangs up on one that has been idle for five seconds.
const server = http.createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    // Encoded once for all: its adapter broadcasts one frame.
    io.emit("message", Buffer.concat(parts).toString());
    response.writeHead(204).end();
  });
});

const io = new Server(server, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
  // No pings while we measure.
  pingInterval: DAY,
});
// "Discard the initial HTTP request", its documentation's advice for memory.
io.engine.on("connection", (rawSocket) => {
  rawSocket.request = null;
});

server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
