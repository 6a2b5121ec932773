/* One response, checked to its last byte. Bytes come in in any split; a verdict goes out.
 *
 * Law 1. Only what was asked for passes: 200, HTTP/1.1, one framing, chunk by chunk, the events
 *        in order and in number, [DONE], the last chunk. Anything else is a named failure.
 * Law 2. No I/O and no clock here: the owner hears of each event through `on_event`.
 * Tests: tests/unit/test_bench_programs.py. */
#ifndef BENCH_RESPONSE_H
#define BENCH_RESPONSE_H

#include <stddef.h>
#include <stdint.h>

enum failure { /* names in the report: FAILURE_NAMES, same order */
    FAIL_NONE = 0,
    FAIL_CONNECT,      /* the conn was refused */
    FAIL_UNANSWERED,   /* the conn ended before the first response byte */
    FAIL_CUT,          /* the conn ended in mid-response */
    FAIL_HEAD,         /* not an HTTP/1.1 response head, or too long */
    FAIL_STATUS,       /* not 200 */
    FAIL_FRAMING,      /* neither exactly chunked nor Content-Length */
    FAIL_CHUNK,        /* chunk framing broken */
    FAIL_EVENT,        /* not an SSE event of the backend */
    FAIL_ORDER,        /* an event lost, doubled or out of order */
    FAIL_USAGE,        /* usage event missing, or there though not asked for */
    FAIL_DONE,         /* [DONE] missing, early or followed by something */
    FAIL_BODY,         /* not the JSON answer of the backend, or it saw another request */
    FAIL_SURPLUS,      /* bytes after the end of the response */
    FAIL_IDLE_CLOSED,  /* an idle conn was closed */
    FAIL_STALLED,      /* no byte for too long */
    FAIL_COUNT,        /* always last */
};
extern const char *const FAILURE_NAMES[FAIL_COUNT];

struct expect {
    uint32_t events;   /* content events; 0: a JSON answer is expected */
    uint8_t usage;     /* a usage event is expected after them */
    uint64_t received; /* at least this many body bytes must have reached the backend */
};

enum verdict { RESPONSE_MORE, RESPONSE_COMPLETE, RESPONSE_BAD };

struct response {
    struct expect expect;
    void (*on_event)(void *owner, uint64_t stamp_ns); /* stamp: what the backend wrote into it */
    void *owner;
    uint8_t part, chunked, closes; /* closes: the peer said Connection: close */
    uint8_t done_seen, usage_seen;
    uint8_t failure;               /* enum failure, when the verdict is BAD */
    uint8_t size_digits, cr_seen;
    uint32_t events;
    uint64_t left;                 /* of the body or of the current chunk */
    size_t held;
    char hold[4096];               /* the head, then the event or JSON answer in the making */
};

void response_begin(struct response *r, struct expect expect);
int response_begun(const struct response *r); /* at least one byte has come */
enum verdict response_feed(struct response *r, const char *bytes, size_t len);

#endif
