#define _GNU_SOURCE
#include "response.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const FAILURE_NAMES[FAIL_COUNT] = {
    "none",  "connect", "unanswered", "cut",   "head", "status", "framing",     "chunk",
    "event", "order",   "usage",      "done",  "body", "surplus", "idle_closed", "stalled",
};

enum part { HEAD, LENGTH_BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, LAST_LINE, COMPLETE };

static enum verdict bad(struct response *r, enum failure why)
{
    r->failure = (uint8_t)why;
    return RESPONSE_BAD;
}

void response_begin(struct response *r, struct expect expect)
{
    memset(r, 0, offsetof(struct response, hold)); /* not 4 KiB per request */
    r->expect = expect;
}

int response_begun(const struct response *r)
{
    return r->part != HEAD || r->held;
}

/* ---------------------------------------------------------------- the head */

static const char *field(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            return line + len + 1 + strspn(line + len + 1, " \t");
    }
    return NULL;
}

static enum verdict read_head(struct response *r)
{
    r->hold[r->held] = 0;
    if (strncmp(r->hold, "HTTP/1.1 ", 9) != 0)
        return bad(r, FAIL_HEAD);
    if (strncmp(r->hold + 9, "200", 3) != 0)
        return bad(r, FAIL_STATUS);
    const char *coding = field(r->hold, "transfer-encoding");
    const char *length = field(r->hold, "content-length");
    const char *closes = field(r->hold, "connection");
    r->closes = closes && strncasecmp(closes, "close", 5) == 0;
    r->chunked = coding && strncasecmp(coding, "chunked\r\n", 9) == 0;
    if (!coding == !length || (coding && !r->chunked))
        return bad(r, FAIL_FRAMING);
    r->left = length ? strtoull(length, NULL, 10) : 0;
    if (length && r->left == 0)
        return bad(r, FAIL_BODY); /* the backend has no empty answers */
    r->part = r->chunked ? CHUNK_SIZE : LENGTH_BODY;
    r->held = 0;
    return RESPONSE_MORE;
}

/* Take head bytes up to and including the empty line; returns how many were used. */
static size_t feed_head(struct response *r, const char *bytes, size_t len, enum verdict *verdict)
{
    size_t before = r->held, room = sizeof r->hold - 1 - before;
    size_t take = len < room ? len : room;
    memcpy(r->hold + before, bytes, take);
    size_t from = before > 3 ? before - 3 : 0;
    char *end = memmem(r->hold + from, before + take - from, "\r\n\r\n", 4);
    if (!end) {
        r->held = before + take;
        if (take == room)
            *verdict = bad(r, FAIL_HEAD);
        return take;
    }
    r->held = (size_t)(end - r->hold) + 4;
    size_t used = r->held - before;
    *verdict = read_head(r);
    return used;
}

/* ---------------------------------------------------------------- the body */

/* The content of an event is " #SEQUENCE@STAMP", both decimal, made by the backend, and dots. */
static enum verdict read_content(struct response *r)
{
    char *mark = memmem(r->hold, r->held, "\" #", 3);
    if (!mark || memcmp(r->hold + r->held - 3, "}\n\n", 3) != 0)
        return bad(r, FAIL_EVENT);
    char *end;
    unsigned long sequence = strtoul(mark + 3, &end, 10);
    if (*end != '@')
        return bad(r, FAIL_EVENT);
    uint64_t stamp = strtoull(end + 1, &end, 10);
    end += strspn(end, ".");
    if (*end != '"')
        return bad(r, FAIL_EVENT);
    if (sequence != r->events || r->events >= r->expect.events)
        return bad(r, FAIL_ORDER);
    r->events++;
    if (r->on_event)
        r->on_event(r->owner, stamp);
    return RESPONSE_MORE;
}

static enum verdict read_event(struct response *r)
{
    r->hold[r->held] = 0;
    if (r->done_seen)
        return bad(r, FAIL_DONE);
    if (strcmp(r->hold, "data: [DONE]\n\n") == 0) {
        r->done_seen = 1;
        if (r->events != r->expect.events)
            return bad(r, FAIL_ORDER);
        return r->usage_seen == r->expect.usage ? RESPONSE_MORE : bad(r, FAIL_USAGE);
    }
    if (strncmp(r->hold, "data: {", 7) != 0)
        return bad(r, FAIL_EVENT);
    if (memmem(r->hold, r->held, "\"choices\":[]", 12)) {
        if (r->usage_seen++ || !r->expect.usage)
            return bad(r, FAIL_USAGE);
        return strstr(r->hold, "\"total_tokens\":") ? RESPONSE_MORE : bad(r, FAIL_USAGE);
    }
    return read_content(r);
}

static enum verdict feed_events(struct response *r, const char *bytes, size_t len)
{
    while (len) {
        const char *line_end = memchr(bytes, '\n', len);
        size_t take = line_end ? (size_t)(line_end - bytes) + 1 : len;
        if (r->held + take >= sizeof r->hold)
            return bad(r, FAIL_EVENT);
        memcpy(r->hold + r->held, bytes, take);
        r->held += take;
        bytes += take;
        len -= take;
        if (line_end && r->held >= 2 && r->hold[r->held - 2] == '\n') {
            if (read_event(r) == RESPONSE_BAD)
                return RESPONSE_BAD;
            r->held = 0;
        }
    }
    return RESPONSE_MORE;
}

static enum verdict feed_body(struct response *r, const char *bytes, size_t len)
{
    if (r->expect.events)
        return feed_events(r, bytes, len);
    if (r->held + len >= sizeof r->hold)
        return bad(r, FAIL_BODY);
    memcpy(r->hold + r->held, bytes, len);
    r->held += len;
    return RESPONSE_MORE;
}

static enum verdict end_body(struct response *r)
{
    r->part = COMPLETE;
    if (r->expect.events)
        return r->done_seen && !r->held ? RESPONSE_COMPLETE : bad(r, FAIL_DONE);
    r->hold[r->held] = 0;
    const char *received = strstr(r->hold, "\"received\":");
    if (!received || !strstr(r->hold, "\"total_tokens\":") || r->hold[0] != '{'
        || r->hold[r->held - 1] != '}' || strtoull(received + 11, NULL, 10) < r->expect.received)
        return bad(r, FAIL_BODY);
    return RESPONSE_COMPLETE;
}

/* ---------------------------------------------------------------- chunks, byte by byte */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* No proxy under test sends chunk extensions or trailers: here they are a failure. */
static enum verdict feed_size(struct response *r, char c)
{
    int digit = hex_digit(c);
    if (!r->cr_seen && digit >= 0 && r->size_digits < 9) {
        r->left = r->left * 16 + (uint64_t)digit;
        r->size_digits++;
        return RESPONSE_MORE;
    }
    if (!r->cr_seen && c == '\r' && r->size_digits) {
        r->cr_seen = 1;
        return RESPONSE_MORE;
    }
    if (!r->cr_seen || c != '\n')
        return bad(r, FAIL_CHUNK);
    r->cr_seen = r->size_digits = 0;
    r->part = r->left ? CHUNK_DATA : LAST_LINE;
    return RESPONSE_MORE;
}

static enum verdict feed_line_end(struct response *r, char c)
{
    if (c != (r->cr_seen ? '\n' : '\r'))
        return bad(r, FAIL_CHUNK);
    r->cr_seen = !r->cr_seen;
    if (r->cr_seen)
        return RESPONSE_MORE;
    if (r->part == LAST_LINE)
        return end_body(r);
    r->part = CHUNK_SIZE;
    return RESPONSE_MORE;
}

static size_t feed_data(struct response *r, const char *bytes, size_t len, enum verdict *verdict)
{
    size_t take = len < r->left ? len : (size_t)r->left;
    *verdict = feed_body(r, bytes, take);
    r->left -= take;
    if (*verdict == RESPONSE_MORE && r->left == 0) {
        if (r->part == LENGTH_BODY)
            *verdict = end_body(r);
        else
            r->part = CHUNK_END;
    }
    return take;
}

static size_t feed_part(struct response *r, const char *bytes, size_t len, enum verdict *verdict)
{
    switch (r->part) {
    case HEAD:
        return feed_head(r, bytes, len, verdict);
    case LENGTH_BODY:
    case CHUNK_DATA:
        return feed_data(r, bytes, len, verdict);
    case CHUNK_SIZE:
        *verdict = feed_size(r, *bytes);
        return 1;
    case CHUNK_END:
    case LAST_LINE:
        *verdict = feed_line_end(r, *bytes);
        return 1;
    default:
        *verdict = bad(r, FAIL_SURPLUS);
        return 0;
    }
}

enum verdict response_feed(struct response *r, const char *bytes, size_t len)
{
    enum verdict verdict = RESPONSE_MORE;
    while (len && verdict == RESPONSE_MORE) {
        size_t used = feed_part(r, bytes, len, &verdict);
        bytes += used;
        len -= used;
    }
    if (verdict == RESPONSE_COMPLETE && len)
        return bad(r, FAIL_SURPLUS);
    return verdict;
}
