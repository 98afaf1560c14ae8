/* What the sockets of a group get, parsed once. */
#include "load.h"

void stream_reset(Stream *stream) {
    stream->data.size = stream->begun = 0;
    stream->count = 0;
    free(stream->next);
    stream->next = NULL;
}

size_t stream_lacks(const Stream *stream) {
    size_t have = stream->data.size - stream->begun;
    const u8 *bytes = stream->data.bytes + stream->begun;
    Frame frame;
    if (have < 2) return 2 - have;
    if (frame_read(bytes, have, &frame) == 1) return frame.size - have;
    return ((bytes[1] & 0x7F) == 126 ? 4 : 10) - have;
}

static Message *add(Stream *stream) {
    stream->messages =
        grow(stream->messages, &stream->capacity, stream->count + 1, sizeof *stream->messages);
    Message *message = &stream->messages[stream->count++];
    *message = (Message){.end = stream->begun};
    return message;
}

static void judge(Stream *stream, u32 group, Payload payload, bool intact) {
    Message *message = add(stream);
    if (!intact || payload.source >= source_count || sources[payload.source].group != group) {
        tally.changed++;
        return;
    }
    u32 *next = &stream->next[payload.source];
    if (payload.number < *next) {
        tally.late++;
        return;
    }
    /* What is left out is noticed at the end, when everybody's are counted. */
    *next = payload.number + 1;
    message->source = payload.source;
    message->number = payload.number;
    message->published = payload.published;
    message->valid = true;
}

static void complete(Stream *stream, u32 group, const Frame *frame) {
    const u8 *at = stream->data.bytes + stream->begun + frame->head;
    const u8 *end = stream->data.bytes + stream->begun + frame->size, *next;
    u32 before = stream->count;
    Payload payload;
    bool intact;
    stream->begun += frame->size;
    if (!stream->next) stream->next = calloc(source_count + 1, sizeof *stream->next);
    if (groups[group].opaque) {
        judge(stream, group, (Payload){0, stream->next[0], sources[0].last}, true);
        return;
    }
    /* Some servers put several into one message. */
    for (; (next = payload_find(at, end - at, &payload, &intact)); at = next)
        judge(stream, group, payload, intact);
    if (stream->count == before) add(stream);
}

void stream_append(Stream *stream, u32 group, const u8 *bytes, size_t size) {
    append(&stream->data, bytes, size);
    Frame frame;
    size_t have = stream->data.size - stream->begun;
    int read = frame_read(stream->data.bytes + stream->begun, have, &frame);
    if (read < 0) fail("the server sends what is no frame");
    if (read == 1 && have == frame.size) complete(stream, group, &frame);
}

size_t stream_frame(const Stream *stream, size_t place) {
    u32 low = 0, high = stream->count; /* the first message that ends after it */
    while (low < high) {
        u32 middle = (low + high) / 2;
        if (stream->messages[middle].end > place)
            high = middle;
        else
            low = middle + 1;
    }
    return low ? stream->messages[low - 1].end : 0;
}
