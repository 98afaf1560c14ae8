/* epoll and the clock. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK (5 * MILLISECOND)
#define BATCH 64 /* events of clients before those that publish have a turn */

u64 now;
/* Those that publish have an epoll of their own within the other: else their answers would wait in
 * line behind thousands of clients', and we would take our own lateness for the server's. */
static int epoll, urgent;
static bool input;

u64 clock_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

u64 chance(void) {
    static u64 state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state >> 8;
}

void loop_open(void) {
    epoll = epoll_create1(0);
    urgent = epoll_create1(0);
    if (epoll < 0 || urgent < 0) fail("no epoll");
    now = clock_now();
    watch(urgent, EPOLLIN, URGENT, 0);
    watch(0, EPOLLIN, STDIN, 0);
}

void watch(int fd, u32 events, enum Kind kind, u32 index) {
    struct epoll_event event = {.events = events, .data.u64 = (u64)kind << 32 | index};
    int in = kind == PUBLISHER ? urgent : epoll;
    if (epoll_ctl(in, EPOLL_CTL_MOD, fd, &event) == 0) return;
    if (errno != ENOENT || epoll_ctl(in, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

void unwatch(int fd) { epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); }

int connect_to(int port, u32 turn, int receive_buffer) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    if (fd < 0) fail("socket: %s (ulimit -n?)", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    /* Ports of one address are too few for a storm: each port is chosen by connect(). */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (receive_buffer)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    struct sockaddr_in own = {.sin_family = AF_INET}, server = own;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn % 8);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons(port);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) fail("bind: %s", strerror(errno));
    int result = connect(fd, (struct sockaddr *)&server, sizeof server);
    /* What else is wrong the first event tells. */
    if (result < 0 && errno == EADDRNOTAVAIL) fail("no port is free for another connection");
    return fd;
}

static void dispatch(const struct epoll_event *event) {
    u32 index = (u32)event->data.u64;
    now = clock_now();
    switch ((enum Kind)(event->data.u64 >> 32)) {
    case STDIN: input = true; break;
    case CLIENT: client_event(&clients[index], event->events); break;
    case PUBLISHER: publisher_event(&publishers[index], event->events); break;
    case URGENT: break; /* they have their turn anyway */
    }
}

bool loop_input(void) { return input; }

bool loop_until(bool (*done)(void), u64 deadline) {
    struct epoll_event events[BATCH];
    u64 tick = 0;
    bool waits_for_input = done == loop_input;
    input = false;
    /* A line that comes meanwhile waits, and must not wake us. */
    watch(0, waits_for_input ? EPOLLIN : 0, STDIN, 0);
    while (true) {
        now = clock_now();
        if (done()) return true;
        if (now >= deadline) return false;
        if (now >= tick) clients_tick(), tick = now + TICK;
        u64 due = publishers_tick();
        if (due > deadline) due = deadline;
        if (due > tick && client_count) due = tick;
        u64 wait = due > now ? due - now : 0;
        struct timespec timeout = {wait / SECOND, wait % SECOND};
        int count = epoll_pwait2(epoll, events, BATCH, &timeout, NULL);
        if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++) dispatch(&events[i]);
        count = epoll_wait(urgent, events, BATCH, 0);
        for (int i = 0; i < count; i++) dispatch(&events[i]);
    }
}
