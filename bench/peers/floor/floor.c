/* The floor: what a fan-out costs that does nothing but call send() for every socket.

   floor PORT [--batch]

   One thread, one epoll. A GET that asks for a WebSocket is a subscriber from then on (RFC 6455
   section 4.2.2); a POST is published: its body becomes one text frame, built once, and sent to
   every subscriber before the POST is answered. With --batch the frames of one turn of the loop
   are joined, and each subscriber has one send() a turn: how far the floor itself can be lowered.

   What a socket does not take waits in a buffer of its own until it does; who is too far behind
   is hung up on. What subscribers send is thrown away, but for a Close frame, which ends them. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, MAX_REQUEST = 4 << 20, MAX_PENDING = 16 << 20, OPCODE_CLOSE = 0x8 };

struct bytes {
    char *at;
    size_t size, room;
};

struct connection {
    int fd;
    bool subscribed, gone;
    size_t place;         /* among the subscribers */
    struct bytes in;      /* of a request that is not whole yet */
    struct bytes pending; /* what the socket has not taken yet */
    struct connection *next_gone;
};

static int poller;
static bool batching;
static struct connection **subscribers;
static size_t subscriber_count, subscriber_room;
static struct bytes batch;
/* Freed at the end of a turn: an event of this turn may still name them. */
static struct connection *gone;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void *grown(void *at, size_t size) {
    if (!(at = realloc(at, size)))
        die("realloc");
    return at;
}

static void append(struct bytes *to, const void *from, size_t size) {
    if (to->size + size > to->room)
        to->at = grown(to->at, to->room = 2 * (to->size + size));
    memcpy(to->at + to->size, from, size);
    to->size += size;
}

static void drop(struct bytes *from, size_t size) {
    memmove(from->at, from->at + size, from->size -= size);
}

static void release(struct bytes *of) {
    free(of->at);
    *of = (struct bytes){0};
}

/* FIPS 180-4, of less than 120 bytes, for handshakes alone. */
static void sha1(const char *text, size_t size, uint8_t digest[20]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[128] = {0};
    size_t end = size < 56 ? 64 : 128;
    memcpy(padded, text, size);
    padded[size] = 0x80;
    padded[end - 2] = (uint8_t)(size >> 5);
    padded[end - 1] = (uint8_t)(size << 3);
#define ROL(x, n) ((x) << (n) | (x) >> (32 - (n)))
    for (uint8_t *block = padded; block < padded + end; block += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 |
                   block[4 * i + 3];
        for (int i = 16; i < 80; i++)
            w[i] = ROL(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                         : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                         : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                  : (b ^ c ^ d) + 0xca62c1d6;
            f += ROL(a, 5) + e + w[i];
            e = d, d = c, c = ROL(b, 30), b = a, a = f;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
#undef ROL
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64_of_digest(const uint8_t digest[20], char text[29]) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0, o = 0; i < 20; i += 3, o += 4) {
        uint32_t three = (uint32_t)digest[i] << 16 | digest[i + 1] << 8 | (i < 18 ? digest[i + 2] : 0);
        for (int j = 0; j < 4; j++)
            text[o + j] = letters[three >> (18 - 6 * j) & 63];
    }
    text[27] = '=';
    text[28] = 0;
}

static void watch(struct connection *c, int operation, bool writing) {
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event))
        die("epoll_ctl");
}

static void hang_up(struct connection *c) {
    if (c->gone)
        return;
    c->gone = true;
    if (c->subscribed) {
        struct connection *last = subscribers[--subscriber_count];
        subscribers[last->place = c->place] = last;
    }
    close(c->fd);
    release(&c->in);
    release(&c->pending);
    c->next_gone = gone;
    gone = c;
}

/* What the kernel took; -1 if it is over. */
static ssize_t offer(struct connection *c, const char *data, size_t size) {
    ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL);
    return sent >= 0 ? sent : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

/* False: it was hung up on. */
static bool write_to(struct connection *c, const char *data, size_t size) {
    ssize_t sent = c->pending.size ? 0 : offer(c, data, size);
    if ((size_t)sent == size)
        return true;
    if (sent < 0 || c->pending.size + size - (size_t)sent > MAX_PENDING) {
        hang_up(c);
        return false;
    }
    if (!c->pending.size)
        watch(c, EPOLL_CTL_MOD, true);
    append(&c->pending, data + sent, size - (size_t)sent);
    return true;
}

static void write_pending(struct connection *c) {
    ssize_t sent = offer(c, c->pending.at, c->pending.size);
    if (sent < 0) {
        hang_up(c);
        return;
    }
    drop(&c->pending, (size_t)sent);
    if (!c->pending.size) {
        release(&c->pending);
        watch(c, EPOLL_CTL_MOD, false);
    }
}

static void send_to_all(const char *data, size_t size) {
    /* Backwards: who is hung up on is replaced by one that was served. */
    for (size_t i = subscriber_count; i-- > 0;)
        write_to(subscribers[i], data, size);
}

static void publish(const char *payload, size_t size) {
    static struct bytes frame;
    uint8_t head[10] = {0x81};
    size_t length = 2;
    if (size < 126) {
        head[1] = (uint8_t)size;
    } else {
        length = size < 65536 ? 4 : 10;
        head[1] = size < 65536 ? 126 : 127;
        for (size_t i = 2; i < length; i++)
            head[i] = (uint8_t)((uint64_t)size >> 8 * (length - 1 - i));
    }
    struct bytes *to = batching ? &batch : &frame;
    append(to, head, length);
    append(to, payload, size);
    if (!batching) {
        send_to_all(frame.at, frame.size);
        frame.size = 0;
    }
}

/* The value of a header and its length, or NULL. `head` ends with a NUL. */
static const char *header(const char *head, const char *name, size_t *size) {
    const char *found = strcasestr(head, name);
    if (!found)
        return NULL;
    found += strlen(name);
    found += strspn(found, " \t");
    *size = strcspn(found, "\r");
    return found;
}

static bool subscribe(struct connection *c, const char *key, size_t key_size) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[64], accept[29], answer[160];
    uint8_t digest[20];
    if (key_size != 24) /* 16 bytes in base64 */
        return false;
    memcpy(text, key, key_size);
    memcpy(text + key_size, guid, sizeof guid - 1);
    sha1(text, key_size + sizeof guid - 1, digest);
    base64_of_digest(digest, accept);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    if (!write_to(c, answer, (size_t)size))
        return true;
    if (subscriber_count == subscriber_room) {
        subscriber_room = subscriber_room ? 2 * subscriber_room : 1024;
        subscribers = grown(subscribers, subscriber_room * sizeof *subscribers);
    }
    c->subscribed = true;
    subscribers[c->place = subscriber_count++] = c;
    return true;
}

/* Answer all whole requests that are there. False: what came is none. */
static bool answer_requests(struct connection *c) {
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    while (c->in.size && !c->gone && !c->subscribed) {
        char *end = memmem(c->in.at, c->in.size, "\r\n\r\n", 4);
        if (!end)
            break;
        end[2] = 0;
        size_t size, head_size = (size_t)(end + 4 - c->in.at);
        const char *value;
        if (!strncmp(c->in.at, "GET ", 4)) {
            if (!(value = header(c->in.at, "\nSec-WebSocket-Key:", &size)) ||
                !subscribe(c, value, size))
                return false;
            size = 0;
        } else if (!strncmp(c->in.at, "POST ", 5)) {
            if (!(value = header(c->in.at, "\nContent-Length:", &size)))
                return false;
            size = strtoul(value, NULL, 10);
            if (size > MAX_REQUEST)
                return false;
            end[2] = '\r';
            if (c->in.size < head_size + size)
                break;
            publish(end + 4, size);
            write_to(c, ok, sizeof ok - 1);
        } else {
            return false;
        }
        if (!c->gone)
            drop(&c->in, head_size + size);
    }
    return c->in.size <= MAX_REQUEST + 65536;
}

static void read_from(struct connection *c) {
    static char data[65536];
    ssize_t size = recv(c->fd, data, sizeof data, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    bool whole = true;
    if (size > 0 && !c->subscribed) {
        append(&c->in, data, (size_t)size);
        whole = answer_requests(c);
        if (c->subscribed && !c->gone)
            release(&c->in);
    } else if (size > 0) {
        whole = (data[0] & 0xf) != OPCODE_CLOSE;
    }
    if (size <= 0 || !whole)
        hang_up(c);
}

static void accept_from(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct connection *c = calloc(1, sizeof *c);
        if (!c)
            die("calloc");
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        watch(c, EPOLL_CTL_ADD, false);
    }
}

static int listening(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("listen");
    return fd;
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 0;
    batching = argc > 2 && !strcmp(argv[2], "--batch");
    if (port < 1 || port > 65535 || argc > 2 + batching) {
        fputs("usage: floor PORT [--batch]\n", stderr);
        return 2;
    }
    int listener = listening(port);
    struct epoll_event events[EVENTS], accepting = {.events = EPOLLIN};
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &accepting))
        die("epoll");
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                accept_from(listener);
                continue;
            }
            if (!c->gone && events[i].events & EPOLLOUT)
                write_pending(c);
            if (!c->gone && events[i].events & ~(uint32_t)EPOLLOUT)
                read_from(c);
        }
        if (batch.size) {
            send_to_all(batch.at, batch.size);
            batch.size = 0;
        }
        for (struct connection *c; (c = gone);) {
            gone = c->next_gone;
            free(c);
        }
    }
}
