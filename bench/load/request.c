#define _GNU_SOURCE
#include "request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum part { HEAD, LENGTH_BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

static const char STREAM_MEMBER[] = "\"stream\":true";
static const char USAGE_MEMBER[] = "\"include_usage\":true";

void request_begin(struct request *r)
{
    memset(r, 0, offsetof(struct request, hold));
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

static enum request_verdict read_head(struct request *r)
{
    const char *line_end = strstr(r->hold, "\r\n");
    const char *path = memchr(r->hold, ' ', (size_t)(line_end - r->hold));
    if (!path || memcmp(line_end - 8, "HTTP/1.", 7) != 0)
        return REQUEST_BAD;
    const char *mark = strstr(path, "/stream");
    const char *models = strstr(path, "/v1/models");
    const char *length = field(r->hold, "content-length"), *events = field(r->hold, "x-events");
    const char *coding = field(r->hold, "transfer-encoding");
    const char *closes = field(r->hold, "connection");
    r->on_path = mark && mark < line_end;
    r->on_models = models && models < line_end;
    r->closes = line_end[-1] == '0' || (closes && strncasecmp(closes, "close", 5) == 0);
    r->expects = field(r->hold, "expect") != NULL;
    r->events = events ? (uint32_t)strtoul(events, NULL, 10) : 0;
    r->chunked = coding != NULL;
    r->left = length && !coding ? strtoull(length, NULL, 10) : 0;
    r->part = coding ? CHUNK_SIZE : LENGTH_BODY;
    return r->chunked || r->left ? REQUEST_MORE : REQUEST_COMPLETE;
}

static size_t feed_head(struct request *r, const char *bytes, size_t len,
                        enum request_verdict *verdict)
{
    size_t before = r->held, room = sizeof r->hold - 1 - before;
    size_t take = len < room ? len : room;
    memcpy(r->hold + before, bytes, take);
    size_t from = before > 3 ? before - 3 : 0;
    char *end = memmem(r->hold + from, before + take - from, "\r\n\r\n", 4);
    if (!end) {
        r->held = before + take;
        if (take == room)
            *verdict = REQUEST_BAD;
        return take;
    }
    r->held = (size_t)(end - r->hold) + 4;
    r->hold[r->held] = 0;
    *verdict = read_head(r);
    return r->held - before;
}

/* ---------------------------------------------------------------- the body */

static void match(struct matcher *m, const char *member, size_t size, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && !m->found; i++) {
        if (m->at == 0) { /* prompts are long: skip to the next quote at memchr's pace */
            const char *quote = memchr(bytes + i, '"', len - i);
            if (!quote)
                return;
            i = (size_t)(quote - bytes);
            m->at = 1;
        } else if (bytes[i] == member[m->at]) {
            m->found = ++m->at == size;
        } else if (member[m->at - 1] != ':' || (bytes[i] != ' ' && bytes[i] != '\n')) {
            m->at = bytes[i] == '"'; /* the member's only repeated prefix is its quote */
        }
    }
}

static void scan_body(struct request *r, const char *bytes, size_t len)
{
    r->received += len;
    match(&r->stream, STREAM_MEMBER, sizeof STREAM_MEMBER - 1, bytes, len);
    match(&r->usage, USAGE_MEMBER, sizeof USAGE_MEMBER - 1, bytes, len);
}

static size_t feed_data(struct request *r, const char *bytes, size_t len,
                        enum request_verdict *verdict)
{
    size_t take = len < r->left ? len : (size_t)r->left;
    scan_body(r, bytes, take);
    r->left -= take;
    if (r->left == 0 && r->part == LENGTH_BODY)
        *verdict = REQUEST_COMPLETE;
    else if (r->left == 0)
        r->part = CHUNK_END;
    return take;
}

static enum request_verdict feed_chunk_line(struct request *r, char c)
{
    int digit = c >= '0' && c <= '9' ? c - '0' : ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
                    ? (c | 0x20) - 'a' + 10 : -1;
    if (r->part == CHUNK_SIZE && digit >= 0) {
        r->left = r->left * 16 + (uint64_t)digit;
    } else if (r->part == CHUNK_SIZE && c == '\n') {
        r->part = r->left ? CHUNK_DATA : TRAILER;
        r->in_trailer = 0;
    } else if (r->part == CHUNK_END && c == '\n') {
        r->part = CHUNK_SIZE;
    } else if (r->part == TRAILER && c == '\n') {
        if (!r->in_trailer) /* an empty line ends the body */
            return REQUEST_COMPLETE;
        r->in_trailer = 0;
    } else if (r->part == TRAILER && c != '\r') {
        r->in_trailer = 1;
    } else if (c != '\r') {
        return REQUEST_BAD;
    }
    return REQUEST_MORE;
}

enum request_verdict request_feed(struct request *r, const char *bytes, size_t *len)
{
    enum request_verdict verdict = REQUEST_MORE;
    size_t at = 0;
    while (at < *len && verdict == REQUEST_MORE) {
        if (r->part == HEAD)
            at += feed_head(r, bytes + at, *len - at, &verdict);
        else if (r->part == LENGTH_BODY || r->part == CHUNK_DATA)
            at += feed_data(r, bytes + at, *len - at, &verdict);
        else
            verdict = feed_chunk_line(r, bytes[at++]);
    }
    *len = at;
    return verdict;
}
