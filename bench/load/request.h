/* One request, read by the backend: enough of HTTP/1.1 for well-behaved callers, and no more.
 *
 * Note 1. Bytes come in in any split; the body is scanned for what decides the answer, counted and
 *         dropped, never stored.
 * Note 2. No I/O here. */
#ifndef BENCH_REQUEST_H
#define BENCH_REQUEST_H

#include <stddef.h>
#include <stdint.h>

enum request_verdict { REQUEST_MORE, REQUEST_COMPLETE, REQUEST_BAD };

struct matcher { /* finds one JSON member, blanks after its colon allowed, in any split */
    uint8_t at, found;
};

struct request {
    uint8_t part, chunked, closes, expects, on_path;
    uint8_t on_models;           /* asks for the list of models */
    uint8_t in_trailer;          /* the trailer line in the making has bytes */
    struct matcher stream, usage;
    uint32_t events;             /* x-events: how many the caller wants; 0: not said */
    uint64_t left, received;     /* of the body or chunk; body bytes so far */
    size_t held;
    char hold[8192];             /* the head in the making */
};

void request_begin(struct request *r);
/* Consumes *len bytes at most; on return *len is what was consumed. */
enum request_verdict request_feed(struct request *r, const char *bytes, size_t *len);

static inline int request_wants_events(const struct request *r)
{
    return r->on_path || r->stream.found;
}

#endif
