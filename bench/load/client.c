/* One socket: handshake, subscription, comparing, going and coming back. */
#include "load.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define NONE 0
#define MORE ((size_t)-1) /* what is there may be the beginning of it */
#define RETRY (50 * MILLISECOND)

Group *groups;
u32 group_count;
Client *clients;
u32 client_count, clients_live;
u64 churn_stay, churn_away;
Tally tally;

static u32 opening, to_open, open_end, open_at_once;
#define LARGEST (1 << 20) /* a frame */
static u8 incoming[3 * LARGEST];

/* --- coming and going --- */

static void connect_client(Client *client) {
    Group *group = &groups[client->group];
    client->began = now;
    client->due = 0;
    client->rest.size = 0;
    client->ready_left = group->ready_count;
    client->fd = connect_to(group->port, client->index, client->receive_buffer);
    client->state = CONNECTING;
    opening++;
    watch(client->fd, EPOLLOUT, CLIENT, client->index);
}

static void pump(void) {
    while (to_open < open_end && opening < open_at_once) connect_client(&clients[to_open++]);
}

void clients_open(u32 first, u32 count, u32 at_once) {
    to_open = first, open_end = first + count, open_at_once = at_once;
    pump();
}

bool clients_opened(void) { return to_open == open_end && opening == 0; }

void client_close(Client *client, bool hard) {
    if (client->state == GONE || client->state == AWAY) return;
    if (client->state == LIVE)
        clients_live--;
    else
        opening--;
    if (hard) {
        struct linger at_once = {1, 0}; /* a reset: nothing is left in TIME_WAIT */
        setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close(client->fd);
    client->fd = -1;
    client->state = GONE;
    client->due = 0;
    empty(&client->rest);
}

static void go_away(Client *client, u64 nanoseconds) {
    if (client->state == LIVE) client->left = now;
    client_close(client, false);
    client->state = AWAY;
    client->due = now + nanoseconds;
}

static void lost(Client *client) {
    tally.hangups++;
    if (groups[client->group].returning)
        go_away(client, RETRY + chance() % (4 * RETRY));
    else
        client_close(client, true);
    pump();
}

void clients_tick(void) {
    for (Client *client = clients; client < clients + client_count; client++) {
        if (!client->due || now < client->due) continue;
        if (client->state == AWAY)
            connect_client(client);
        else if (client->state == LIVE)
            go_away(client, churn_stay ? churn_away : 0);
    }
}

void client_expect(Client *client) {
    client->message = 0;
    client->place = 0;
    client->received = 0;
    client->wants = 0;
    client->single = groups[client->group].each;
    free(client->next);
    client->next = NULL;
}

static void replayed(Client *client) {
    if (!client->wants || client->received < client->wants) return;
    client->wants = 0;
    histogram_add(&tally.replay, now - client->shaken);
}

static void live(Client *client) {
    client->state = LIVE;
    opening--, clients_live++;
    if (client->left) {
        histogram_add(&tally.away, now - client->left);
        tally.returned++, tally.last_return = now;
    }
    histogram_add(&tally.opening, now - client->began);
    client->left = 0;
    if (client->stuck) unwatch(client->fd);
    if (churn_stay) client->due = now + churn_stay / 2 + chance() % churn_stay;
    replayed(client);
    pump();
}

/* --- what it says --- */

static void say(Client *client, const void *bytes, size_t size) {
    /* A few bytes on a socket that has nothing to send: the kernel takes them. */
    if (size && send(client->fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) tally.broken++;
}

static void say_handshake(Client *client) {
    Buffer *handshake = &groups[client->group].handshake;
    u8 *place = memchr(handshake->bytes, 2, handshake->size);
    if (!place) {
        say(client, handshake->bytes, handshake->size);
        return;
    }
    Buffer filled = {0};
    append(&filled, handshake->bytes, place - handshake->bytes);
    const char *since = *client->since ? client->since : "latest";
    append(&filled, since, strlen(since));
    append(&filled, place + 1, handshake->bytes + handshake->size - place - 1);
    say(client, filled.bytes, filled.size);
    empty(&filled);
}

static void say_pong(Client *client, const u8 *payload, size_t size) {
    u8 frame[6 + 125] = {0x80 | PONG, 0x80 | size}; /* masked with zeros */
    memcpy(frame + 6, payload, size);
    say(client, frame, 6 + size);
}

/* --- what it hears; each function tells how many bytes it has used --- */

static size_t shake(Client *client, const u8 *bytes, size_t size) {
    static const Buffer end = {(u8 *)"\r\n\r\n", 4, 0};
    static const Buffer deflate = {(u8 *)"permessage-deflate", 18, 0};
    const u8 *found = find(bytes, size, &end);
    if (!found) return 0;
    if (memcmp(bytes, "HTTP/1.1 101", 12) != 0) {
        lost(client);
        return size;
    }
    size_t used = found + 4 - bytes;
    Group *group = &groups[client->group];
    if (find(bytes, used, &deflate)) group->accepted_deflate = true;
    client->shaken = now;
    client->wants = client->left ? tally.published : 0;
    client->state = SUBSCRIBING;
    say(client, group->hello.bytes, group->hello.size);
    if (!client->ready_left) live(client);
    return used;
}

/* At the beginning of a frame: how long it is if it is not for everybody. It is dealt with. */
static size_t private(Client *client, const u8 *bytes, size_t size) {
    Group *group = &groups[client->group];
    if (group->aside.size) {
        size_t have = size < group->aside.size ? size : group->aside.size;
        if (memcmp(bytes, group->aside.bytes, have) == 0) {
            if (have < group->aside.size) return MORE;
            say(client, group->answer.bytes, group->answer.size);
            return have;
        }
    }
    Frame frame;
    int read = frame_read(bytes, size, &frame);
    if (read < 0) fail("the server sends what is no frame");
    if ((bytes[0] & 0x0F) < CLOSE) return NONE;
    if (read == 0 || size < frame.size) return MORE;
    if (frame.opcode == PING) say_pong(client, bytes + 2, frame.size - 2);
    if (frame.opcode == CLOSE) lost(client);
    return frame.size;
}

static void deliver(Client *client, u32 source, u32 number, u64 published) {
    u32 *got = sources[source].got + number;
    client->received++;
    tally.delivered++;
    tally.last = now;
    histogram_add(&tally.latency, now - published);
    if (++*got == groups[client->group].members)
        histogram_add(&tally.last_reader, now - published);
    if (client->wants) replayed(client);
}

/* Everything up to its place is delivered. */
static void advance(Client *client, Group *group) {
    Stream *stream = &group->stream;
    while (client->message < stream->count) {
        Message *message = &stream->messages[client->message];
        if (message->end > client->place) return;
        client->message++;
        if (message->valid)
            deliver(client, message->source, message->number, message->published);
    }
}

static void note_place(Client *client, const u8 *message, size_t size) {
    Buffer *needle = &groups[client->group].place;
    const u8 *found = find(message, size, needle);
    if (!found) return;
    const u8 *text = found + needle->size, *end = memchr(text, '"', message + size - text);
    if (!end || (size_t)(end - text) >= sizeof client->since) return;
    memcpy(client->since, text, end - text);
    client->since[end - text] = 0;
}

static void note_leave(Client *client, const u8 *message, size_t size) {
    Buffer *needle = &groups[client->group].leave;
    const u8 *found = find(message, size, needle);
    if (!found) return;
    u64 milliseconds = 0;
    for (const u8 *at = found + needle->size; at < message + size && '0' <= *at && *at <= '9'; at++)
        milliseconds = milliseconds * 10 + (*at - '0');
    client->due = now + milliseconds * MILLISECOND + 1;
}

static void judge(Client *client, Payload payload, bool intact) {
    bool known = payload.source < source_count && sources[payload.source].group == client->group &&
                 payload.number < sources[payload.source].number;
    if (!known || !intact) {
        tally.changed++;
        return;
    }
    if (!client->next) client->next = calloc(source_count + 1, sizeof *client->next);
    if (payload.number < client->next[payload.source]) {
        tally.late++;
        return;
    }
    client->next[payload.source] = payload.number + 1;
    deliver(client, payload.source, payload.number, payload.published);
}

/* A message that is parsed for this socket alone. */
static void read_message(Client *client, const u8 *message, size_t size) {
    Payload payload;
    bool intact, any = false;
    const u8 *at = message, *next;
    for (; (next = payload_find(at, message + size - at, &payload, &intact)); at = next, any = true)
        judge(client, payload, intact);
    if (any)
        note_place(client, message, size);
    else
        note_leave(client, message, size);
}

static size_t single(Client *client, const u8 *bytes, size_t size) {
    size_t own = private(client, bytes, size);
    if (own != NONE) return own == MORE ? 0 : own;
    Frame frame;
    if (frame_read(bytes, size, &frame) != 1 || size < frame.size) return 0;
    read_message(client, bytes + frame.head, frame.size - frame.head);
    return frame.size;
}

static size_t subscribe(Client *client, const u8 *bytes, size_t size) {
    Group *group = &groups[client->group];
    size_t own = private(client, bytes, size);
    if (own != NONE) return own == MORE ? 0 : own;
    Frame frame;
    if (frame_read(bytes, size, &frame) != 1 || size < frame.size) return 0;
    /* Some servers put several into one message. */
    const u8 *at = bytes + frame.head, *end = bytes + frame.size;
    bool told = false;
    for (; (at = find(at, end - at, &group->ready)); at += group->ready.size, told = true)
        if (client->ready_left) client->ready_left--;
    if (told) {
        note_place(client, bytes, frame.size);
        if (!client->ready_left) live(client);
    } else if (client->single) {
        read_message(client, bytes + frame.head, frame.size - frame.head);
    }
    return frame.size;
}

/* It got other bytes than the others: from this frame on it is parsed by itself. */
static void diverge(Client *client, Stream *stream) {
    tally.different++;
    client->single = true;
    client->next = calloc(source_count + 1, sizeof *client->next);
    for (u32 i = 0; i < client->message; i++) {
        Message *message = &stream->messages[i];
        if (message->valid) client->next[message->source] = message->number + 1;
    }
}

/* The first to get bytes brings them to the stream. */
static size_t bring(Client *client, Stream *stream, const u8 *bytes, size_t size) {
    if (stream->begun == stream->data.size) {
        size_t own = private(client, bytes, size);
        if (own != NONE) return own == MORE ? 0 : own;
    }
    size_t lacking = stream_lacks(stream), taken = size < lacking ? size : lacking;
    stream_append(stream, client->group, bytes, taken);
    client->place += taken;
    return taken;
}

/* How many of the last bytes are the beginning of the next message as well as of an aside. */
static size_t undecided(Client *client, Group *group, size_t size) {
    if (!group->aside.size) return 0;
    size_t frame = stream_frame(&group->stream, client->place), begun = client->place - frame;
    if (begun >= group->aside.size || begun > size) return 0;
    bool same = memcmp(group->stream.data.bytes + frame, group->aside.bytes, begun) == 0;
    return same ? begun : 0;
}

static size_t compare(Client *client, const u8 *bytes, size_t size) {
    Group *group = &groups[client->group];
    Stream *stream = &group->stream;
    size_t there = stream->data.size - client->place;
    if (!there) {
        size_t used = bring(client, stream, bytes, size);
        advance(client, group);
        return used;
    }
    const u8 *ours = stream->data.bytes + client->place;
    size_t common = size < there ? size : there;
    if (memcmp(bytes, ours, common) == 0) {
        client->place += common;
        size_t left = common == size ? undecided(client, group, size) : 0;
        client->place -= left;
        advance(client, group);
        return common - left;
    }
    size_t same = 0;
    while (bytes[same] == ours[same]) same++;
    size_t frame = stream_frame(stream, client->place + same);
    if (frame >= client->place) {
        /* In between there may be what is for this socket alone. */
        size_t before = frame - client->place;
        client->place = frame;
        advance(client, group);
        size_t own = private(client, bytes + before, size - before);
        if (own == NONE) diverge(client, stream);
        return before + (own == MORE ? 0 : own);
    }
    /* What it has had of the frame was the same. */
    diverge(client, stream);
    client->owed = client->place - frame;
    return 0;
}

static void consume(Client *client) {
    size_t rest = client->rest.size;
    if (rest) memcpy(incoming, client->rest.bytes, rest);
    ssize_t got = recv(client->fd, incoming + rest, LARGEST, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        lost(client);
        return;
    }
    tally.bytes += got;
    size_t size = rest + got, used = 0;
    for (bool going = true; going && used < size;) {
        enum State state = client->state;
        size_t before = used;
        bool was_single = client->single;
        if (state == SHAKING)
            used += shake(client, incoming + used, size - used);
        else if (state == SUBSCRIBING)
            used += subscribe(client, incoming + used, size - used);
        else if (state == LIVE && client->single)
            used += single(client, incoming + used, size - used);
        else if (state == LIVE)
            used += compare(client, incoming + used, size - used);
        else
            return; /* it has hung up */
        if (client->owed) {
            Stream *stream = &groups[client->group].stream;
            memmove(incoming + used + client->owed, incoming + used, size - used);
            memcpy(incoming + used, stream->data.bytes + client->place - client->owed, client->owed);
            size += client->owed;
            client->owed = 0;
        }
        going = used > before || client->state != state || client->single != was_single;
    }
    if (client->state == GONE || client->state == AWAY) return;
    if (size - used > LARGEST) fail("a frame is too large");
    if (used < size || client->rest.size) keep(&client->rest, incoming + used, size - used);
}

void client_event(Client *client, u32 events) {
    if (client->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            lost(client);
            return;
        }
        client->state = SHAKING;
        watch(client->fd, EPOLLIN, CLIENT, client->index);
        say_handshake(client);
        return;
    }
    if (client->state != GONE && client->state != AWAY) consume(client);
    (void)events;
}
