import assert from "node:assert/strict";
import { test } from "node:test";

import { settled, World } from "./fakes.js";
import { Notifier, NotifierError } from "../../static/notifier.js";

const URL_ = "http://notify.example/ws";

/** A Notifier with one channel, connected and confirmed at `k:0`. */
async function live({ channel = "alerts", options, since, accept } = {}) {
  const { world, notifier } = make(options);
  const subscription = notifier.subscribe(channel, world.listen(notifier), { since });
  await settled();
  world.socket.accept(accept).confirm(channel, "k:0");
  return { world, notifier, subscription };
}

function make(options = {}) {
  const world = new World();
  const { WebSocket, platform } = world;
  return { world, notifier: new Notifier(URL_, { WebSocket, platform, ...options }) };
}

/** Loses the connection and waits until the next one is being made. */
function comeBack(world) {
  world.socket.drop();
  world.untilNextTry();
  return world.socket;
}

// --- connecting and listening ---------------------------------------------------------------------

test("http and https URLs become WebSocket URLs", async () => {
  for (const [given, used] of [
    ["http://a.example/ws", "ws://a.example/ws"],
    ["https://a.example/x/ws#top", "wss://a.example/x/ws"],
    [new URL("ws://a.example/ws?channel=a"), "ws://a.example/ws?channel=a"],
  ]) {
    const world = new World();
    new Notifier(given, { WebSocket: world.WebSocket, platform: world.platform });
    await settled();
    assert.equal(world.socket.url, used);
  }
});

test("a URL no WebSocket can use is refused at once", () => {
  const { WebSocket, platform } = new World();
  assert.throws(() => new Notifier("ftp://a.example/", { WebSocket, platform }), TypeError);
  assert.throws(() => new Notifier("nonsense", { WebSocket, platform }), TypeError);
});

test("one socket serves all channels, and each gets only its own", async () => {
  const { world, notifier } = make();
  const got = { alerts: [], builds: [] };
  notifier.subscribe("alerts", (n) => got.alerts.push(n.position));
  notifier.subscribe("builds", (n) => got.builds.push(n.position));
  await settled();
  world.socket.accept().confirm("alerts", "k:0").confirm("builds", "p:7");
  world.socket.notify("alerts", "k:1").notify("builds", "p:8").notify("alerts", "k:2");
  assert.equal(world.sockets.length, 1);
  assert.deepEqual(got, { alerts: ["k:1", "k:2"], builds: ["p:8"] });
  assert.deepEqual(notifier.positions, { alerts: "k:2", builds: "p:8" });
});

test("the state goes from connecting to open with the welcome", async () => {
  const { world } = await live();
  assert.deepEqual(
    world.seen("state").map(({ state }) => state),
    ["connecting", "open"],
  );
  assert.equal(world.seen("welcome").length, 1);
});

test("two listeners on a channel share one subscription", async () => {
  const { world, notifier } = await live();
  const second = [];
  const other = notifier.subscribe("alerts", (n) => second.push(n.position));
  world.socket.notify("alerts", "k:1");
  other.unsubscribe();
  world.socket.notify("alerts", "k:2");
  assert.deepEqual(second, ["k:1"]);
  assert.deepEqual(world.positions, ["k:1", "k:2"]);
  assert.equal(world.socket.got("subscribe").length, 1);
  assert.equal(world.socket.got("unsubscribe").length, 0);
});

test("the last listener that leaves drops the channel", async () => {
  const { world, subscription } = await live();
  subscription.unsubscribe();
  subscription.unsubscribe();
  world.socket.notify("alerts", "k:1");
  assert.equal(world.socket.got("unsubscribe").length, 1);
  assert.deepEqual(world.positions, []);
});

test("what was still under way for an old subscription is not given to a new one", async () => {
  const { world, notifier } = await live();
  notifier.unsubscribe("alerts");
  notifier.subscribe("alerts", (n) => world.received.push(n));
  world.socket.notify("alerts", "k:1").tell({ type: "unsubscribed", channel: "alerts", code: 0 });
  world.socket.confirm("alerts", "k:5").notify("alerts", "k:6");
  assert.deepEqual(world.positions, ["k:6"]);
});

test("a late confirmation of an old subscription does not confirm the new one", async () => {
  const { world, notifier } = make();
  const listener = world.listen(notifier);
  notifier.subscribe("alerts", listener);
  await settled();
  world.socket.accept();
  const [first] = world.socket.got("subscribe");
  notifier.unsubscribe("alerts");
  notifier.subscribe("alerts", listener);
  world.socket.tell({ type: "subscribed", ref: first.ref, channel: "alerts", position: "k:1" });
  world.socket.notify("alerts", "k:2");
  world.socket.confirm("alerts", "k:2").notify("alerts", "k:3");
  assert.deepEqual(world.positions, ["k:3"]);
});

test("a listener that throws stops neither the others nor the client", async (context) => {
  const { world, notifier } = await live();
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  context.after(() => delete globalThis.reportError);
  notifier.unsubscribe("alerts");
  notifier.subscribe("alerts", () => {
    throw new Error("mine");
  });
  notifier.subscribe("alerts", (n) => world.received.push(n));
  world.socket.confirm("alerts", "k:0").notify("alerts", "k:1", "k:2");
  assert.deepEqual(world.positions, ["k:1", "k:2"]);
  assert.deepEqual(reported, ["mine", "mine"]);
});

test("a channel's name is compared as the server writes it", async () => {
  const { world, notifier } = await live({ channel: "caf\u00e9" });
  notifier.subscribe("cafe\u0301", (n) => world.received.push(n));
  world.socket.notify("caf\u00e9", "k:1");
  assert.equal(world.socket.got("subscribe").length, 1);
  assert.equal(world.received.length, 2);
  notifier.unsubscribe("cafe\u0301");
  assert.equal(world.socket.got("unsubscribe").length, 1);
});

// --- resuming -------------------------------------------------------------------------------------

test("every channel resumes from its own position", async () => {
  const { world, notifier } = make();
  notifier.subscribe("alerts", world.listen(notifier));
  notifier.subscribe("builds", () => {}, { since: "all" });
  notifier.subscribe("quiet", () => {});
  await settled();
  const first = world.socket.accept().confirm("alerts", "k:4").confirm("builds", "p:0");
  first.confirm("quiet", "q:9").notify("alerts", "k:5", "k:6").notify("builds", "p:1");
  assert.deepEqual(
    first.got("subscribe").map(({ since }) => since),
    [undefined, "all", undefined],
  );
  const second = comeBack(world).accept();
  assert.deepEqual(
    second.got("subscribe").map(({ channel, since }) => [channel, since]),
    [["alerts", "k:6"], ["builds", "p:1"], ["quiet", "q:9"]],
  );
});

test("the caller's own positions are used for the first connection", async () => {
  const { world, notifier } = make({ since: { alerts: "k:41" } });
  notifier.subscribe("alerts", () => {});
  await settled();
  assert.equal(world.socket.accept().got("subscribe")[0].since, "k:41");
  notifier.unsubscribe("alerts");
  notifier.subscribe("alerts", () => {});
  assert.equal(world.socket.got("subscribe")[1].since, undefined);
});

test("a start that was never confirmed is asked for again", async () => {
  const { world, notifier } = make();
  notifier.subscribe("alerts", () => {}, { since: "-20" });
  await settled();
  world.socket.accept();
  assert.equal(comeBack(world).accept().got("subscribe")[0].since, "-20");
});

test("an ephemeral channel is joined again without a position", async () => {
  const { world } = await live({ since: "-20" });
  world.socket.confirm("alerts", null, { recovered: null }).notify("alerts", null);
  const { since } = comeBack(world).accept().got("subscribe")[0];
  assert.equal(since, undefined);
  assert.equal(world.received.length, 1);
});

test("what was replayed already is dropped", async () => {
  const { world, subscription } = await live();
  world.socket.notify("alerts", "k:1", "k:2", "k:2", "k:1");
  comeBack(world).accept().confirm("alerts", "k:0").notify("alerts", "k:1", "k:2", "k:3");
  assert.deepEqual(world.positions, ["k:1", "k:2", "k:3"]);
  assert.equal(subscription.position, "k:3");
  assert.equal(subscription.recovered, true);
});

test("the same offset in a new epoch is another notification", async () => {
  const { world } = await live();
  world.socket.notify("alerts", "k:1", "k:2");
  const gap = { after: "k:2", before: "n:1" };
  const second = comeBack(world).accept().confirm("alerts", "n:0", { recovered: false, gap });
  second.notify("alerts", "n:1", "n:2");
  assert.deepEqual(world.positions, ["k:1", "k:2", "n:1", "n:2"]);
  assert.deepEqual(world.seen("gap")[0].detail, { channel: "alerts", ...gap });
});

test("a gap is told once, in its place", async () => {
  const { world, notifier } = await live();
  notifier.on("gap", () => world.received.push({ position: "gap" }));
  const gap = { type: "gap", channel: "alerts", after: "k:1", before: "k:9" };
  world.socket.notify("alerts", "k:1").tell(gap, gap).notify("alerts", "k:9");
  assert.deepEqual(world.positions, ["k:1", "gap", "k:9"]);
});

test("a gap whose old end is unknown is told", async () => {
  const { world } = await live();
  world.socket.tell({ type: "gap", channel: "alerts", after: null, before: "k:9" });
  assert.deepEqual(world.seen("gap")[0].detail, { channel: "alerts", after: null, before: "k:9" });
});

// --- coming back ----------------------------------------------------------------------------------

for (const random of [0, 0.3, 0.999]) {
  test(`the wait is ${random} of a limit that doubles up to thirty seconds`, async () => {
    const { world, notifier } = make();
    world.random = random;
    await settled();
    for (const limit of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]) {
      const tries = world.sockets.length;
      world.socket.drop();
      assert.equal(notifier.state.retryAt, world.clock.time + random * limit);
      world.clock.advance(random * limit - 0.5);
      assert.equal(world.sockets.length, random > 0 ? tries : tries + 1);
      world.clock.advance(0.5);
      assert.equal(world.sockets.length, tries + 1);
    }
  });
}

test("the back-off grows over short connections and starts over after a stable one", async () => {
  const { world, notifier } = make();
  world.listen(notifier);
  world.random = 0.999;
  await settled();
  const wait = () => Math.ceil((notifier.state.retryAt - world.clock.time) / 1000);
  for (const seconds of [1, 2, 4]) {
    world.socket.accept();
    world.clock.advance(4_999);
    world.socket.drop();
    assert.equal(wait(), seconds);
    world.untilNextTry();
  }
  world.socket.accept();
  world.clock.advance(5_000);
  world.socket.drop();
  assert.equal(wait(), 1);
});

test("being online again cuts the wait short, but not below a second between tries", async () => {
  const { world, notifier } = make({ maxDelay: 30_000 });
  world.listen(notifier);
  world.random = 1;
  await settled();
  for (let tries = 0; tries < 6; tries += 1) {
    world.socket.drop();
    world.clock.advance(notifier.state.retryAt - world.clock.time);
  }
  world.socket.drop();
  const tries = world.sockets.length;
  world.window.dispatchEvent(new Event("online"));
  assert.equal(notifier.state.retryAt, world.clock.time + 1000);
  world.clock.advance(1000);
  assert.equal(world.sockets.length, tries + 1);
});

test("a page that is shown again tries at once", async () => {
  const { world } = await live();
  world.random = 1;
  world.clock.advance(3_000);
  world.hide(true);
  world.socket.drop();
  world.hide(true);
  assert.equal(world.sockets.length, 1);
  world.hide(false);
  world.clock.advance(0);
  assert.equal(world.sockets.length, 2);
});

test("a page that is shown again doubts a silent connection", async () => {
  const { world } = await live();
  world.hide(true);
  world.clock.advance(10_000);
  world.hide(false);
  assert.equal(world.socket.got("ping").length, 1);
});

test("a page that is shown again and again does not put off the verdict", async () => {
  const { world, notifier } = await live();
  for (let seconds = 0; seconds < 15; seconds += 1) {
    world.clock.advance(1_000);
    world.hide(false);
  }
  assert.equal(world.sockets[0].got("ping").length, 1);
  assert.notEqual(notifier.state.state, "open");
});

for (const code of [1000, 1001, 1006, 1011, 1012, 1013, 4000, 4499]) {
  test(`close code ${code} means: come back`, async () => {
    const { world, notifier } = await live();
    world.socket.drop(code, "why");
    assert.equal(notifier.state.state, "waiting");
    assert.equal(notifier.state.code, code);
    world.untilNextTry();
    assert.equal(world.sockets.length, 2);
  });
}

for (const code of [1002, 1007, 1008, 1009, 4500, 4999]) {
  test(`close code ${code} means: do not come back`, async () => {
    const { world, notifier } = await live();
    world.socket.drop(code, "why");
    assert.deepEqual(notifier.state, {
      state: "failed",
      transport: null,
      retryAt: null,
      attempt: 0,
      code,
      reason: "why",
    });
    world.clock.advance(3_600_000);
    world.window.dispatchEvent(new Event("online"));
    assert.equal(world.sockets.length, 1);
    assert.equal(world.clock.pending, 0);
    notifier.connect();
    assert.equal(world.socket.accept().got("subscribe")[0].since, "k:0");
  });
}

test("a WebSocket that can't be made fails for good", async () => {
  const world = new World();
  class Forbidden {
    constructor() {
      throw new Error("the page's policy forbids it");
    }
  }
  const notifier = new Notifier(URL_, { WebSocket: Forbidden, platform: world.platform });
  await settled();
  assert.equal(notifier.state.state, "failed");
  assert.equal(notifier.state.reason, "the page's policy forbids it");
});

test("close stays away until connect, which resumes", async () => {
  const { world, notifier } = await live();
  world.socket.notify("alerts", "k:1");
  notifier.close();
  assert.equal(world.socket.closedWith.code, 1000);
  assert.equal(notifier.state.state, "closed");
  assert.equal(world.clock.pending, 0);
  world.window.dispatchEvent(new Event("online"));
  assert.equal(world.sockets.length, 1);
  notifier.connect();
  notifier.connect();
  assert.equal(world.sockets.length, 2);
  assert.equal(world.socket.accept().got("subscribe")[0].since, "k:1");
});

test("close before the first connection makes none", async () => {
  const { world, notifier } = make();
  notifier.close();
  await settled();
  assert.equal(world.sockets.length, 0);
});

test("connect cuts a wait short", async () => {
  const { world, notifier } = await live();
  world.random = 1;
  world.socket.drop();
  notifier.connect();
  assert.equal(world.sockets.length, 2);
  world.clock.advance(5_000);
  assert.equal(world.sockets.length, 2); // the wait that was cut short makes no third
});

// --- silence --------------------------------------------------------------------------------------

test("a ping is sent after a silent interval, and any answer will do", async () => {
  const { world } = await live({ accept: { ping: 20_000 } });
  world.clock.advance(19_999);
  assert.equal(world.socket.got("ping").length, 0);
  world.clock.advance(1);
  assert.equal(world.socket.got("ping").length, 1);
  world.socket.tell({ type: "reply", ref: null, result: { time: "2026-11-22T17:24:00Z" } });
  world.clock.advance(20_000);
  assert.equal(world.socket.got("ping").length, 2);
  assert.equal(world.sockets.length, 1);
});

test("a busy connection is not pinged", async () => {
  const { world } = await live({ accept: { ping: 20_000 } });
  for (let offset = 1; offset <= 10; offset += 1) {
    world.clock.advance(15_000);
    world.socket.notify("alerts", `k:${offset}`);
  }
  assert.equal(world.socket.got("ping").length, 0);
});

test("a ping without an answer ends the connection, and the client resumes", async () => {
  const { world, notifier } = await live({ accept: { ping: 20_000 } });
  const [first] = world.sockets;
  first.notify("alerts", "k:1");
  world.clock.advance(30_000);
  assert.equal(first.closedWith.code, 4408);
  assert.equal(notifier.state.state, "waiting");
  first.notify("alerts", "k:2"); // a late frame of a connection that was given up
  world.clock.advance(1_000);
  assert.equal(world.socket.accept().got("subscribe")[0].since, "k:1");
  assert.deepEqual(world.positions, ["k:1"]);
});

test("a server that never welcomes is given up after the answer timeout", async () => {
  const { world, notifier } = make();
  await settled();
  world.socket.accept({ welcome: false });
  world.clock.advance(9_999);
  assert.equal(notifier.state.state, "connecting");
  world.clock.advance(1);
  assert.equal(notifier.state.state, "waiting");
});

test("a clock that jumps back does not stop the watch", async () => {
  const { world } = await live({ accept: { ping: 20_000 } });
  world.clock.time -= 3_600_000;
  world.socket.notify("alerts", "k:1");
  world.clock.time -= 3_600_000;
  world.clock.advance(7_200_000 + 40_000);
  assert.ok(world.socket.got("ping").length + world.sockets.length > 1);
});

// --- draining -------------------------------------------------------------------------------------

test("a draining server is heard until the slot, then left without loss or repetition", async () => {
  const { world, notifier } = await live();
  const [old] = world.sockets;
  old.notify("alerts", "k:1").tell({ type: "reconnect", after_ms: 1234 });
  old.notify("alerts", "k:2");
  world.clock.advance(1233);
  assert.equal(world.sockets.length, 1);
  world.clock.advance(1);
  const next = world.socket.accept();
  assert.equal(next.got("subscribe")[0].since, "k:2");
  old.notify("alerts", "k:3", "k:4"); // still there until the new one is attached
  assert.equal(old.closedWith, null);
  next.confirm("alerts", "k:2");
  assert.equal(old.closedWith.code, 1000);
  next.notify("alerts", "k:3", "k:4", "k:5");
  assert.deepEqual(world.positions, ["k:1", "k:2", "k:3", "k:4", "k:5"]);
  assert.equal(notifier.positions.alerts, "k:5");
  assert.ok(!world.seen("state").some(({ state }) => state === "waiting"));
});

test("the old connection is kept while the new one can't be made", async () => {
  const { world, notifier } = await live();
  const [old] = world.sockets;
  old.tell({ type: "reconnect", after_ms: 0 });
  world.clock.advance(0);
  world.socket.drop();
  old.notify("alerts", "k:1");
  assert.equal(notifier.state.state, "open");
  world.clock.advance(500);
  assert.equal(world.sockets.length, 3);
  world.socket.accept().confirm("alerts", "k:1").notify("alerts", "k:2");
  assert.deepEqual(world.positions, ["k:1", "k:2"]);
  assert.equal(old.closedWith.code, 1000);
});

test("a server that closes before the hand-over is done makes the new connection the one", async () => {
  const { world, notifier } = await live();
  const [old] = world.sockets;
  old.tell({ type: "reconnect", after_ms: 0 });
  world.clock.advance(0);
  old.drop(4000, "draining");
  assert.equal(notifier.state.state, "connecting");
  world.socket.accept().confirm("alerts", "k:0").notify("alerts", "k:1");
  assert.equal(notifier.state.state, "open");
  assert.equal(world.sockets.length, 2);
  assert.deepEqual(world.positions, ["k:1"]);
});

test("what is asked in the middle of a hand-over that fails is sent on the new connection", async () => {
  const { world, notifier } = await live();
  const [old] = world.sockets;
  old.tell({ type: "reconnect", after_ms: 0 });
  world.clock.advance(0);
  const next = world.socket.accept({ welcome: false });
  const promise = notifier.publish("alerts", "lost");
  old.drop(4000, "draining");
  await assert.rejects(promise, { outcome: "unknown" });
  notifier.publish("alerts", "kept");
  assert.equal(next.got("publish")[0].message, "kept");
});

test("a server that closes before the slot is come back to with back-off", async () => {
  const { world } = await live();
  world.socket.tell({ type: "reconnect", after_ms: 20_000 });
  world.socket.drop(4000, "draining");
  world.clock.advance(1000);
  assert.equal(world.sockets.length, 2);
  world.socket.accept();
  world.clock.advance(20_000);
  assert.equal(world.sockets.length, 2);
});

test("a new connection that lands on a draining server as well is tried again", async () => {
  const { world } = await live();
  const [old] = world.sockets;
  old.tell({ type: "reconnect", after_ms: 0 });
  world.clock.advance(0);
  world.socket.accept().tell({ type: "reconnect", after_ms: 10 });
  old.notify("alerts", "k:1");
  world.clock.advance(500);
  assert.equal(world.sockets.length, 3);
  world.socket.accept().confirm("alerts", "k:1");
  assert.deepEqual(world.positions, ["k:1"]);
});

test("an ephemeral channel delivers once while two connections overlap", async () => {
  const { world, notifier } = make();
  notifier.subscribe("now", world.listen(notifier));
  notifier.subscribe("late", () => {});
  await settled();
  const old = world.socket.accept().confirm("now", null).confirm("late", null);
  old.tell({ type: "reconnect", after_ms: 0 });
  world.clock.advance(0);
  const next = world.socket.accept().confirm("now", null);
  const both = { type: "notification", channel: "now", position: null, offset: null, id: "a" };
  old.tell(both);
  next.tell(both);
  next.confirm("late", null);
  assert.deepEqual(
    world.received.map(({ id }) => id),
    ["a"],
  );
});

test("a gap the other connection has filled meanwhile is not told", async () => {
  const { world } = await live();
  const [old] = world.sockets;
  old.tell({ type: "reconnect", after_ms: 0 });
  world.clock.advance(0);
  const next = world.socket.accept();
  old.notify("alerts", "k:1", "k:2", "k:3");
  next.confirm("alerts", "k:2", { recovered: false, gap: { after: "k:0", before: "k:3" } });
  next.notify("alerts", "k:3", "k:4");
  assert.deepEqual(world.positions, ["k:1", "k:2", "k:3", "k:4"]);
  assert.equal(world.seen("gap").length, 0);
});

test("a reply the old connection still owes is waited for", async () => {
  const { world, notifier } = await live();
  const [old] = world.sockets;
  const promise = notifier.publish("alerts", "hello");
  old.tell({ type: "reconnect", after_ms: 0 });
  world.clock.advance(0);
  world.socket.accept().confirm("alerts", "k:0");
  assert.equal(old.closedWith, null);
  const [{ ref }] = old.got("publish");
  old.tell({ type: "reply", ref, result: { id: "a", channel: "alerts", position: "k:1" } });
  assert.equal((await promise).position, "k:1");
  assert.equal(old.closedWith.code, 1000);
});

// --- asking ---------------------------------------------------------------------------------------

test("publish resolves with the server's answer and gives the notification an id", async () => {
  const { world, notifier } = await live();
  const promise = notifier.publish("alerts", { title: "T", data: { type: "x" } });
  const [sent] = world.socket.got("publish");
  assert.match(sent.id, /^[0-9a-f]{32}$/);
  assert.deepEqual([sent.channel, sent.title, sent.data], ["alerts", "T", { type: "x" }]);
  const result = { id: sent.id, channel: "alerts", position: "k:1", subscribers: 1 };
  world.socket.tell({ type: "reply", ref: sent.ref, result });
  assert.deepEqual(await promise, result);
  assert.equal(world.clock.pending, 2); // the watch and the stable timer: none is left behind
});

test("fields of a notification can't change what kind of message is sent", async () => {
  const { world, notifier } = await live();
  notifier.publish("alerts", { type: "unsubscribe", channel: "other", ref: 1, id: "a" });
  const [sent] = world.socket.got("publish");
  assert.equal(sent.channel, "alerts");
  assert.notEqual(sent.ref, 1);
});

test("publish rejects with the server's error", async () => {
  const { world, notifier } = await live();
  const promise = notifier.publish("alerts", { priority: 9, id: "mine" });
  const [{ ref }] = world.socket.got("publish");
  world.socket.tell({ type: "error", ref, code: 40010, message: "no", field: "priority" });
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof NotifierError);
    const { code, outcome, field, notification } = error;
    assert.deepEqual([code, outcome, field, notification.id], [40010, "refused", "priority", "mine"]);
    return true;
  });
  assert.equal(world.seen("error").length, 0);
});

test("publish rejects as unknown when the connection goes, and its id makes a retry safe", async () => {
  const { world, notifier } = await live();
  const promise = notifier.publish("alerts", "hello");
  const [first] = world.socket.got("publish");
  world.socket.drop();
  const error = await promise.catch((reason) => reason);
  assert.equal(error.outcome, "unknown");
  world.clock.advance(1000);
  notifier.publish("alerts", error.notification);
  const [again] = world.socket.accept().got("publish");
  assert.equal(again.id, first.id);
  assert.equal(again.message, "hello");
});

test("what is asked while connecting is sent once connected", async () => {
  const { world, notifier } = make();
  notifier.publish("alerts", "early");
  await settled();
  assert.equal(world.socket.accept().got("publish")[0].message, "early");
});

test("what can't be sent in time is rejected as unsent", async () => {
  const { world, notifier } = make();
  const promise = notifier.publish("alerts", "early");
  await settled();
  world.clock.advance(10_000);
  await assert.rejects(promise, { outcome: "unsent" });
  world.clock.advance(30_000);
  assert.equal(world.socket.accept().got("publish").length, 0);
});

test("a request without an answer is rejected as unknown", async () => {
  const { world, notifier } = await live();
  const promise = notifier.publish("alerts", "hello");
  world.clock.advance(10_000);
  await assert.rejects(promise, { outcome: "unknown", temporary: true });
});

test("what is asked of a closed client is rejected as unsent", async () => {
  const { notifier } = await live();
  notifier.close();
  await assert.rejects(notifier.publish("alerts", "x"), { outcome: "unsent" });
});

test("history asks without subscribing", async () => {
  const { world, notifier } = await live();
  const promise = notifier.history("builds", { since: "-5", limit: 3 });
  const [sent] = world.socket.got("history");
  assert.deepEqual([sent.channel, sent.since, sent.limit], ["builds", "-5", 3]);
  world.socket.tell({ type: "reply", ref: sent.ref, result: { publications: [] } });
  assert.deepEqual(await promise, { publications: [] });
  assert.equal(world.socket.got("subscribe").length, 1);
});

// --- refusals -------------------------------------------------------------------------------------

test("a refused channel is an error event that names it", async () => {
  const { world, notifier } = await live();
  notifier.subscribe("bad name", () => {});
  const { ref } = world.socket.got("subscribe").at(-1);
  world.socket.tell({ type: "error", ref, code: 40004, message: "no such name", temporary: false });
  const [{ detail }] = world.seen("error");
  assert.deepEqual([detail.code, detail.channel, detail.temporary], [40004, "bad name", false]);
  world.clock.advance(20_000);
  assert.equal(world.socket.got("subscribe").length, 2);
});

test("a channel that is refused for now is asked for again on the same connection", async () => {
  const { world } = await live();
  const second = comeBack(world).accept();
  const { ref } = second.got("subscribe")[0];
  second.tell({ type: "error", ref, code: 50301, message: "later", temporary: true });
  world.clock.advance(1_000);
  assert.equal(second.got("subscribe").length, 2);
  second.confirm("alerts", "k:0").notify("alerts", "k:1");
  assert.deepEqual(world.positions, ["k:1"]);
});

test("a channel the URL already names is no error", async () => {
  const { world, notifier } = make();
  notifier.subscribe("alerts", world.listen(notifier));
  await settled();
  world.socket.accept().tell({ type: "subscribed", channel: "alerts", position: "k:3" });
  const { ref } = world.socket.got("subscribe")[0];
  world.socket.tell({ type: "error", ref, code: 40902, message: "already" });
  world.socket.notify("alerts", "k:4");
  assert.equal(world.seen("error").length, 0);
  assert.deepEqual(world.positions, ["k:4"]);
});

test("a subscription the server ends is an error, and is asked for on the next connection", async () => {
  const { world } = await live();
  const ended = { type: "unsubscribed", channel: "alerts", code: 40301, reason: "not allowed" };
  world.socket.tell(ended).notify("alerts", "k:1");
  assert.equal(world.seen("error")[0].detail.message, "not allowed");
  assert.deepEqual(world.positions, []);
  assert.equal(comeBack(world).accept().got("subscribe").length, 1);
});

// --- asked too fast -------------------------------------------------------------------------------

/** What the server says of a command that came too fast. */
function tooFast(ref, wait, code = 42906) {
  return { type: "error", ref, code, message: "too fast", temporary: true, retry_after_ms: wait };
}

test("publish waits as long as the server says, and by chance up to as long again", async () => {
  const { world, notifier } = await live();
  const promise = notifier.publish("alerts", { message: "x", id: "mine" });
  const [first] = world.socket.got("publish");
  world.random = 0.5;
  world.socket.tell(tooFast(first.ref, 400));
  world.clock.advance(599);
  assert.equal(world.socket.got("publish").length, 1);
  world.clock.advance(1);
  const [, second] = world.socket.got("publish");
  assert.deepEqual([second.id, second.message], ["mine", "x"]);
  assert.notEqual(second.ref, first.ref);
  world.socket.tell({ type: "reply", ref: second.ref, result: { position: "k:1" } });
  assert.deepEqual(await promise, { position: "k:1" });
  assert.equal(world.seen("error").length, 0);
  assert.equal(world.clock.pending, 2); // the watch and the stable timer: none is left behind
});

test("each refusal makes the wait longer by chance, and it is never longer than maxDelay", async () => {
  const { world, notifier } = await live({ options: { maxDelay: 1_000 } });
  notifier.publish("alerts", "x").catch(() => {});
  world.random = 1;
  for (const wait of [200, 300, 500, 900, 1_100, 1_100]) {
    const asked = world.socket.got("publish");
    world.socket.tell(tooFast(asked.at(-1).ref, 100));
    world.clock.advance(wait - 1);
    assert.equal(world.socket.got("publish").length, asked.length);
    world.clock.advance(1);
    assert.equal(world.socket.got("publish").length, asked.length + 1);
  }
});

test("publish rejects with the refusal where the wait is longer than answerTimeout", async () => {
  const { world, notifier } = await live();
  const promise = notifier.publish("alerts", { message: "x", id: "mine" });
  world.clock.advance(3_000);
  world.random = 0;
  world.socket.tell(tooFast(world.socket.got("publish")[0].ref, 7_000));
  await assert.rejects(promise, (error) => {
    const { code, outcome, temporary, retryAfter, notification } = error;
    assert.deepEqual([code, outcome, temporary], [42906, "refused", true]);
    assert.deepEqual([retryAfter, notification.id], [7_000, "mine"]);
    return true;
  });
  assert.equal(world.clock.pending, 2);
});

test("one that is refused again and again is given up when its time is over", async () => {
  const { world, notifier } = await live();
  let failed = null;
  notifier.publish("alerts", "x").catch((error) => (failed = error));
  world.random = 0;
  while (failed === null) {
    world.socket.tell(tooFast(world.socket.got("publish").at(-1).ref, 500));
    await settled();
    world.clock.advance(500);
  }
  assert.deepEqual([failed.code, failed.outcome], [42906, "refused"]);
  assert.equal(world.socket.got("publish").length, 20); // ten seconds' worth
});

test("what waits is asked on the next connection where this one goes", async () => {
  const { world, notifier } = await live();
  const promise = notifier.publish("alerts", "x");
  world.socket.tell(tooFast(world.socket.got("publish")[0].ref, 2_000));
  const second = comeBack(world).accept();
  assert.equal(second.got("publish").length, 0); // not before its time
  world.clock.advance(4_000);
  const [{ ref }] = second.got("publish");
  second.tell({ type: "reply", ref, result: {} });
  assert.deepEqual(await promise, {});
});

test("what waits is rejected as unsent when the client is closed", async () => {
  const { world, notifier } = await live();
  const promise = notifier.publish("alerts", "x");
  world.socket.tell(tooFast(world.socket.got("publish")[0].ref, 2_000));
  notifier.close();
  await assert.rejects(promise, { outcome: "unsent" });
  assert.equal(world.clock.pending, 0);
});

for (const command of ["history", "presence"]) {
  test(`${command} waits likewise`, async () => {
    const { world, notifier } = await live();
    const promise = notifier[command]("alerts");
    world.socket.tell(tooFast(world.socket.got(command)[0].ref, 50, 42905));
    world.clock.advance(150);
    world.socket.tell({ type: "reply", ref: world.socket.got(command)[1].ref, result: { a: 1 } });
    assert.deepEqual(await promise, { a: 1 });
  });
}

test("a subscription that came too fast is asked for again, and is no error", async () => {
  const { world } = await live();
  const second = comeBack(world).accept();
  second.tell(tooFast(second.got("subscribe")[0].ref, 50, 42905));
  world.clock.advance(150);
  assert.equal(second.got("subscribe").length, 2);
  second.confirm("alerts", "k:0").notify("alerts", "k:1");
  assert.deepEqual(world.positions, ["k:1"]);
  assert.equal(world.seen("error").length, 0);
});

test("a channel is left although that came too fast", async () => {
  const { world, subscription } = await live();
  subscription.unsubscribe();
  world.socket.tell(tooFast(world.socket.got("unsubscribe")[0].ref, 50, 42905));
  world.clock.advance(150);
  assert.equal(world.socket.got("unsubscribe").length, 2);
  assert.equal(world.socket.got("subscribe").length, 1);
});

test("a channel that is wanted again before it could be left is joined anew", async () => {
  const { world, notifier, subscription } = await live();
  subscription.unsubscribe();
  world.socket.tell(tooFast(world.socket.got("unsubscribe")[0].ref, 50, 42905));
  notifier.subscribe("alerts", world.listen(notifier), { since: "all" });
  const { ref } = world.socket.got("subscribe")[1];
  world.socket.tell({ type: "error", ref, code: 40902, message: "already" });
  world.clock.advance(150);
  const types = world.socket.sent.slice(-2).map(({ type }) => type);
  assert.deepEqual(types, ["unsubscribe", "subscribe"]);
  world.socket.confirm("alerts", "k:0").notify("alerts", "k:1");
  assert.deepEqual(world.positions, ["k:1"]);
});

test("a command too long to be read for its ref is the one that was refused without one", async () => {
  const { world, notifier } = await live();
  const short = notifier.publish("alerts", "x");
  const long = notifier.publish("alerts", { message: "x".repeat(5_000), id: "long" });
  const { ref, ...refusal } = tooFast(0, 50, 42905);
  world.socket.tell(refusal);
  world.clock.advance(150);
  const asked = world.socket.got("publish");
  assert.deepEqual([asked.length, asked[2].id], [3, "long"]);
  for (const one of [asked[0], asked[2]]) {
    world.socket.tell({ type: "reply", ref: one.ref, result: { id: one.id } });
  }
  assert.equal((await long).id, "long");
  await short;
  assert.equal(world.seen("error").length, 0);
});

test("a ping that came too fast was heard, which is what it was for", async () => {
  const { world } = await live();
  world.clock.advance(25_000);
  assert.equal(world.socket.got("ping").length, 1);
  const { ref, ...refusal } = tooFast(0, 50, 42905);
  world.socket.tell(refusal);
  world.clock.advance(10_000);
  assert.equal(world.socket.closedWith, null);
  assert.equal(world.seen("error").length, 0);
});

// --- what no server should send -------------------------------------------------------------------

test("frames that are no messages are skipped, and said to be", async () => {
  const { world } = await live();
  const frames = ["", "{", "null", "[]", "7", '"x"', "{}", '{"type":7}', new ArrayBuffer(4), undefined];
  for (const frame of frames) world.socket.raw(frame);
  world.socket.notify("alerts", "k:1");
  assert.deepEqual(world.positions, ["k:1"]);
  assert.equal(world.seen("error").length, frames.length);
});

test("messages of an unknown type are skipped silently", async () => {
  const { world } = await live();
  for (const type of ["presence", "constructor", "__proto__", ""]) world.socket.tell({ type });
  assert.equal(world.seen("error").length, 0);
});

test("messages with impossible fields are skipped, and said to be", async () => {
  const { world, notifier } = await live();
  const broken = [
    { type: "notification" },
    { type: "notification", channel: 7, position: "k:1" },
    { type: "notification", channel: "alerts" },
    { type: "notification", channel: "alerts", position: "k" },
    { type: "notification", channel: "alerts", position: "k:-1" },
    { type: "notification", channel: "alerts", position: "k:1e3" },
    { type: "notification", channel: "alerts", position: "k:9999999999999999" },
    { type: "notification", channel: "alerts", position: { epoch: "k" } },
    { type: "subscribed", channel: "alerts", position: 5 },
    { type: "gap", channel: "alerts" },
    { type: "gap", channel: "alerts", after: 5, before: "k:1" },
    { type: "gap", channel: "alerts", after: "k:1", before: null },
  ];
  world.socket.tell(...broken);
  assert.equal(world.seen("error").length, broken.length);
  world.socket.tell(
    { type: "reply" },
    { type: "reply", ref: "no such", result: 1 },
    { type: "unsubscribed" },
    { type: "welcome", ping_interval_ms: -5 },
    { type: "notification", channel: "never asked for", position: "k:1" },
    { type: "subscribed", channel: "never asked for", position: "k:1", gap: "x" },
  );
  assert.equal(world.seen("error").length, broken.length);
  assert.deepEqual(notifier.positions, { alerts: "k:0" });
  assert.deepEqual(world.positions, []);
});

test("an error without sense is still an error", async () => {
  const { world } = await live();
  world.socket.tell({ type: "error", code: "x", message: { toString: 1 }, field: 3, docs: [] });
  const { code, message, field } = world.seen("error")[0].detail;
  assert.deepEqual([code, message, field], [0, "the server refused", null]);
});

for (const ping of [0, -1, 1e12, "soon", null, NaN]) {
  test(`a ping interval of ${ping} neither floods nor silences`, async () => {
    const { world } = await live({ accept: { ping } });
    world.socket.send = (text) => {
      FakePong(world.socket, JSON.parse(text));
    };
    let pings = 0;
    function FakePong(socket, { type }) {
      if (type !== "ping") return;
      pings += 1;
      socket.tell({ type: "reply", ref: null, result: {} });
    }
    world.clock.advance(600_000);
    assert.ok(pings >= 1 && pings <= 6_000, `${pings} pings in ten minutes`);
  });
}

test("what is remembered does not grow with what is received", async () => {
  const { world } = await live();
  for (let epoch = 0; epoch < 50; epoch += 1) world.socket.notify("alerts", `e${epoch}:1`);
  world.socket.notify("alerts", "e49:1", "e42:1");
  assert.equal(world.received.length, 50);
});
