/* One connection that publishes: paced, or as soon as it is answered. */
#include "load.h"

#include <errno.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

Source *sources;
u32 source_count;
Publisher *publishers;
u32 publisher_count, publishers_busy;
bool publishing;
u64 publish_limit;

static u32 index_of(Publisher *publisher) { return publisher - publishers; }

static void flush(Publisher *publisher) {
    while (publisher->out_sent < publisher->out.size) {
        ssize_t sent = send(publisher->fd, publisher->out.bytes + publisher->out_sent,
                            publisher->out.size - publisher->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            watch(publisher->fd, EPOLLIN | EPOLLOUT, PUBLISHER, index_of(publisher));
            return;
        }
        if (sent < 0) fail("a connection that publishes is lost");
        publisher->out_sent += sent;
        if (publisher->out_sent == publisher->out.size)
            watch(publisher->fd, EPOLLIN, PUBLISHER, index_of(publisher));
    }
}

static void send_next(Publisher *publisher) {
    u32 turn = publisher->turns[publisher->turn++ % publisher->turn_count];
    Source *source = &sources[turn];
    keep(&publisher->out, source->request.bytes, source->request.size);
    publisher->out_sent = 0;
    publisher->sent_at = clock_now();
    /* One that is late was due when it was due. */
    u64 published = publisher->interval ? publisher->due : publisher->sent_at;
    source->got = grow(source->got, &source->got_capacity, source->number + source->slot_count,
                       sizeof *source->got);
    source->last = published;
    for (u32 i = 0; i < source->slot_count; i++)
        payload_write(publisher->out.bytes + source->slots[i],
                      (Payload){turn, source->number++, published});
    if (source->slot_count && !tally.first_publish) tally.first_publish = publisher->sent_at;
    tally.published += source->slot_count;
    publisher->answers_left = publisher->handshake.size ? source->slot_count : 1;
    publisher->busy = true;
    publishers_busy++;
    if (publish_limit && tally.published >= publish_limit) publishing = false;
    flush(publisher);
}

static void answered(Publisher *publisher, u32 status) {
    publisher->busy = false;
    publishers_busy--;
    bool is_probe = !sources[publisher->turns[0]].slot_count;
    histogram_add(is_probe ? &tally.probe : &tally.answer, now - publisher->sent_at);
    if (!is_probe) tally.last_answer = now;
    if (!is_probe && (status < 200 || status > 299)) tally.refused++;
    if (publishing && !publisher->interval) send_next(publisher);
}

/* How long the first HTTP response is; 0 when it is not complete. */
static size_t response(const u8 *bytes, size_t size, u32 *status) {
    const char *text = (const char *)bytes;
    const char *end = memmem(bytes, size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (size < 12 || memcmp(text, "HTTP/1.1 ", 9) != 0) fail("no HTTP: %.60s", text);
    *status = atoi(text + 9);
    size_t head = end + 4 - text, body = 0;
    bool chunked = false;
    for (const char *line = text; line < end;) {
        if (strncasecmp(line, "Content-Length:", 15) == 0) body = strtoul(line + 15, NULL, 10);
        if (strncasecmp(line, "Transfer-Encoding:", 18) == 0) chunked = true;
        const char *next = memmem(line, end + 2 - line, "\r\n", 2);
        line = next + 2;
    }
    if (!chunked) return size >= head + body ? head + body : 0;
    for (size_t at = head;;) {
        const char *line = memmem(text + at, size - at, "\r\n", 2);
        if (!line) return 0;
        size_t chunk = strtoul(text + at, NULL, 16);
        at = line + 2 - text + chunk + 2;
        if (at > size) return 0;
        if (!chunk) return at;
    }
}

/* The answers over a WebSocket: messages that hold the needle. */
static size_t message(Publisher *publisher) {
    Buffer *in = &publisher->in;
    Frame frame;
    if (frame_read(in->bytes, in->size, &frame) != 1 || in->size < frame.size) return 0;
    if (publisher->busy && find(in->bytes, frame.size, &publisher->needle) &&
        --publisher->answers_left == 0)
        answered(publisher, 200);
    return frame.size;
}

static size_t take(Publisher *publisher) {
    u32 status;
    if (publisher->handshake.size && publisher->open) return message(publisher);
    size_t used = response(publisher->in.bytes, publisher->in.size, &status);
    if (!used) return 0;
    if (!publisher->open) {
        if (status != 101) fail("a connection that publishes is answered %u", status);
        publisher->open = true;
    } else {
        answered(publisher, status);
    }
    return used;
}

void publisher_event(Publisher *publisher, u32 events) {
    static u8 bytes[1 << 18];
    if (events & EPOLLOUT) flush(publisher);
    if (!(events & ~EPOLLOUT)) return;
    ssize_t got = recv(publisher->fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail("the server hung up on a connection that publishes");
    append(&publisher->in, bytes, got);
    append(&publisher->in, "", 1), publisher->in.size--; /* for what reads text */
    size_t used;
    while (publisher->in.size && (used = take(publisher)) > 0)
        keep(&publisher->in, publisher->in.bytes + used, publisher->in.size - used);
}

void publishers_open(void) {
    for (u32 i = 0; i < publisher_count; i++) {
        Publisher *publisher = &publishers[i];
        publisher->fd = connect_to(publisher->port, i, 0);
        publisher->open = !publisher->handshake.size;
        keep(&publisher->out, publisher->handshake.bytes, publisher->handshake.size);
        publisher->out_sent = 0;
        watch(publisher->fd, EPOLLIN | EPOLLOUT, PUBLISHER, i);
    }
}

bool publishers_ready(void) {
    for (u32 i = 0; i < publisher_count; i++)
        if (!publishers[i].open) return false;
    return true;
}

void publishers_close(void) {
    for (u32 i = 0; i < publisher_count; i++) close(publishers[i].fd);
    publishers_busy = 0;
}

void publishers_start(void) {
    for (u32 i = 0; i < publisher_count; i++) {
        Publisher *publisher = &publishers[i];
        /* Those of one pace don't go at the same time. */
        publisher->due = now + publisher->interval * i / publisher_count;
        publisher->turn = 0;
        if (!publisher->interval) send_next(publisher);
    }
}

u64 publishers_tick(void) {
    u64 next = now + SECOND;
    for (u32 i = 0; publishing && i < publisher_count; i++) {
        Publisher *publisher = &publishers[i];
        if (!publisher->interval || publisher->busy) continue;
        if (publisher->due <= now) {
            send_next(publisher);
            publisher->due += publisher->interval;
        } else if (publisher->due < next) {
            next = publisher->due;
        }
    }
    return next;
}
