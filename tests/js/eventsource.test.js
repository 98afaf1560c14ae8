import assert from "node:assert/strict";
import { test } from "node:test";

import { settled, World } from "./fakes.js";
import { Notifier } from "../../static/notifier.js";

function make(options = {}) {
  const world = new World();
  const { EventSource, WebSocket, fetch, platform } = world;
  const given = { transport: "sse", EventSource, WebSocket, fetch, platform, ...options };
  return { world, notifier: new Notifier("http://h/x/ws?channel=a&since=all&key=7", given) };
}

/** A Notifier over one stream with one channel, confirmed at `k:0`. */
async function live(options) {
  const { world, notifier } = make(options);
  const heard = world.listen(notifier);
  notifier.subscribe("alerts", heard);
  await settled();
  world.stream.confirm("alerts", "k:0");
  return { world, notifier, heard };
}

/** Lets time pass until the next try. */
async function sitOut(world, notifier) {
  world.clock.advance(notifier.state.retryAt - world.clock.time);
  await settled();
}

function refusal(code, facts = {}) {
  return { status: Math.floor(code / 100), body: { error: { code, message: "no", ...facts } } };
}

// --- listening ------------------------------------------------------------------------------------

test("channels that begin alike share a stream beside the WebSocket's URL", async () => {
  const { world, notifier } = make();
  notifier.subscribe("alerts", world.listen(notifier), { since: "-5" });
  notifier.subscribe("builds:*", () => {}, { since: "-5" });
  await settled();
  assert.equal(world.streams.length, 1);
  const { url } = world.stream;
  assert.equal(url.origin + url.pathname, "http://h/x/events");
  assert.equal(url.search, "?key=7&channel=alerts&channel=builds%3A*&since=-5");
  assert.equal(notifier.state.state, "connecting");
  world.stream.confirm("alerts", "k:4").notify("alerts", "k:5");
  assert.deepEqual(world.positions, ["k:5"]);
  const { state, transport } = notifier.state;
  assert.deepEqual([state, transport], ["open", "sse"]);
});

test("channels that begin differently are joined apart, then brought together", async () => {
  const { world, notifier } = make({ since: { builds: "p:7" } });
  const heard = world.listen(notifier);
  for (const name of ["alerts", "builds", "late"]) notifier.subscribe(name, heard);
  notifier.subscribe("old", heard, { since: "all" });
  await settled();
  assert.deepEqual(
    world.streams.map(({ channels, since }) => [channels.join(), since]),
    [["alerts,late", null], ["builds", "builds=p:7;t=0.000"], ["old", "all"]],
  );
  const [first, second, third] = world.streams;
  first.confirm("alerts", "k:1").confirm("late", null, { recovered: null });
  second.confirm("builds", "p:7").notify("builds", "p:8");
  await settled();
  assert.equal(world.streams.length, 3); // not before all are attached
  third.confirm("old", "q:0").notify("old", "q:1");
  await settled();
  const all = world.stream;
  assert.deepEqual(all.channels, ["alerts", "builds", "late", "old"]);
  assert.match(all.since, /^alerts=k:1,builds=p:8,old=q:1;t=\d+\.123$/);
  second.notify("builds", "p:9"); // still there until the new one is attached
  for (const [name, position] of Object.entries({ alerts: "k:1", late: null, builds: "p:8" })) {
    all.confirm(name, position);
  }
  all.notify("builds", "p:9", "p:10");
  assert.equal(world.open.length, 4);
  all.confirm("old", "q:1");
  assert.deepEqual(world.open, [all]);
  assert.deepEqual(
    world.positions.filter((position) => position.startsWith("p")),
    ["p:8", "p:9", "p:10"],
  );
  assert.equal(world.seen("subscribed").length, 4);
  await settled();
  assert.equal(world.streams.length, 4);
});

test("a channel that is added and one that is dropped change the stream without loss", async () => {
  const { world, notifier, heard } = await live();
  notifier.subscribe("builds", heard, { since: "-3" });
  await settled();
  assert.deepEqual([world.stream.channels.join(), world.stream.since], ["builds", "-3"]);
  world.streams[0].notify("alerts", "k:1");
  world.stream.confirm("builds", "p:2").notify("builds", "p:3");
  await settled();
  const both = world.stream.confirm("alerts", "k:1").confirm("builds", "p:3");
  notifier.unsubscribe("alerts");
  both.notify("alerts", "k:2").notify("builds", "p:4");
  await settled();
  assert.deepEqual(world.stream.channels, ["builds"]);
  assert.match(world.stream.since, /^builds=p:4;t=/);
  world.stream.confirm("builds", "p:4").notify("builds", "p:5");
  assert.deepEqual(world.open, [world.stream]);
  assert.deepEqual(world.positions, ["k:1", "p:3", "p:4", "p:5"]);
});

test("an ephemeral channel delivers once while two streams overlap", async () => {
  const { world, notifier } = make();
  notifier.subscribe("now", world.listen(notifier));
  await settled();
  const [first] = world.streams;
  first.confirm("now", null, { recovered: null });
  notifier.subscribe("other", () => {}, { since: "all" });
  await settled();
  world.stream.confirm("other", "k:0");
  await settled();
  const both = world.stream.confirm("now", null);
  const message = { type: "notification", channel: "now", position: null, offset: null, id: "a" };
  first.tell(message);
  both.tell(message);
  assert.equal(world.received.length, 1);
});

test("who asks for presence has a stream of its own", async () => {
  const { world, notifier } = await live();
  notifier.subscribe("room", () => {}, { presence: true });
  await settled();
  assert.equal(world.stream.url.searchParams.get("presence"), "1");
  assert.equal(world.streams[0].url.searchParams.get("presence"), null);
  world.stream.confirm("room", "k:0").tell({ type: "presence", channel: "room", count: 1 });
  await settled();
  assert.equal(world.open.length, 2);
  assert.equal(world.seen("presence")[0].detail.count, 1);
});

test("more channels than one stream's places hold are spread over several", async () => {
  const { world, notifier } = make();
  const names = Array.from({ length: 150 }, (_, i) => `channel-number-${i}`);
  for (const name of names) notifier.subscribe(name, () => {});
  await settled();
  assert.ok(world.streams.length > 1);
  assert.deepEqual(world.streams.flatMap(({ channels }) => channels), names);
  for (const stream of world.streams) {
    for (const name of stream.channels) stream.confirm(name, "abcdefgh:123456789012");
  }
  await settled();
  const count = world.streams.length;
  assert.equal(world.open.length, count);
  world.stream.drop();
  world.untilNextTry(); // of sockets: there are none, so time passes
  await settled();
  for (const { since } of world.open) assert.ok(since.length <= 4096);
});

// --- coming back ----------------------------------------------------------------------------------

test("a stream that ends is come back to with back-off, at the places it had", async () => {
  const { world, notifier } = await live();
  world.random = 1;
  world.stream.notify("alerts", "k:1").tell({ type: "gap", channel: "alerts", before: "k:9" });
  world.stream.notify("alerts", "k:9").drop();
  assert.equal(world.stream.closed, true); // its own way of coming back is not used
  assert.equal(notifier.state.state, "waiting");
  world.clock.advance(1_000);
  await settled();
  assert.equal(world.streams.length, 2);
  assert.match(world.stream.since, /^alerts=k:9;t=/);
  world.streams[0].notify("alerts", "k:10"); // a late event of one that was given up
  world.stream.confirm("alerts", "k:9").notify("alerts", "k:9", "k:10");
  assert.deepEqual(world.positions, ["k:1", "k:9", "k:10"]);
  assert.equal(world.seen("gap").length, 1);
});

test("a gap of a stream that takes over is told once", async () => {
  const { world, notifier } = await live();
  notifier.subscribe("other", () => {});
  await settled();
  world.stream.confirm("other", "p:0");
  await settled();
  const gap = { after: "k:0", before: "k:5" };
  world.stream.confirm("alerts", "k:4", { recovered: false, gap }).confirm("other", "p:0");
  world.stream.notify("alerts", "k:5");
  assert.deepEqual(world.seen("gap").map(({ detail }) => detail), [{ channel: "alerts", ...gap }]);
});

test("a silent stream is opened anew; without an answer the connection is lost", async () => {
  const { world, notifier } = await live();
  world.clock.advance(59_000);
  await settled();
  assert.equal(world.streams.length, 1);
  world.clock.advance(1_000);
  await settled();
  assert.equal(world.streams.length, 2);
  world.stream.confirm("alerts", "k:0");
  assert.deepEqual(world.open, [world.stream]);
  world.clock.advance(60_000);
  await settled();
  assert.equal(world.streams.length, 3);
  world.clock.advance(10_000);
  assert.equal(notifier.state.state, "waiting");
  assert.equal(world.open.length, 0);
});

test("a server that shows signs of life is left alone", async () => {
  const { world } = await live();
  for (let minute = 0; minute < 5; minute += 1) {
    world.clock.advance(50_000);
    world.stream.event("keepalive", "{}");
    await settled();
  }
  assert.equal(world.streams.length, 1);
});

test("a draining server is heard until the slot, then left without loss or repetition", async () => {
  const { world, notifier } = await live();
  const [old] = world.streams;
  old.notify("alerts", "k:1").tell({ type: "reconnect", after_ms: 500 }).notify("alerts", "k:2");
  world.clock.advance(500);
  await settled();
  assert.match(world.stream.since, /^alerts=k:2;t=/);
  old.notify("alerts", "k:3");
  world.stream.confirm("alerts", "k:2").notify("alerts", "k:3", "k:4");
  assert.deepEqual(world.open, [world.stream]);
  assert.deepEqual(world.positions, ["k:1", "k:2", "k:3", "k:4"]);
  assert.equal(notifier.state.state, "open");
});

test("the server's own time is taken from where there is one", async () => {
  const { world, notifier } = make();
  notifier.subscribe("builds:*", () => {});
  await settled();
  const subscribed = { type: "subscribed", channel: "builds:*", position: null, channels: 0 };
  world.stream.event("subscribed", JSON.stringify(subscribed), ";t=1795368300.5");
  world.stream.drop();
  world.clock.advance(1_000);
  await settled();
  assert.equal(world.stream.since, ";t=1795368300.500");
});

// --- refusals -------------------------------------------------------------------------------------

test("a refused channel is an error that names it, and the others are followed", async () => {
  const { world, notifier } = make();
  world.answer = ({ url }) =>
    url.searchParams.getAll("channel").includes("no good")
      ? refusal(40004, { field: "channel" })
      : { status: 200, body: {} };
  const heard = world.listen(notifier);
  for (const name of ["alerts", "no good", "builds"]) notifier.subscribe(name, heard);
  await settled();
  world.stream.drop({ refused: true });
  await settled();
  const errors = world.seen("error").map(({ detail }) => [detail.code, detail.channel]);
  assert.deepEqual(errors, [[40004, "no good"]]);
  assert.deepEqual(world.stream.channels, ["alerts", "builds"]);
  world.stream.confirm("alerts", "k:0").confirm("builds", "p:0").notify("alerts", "k:1");
  assert.deepEqual(world.positions, ["k:1"]);
  assert.equal(notifier.state.state, "open");
});

test("what is refused for good ends the client, with the server's reason", async () => {
  const { world, notifier } = make();
  world.answer = () => refusal(40301, { temporary: false });
  notifier.subscribe("alerts", world.listen(notifier));
  await settled();
  world.stream.drop({ refused: true });
  await settled();
  const { state, code, reason } = notifier.state;
  assert.deepEqual([state, code, reason], ["failed", 40301, "no"]);
});

test("what is refused for now is tried again, whether by status or in the stream", async () => {
  const { world, notifier } = make();
  world.answer = () => refusal(50302, { temporary: true });
  notifier.subscribe("alerts", world.listen(notifier));
  await settled();
  world.stream.drop({ refused: true });
  await settled();
  assert.deepEqual([notifier.state.state, notifier.state.code], ["waiting", 50302]);
  world.clock.advance(1_000);
  await settled();
  world.stream.tell({ type: "error", code: 50304, message: "full", temporary: true });
  assert.deepEqual([notifier.state.state, notifier.state.reason], ["waiting", "full"]);
});

test("a page that is not the server's is no reason to give up", async () => {
  const { world, notifier } = make();
  notifier.subscribe("alerts", world.listen(notifier));
  for (const answer of [{ status: 403, body: "<h1>" }, { status: 502 }, { status: 200, body: {} }]) {
    world.answer = () => answer;
    world.clock.advance(30_000);
    await settled();
    world.stream.drop({ refused: true });
    await settled();
    assert.equal(notifier.state.state, "waiting");
  }
});

test("too many places in a stream refuse what was added last", async () => {
  const { world, notifier } = await live();
  notifier.subscribe("builds:*", () => {});
  await settled();
  const refused = { type: "error", code: 43101, message: "too long", temporary: false };
  world.stream.tell(refused);
  await settled();
  assert.deepEqual(world.seen("error").map(({ detail }) => detail.channel), ["builds:*"]);
  assert.deepEqual(world.open, [world.streams[0]]);
  world.streams[0].notify("alerts", "k:1");
  assert.deepEqual(world.positions, ["k:1"]);
});

// --- asking ---------------------------------------------------------------------------------------

test("publish, history and presence are requests, and resolve as over a WebSocket", async () => {
  const { world, notifier } = await live();
  world.answer = ({ url }) => ({ status: 200, body: { path: url.pathname + url.search } });
  assert.equal((await notifier.publish("a:b", { title: "t", id: "1" })).path, "/x/notify");
  const [sent] = world.requests;
  assert.equal(sent.method, "POST");
  assert.deepEqual(sent.body, { title: "t", id: "1", channel: "a:b" });
  const { path } = await notifier.history("größe", { since: "-5", limit: 3 });
  assert.equal(path, "/x/channels/gr%C3%B6%C3%9Fe/history?since=-5&limit=3");
  assert.equal((await notifier.presence("a")).path, "/x/channels/a/presence");
});

test("publish rejects with what is known of the outcome", async () => {
  const { world, notifier } = await live();
  world.answer = () => refusal(40003, { field: "priority" });
  await assert.rejects(notifier.publish("a", { id: "1" }), { outcome: "refused", field: "priority" });
  for (const answer of [
    () => ({ status: 502, body: "<h1>Bad Gateway" }),
    () => Promise.reject(new TypeError("network error")),
  ]) {
    world.answer = answer;
    const error = await notifier.publish("a", { id: "1" }).catch((reason) => reason);
    assert.deepEqual([error.outcome, error.temporary, error.notification], [
      "unknown",
      true,
      { id: "1" },
    ]);
  }
  world.answer = () => new Promise(() => {});
  const promise = notifier.publish("a", "x");
  world.clock.advance(10_000);
  await assert.rejects(promise, { outcome: "unknown" });
  const other = notifier.publish("a", "x");
  world.stream.drop();
  await assert.rejects(other, { outcome: "unknown" });
});

test("without a channel it connects as well, and can publish", async () => {
  const { world, notifier } = make();
  world.answer = () => ({ status: 200, body: { position: "k:1" } });
  await settled();
  assert.equal(notifier.state.state, "open");
  assert.equal((await notifier.publish("a", "x")).position, "k:1");
  notifier.subscribe("a", world.listen(notifier));
  await settled();
  world.stream.confirm("a", "k:1");
  notifier.unsubscribe("a");
  await settled();
  assert.equal(world.open.length, 0);
  assert.equal(notifier.state.state, "open");
  world.answer = () => Promise.reject(new TypeError("network error"));
  world.clock.advance(60_000);
  await settled();
  assert.equal(notifier.state.state, "waiting");
});

test("close ends all streams, and nothing is heard after it", async () => {
  const { world, notifier } = await live();
  notifier.close();
  world.streams[0].notify("alerts", "k:1");
  assert.equal(world.open.length, 0);
  assert.equal(world.clock.pending, 0);
  assert.deepEqual(world.positions, []);
});

test("events that are no messages are skipped, and said to be", async () => {
  const { world } = await live();
  world.stream.event("message", "{").event("gap", '{"type":"gap"}').event("subscribed", "null");
  assert.equal(world.seen("error").length, 3);
  world.stream.notify("never asked for", "k:1").notify("alerts", "k:1");
  assert.deepEqual(world.positions, ["k:1"]);
});

// --- choosing -------------------------------------------------------------------------------------

test("two failed handshakes in a row lead to server-sent events, then each has its turn", async () => {
  const { world, notifier } = make({ transport: "auto" });
  notifier.subscribe("alerts", world.listen(notifier));
  await settled();
  const turns = [];
  for (let turn = 0; turn < 6; turn += 1) {
    const { transport } = notifier.state;
    turns.push(transport);
    if (transport === "sse") world.stream.drop();
    else world.socket.drop();
    await sitOut(world, notifier);
  }
  const [socket, sse] = ["websocket", "sse"];
  assert.deepEqual(turns, [socket, socket, sse, socket, sse, socket]);
});

test("one handshake that is met with silence is enough", async () => {
  const { world, notifier } = make({ transport: "auto" });
  notifier.subscribe("alerts", world.listen(notifier));
  await settled();
  world.clock.advance(10_000);
  world.clock.advance(1_000);
  assert.equal(notifier.state.transport, "sse");
});

test("a WebSocket that worked is come back to, whatever cuts it", async () => {
  const { world, notifier } = make({ transport: "auto" });
  notifier.subscribe("alerts", world.listen(notifier));
  await settled();
  for (let cut = 0; cut < 5; cut += 1) {
    world.socket.accept().drop();
    await sitOut(world, notifier);
    assert.equal(notifier.state.transport, "websocket");
  }
});

test("a WebSocket is tried again beside the streams, and takes over when it gets through", async () => {
  const { world, notifier } = make({ transport: "auto" });
  notifier.subscribe("alerts", world.listen(notifier));
  await settled();
  world.clock.advance(11_000);
  await settled();
  world.stream.confirm("alerts", "k:0");
  const keepAlive = (seconds) => {
    for (let second = 0; second < seconds; second += 10) {
      world.clock.advance(10_000);
      world.stream.event("keepalive", "{}");
    }
  };
  for (const [wait, tries] of [[50, 1], [10, 2], [120, 3], [230, 3], [10, 4]]) {
    keepAlive(wait);
    assert.equal(world.sockets.length, tries, `after ${wait} s more`);
    if (world.socket.readyState === 0) world.socket.drop();
    assert.equal(notifier.state.transport, "sse");
    assert.equal(notifier.state.state, "open");
  }
  keepAlive(480);
  world.stream.notify("alerts", "k:1");
  world.socket.accept();
  assert.equal(world.socket.got("subscribe")[0].since, "k:1");
  world.stream.notify("alerts", "k:2");
  world.socket.confirm("alerts", "k:1").notify("alerts", "k:2", "k:3");
  assert.equal(notifier.state.transport, "websocket");
  assert.equal(world.open.length, 0);
  assert.deepEqual(world.positions, ["k:1", "k:2", "k:3"]);
  assert.ok(!world.seen("state").some(({ state, attempt }) => state === "waiting" && attempt > 1));
});

test("without EventSource there is only WebSocket, and the other way round", async () => {
  const without = make({ transport: "auto", EventSource: null });
  await settled();
  for (let turn = 0; turn < 4; turn += 1) {
    without.world.socket.drop();
    await sitOut(without.world, without.notifier);
  }
  assert.equal(without.world.sockets.length, 5);
  const other = make({ transport: "auto", WebSocket: null });
  await settled();
  assert.equal(other.notifier.state.transport, "sse");
  assert.throws(() => make({ transport: "websocket", WebSocket: null }), TypeError);
  assert.throws(() => make({ transport: "pigeon" }), TypeError);
});

test("a page whose policy forbids WebSockets has server-sent events at once", async () => {
  class Forbidden {
    constructor() {
      throw new Error("the page's policy forbids it");
    }
  }
  const { notifier } = make({ transport: "auto", WebSocket: Forbidden });
  await settled();
  assert.deepEqual([notifier.state.state, notifier.state.transport], ["open", "sse"]);
});

test("a server that has no streams is asked for WebSockets only", async () => {
  const { world, notifier } = make({ transport: "auto" });
  world.answer = () => refusal(40401, { temporary: false });
  notifier.subscribe("alerts", world.listen(notifier));
  await settled();
  world.clock.advance(11_000);
  await settled();
  world.stream.drop({ refused: true });
  await settled();
  assert.equal(notifier.state.state, "waiting");
  for (let turn = 0; turn < 4; turn += 1) {
    await sitOut(world, notifier);
    assert.equal(notifier.state.transport, "websocket");
    world.socket.drop();
  }
  assert.equal(world.streams.length, 1);
});
