/* The floor: the least a relay can do. One recv and one send per event, no HTTP, one upstream
 * conn per downstream conn, epoll edge-triggered. A proxy that costs less than this cheats;
 * costs above it are its own doing.
 *
 * Note 1. Each fd is registered once, IN|OUT|RDHUP, edge-triggered; there is no epoll_ctl per event.
 * Note 2. A short read means drained: there is no second recv just to hear EAGAIN.
 * Note 3. While bytes wait for one side, the other side is not read: at most one block per side.
 *
 * usage: relay --listen ADDRESS --upstream ADDRESS */
#define _GNU_SOURCE
#include "net.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BLOCK = 65536, BATCH = 512 };

struct side {
    int fd;
    uint8_t connected, closing; /* closing: the peer is gone, close when `waiting` has left */
    uint8_t ended;              /* epoll said RDHUP: read on until recv says 0 */
    struct side *peer;
    char *waiting;              /* owned; bytes that this fd could not take; NULL: none */
    size_t waiting_at, waiting_len;
    struct pair *pair;
};

struct pair {
    struct side downstream, upstream;
    int dead;
    struct pair *next_dead; /* freed after the batch: later reports of it may still point here */
};

static char block[BLOCK];
static struct pair *graveyard;
static int epoll;

static void close_pair(struct pair *pair)
{
    if (pair->dead)
        return;
    pair->dead = 1;
    close(pair->downstream.fd);
    close(pair->upstream.fd);
    pair->next_dead = graveyard;
    graveyard = pair;
}

static void bury(void)
{
    while (graveyard) {
        struct pair *pair = graveyard;
        graveyard = pair->next_dead;
        free(pair->downstream.waiting);
        free(pair->upstream.waiting);
        free(pair);
    }
}

static void end_side(struct side *from)
{
    if (from->peer->waiting)
        from->peer->closing = 1;
    else
        close_pair(from->pair);
}

/* Send, or keep what could not be sent. False: the conn is lost. */
static int push(struct side *to, const char *bytes, size_t len)
{
    ssize_t sent = send(to->fd, bytes, len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return 0;
    size_t done = sent < 0 ? 0 : (size_t)sent;
    if (done < len) {
        to->waiting = malloc(len - done);
        if (!to->waiting)
            die("out of memory");
        memcpy(to->waiting, bytes + done, len - done);
        to->waiting_at = 0;
        to->waiting_len = len - done;
    }
    return 1;
}

static void pump(struct side *from)
{
    struct side *to = from->peer;
    /* A full block each turn means an upload. There is no fairness to keep beyond the socket
     * buffer: edge-triggered epoll would not report the rest again. */
    while (to->connected && !to->waiting) {
        ssize_t got = recv(from->fd, block, BLOCK, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            end_side(from);
            return;
        }
        if (!push(to, block, (size_t)got)) {
            close_pair(from->pair);
            return;
        }
        if (got < BLOCK && !from->ended)
            return;
    }
}

static int flush_waiting(struct side *side)
{
    while (side->waiting) {
        size_t left = side->waiting_len - side->waiting_at;
        ssize_t sent = send(side->fd, side->waiting + side->waiting_at, left, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN;
        side->waiting_at += (size_t)sent;
        if (side->waiting_at == side->waiting_len) {
            free(side->waiting);
            side->waiting = NULL;
        }
    }
    return 1;
}

static void on_writable(struct side *side)
{
    int resumed = side->waiting || !side->connected;
    side->connected = 1;
    if (!flush_waiting(side) || (side->closing && !side->waiting))
        close_pair(side->pair);
    else if (resumed && !side->waiting)
        pump(side->peer);
}

static void on_ready(struct side *side, uint32_t ready)
{
    if (ready & EPOLLRDHUP)
        side->ended = 1;
    if (ready & (EPOLLERR | EPOLLHUP)) {
        if (ready & EPOLLERR || !side->connected) {
            close_pair(side->pair);
            return;
        }
        side->ended = 1;
    }
    if (ready & EPOLLOUT && (side->waiting || !side->connected))
        on_writable(side);
    if (ready & (EPOLLIN | EPOLLRDHUP) && !side->pair->dead)
        pump(side);
}

static void accept_all(int listener, const struct address *upstream)
{
    const uint32_t both = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    for (int fd; (fd = accept_from(listener)) >= 0;) {
        struct pair *pair = calloc(1, sizeof *pair);
        if (!pair)
            die("out of memory");
        int up = connect_to(upstream);
        if (up < 0) {
            close(fd);
            free(pair);
            continue;
        }
        pair->downstream =
            (struct side){.fd = fd, .connected = 1, .peer = &pair->upstream, .pair = pair};
        pair->upstream = (struct side){.fd = up, .peer = &pair->downstream, .pair = pair};
        watch(epoll, fd, both, &pair->downstream);
        watch(epoll, up, both, &pair->upstream);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5 || strcmp(argv[1], "--listen") || strcmp(argv[3], "--upstream"))
        die("usage: relay --listen ADDRESS --upstream ADDRESS");
    struct address here = parse_address(argv[2]), upstream = parse_address(argv[4]);
    signal(SIGPIPE, SIG_IGN);
    raise_nofile();
    int listener = listen_on(&here);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, listener, EPOLLIN, NULL);
    struct epoll_event batch[BATCH];
    for (;;) {
        int n = epoll_wait(epoll, batch, BATCH, -1);
        for (int i = 0; i < n; i++) {
            struct side *side = batch[i].data.ptr;
            if (!side)
                accept_all(listener, &upstream);
            else if (!side->pair->dead)
                on_ready(side, batch[i].events);
        }
        bury();
    }
}
