/* Buffers, frames, histograms. */
#include "load.h"

#include <stdarg.h>

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *grow(void *array, u32 *capacity, u32 needed, size_t item) {
    if (needed <= *capacity) return array;
    u32 before = *capacity;
    while (*capacity < needed) *capacity = *capacity ? *capacity * 2 : 64;
    array = realloc(array, *capacity * item);
    if (!array) fail("out of memory");
    memset((u8 *)array + before * item, 0, (*capacity - before) * item);
    return array;
}

void append(Buffer *buffer, const void *bytes, size_t size) {
    if (buffer->size + size > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity : 256;
        while (capacity < buffer->size + size) capacity *= 2;
        buffer->bytes = realloc(buffer->bytes, capacity);
        if (!buffer->bytes) fail("out of memory");
        buffer->capacity = capacity;
    }
    if (size) memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
}

void keep(Buffer *buffer, const void *bytes, size_t size) {
    if (buffer->bytes <= (const u8 *)bytes && (const u8 *)bytes < buffer->bytes + buffer->size) {
        memmove(buffer->bytes, bytes, size);
        buffer->size = size;
    } else {
        buffer->size = 0;
        append(buffer, bytes, size);
    }
}

void empty(Buffer *buffer) {
    free(buffer->bytes);
    *buffer = (Buffer){0};
}

const u8 *find(const u8 *bytes, size_t size, const Buffer *needle) {
    if (!needle->size) return NULL;
    return memmem(bytes, size, needle->bytes, needle->size);
}

int frame_read(const u8 *bytes, size_t size, Frame *frame) {
    if (size < 2) return 0;
    u8 opcode = bytes[0] & 0x0F, length = bytes[1];
    bool known = opcode == TEXT || opcode == BINARY || (CLOSE <= opcode && opcode <= PONG);
    /* Final, and unmasked; RSV1 says that it is deflated (RFC 7692). */
    if ((bytes[0] & 0xB0) != 0x80 || !known || length & 0x80) return -1;
    if (opcode >= CLOSE && length > 125) return -1;
    frame->opcode = opcode;
    if (length < 126) {
        frame->head = 2;
        frame->size = 2 + length;
        return 1;
    }
    frame->head = length == 126 ? 4 : 10;
    if (size < frame->head) return 0;
    u64 extended = 0;
    for (size_t i = 2; i < frame->head; i++) extended = extended << 8 | bytes[i];
    if (extended > 1u << 30) return -1;
    frame->size = frame->head + extended;
    return 1;
}

/* Below 64 each number has its bucket; above, each power of two has 64. */
static size_t bucket_of(u64 value) {
    if (value < 64) return value;
    int exponent = 63 - __builtin_clzll(value);
    size_t bucket = ((size_t)(exponent - 5) << 6) + ((value >> (exponent - 6)) & 63);
    size_t last = sizeof(((Histogram *)0)->bucket) / sizeof(u64) - 1;
    return bucket < last ? bucket : last;
}

static u64 bucket_top(size_t bucket) {
    if (bucket < 64) return bucket;
    int exponent = (int)(bucket >> 6) + 5;
    return ((64 + (bucket & 63) + 1) << (exponent - 6)) - 1;
}

void histogram_add(Histogram *histogram, u64 nanoseconds) {
    histogram->count++;
    histogram->bucket[bucket_of(nanoseconds)]++;
    if (nanoseconds > histogram->largest) histogram->largest = nanoseconds;
}

static double quantile(const Histogram *histogram, double share) {
    u64 wanted = (u64)(share * histogram->count + 0.999999), seen = 0;
    size_t bucket = 0;
    for (; bucket < sizeof(histogram->bucket) / sizeof(u64); bucket++) {
        seen += histogram->bucket[bucket];
        if (seen >= wanted) break;
    }
    u64 top = bucket_top(bucket);
    return (top < histogram->largest ? top : histogram->largest) / 1e9;
}

void histogram_print(const char *name, const Histogram *histogram) {
    printf("\"%s\":", name);
    if (!histogram->count) {
        printf("null");
        return;
    }
    printf("{\"count\":%lu,\"p50\":%.9f,\"p90\":%.9f,\"p99\":%.9f,\"p999\":%.9f,\"max\":%.9f}",
           histogram->count, quantile(histogram, 0.5), quantile(histogram, 0.9),
           quantile(histogram, 0.99), quantile(histogram, 0.999), histogram->largest / 1e9);
}
