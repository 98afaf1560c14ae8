/* The load: many WebSockets that check what they get, and a few connections that publish.
 *
 * One thread, one epoll. What it does is told by lines on stdin (main.c), each of which is answered
 * with a line of JSON.
 *
 *   bytes.c      buffers, frames, histograms
 *   payload.c    what is published: numbered, timed, its content known from its number
 *   stream.c     what the sockets of a group get, parsed once
 *   client.c     one socket: handshake, subscription, comparing, going and coming back
 *   publisher.c  one connection that publishes: paced, or as soon as it is answered
 *   loop.c       epoll and the clock
 */
#pragma once
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define MILLISECOND 1000000ull
#define SECOND 1000000000ull

/* Ends the process; what it says goes to whoever started it. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* `realloc` for an array that doubles; what is new is zero. */
void *grow(void *array, u32 *capacity, u32 needed, size_t item);

/* --- bytes.c --- */

typedef struct {
    u8 *bytes;
    size_t size, capacity;
} Buffer;

void append(Buffer *buffer, const void *bytes, size_t size);
void keep(Buffer *buffer, const void *bytes, size_t size); /* these instead; may be its own */
void empty(Buffer *buffer);                                /* and give the memory back */
const u8 *find(const u8 *bytes, size_t size, const Buffer *needle); /* NULL also for no needle */

/* Times, in buckets of 1.6 %. */
typedef struct {
    u64 count, largest;
    u64 bucket[64 * 36];
} Histogram;

void histogram_add(Histogram *histogram, u64 nanoseconds);
void histogram_print(const char *name, const Histogram *histogram); /* "name": {…}, in seconds */

/* RFC 6455, section 5.2. */
enum { TEXT = 0x1, BINARY = 0x2, CLOSE = 0x8, PING = 0x9, PONG = 0xA };

typedef struct {
    u8 opcode;
    size_t head, size; /* of its header; of all of it */
} Frame;

/* Reads a header. 1: it is whole (the rest of the frame need not be). 0: more bytes are needed.
 * -1: no server sends that. */
int frame_read(const u8 *bytes, size_t size, Frame *frame);

/* --- payload.c --- */

#define PAYLOAD_HEAD 32
#define PLACEHOLDER '~' /* as many of it as a payload has bytes stand for one in a request */

typedef struct {
    u32 source, number;
    u64 published; /* when, by our clock */
} Payload;

extern size_t payload_size;
void payload_choose(size_t size, u64 seed);
void payload_write(u8 *place, Payload payload);
/* Where the first one ends, or NULL; `intact`: its content is what its number stands for. */
const u8 *payload_find(const u8 *message, size_t size, Payload *payload, bool *intact);

/* --- stream.c --- */

typedef struct {
    u64 end; /* where it ends in the stream */
    u64 published;
    u32 source, number;
    bool valid; /* not one that came again, or too late, or changed */
} Message;

/* What every socket of a group gets from its subscription on. The socket that gets a byte first
 * brings it here, where it is parsed; the others compare theirs with it. */
typedef struct {
    Buffer data;
    size_t begun; /* where the frame that is not complete begins */
    Message *messages;
    u32 count, capacity;
    u32 *next; /* for each source, the number of the message that comes next */
} Stream;

void stream_reset(Stream *stream);
/* How many bytes it takes to complete a frame, or to know how many. */
size_t stream_lacks(const Stream *stream);
/* At most as many as it lacks. */
void stream_append(Stream *stream, u32 group, const u8 *bytes, size_t size);
/* The beginning of the frame that holds this byte. */
size_t stream_frame(const Stream *stream, size_t place);

/* --- what is told about a run --- */

typedef struct {
    u64 delivered; /* valid messages, over all sockets */
    u64 late;      /* came again, or after one that follows it */
    u64 changed;   /* not the content its number stands for */
    u64 different; /* sockets that got other bytes than the others of their group */
    u64 broken;    /* what no server may send */
    u64 hangups;   /* sockets the server hung up on, or that could not connect */
    u64 last;      /* when the last message was delivered */
    u64 bytes;
    u64 returned, last_return; /* sockets that were away and are back, and when the last was */
    u64 published, first_publish, last_answer, refused;
    Histogram latency;     /* publishing → each delivery */
    Histogram last_reader; /* publishing → the last of all sockets of the group */
    Histogram opening;     /* connect → subscribed */
    Histogram away;        /* gone → subscribed again */
    Histogram replay;      /* answer to the handshake → the last message that was missed */
    Histogram answer;      /* request → answer, of those that publish */
    Histogram probe;       /* the same of those that don't */
} Tally;

extern Tally tally;

/* --- client.c --- */

typedef struct {
    int port;
    Buffer handshake; /* the byte 2 stands for where to go on from */
    Buffer hello;     /* frames to send after it */
    Buffer ready;     /* a piece of the message that tells of a subscription */
    u32 ready_count;
    Buffer aside, answer; /* frames: a message that is no delivery, and what it is answered with */
    Buffer place;         /* what stands before a message's place in its channel, up to a `"` */
    Buffer leave;         /* what stands before the milliseconds after which to leave */
    bool each;            /* each socket's stream is parsed: they are not the same */
    bool opaque;          /* a frame is a message whose payload is not looked for (deflated) */
    bool returning;       /* who loses its connection comes back */
    bool accepted_deflate;
    Stream stream;
    u32 members; /* that are to get everything */
} Group;

extern Group *groups;
extern u32 group_count;

enum State { GONE, CONNECTING, SHAKING, SUBSCRIBING, LIVE, AWAY };

typedef struct {
    int fd;
    enum State state;
    u32 group, index;
    bool stuck;  /* reads nothing once it has subscribed */
    int receive_buffer; /* the kernel's, in bytes; 0 for its own choice */
    bool single; /* parsed by itself: its group's streams are not the same, or this one was not */
    u32 ready_left;
    u32 message;  /* of the stream: what comes next */
    size_t place; /* in the stream */
    size_t owed;  /* bytes before it that are its own from now on */
    u64 received;
    Buffer rest; /* bytes that need others to be understood */
    u32 *next;   /* a single one's own */
    u64 began, left, shaken;
    u64 due;   /* when to leave, or to come back; 0 for never */
    u64 wants; /* after coming back: how many messages there were when it did */
    char since[64];
} Client;

extern Client *clients;
extern u32 client_count, clients_live;
extern u64 churn_stay, churn_away; /* clients leave about so often, for so long; 0 for never */

/* Which of them are connected, so many at once. */
void clients_open(u32 first, u32 count, u32 at_once);
bool clients_opened(void);
void clients_tick(void); /* who is due leaves, or comes back */
void client_event(Client *client, u32 events);
void client_close(Client *client, bool hard);
void client_expect(Client *client); /* a new run begins: number 0 comes next */

/* --- publisher.c --- */

typedef struct {
    u32 group; /* that gets what is published */
    Buffer request;
    size_t *slots;
    u32 slot_count;
    u32 number; /* of the next message */
    u64 last;   /* when it published last */
    u32 *got;   /* how many sockets have each message */
    u32 got_capacity;
} Source;

extern Source *sources;
extern u32 source_count;

typedef struct {
    int fd, port;
    u32 *turns; /* sources, one after the other */
    u32 turn_count, turn;
    u64 interval; /* 0: as soon as it is answered */
    u64 due;
    bool busy, open;
    Buffer handshake; /* for one that publishes over a WebSocket */
    Buffer needle;    /* and what stands in each of its answers */
    u32 answers_left;
    u64 sent_at;
    Buffer out, in;
    size_t out_sent;
} Publisher;

extern Publisher *publishers;
extern u32 publisher_count, publishers_busy;
extern bool publishing;
extern u64 publish_limit; /* messages; 0 for none */

void publishers_open(void);
void publishers_close(void);
bool publishers_ready(void);
void publishers_start(void);
u64 publishers_tick(void); /* send what is due; when the next is */
void publisher_event(Publisher *publisher, u32 events);

/* --- loop.c --- */

extern u64 now; /* of the event that is handled */
u64 clock_now(void);
void loop_open(void);
enum Kind { STDIN, CLIENT, PUBLISHER, URGENT };
void watch(int fd, u32 events, enum Kind kind, u32 index); /* `index` of the owner */
void unwatch(int fd);
u64 chance(void); /* a random number */
int connect_to(int port, u32 turn, int receive_buffer); /* from 127.0.0.2 to .9, in turns */
/* Handle what happens until `done` says so (true), or the time has come (false). */
bool loop_until(bool (*done)(void), u64 deadline);
bool loop_input(void); /* `done` for: there is a line on stdin */
