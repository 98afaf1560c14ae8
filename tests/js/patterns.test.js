import assert from "node:assert/strict";
import { test } from "node:test";

import { settled, World } from "./fakes.js";
import { Notifier } from "../../static/notifier.js";
import { matches, parseToken, resumeToken } from "../../static/notifier/positions.js";

const TIME = 1_795_368_240.123; // of the notifications, in seconds

/** A Notifier on `builds:*`, connected; the pattern has brought builds:1 and builds:2. */
async function live({ since, options } = {}) {
  const world = new World();
  const { WebSocket, platform } = world;
  const notifier = new Notifier("http://h/ws", { WebSocket, platform, ...options });
  const heard = world.listen(notifier);
  const subscription = notifier.subscribe("builds:*", heard, { since });
  await settled();
  bring(world.socket.accept(), { "builds:1": "k:1", "builds:2": "k:7" });
  return { world, notifier, heard, subscription };
}

/** What a server answers to a pattern. */
function bring(socket, channels, pattern = "builds:*") {
  for (const [channel, position] of Object.entries(channels)) {
    socket.tell({ type: "subscribed", channel, position, recovered: true, pattern });
  }
  return socket.confirm(pattern, null);
}

function comeBack(world) {
  world.socket.drop();
  world.untilNextTry();
  return world.socket.accept();
}

const channelsOf = (world) => world.received.map(({ channel, position }) => [channel, position]);

test("a star stands for any characters or none", () => {
  for (const [pattern, channel, expected] of [
    ["*", "a:b", true],
    ["builds:*", "builds:a:b", true],
    ["builds:*", "builds:", true],
    ["builds:*", "builds", false],
    ["*:errors", "a:b:errors", true],
    ["*:errors", "errors", false],
    ["a*b*c", "axxbyyc", true],
    ["a*b*c", "acb", false],
    ["a*a", "a", false],
    ["a*a", "aa", true],
    ["a*bc*c", "abc", false],
    ["a*bc*c", "abcc", true],
    ["a.b*", "axb", false],
    ["alerts", "alerts", true],
    ["alerts", "alert", false],
  ]) {
    assert.equal(matches(pattern, channel), expected, `${pattern} ${channel}`);
  }
});

test("resume tokens are read as they were written", () => {
  const places = new Map([["a=b", "k:1"], ["größe", "p:7"]]);
  const { token, unnamed } = resumeToken(places, 1_500);
  assert.equal(token, "a=b=k:1,größe=p:7;t=1.500");
  assert.deepEqual(unnamed, []);
  assert.deepEqual(parseToken(token), { places, time: 1_500 });
  assert.deepEqual(parseToken(";t=5"), { places: new Map(), time: 5_000 });
  for (const none of ["k:1", "latest", "a=k:1", "", null, undefined, "a=k:1;t=x"]) {
    assert.equal(parseToken(none), null);
  }
});

test("a resume token names as many as fit, and says which don't", () => {
  const places = Array.from({ length: 300 }, (_, i) => [`größe:${i}`, `abcdefgh:${i}`]);
  const { token, unnamed } = resumeToken(places, TIME * 1000);
  assert.ok(new TextEncoder().encode(token).length <= 4096);
  assert.equal(parseToken(token).places.size + unnamed.length, 300);
  assert.equal(unnamed.at(-1), "größe:299");
});

test("listeners on a pattern get what its channels bring, also newborn ones", async () => {
  const { world, notifier, subscription } = await live();
  world.socket.notify("builds:1", "k:2").notify("builds:2", "k:8");
  const born = { type: "subscribed", channel: "builds:3", position: "k:0", recovered: true };
  world.socket.tell({ ...born, pattern: "builds:*" }).notify("builds:3", "k:1");
  assert.deepEqual(channelsOf(world), [["builds:1", "k:2"], ["builds:2", "k:8"], ["builds:3", "k:1"]]);
  assert.deepEqual(notifier.positions, { "builds:1": "k:2", "builds:2": "k:8", "builds:3": "k:1" });
  assert.equal(subscription.channel, "builds:*");
  assert.equal(subscription.position, null);
  assert.deepEqual(
    world.seen("subscribed").map(({ channel, pattern }) => [channel, pattern]),
    [
      ["builds:1", "builds:*"],
      ["builds:2", "builds:*"],
      ["builds:*", undefined],
      ["builds:3", "builds:*"],
    ],
  );
});

test("a pattern is resumed with the places of all it brought and the newest time", async () => {
  const { world } = await live({ since: "-5" });
  assert.equal(world.socket.got("subscribe")[0].since, "-5");
  world.socket.notify("builds:2", "k:8").notify("builds:1", "k:2");
  const [{ channel, since }] = comeBack(world).got("subscribe");
  assert.equal(channel, "builds:*");
  assert.equal(since, `builds:1=k:2,builds:2=k:8;t=${TIME}`);
  bring(world.socket, { "builds:1": "k:2", "builds:2": "k:8" });
  world.socket.notify("builds:1", "k:2", "k:3"); // the first came before
  assert.deepEqual(channelsOf(world).slice(2), [["builds:1", "k:3"]]);
});

test("the time of the welcome counts while nothing came", async () => {
  const { world } = await live();
  world.socket.tell({ type: "welcome" }); // a second one is not heard
  world.socket.drop();
  world.untilNextTry();
  world.socket.accept({ time: "2026-11-22T17:30:00Z" });
  bring(world.socket, {});
  assert.match(comeBack(world).got("subscribe")[0].since, /;t=1795368600\.000$/);
});

test("positions of another client are resumed by a pattern too", async () => {
  const since = { "builds:1": "k:1", alerts: "k:5" };
  const { world, notifier } = await live({ options: { since } });
  assert.equal(world.socket.got("subscribe")[0].since, "builds:1=k:1;t=0.000");
  notifier.subscribe("alerts", () => {});
  assert.equal(world.socket.got("subscribe")[1].since, "k:5");
});

test("a start that was never confirmed is asked for again", async () => {
  const world = new World();
  const { WebSocket, platform } = world;
  const notifier = new Notifier("http://h/ws", { WebSocket, platform });
  notifier.subscribe("builds:*", () => {}, { since: "-3" });
  await settled();
  world.socket.accept();
  assert.equal(comeBack(world).got("subscribe")[0].since, "-3");
});

test("overlapping patterns and channels call each listener once", async () => {
  const { world, notifier, heard } = await live();
  const calls = [];
  notifier.subscribe("builds:1", () => calls.push("channel"));
  notifier.subscribe("*:1", () => calls.push("pattern"));
  notifier.subscribe("*:1", heard);
  world.socket.notify("builds:1", "k:2");
  assert.deepEqual(calls, ["channel", "pattern"]);
  assert.equal(world.received.length, 1);
});

test("a channel with a listener of its own stays when its pattern goes", async () => {
  const { world, notifier, subscription } = await live();
  const own = [];
  notifier.subscribe("builds:1", (n) => own.push(n.position));
  const { ref } = world.socket.got("subscribe").at(-1);
  world.socket.tell({ type: "error", ref, code: 40902, message: "already" });
  assert.equal(world.seen("error").length, 0);
  world.socket.notify("builds:1", "k:2");
  subscription.unsubscribe();
  const again = world.socket.got("subscribe").at(-1); // with its pattern the server let it go
  assert.deepEqual([again.channel, again.since], ["builds:1", "k:2"]);
  world.socket.confirm("builds:1", "k:2").notify("builds:1", "k:3").notify("builds:2", "k:8");
  assert.deepEqual(own, ["k:2", "k:3"]);
  assert.deepEqual(notifier.positions, { "builds:1": "k:3" });
  assert.equal(world.received.length, 1);
});

test("a channel whose own listener goes stays for its pattern", async () => {
  const { world, notifier } = await live();
  const own = notifier.subscribe("builds:1", () => {});
  own.unsubscribe();
  world.socket.notify("builds:1", "k:2");
  assert.equal(world.received.length, 1);
  const [{ channel }, ...others] = comeBack(world).got("subscribe");
  assert.deepEqual([channel, others.length], ["builds:*", 0]);
});

test("channels of a pattern that are gone after a reconnect are forgotten", async () => {
  const { world, notifier } = await live();
  bring(comeBack(world), { "builds:2": "k:7" });
  assert.deepEqual(notifier.positions, { "builds:2": "k:7" });
});

test("a newborn channel that can't be joined is an error that names it", async () => {
  const { world } = await live();
  const refused = { type: "unsubscribed", channel: "builds:9", code: 42901, reason: "too many" };
  world.socket.tell(refused, { ...refused, channel: "alerts" }, { ...refused, channel: 7 });
  const errors = world.seen("error").map(({ detail }) => [detail.code, detail.channel]);
  assert.deepEqual(errors, [[42901, "builds:9"]]);
});

test("channels beyond the token's room go on by time, and what they skip is a gap", async () => {
  const { world } = await live();
  const many = Array.from({ length: 300 }, (_, i) => `builds:x${i}`);
  for (const channel of many) {
    world.socket.tell({ type: "subscribed", channel, position: "abcdefgh:5", pattern: "builds:*" });
  }
  world.socket.notify("builds:x299", "abcdefgh:6");
  const [{ since }] = comeBack(world).got("subscribe");
  const named = parseToken(since).places;
  assert.ok(named.has("builds:x299")); // the busiest
  const [quiet, moved] = many.filter((channel) => !named.has(channel));
  bring(world.socket, { [quiet]: "abcdefgh:4", [moved]: "abcdefgh:9" });
  assert.deepEqual(
    world.seen("gap").map(({ detail }) => detail),
    [{ channel: moved, after: "abcdefgh:5", before: "abcdefgh:10" }],
  );
});

test("who joins and leaves is heard by those who ask", async () => {
  const { world, notifier } = await live();
  notifier.subscribe("room", () => {}, { presence: true });
  assert.equal(world.socket.got("subscribe").at(-1).presence, true);
  assert.equal(world.socket.got("subscribe")[0].presence, undefined);
  const joined = { channel: "room", event: "join", member: { connection: "c" }, count: 2 };
  world.socket.tell({ type: "presence", ...joined }, { type: "presence", channel: "other" });
  assert.deepEqual(world.seen("presence").map(({ detail }) => detail), [joined]);
  const promise = notifier.presence("room");
  const { ref, channel } = world.socket.got("presence")[0];
  world.socket.tell({ type: "reply", ref, result: { channel, count: 2, members: null } });
  assert.equal((await promise).count, 2);
});
