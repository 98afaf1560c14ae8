/* The commands: a line on stdin, `verb name=value …`, with bytes in hexadecimal; each is answered with
 * a line of JSON. */
#include "load.h"

#include <ctype.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define FOREVER ((u64)-1)

static char line[1 << 22];

/* --- reading --- */

static const char *text(const char *name) {
    size_t size = strlen(name);
    for (const char *at = line; (at = strstr(at, name)); at++)
        if (at > line && at[-1] == ' ' && at[size] == '=') return at + size + 1;
    return NULL;
}

static double number(const char *name, double otherwise) {
    const char *value = text(name);
    return value ? strtod(value, NULL) : otherwise;
}

static u32 list(const char *name, u32 **values) {
    const char *at = text(name);
    u32 count = 0, capacity = 0;
    while (at && *at && *at != ' ') {
        char *end;
        *values = grow(*values, &capacity, count + 1, sizeof **values);
        (*values)[count++] = strtoul(at, &end, 10);
        at = *end == ',' ? end + 1 : end;
    }
    return count;
}

static u8 digit(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

static Buffer bytes(const char *name) {
    Buffer result = {0};
    const char *value = text(name);
    for (; value && isxdigit(value[0]) && isxdigit(value[1]); value += 2)
        append(&result, &(u8){digit(value[0]) << 4 | digit(value[1])}, 1);
    return result;
}

/* The next line; false at the end. Each is answered before the next comes: nothing is left over. */
static bool read_line(void) {
    size_t size = 0;
    do {
        ssize_t got = read(0, line + size, sizeof line - 1 - size);
        if (got <= 0) return false;
        size += got;
    } while (line[size - 1] != '\n' && size < sizeof line - 1);
    line[size] = 0;
    return true;
}

/* --- commands --- */

static void do_payload(void) {
    payload_choose((size_t)number("size", 200), (u64)number("seed", 1));
    puts("{}");
}

static void do_group(void) {
    static u32 capacity;
    groups = grow(groups, &capacity, group_count + 1, sizeof *groups);
    groups[group_count++] = (Group){
        .port = (int)number("port", 0),
        .handshake = bytes("handshake"),
        .hello = bytes("hello"),
        .ready = bytes("ready"),
        .ready_count = (u32)number("ready_count", 0),
        .aside = bytes("aside"),
        .answer = bytes("answer"),
        .place = bytes("place"),
        .leave = bytes("leave"),
        .each = number("each", 0) != 0,
        .opaque = number("opaque", 0) != 0,
        .returning = number("returning", 0) != 0,
    };
    printf("{\"group\":%u}\n", group_count - 1);
}

static void do_port(void) {
    groups[(u32)number("group", 0)].port = (int)number("port", 0);
    puts("{}");
}

static double since(u64 begin) { return (now - begin) / 1e9; }

static void print_opened(u64 begin, u32 count) {
    printf("{\"opened\":%u,\"asked\":%u,\"hangups\":%lu,\"seconds\":%.6f,\"deflate\":%s,",
           clients_live, count, tally.hangups, since(begin),
           group_count && groups[0].accepted_deflate ? "true" : "false");
    histogram_print("opening", &tally.opening);
    puts("}");
}

static void do_open(void) {
    static u32 capacity;
    u32 count = (u32)number("count", 1), first = client_count, group = (u32)number("group", 0);
    bool stuck = number("stuck", 0) != 0;
    clients = grow(clients, &capacity, client_count + count, sizeof *clients);
    for (u32 i = 0; i < count; i++) {
        Client *client = &clients[client_count];
        *client = (Client){.fd = -1, .group = group, .index = client_count++, .stuck = stuck};
        client->receive_buffer = (int)number("receive_buffer", 0);
        client_expect(client);
    }
    if (!stuck) groups[group].members += count;
    tally = (Tally){0};
    u64 begin = now = clock_now();
    clients_open(first, count, (u32)number("at_once", 256));
    loop_until(clients_opened, now + (u64)(number("patience", 60) * SECOND));
    print_opened(begin, count);
}

/* All of them hang up. */
static void do_drop(void) {
    now = clock_now();
    for (u32 i = 0; i < client_count; i++) client_close(&clients[i], number("hard", 1) != 0);
    puts("{}");
}

/* Everything is forgotten. */
static void do_clear(void) {
    for (u32 i = 0; i < client_count; i++) {
        client_close(&clients[i], true);
        free(clients[i].next);
        clients[i].next = NULL;
    }
    for (u32 i = 0; i < group_count; i++) {
        Group *group = &groups[i];
        Buffer *owned[] = {&group->handshake, &group->hello, &group->ready, &group->aside,
                           &group->answer, &group->place, &group->leave, &group->stream.data};
        for (size_t j = 0; j < sizeof owned / sizeof *owned; j++) empty(owned[j]);
        free(group->stream.messages);
        free(group->stream.next);
    }
    memset(groups, 0, group_count * sizeof *groups);
    client_count = group_count = 0;
    puts("{}");
}

static bool is_placeholder(const Buffer *request, size_t at) {
    for (size_t i = 0; i < payload_size; i++)
        if (at + i >= request->size || request->bytes[at + i] != PLACEHOLDER) return false;
    return true;
}

static void do_source(void) {
    static u32 capacity;
    sources = grow(sources, &capacity, source_count + 1, sizeof *sources);
    Source *source = &sources[source_count];
    *source = (Source){.group = (u32)number("group", 0), .request = bytes("request")};
    u32 slots = 0;
    for (size_t at = 0; at < source->request.size;) {
        if (!is_placeholder(&source->request, at)) {
            at++;
            continue;
        }
        size_t *all = realloc(source->slots, (slots + 1) * sizeof *all);
        source->slots = all;
        source->slots[slots++] = at;
        at += payload_size;
    }
    source->slot_count = slots;
    printf("{\"source\":%u,\"messages\":%u}\n", source_count++, slots);
}

static void do_publisher(void) {
    static u32 capacity;
    publishers = grow(publishers, &capacity, publisher_count + 1, sizeof *publishers);
    Publisher *publisher = &publishers[publisher_count++];
    *publisher = (Publisher){.port = (int)number("port", 0),
                             .interval = (u64)(number("interval", 0) * SECOND),
                             .handshake = bytes("handshake"),
                             .needle = bytes("needle")};
    publisher->turn_count = list("sources", &publisher->turns);
    puts("{}");
}

/* No more sources and publishers. */
static void do_forget(void) {
    for (u32 i = 0; i < source_count; i++) {
        empty(&sources[i].request);
        free(sources[i].slots);
        free(sources[i].got);
    }
    for (u32 i = 0; i < publisher_count; i++) {
        Publisher *publisher = &publishers[i];
        Buffer *owned[] = {&publisher->handshake, &publisher->needle, &publisher->out,
                           &publisher->in};
        for (size_t j = 0; j < sizeof owned / sizeof *owned; j++) empty(owned[j]);
        free(publisher->turns);
    }
    source_count = publisher_count = 0;
    puts("{}");
}

static u64 expected(void) {
    u64 total = 0;
    for (u32 i = 0; i < source_count; i++)
        total += (u64)sources[i].number * groups[sources[i].group].members;
    return total;
}

static bool published(void) { return !publishing; }
static bool answered(void) { return !publishers_busy; }
static bool delivered(void) { return tally.delivered >= expected(); }

/* Everybody has everything, or nothing has come for so long. */
static void drain(double patience) {
    u64 before;
    do {
        before = tally.delivered + tally.returned;
    } while (!loop_until(delivered, clock_now() + (u64)(patience * SECOND)) &&
             tally.delivered + tally.returned > before);
    u64 quiet = now + 20 * MILLISECOND; /* what should not come would come now */
    loop_until(loop_input, quiet);
}

static void print_run(u64 begin, double cpu) {
    u64 all = expected();
    printf("{\"published\":%lu,\"expected\":%lu,\"delivered\":%lu,\"missing\":%ld,\"late\":%lu,"
           "\"changed\":%lu,\"different\":%lu,\"broken\":%lu,\"hangups\":%lu,\"refused\":%lu,"
           "\"returned\":%lu,\"bytes\":%lu,",
           tally.published, all, tally.delivered, (long)(all - tally.delivered), tally.late,
           tally.changed, tally.different, tally.broken, tally.hangups, tally.refused,
           tally.returned, tally.bytes);
    u64 end = tally.last > tally.last_answer ? tally.last : tally.last_answer;
    u64 start = tally.first_publish ? tally.first_publish : begin;
    printf("\"seconds\":%.6f,\"last_return\":%.6f,\"load_cpu\":%.6f,",
           end > start ? (end - start) / 1e9 : 0.0,
           tally.last_return ? (tally.last_return - begin) / 1e9 : 0.0, cpu);
    histogram_print("latency", &tally.latency), putchar(',');
    histogram_print("last_reader", &tally.last_reader), putchar(',');
    histogram_print("opening", &tally.opening), putchar(',');
    histogram_print("away", &tally.away), putchar(',');
    histogram_print("replay", &tally.replay), putchar(',');
    histogram_print("answer", &tally.answer), putchar(',');
    histogram_print("probe", &tally.probe), puts("}");
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void expect(void) {
    tally = (Tally){0};
    for (u32 i = 0; i < source_count; i++) {
        sources[i].number = 0;
        if (sources[i].got) memset(sources[i].got, 0, sources[i].got_capacity * sizeof(u32));
    }
    for (u32 i = 0; i < group_count; i++) stream_reset(&groups[i].stream);
    for (u32 i = 0; i < client_count; i++) client_expect(&clients[i]);
}

/* Publish for so long, or so many; then let everything arrive. */
static void do_run(void) {
    double patience = number("patience", 2);
    expect();
    publish_limit = (u64)number("limit", 0);
    churn_stay = (u64)(number("stay", 0) * SECOND);
    churn_away = (u64)(number("away", 0) * SECOND);
    publishers_open();
    if (!loop_until(publishers_ready, clock_now() + 10 * SECOND)) fail("no answer to a handshake");
    double cpu = cpu_seconds();
    u64 begin = now = clock_now();
    for (u32 i = 0; churn_stay && i < client_count; i++)
        clients[i].due = now + chance() % churn_stay;
    publishing = publisher_count > 0;
    publishers_start();
    loop_until(published, begin + (u64)(number("seconds", 1) * SECOND));
    publishing = false;
    loop_until(answered, clock_now() + (u64)(patience * SECOND));
    churn_stay = 0; /* whoever is away comes back, and stays */
    for (u32 i = 0; i < client_count; i++)
        if (clients[i].state == LIVE && !groups[clients[i].group].leave.size) clients[i].due = 0;
    if (number("drain", 1)) drain(patience);
    publishers_close();
    print_run(begin, cpu_seconds() - cpu);
}

/* All connect again at once, and get what they have missed since the last run began. */
static void do_storm(void) {
    tally = (Tally){0};
    double cpu = cpu_seconds();
    u64 begin = now = clock_now();
    for (u32 i = 0; i < source_count; i++) tally.published += sources[i].number;
    for (u32 i = 0; i < client_count; i++) clients[i].left = now;
    tally.first_publish = now;
    clients_open(0, client_count, (u32)number("at_once", client_count));
    loop_until(clients_opened, now + (u64)(number("patience", 60) * SECOND));
    drain(number("patience", 2));
    if (tally.last_return > tally.last) tally.last = tally.last_return;
    print_run(begin, cpu_seconds() - cpu);
}

/* The bytes of a group's stream, for whoever parses what we can't. */
static void do_dump(void) {
    Stream *stream = &groups[(u32)number("group", 0)].stream;
    printf("{\"stream\":\"");
    for (size_t i = 0; i < stream->data.size; i++) printf("%02x", stream->data.bytes[i]);
    puts("\"}");
}

static const struct {
    const char *verb;
    void (*run)(void);
} commands[] = {
    {"payload", do_payload}, {"group", do_group}, {"port", do_port},
    {"open", do_open},       {"drop", do_drop},   {"clear", do_clear},
    {"source", do_source},   {"run", do_run},     {"publisher", do_publisher},
    {"forget", do_forget},   {"storm", do_storm}, {"dump", do_dump},
};

static void obey(void) {
    size_t verb = strcspn(line, " \n");
    line[strcspn(line, "\n")] = 0;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].verb) == verb && strncmp(line, commands[i].verb, verb) == 0) {
            commands[i].run();
            fflush(stdout);
            return;
        }
    fail("no such command: %s", line);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    payload_choose(200, 1);
    loop_open();
    while (true) {
        loop_until(loop_input, FOREVER);
        if (!read_line()) return 0;
        obey();
    }
}
