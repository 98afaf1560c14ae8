import assert from "node:assert/strict";
import { test } from "node:test";

import { settled, World } from "./fakes.js";
import { expiry, renewIn } from "../../static/notifier/credential.js";
import { Notifier, NotifierError } from "../../static/notifier.js";

const URL_ = "http://notify.example/x/ws?key=7";

/** A token that says when it ends, in milliseconds. */
function jwt(exp, sub = "42") {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part({ sub, exp: exp / 1000, name: "Zoë ¿?>" })}.c2ln`;
}

/** A Notifier with a token, which listens to a channel. */
function make(token, options = {}, world = new World()) {
  const { WebSocket, EventSource, fetch, platform } = world;
  const given = { WebSocket, EventSource, fetch, platform, token, ...options };
  const notifier = new Notifier(URL_, given);
  notifier.subscribe("alerts", world.listen(notifier));
  return { world, notifier };
}

async function open(token, world) {
  const made = make(token, {}, world);
  await settled();
  const time = new Date(made.world.clock.time).toISOString();
  made.world.socket.accept({ time, ping: 300_000 }).confirm("alerts", "k:0");
  return made;
}

/** A function that gives a fresh token of `life` milliseconds each time, and keeps count. */
function source(world, life) {
  const given = [];
  const token = async () => {
    given.push(jwt(world.clock.time + life, String(given.length)));
    return given.at(-1);
  };
  return { given, token };
}

/** What a server answers who does not know the token. */
function refusing(code, message = "The signature is not one of ours.") {
  return () => ({ status: Math.floor(code / 100), body: { error: { code, message } } });
}

async function pass(world, milliseconds) {
  world.clock.advance(milliseconds);
  await settled();
}

// --- WebSocket ------------------------------------------------------------------------------------

test("a token is offered beside the protocol, and never stands in a URL", async () => {
  const { world } = make("nk_abc_def");
  await settled();
  assert.deepEqual(world.socket.protocols, ["notifier.v1", "bearer.nk_abc_def"]);
  assert.ok(!world.socket.url.includes("nk_"));
  const own = make("t.o.k", { protocols: "json" });
  await settled();
  assert.deepEqual(own.world.socket.protocols, ["json", "bearer.t.o.k"]);
});

test("without a token nothing is offered and nothing is asked", async () => {
  const { world } = make(undefined);
  await settled();
  assert.deepEqual(world.socket.protocols, []);
  world.socket.drop();
  await settled();
  assert.equal(world.requests.length, 0);
});

test("a function is waited for, asked once, and what it gave is used again while it is good", async () => {
  const world = new World();
  const { given, token } = source(world, 600_000);
  const { notifier } = make(token, {}, world);
  await settled();
  assert.deepEqual(world.socket.protocols, ["notifier.v1", `bearer.${given[0]}`]);
  world.socket.accept().drop();
  world.untilNextTry();
  assert.deepEqual(world.socket.protocols, ["notifier.v1", `bearer.${given[0]}`]);
  assert.equal(given.length, 1);
  assert.equal(notifier.state.state, "connecting");
});

test("a function that has nobody to name connects as nobody", async () => {
  for (const nobody of [() => null, async () => undefined]) {
    const { world } = make(nobody);
    await settled();
    assert.deepEqual(world.socket.protocols, []);
  }
});

test("a function that fails is asked again, as one that gives nothing in time", async () => {
  let fails = true;
  const { world, notifier } = make(async () => {
    if (fails) throw new Error("503 from /session");
    return "tok";
  });
  await settled();
  assert.equal(world.sockets.length, 0);
  assert.equal(notifier.state.state, "waiting");
  assert.match(notifier.state.reason, /gave no token: 503 from \/session/);
  fails = false;
  await pass(world, 1_000);
  assert.equal(world.socket.protocols.at(-1), "bearer.tok");
  const slow = make(() => new Promise(() => {}), { answerTimeout: 3_000 });
  await settled();
  await pass(slow.world, 3_000);
  assert.match(slow.notifier.state.reason, /no token in time/);
});

test("what can't be a token is refused without being told to anybody", async () => {
  for (const bad of ["", "  ", "two words", "päss", 'x"y', "line\nbreak"]) {
    const { WebSocket, platform } = new World();
    assert.throws(() => new Notifier(URL_, { WebSocket, platform, token: bad }), (error) => {
      assert.ok(error instanceof NotifierError);
      return bad.trim() === "" || !error.message.includes(bad);
    });
    const { world, notifier } = make(() => bad);
    await settled();
    assert.equal(world.sockets.length, 0);
    assert.equal(notifier.state.state, "refused");
  }
  assert.throws(() => make(7), TypeError);
  const { world } = make(" nk_pasted_with_a_line_break\n");
  await settled();
  assert.equal(world.socket.protocols.at(-1), "bearer.nk_pasted_with_a_line_break");
});

test("before a token is over a fresh one is shown in place, again and again", async () => {
  const world = new World();
  const { given, token } = source(world, 300_000);
  await open(token, world);
  for (const round of [1, 2, 3]) {
    await pass(world, 239_000);
    assert.equal(given.length, round);
    await pass(world, 1_000);
    assert.equal(given.length, round + 1);
    const [shown] = world.socket.got("authenticate").slice(-1);
    assert.equal(shown.token, given.at(-1));
    world.socket.tell({ type: "reply", ref: shown.ref, result: { kind: "token", expires: null } });
    await settled();
  }
  assert.equal(world.sockets.length, 1);
});

test("a token is over by the server's clock, not by a wrong one here", async () => {
  const { world, notifier } = make(async () => jwt(1_000_000 + 3_600_000 + 120_000));
  await settled();
  // The server is an hour ahead of us: for it the token has two minutes left.
  world.socket.accept({ time: new Date(1_000_000 + 3_600_000).toISOString(), ping: 300_000 });
  await pass(world, 60_000);
  assert.equal(world.socket.got("authenticate").length, 1);
  assert.equal(notifier.state.state, "open");
});

test("what does not say when it ends is renewed when the server has said so", async () => {
  const tokens = [jwt(1_000_000 + 120_000), "opaque", "last"];
  const { world } = await open(async () => tokens.shift());
  await pass(world, 60_000);
  const [{ ref }] = world.socket.got("authenticate");
  const expires = new Date(1_000_000 + 240_000).toISOString();
  world.socket.tell({ type: "reply", ref, result: { kind: "token", expires } });
  await settled();
  await pass(world, 119_000);
  assert.equal(world.socket.got("authenticate").length, 1);
  await pass(world, 1_000);
  assert.equal(world.socket.got("authenticate")[1].token, "last");
});

test("a refusal of a fresh token in place is told, and the connection stays", async () => {
  const { world, notifier } = await open(async () => jwt(1_000_000 + 120_000));
  await pass(world, 60_000);
  const [{ ref }] = world.socket.got("authenticate");
  world.socket.tell({ type: "error", ref, code: 40101, message: "The signature is wrong." });
  await settled();
  assert.equal(world.seen("error")[0].code, 40101);
  assert.equal(notifier.state.state, "open");
});

test("a source that is down while a token runs out is asked until it is over, not in a storm", async () => {
  let asked = 0;
  const { world } = await open(async () => {
    asked += 1;
    if (asked > 1) throw new Error("down");
    return jwt(1_000_000 + 64_000);
  });
  for (let second = 0; second < 64; second += 1) {
    await pass(world, 1_000);
    world.socket.tell({ type: "gap", channel: "none", after: null, before: "k:1" }); // a sign of life
  }
  assert.ok(asked > 5 && asked < 12, `asked ${asked} times`);
});

test("when a token is over, the client comes back at once with a fresh one and its place", async () => {
  const world = new World();
  const { given, token } = source(world, 600_000);
  const { notifier } = await open(token, world);
  world.socket.notify("alerts", "k:1");
  await pass(world, 1_500);
  world.socket.drop(4401, "The time of this token is over; get a new one.");
  await settled();
  assert.equal(world.sockets.length, 2);
  assert.deepEqual(world.socket.protocols, ["notifier.v1", `bearer.${given[1]}`]);
  world.socket.accept();
  assert.equal(world.socket.got("subscribe")[0].since, "k:1");
  assert.equal(notifier.state.state, "open");
});

test("a source whose fresh tokens are over already is not asked in a storm", async () => {
  let asked = 0;
  const world = new World();
  const { notifier } = make(async () => `${(asked += 1)}`, {}, world);
  for (let round = 0; round < 3; round += 1) {
    await settled();
    world.socket.accept().drop(4401, "over");
    await settled();
    assert.equal(notifier.state.state, "waiting");
    await pass(world, notifier.state.retryAt - world.clock.time);
  }
  assert.equal(asked, 4);
});

test("a text that is over is the end: there is no other", async () => {
  const { world, notifier } = await open("nk_1_a");
  world.socket.drop(4401, "The time of this key is over; get a new one.");
  await pass(world, 60_000);
  assert.equal(world.sockets.length, 1);
  const { state, code, reason } = notifier.state;
  assert.deepEqual([state, code], ["refused", 4401]);
  assert.match(reason, /time of this key/);
});

test("4503 is the end, until somebody else is named", async () => {
  const { world, notifier } = await open(async () => "one");
  world.socket.notify("alerts", "k:1").drop(4503, "This token was revoked.");
  await pass(world, 60_000);
  assert.equal(world.sockets.length, 1);
  assert.deepEqual([notifier.state.state, notifier.state.code], ["refused", 4503]);
  await assert.rejects(notifier.publish("alerts", "x"), /This token was revoked/);
  notifier.authenticate("two");
  assert.equal(world.socket.protocols.at(-1), "bearer.two");
  world.socket.accept();
  assert.equal(world.socket.got("subscribe")[0].since, "k:1");
});

test("a browser is not told why a handshake is refused, so the server is asked", async () => {
  const { world, notifier } = make("nk_wrong_x", { transport: "websocket" });
  world.answer = refusing(40101);
  await settled();
  world.socket.drop();
  await settled();
  const [{ method, url, headers }] = world.requests;
  assert.equal(`${method} ${url}`, "POST http://notify.example/x/ticket");
  assert.equal(headers.Authorization, "Bearer nk_wrong_x");
  const { state, code, reason } = notifier.state;
  assert.deepEqual([state, code, reason], ["refused", 40101, "The signature is not one of ours."]);
  await pass(world, 60_000);
  assert.equal(world.sockets.length, 1);
});

test("a page that may not be here is told so, and is not asked who it is", async () => {
  const { world, notifier } = make("t");
  world.answer = refusing(40301, "Pages of x may not use this server.");
  await settled();
  world.socket.drop();
  await settled();
  assert.deepEqual([notifier.state.state, notifier.state.code], ["failed", 40301]);
});

test("a handshake that fails for another reason is tried again", async () => {
  const unreachable = () => {
    throw new TypeError("Failed to fetch");
  };
  const fine = () => ({ status: 200, body: { ticket: "ticket_1", expires_in: 30 } });
  const old = () => ({ status: 404, body: { error: { code: 40401, message: "nothing there" } } });
  for (const answer of [unreachable, fine, old]) {
    const { world, notifier } = make("t", { transport: "websocket" });
    world.answer = answer;
    await settled();
    world.socket.drop();
    await settled();
    assert.equal(notifier.state.state, "waiting");
    world.untilNextTry();
    assert.equal(world.sockets.length, 2);
  }
});

test("a held token that is refused as expired gives way to a fresh one at once", async () => {
  const tokens = ["one", "two"];
  const { world } = make(async () => tokens.shift());
  world.answer = refusing(40102, "This token has expired.");
  await settled();
  world.socket.accept().drop(1006);
  world.untilNextTry();
  assert.equal(world.socket.protocols.at(-1), "bearer.one");
  world.socket.drop(); // the handshake
  await settled();
  assert.equal(world.socket.protocols.at(-1), "bearer.two");
});

test("an answer that comes after the client has left changes nothing", async () => {
  const { world, notifier } = make("t");
  world.answer = refusing(40101);
  await settled();
  world.socket.drop();
  notifier.close();
  await settled();
  assert.equal(notifier.state.state, "closed");
});

test("naming somebody else asks again for what was refused, and fails what waits for an answer", async () => {
  const { world, notifier } = await open(null);
  const refused = [];
  notifier.subscribe("secret", (n) => refused.push(n.position));
  const { ref } = world.socket.got("subscribe").at(-1);
  const facts = { code: 40100, message: "Who are you?", scope: "subscribe", channel: "secret" };
  world.socket.tell({ type: "error", ref, ...facts });
  assert.deepEqual(
    world.seen("error").map(({ code, channel }) => [code, channel]),
    [[40100, "secret"]],
  );
  const publishing = notifier.publish("alerts", "x");
  notifier.authenticate("nk_1_a");
  await assert.rejects(publishing, { outcome: "unknown" });
  assert.equal(world.sockets.length, 2);
  world.socket.accept();
  assert.deepEqual(
    world.socket.got("subscribe").map(({ channel }) => channel),
    ["alerts", "secret"],
  );
  world.socket.confirm("secret", "s:1").notify("secret", "s:2");
  assert.deepEqual(refused, ["s:2"]);
  assert.throws(() => notifier.authenticate("no good"), NotifierError);
});

test("a token that comes too late, for a client that is somebody else, is not shown", async () => {
  let give;
  const { world, notifier } = make(() => new Promise((resolve) => (give = resolve)));
  await settled();
  notifier.authenticate("other");
  give("late");
  await settled();
  assert.equal(world.sockets.length, 1);
  assert.equal(world.socket.protocols.at(-1), "bearer.other");
});

// --- server-sent events ---------------------------------------------------------------------------

function tickets() {
  let number = 0;
  return ({ url }) =>
    url.pathname.endsWith("/ticket")
      ? { status: 200, body: { ticket: `ticket_${(number += 1)}`, expires_in: 30 } }
      : { status: 200, body: {} };
}

test("each stream has a ticket of its own; requests show the token in a header", async () => {
  const { world, notifier } = make("nk_1_a", { transport: "sse" });
  world.answer = tickets();
  await settled();
  assert.equal(world.stream.url.searchParams.get("ticket"), "ticket_1");
  assert.equal(world.requests[0].headers.Authorization, "Bearer nk_1_a");
  world.stream.confirm("alerts", "k:0").notify("alerts", "k:1").drop();
  await pass(world, notifier.state.retryAt - world.clock.time);
  assert.equal(world.stream.url.searchParams.get("ticket"), "ticket_2");
  assert.equal(world.stream.since, "alerts=k:1;t=0.000");
  world.stream.confirm("alerts", "k:1");
  await notifier.publish("alerts", "x");
  const { headers, url } = world.requests.at(-1);
  assert.equal(headers.Authorization, "Bearer nk_1_a");
  assert.equal(headers["Content-Type"], "application/json");
  for (const { url: asked } of [...world.requests, ...world.streams]) {
    assert.ok(!asked.href.includes("nk_1_a"));
  }
  assert.equal(url.pathname, "/x/notify");
});

test("a fresh token on streams opens them anew at their places, before the old ones are left", async () => {
  const world = new World();
  const { given, token } = source(world, 100_000);
  world.answer = tickets();
  const { notifier } = make(token, { transport: "sse" }, world);
  await settled();
  const first = world.stream.confirm("alerts", "k:0").notify("alerts", "k:1");
  await pass(world, 50_000);
  assert.equal(given.length, 2);
  const second = world.stream;
  assert.notEqual(second, first);
  assert.equal(world.requests.at(-1).headers.Authorization, `Bearer ${given[1]}`);
  assert.equal(second.url.searchParams.get("ticket"), "ticket_2");
  assert.ok(second.since.startsWith("alerts=k:1;"));
  first.notify("alerts", "k:2");
  second.confirm("alerts", "k:1").notify("alerts", "k:2", "k:3");
  assert.ok(first.closed);
  assert.deepEqual(world.positions, ["k:1", "k:2", "k:3"]);
  assert.equal(notifier.state.state, "open");
});

test("a stream that ends with its token is opened again at once with a fresh one", async () => {
  const tokens = ["one", "two"];
  const { world, notifier } = make(async () => tokens.shift(), { transport: "sse" });
  world.answer = tickets();
  await settled();
  world.stream.confirm("alerts", "k:0");
  await pass(world, 2_000);
  const over = { type: "error", code: 40102, message: "over", temporary: false };
  world.stream.tell(over);
  await settled();
  assert.equal(world.requests.at(-1).headers.Authorization, "Bearer two");
  world.stream.confirm("alerts", "k:0");
  assert.equal(notifier.state.state, "open");
});

test("a token that no ticket is given for is told", async () => {
  const { world, notifier } = make("nk_wrong_x", { transport: "sse" });
  world.answer = refusing(40101);
  await settled();
  assert.equal(world.streams.length, 0);
  assert.deepEqual([notifier.state.state, notifier.state.code], ["refused", 40101]);
});

test("where no ticket can be asked for, the stream is tried again", async () => {
  const { world, notifier } = make("t", { transport: "sse" });
  world.answer = () => {
    throw new TypeError("Failed to fetch");
  };
  await settled();
  assert.equal(notifier.state.state, "waiting");
});

test("a channel that is not for us is given up alone; the others go on", async () => {
  const { world, notifier } = make("t", { transport: "sse" });
  notifier.subscribe("secret", () => {});
  const facts = { code: 40302, message: "This token may not.", channel: "secret" };
  const given = tickets();
  world.answer = (request) =>
    request.url.searchParams.getAll("channel").includes("secret")
      ? { status: 403, body: { error: { ...facts, temporary: false } } }
      : given(request);
  await settled();
  world.stream.drop({ refused: true });
  await settled();
  await settled();
  assert.deepEqual(
    world.seen("error").map(({ code, channel }) => [code, channel]),
    [[40302, "secret"]],
  );
  assert.deepEqual(world.stream.channels, ["alerts"]);
  world.stream.confirm("alerts", "k:0");
  assert.equal(notifier.state.state, "open");
});

// --- what a token says ----------------------------------------------------------------------------

test("a token's end is read from its payload; a key has none", () => {
  assert.equal(expiry(jwt(1_234_000)), 1_234_000);
  for (const text of ["nk_abc_def", "", "a.b.c", "a..c", "x.e30.y", "x.bnVsbA.y", "x.MQ.y"]) {
    assert.equal(expiry(text), null);
  }
});

test("the time to renew is a minute ahead, half of a short life, and never at once", () => {
  assert.equal(renewIn(3_600_000), 3_540_000);
  assert.equal(renewIn(30_000), 15_000);
  assert.equal(renewIn(10), 1_000);
  assert.equal(renewIn(1e13), 2 ** 31 - 1);
});
