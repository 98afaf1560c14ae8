/* A payload: `@source.number.time.` in hexadecimal, then text that its number chooses.
 *
 * Printable, and nothing that JSON or an URL would write in another way. */
#include "load.h"

#define LONGEST (1 << 20)
#define STARTS 1024 /* places in the text where a payload may begin */

size_t payload_size = 200;
static u8 text[LONGEST + STARTS];

void payload_choose(size_t size, u64 seed) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    if (size < PAYLOAD_HEAD || size > LONGEST) fail("a payload has %d bytes or more", PAYLOAD_HEAD);
    payload_size = size;
    u64 state = seed * 2654435761u + 88172645463325252u;
    for (size_t i = 0; i < sizeof text; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift */
        text[i] = letters[state >> 32 & 63];
    }
}

static const u8 *content(Payload payload) {
    return text + (payload.source * 31 + payload.number * 17) % STARTS;
}

static void write_hex(u8 *place, int digits, u64 value) {
    for (int i = digits - 1; i >= 0; i--, value >>= 4) place[i] = "0123456789abcdef"[value & 15];
    place[digits] = '.';
}

static bool read_hex(const u8 *place, int digits, u64 *value) {
    *value = 0;
    for (int i = 0; i < digits; i++) {
        u8 c = place[i];
        u8 digit = '0' <= c && c <= '9' ? c - '0' : 'a' <= c && c <= 'f' ? c - 'a' + 10 : 16;
        if (digit > 15) return false;
        *value = *value << 4 | digit;
    }
    return place[digits] == '.';
}

void payload_write(u8 *place, Payload payload) {
    place[0] = '@';
    write_hex(place + 1, 4, payload.source);
    write_hex(place + 6, 8, payload.number);
    write_hex(place + 15, 16, payload.published);
    memcpy(place + PAYLOAD_HEAD, content(payload), payload_size - PAYLOAD_HEAD);
}

const u8 *payload_find(const u8 *message, size_t size, Payload *payload, bool *intact) {
    const u8 *end = message + size;
    for (const u8 *at = message; (at = memchr(at, '@', end - at)); at++) {
        u64 source, number, published;
        if (end - at < PAYLOAD_HEAD) return NULL;
        if (!read_hex(at + 1, 4, &source) || !read_hex(at + 6, 8, &number) ||
            !read_hex(at + 15, 16, &published))
            continue;
        *payload = (Payload){source, number, published};
        size_t rest = payload_size - PAYLOAD_HEAD;
        *intact = (size_t)(end - at) >= payload_size &&
                  memcmp(at + PAYLOAD_HEAD, content(*payload), rest) == 0;
        return *intact ? at + payload_size : at + PAYLOAD_HEAD;
    }
    return NULL;
}
