/* Callers and an endpoint, moved by a script of bytes.
 *
 * Every request has a tag, a byte of 0x80 or more that also stands in its path behind a mark ("~"
 * and two hex digits). Every body, of a request or a response, consists of it. So all bytes that
 * come show their owner: nothing may reach another caller, come twice, or come from nowhere. */
#define _GNU_SOURCE /* accept4 */
#include "script.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "demand.h"

static const char END_OF_HEAD[] = "\r\n\r\n";

static int listen_somewhere(char *name, int *size)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t n = sizeof(at);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* A bare family: the kernel finds a free abstract name. */
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(sa_family_t)) || listen(fd, SERVED))
        return -1;
    if (getsockname(fd, (struct sockaddr *)&at, &n))
        return -1;
    memcpy(name, &at, n);
    *size = (int)n;
    return fd;
}

static void forget(Peer *p)
{
    if (p->fd > 0)
        close(p->fd);
    memset(p, 0, sizeof(*p));
    p->fd = -1;
}

int world_begin(World *w)
{
    if (w->up_size == 0) {
        w->up_fd = listen_somewhere(w->up_name, &w->up_size);
        w->down_fd = listen_somewhere(w->down_name, &w->down_size);
        if (w->up_fd < 0 || w->down_fd < 0)
            return -1;
    }
    for (int i = 0; i < CALLERS; i++)
        forget(&w->callers[i]);
    for (int i = 0; i < SERVED; i++)
        forget(&w->served[i]);
    w->n_tags = 0;
    memset(w->sent_up, 0, sizeof(w->sent_up));
    memset(w->sent_down, 0, sizeof(w->sent_down));
    memset(w->reached, 0, sizeof(w->reached));
    return 0;
}

void world_end(World *w)
{
    int listeners[] = {w->up_fd, w->down_fd};
    for (int i = 0; i < CALLERS; i++)
        forget(&w->callers[i]);
    for (int i = 0; i < SERVED; i++)
        forget(&w->served[i]);
    for (int i = 0; i < 2; i++)
        for (int fd; (fd = accept(listeners[i], NULL, NULL)) >= 0;)
            close(fd);
}

/* ---------------------------------------------------------------- writing */

static void queue_bytes(Peer *p, const char *at, size_t n)
{
    if (p->begin == p->end)
        p->begin = p->end = 0;
    if (p->end + n > ROOM)
        return;
    memcpy(p->out + p->end, at, n);
    p->end += n;
}

static void queue_text(Peer *p, const char *text)
{
    queue_bytes(p, text, strlen(text));
}

static void queue_tag(Peer *p, int tag, size_t n)
{
    char body[512];
    memset(body, FIRST_TAG + tag, n);
    queue_bytes(p, body, n);
}

static void push(Peer *p, size_t n)
{
    if (n > p->end - p->begin)
        n = p->end - p->begin;
    ssize_t sent = n ? send(p->fd, p->out + p->begin, n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (sent > 0)
        p->begin += (size_t)sent;
}

static void ask(World *w, Peer *p, int how)
{
    static const char *const heads[] = {
        "GET /~%02x HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /~%02x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
        "POST /~%02x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
        "POST /~%02x/v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
        "GET /~%02x HTTP/1.0\r\n\r\n",
        "POST /~%02x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n",
        "GET /~%02x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /~%02x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    };
    static const char json[] = "{\"stream\":true,\"model\":\"m\",\"prompt\":\"";
    char head[256];
    int kind = how & 7, tag = w->n_tags, n = how >> 3 ? (how >> 3) * 15 : 0;
    /* Behind an upgrade there are no requests any more, only bytes. */
    if (tag == TAGS || ROOM - p->end < 2048 || p->has_upgraded)
        return;
    p->has_upgraded = kind == 6;
    int has_body = kind == 1 || kind == 2 || kind == 3 || kind == 5;
    int length = kind == 3 ? n + (int)sizeof(json) - 1 + 2 : n;
    if (kind == 2 && n == 0)
        length = n = 1;
    snprintf(head, sizeof(head), heads[kind], tag, length);
    queue_text(p, head);
    if (kind == 3)
        queue_text(p, json);
    if (has_body)
        queue_tag(p, tag, (size_t)n);
    queue_text(p, kind == 2 ? "\r\n0\r\n\r\n" : kind == 3 ? "\"}" : "");
    w->sent_up[tag] = has_body ? (uint32_t)n : 0;
    p->requested[tag] = 1;
    w->n_tags++;
}

static void queue_event(Peer *p, int tag, size_t n)
{
    static const char before[] = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"";
    static const char behind[] = "\"}}]}\n\n";
    char head[16];
    snprintf(head, sizeof(head), "%zx\r\n", sizeof(before) + sizeof(behind) - 2 + n);
    queue_text(p, head);
    queue_text(p, before);
    queue_tag(p, tag, n);
    queue_text(p, behind);
    queue_text(p, "\r\n");
}

static uint32_t queue_events(Peer *p, int tag, size_t n)
{
    static const char last[] = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                               "\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    char head[16];
    queue_text(p, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n");
    queue_event(p, tag, n);
    queue_event(p, tag, n);
    if (n & 1)
        return 2 * (uint32_t)n;
    snprintf(head, sizeof(head), "%zx\r\n", sizeof(last) - 1);
    queue_text(p, head);
    queue_text(p, last);
    queue_text(p, "\r\n0\r\n\r\n");
    return 2 * (uint32_t)n;
}

/* Bytes of the tag that were written; the rest of the answer follows or never comes. */
static uint32_t answer(Peer *p, int tag, int how)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: %x%d\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
        "",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    };
    char head[128];
    int kind = how & 7, n = (how >> 3) * 15;
    int has_body = kind == 0 || kind == 1 || kind == 3 || kind == 7;
    if (ROOM - p->end < 2048)
        return 0;
    if (kind == 2)
        return queue_events(p, tag, (size_t)n / 2);
    if (kind == 1 && n == 0)
        n = 1;
    if (kind == 0)
        snprintf(head, sizeof(head), heads[kind], 0, n);
    else
        snprintf(head, sizeof(head), heads[kind], n);
    queue_text(p, head);
    if (has_body)
        queue_tag(p, tag, (size_t)n);
    if (kind == 1)
        queue_text(p, "\r\n0\r\n\r\n");
    if (kind != 5)
        p->has_head = 0;
    return has_body ? (uint32_t)n : 0;
}

/* ---------------------------------------------------------------- reading */

static void read_caller(World *w, Peer *p, uint8_t c)
{
    int tag = c - FIRST_TAG;
    if (c < FIRST_TAG)
        return;
    demand(tag < TAGS && p->requested[tag]);
    demand(p->tag <= tag);
    p->tag = tag;
    p->got[tag]++;
    demand(p->got[tag] <= w->sent_down[tag]);
}

/* The mark "~hh" begins a request; the end of its head follows. */
static void read_head(World *w, Peer *p, uint8_t c)
{
    static const char digits[] = "0123456789abcdef";
    const char *digit = strchr(digits, c);
    if (p->seen < 0) {
        demand(digit && c);
        p->tag = p->tag * 16 + (int)(digit - digits);
        if (++p->seen == 0) {
            demand(p->tag < w->n_tags);
            w->reached[p->tag] = 1;
            p->got[p->tag] = 0;
        }
    } else if (c == '~') {
        p->seen = -2;
        p->tag = 0;
    } else {
        p->seen = c == END_OF_HEAD[p->seen] ? p->seen + 1 : c == '\r';
        if (p->seen == 4) {
            p->seen = 0;
            p->has_head = 1;
        }
    }
}

static void read_served(World *w, Peer *p, uint8_t c)
{
    if (c < FIRST_TAG) {
        read_head(w, p, c);
        return;
    }
    demand(c - FIRST_TAG == p->tag);
    p->got[p->tag]++;
    demand(p->got[p->tag] <= w->sent_up[p->tag]);
}

static int receive(World *w, Peer *p, size_t n, void (*each)(World *, Peer *, uint8_t))
{
    uint8_t data[4096];
    if (p->fd < 0)
        return 0;
    ssize_t got = recv(p->fd, data, n < sizeof(data) ? n : sizeof(data), MSG_DONTWAIT);
    for (ssize_t i = 0; i < got; i++)
        each(w, p, data[i]);
    return got > 0;
}

void world_read_all(World *w)
{
    for (int i = 0; i < CALLERS; i++)
        while (receive(w, &w->callers[i], 4096, read_caller)) {
        }
    for (int i = 0; i < SERVED; i++)
        while (receive(w, &w->served[i], 4096, read_served)) {
        }
}

/* ---------------------------------------------------------------- steps */

static void open_caller(World *w, Peer *p)
{
    if (p->fd >= 0)
        return;
    p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(p->fd, (struct sockaddr *)w->down_name, (socklen_t)w->down_size))
        forget(p);
}

static void accept_one(World *w)
{
    for (int i = 0; i < SERVED; i++)
        if (w->served[i].fd < 0) {
            w->served[i].fd = accept4(w->up_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            return;
        }
}

static void serve(World *w, Peer *p, int how)
{
    if (p->fd < 0 || !p->has_head)
        return;
    uint32_t n = answer(p, p->tag, how);
    /* An interim answer and the final one belong to one request. */
    if (n > w->sent_down[p->tag])
        w->sent_down[p->tag] = n;
}

static size_t some(uint8_t how)
{
    static const size_t sizes[] = {1, 2, 7, 30, 64, 200, 1000, ROOM};
    return sizes[how & 7];
}

void world_step(World *w, uint8_t what, uint8_t how)
{
    Peer *caller = &w->callers[how >> 6];
    Peer *served = &w->served[(how >> 3) % SERVED];
    switch (what & 15) {
    case 0: case 1: open_caller(w, caller); ask(w, caller, how & 63); break;
    case 2: if (caller->fd >= 0) push(caller, ROOM); break;
    case 3: if (caller->fd >= 0) push(caller, some(how)); break;
    case 4: receive(w, caller, some(how), read_caller); break;
    case 5: if (caller->fd >= 0) shutdown(caller->fd, SHUT_WR); break;
    case 6: forget(caller); break;
    case 7: accept_one(w); break;
    case 8: receive(w, served, some(how), read_served); break;
    case 9: receive(w, &w->served[(what >> 4) % SERVED], ROOM, read_served);
            serve(w, &w->served[(what >> 4) % SERVED], how); break;
    case 10: if (served->fd >= 0) push(served, ROOM); break;
    case 11: if (served->fd >= 0) push(served, some(how)); break;
    case 12: forget(served); break;
    default: break;
    }
}
