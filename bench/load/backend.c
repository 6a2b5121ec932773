/* A backend that behaves like a batching inference engine. Every step, all running exchanges get
 * one event each, one HTTP chunk and one send per event. This is the hard case for a proxy: the
 * events of a step come as one burst. `--spread N` deals the exchanges out over N sub-steps.
 *
 * Note 1. Head and first event leave as soon as the request is read (a prefill of no time).
 *         Time to first event measures the proxy, not the distance to the next step.
 * Note 2. Each event carries the clock at its own send.
 * Note 3. A step is never made up for: an engine that is late is slower, and says so (late_steps).
 *
 * usage: backend --listen ADDRESS [--step-ms 20] [--events 200] [--spread 1] [--pad BYTES]
 * SIGTERM prints what was served, as JSON, and ends. */
#define _GNU_SOURCE
#include "net.h"
#include "request.h"
#include "sse.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { BATCH = 512, BLOCK = 65536, SPREAD_MAX = 1000 };

struct conn {
    int fd;
    uint8_t running;          /* an exchange with events is under way */
    uint8_t watches_writable;
    uint32_t asked, sent;     /* events of this exchange */
    struct conn *next, **at;  /* the list of its sub-step */
    char *waiting;            /* owned; bytes the socket could not take; NULL: none */
    size_t waiting_len;
    struct request request;
};

static struct {
    uint64_t requests, exchanges, events, aborted, bad, late_steps, body_bytes;
} served;

static struct conn *running[SPREAD_MAX];
static unsigned spread = 1, pad, turn, next_place;
static uint32_t default_events = 200;
static uint64_t step_ns = 20 * MILLISECOND_NS;
static int epoll;
static char block[BLOCK];
static char is_listener, is_timer, is_signal; /* their addresses tell the three fds apart */

static void list_add(struct conn *conn)
{
    struct conn **head = &running[next_place++ % spread];
    conn->running = 1;
    conn->next = *head;
    conn->at = head;
    if (*head)
        (*head)->at = &conn->next;
    *head = conn;
}

static void list_remove(struct conn *conn)
{
    conn->running = 0;
    *conn->at = conn->next;
    if (conn->next)
        conn->next->at = conn->at;
}

static void close_conn(struct conn *conn)
{
    if (conn->running) {
        list_remove(conn);
        served.aborted++;
    }
    close(conn->fd);
    free(conn->waiting);
    free(conn);
}

static void set_writable(struct conn *conn, int on)
{
    if (conn->watches_writable != on)
        watch(epoll, conn->fd, on ? EPOLLIN | EPOLLOUT : EPOLLIN, conn);
    conn->watches_writable = (uint8_t)on;
}

/* Send now, or keep. Kept bytes are bounded by the size of one exchange. False: lost. */
static int say(struct conn *conn, struct text text)
{
    size_t done = 0;
    if (!conn->waiting) {
        ssize_t sent = send(conn->fd, text.bytes, text.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return 0;
        done = sent < 0 ? 0 : (size_t)sent;
    }
    if (done == text.len)
        return 1;
    conn->waiting = realloc(conn->waiting, conn->waiting_len + text.len - done);
    if (!conn->waiting)
        die("out of memory");
    memcpy(conn->waiting + conn->waiting_len, text.bytes + done, text.len - done);
    conn->waiting_len += text.len - done;
    set_writable(conn, 1);
    return 1;
}

static int flush_waiting(struct conn *conn)
{
    ssize_t sent = send(conn->fd, conn->waiting, conn->waiting_len, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN;
    conn->waiting_len -= (size_t)sent;
    memmove(conn->waiting, conn->waiting + sent, conn->waiting_len);
    if (conn->waiting_len == 0) {
        free(conn->waiting);
        conn->waiting = NULL;
        set_writable(conn, 0);
    }
    return 1;
}

/* False: the conn is at its end. */
static int say_event(struct conn *conn)
{
    int last = conn->sent + 1 == conn->asked;
    served.events++;
    if (!say(conn, sse_event(conn->sent++, last, now_ns())))
        return 0;
    if (!last)
        return 1;
    list_remove(conn);
    int usage = conn->request.usage.found, closes = conn->request.closes;
    request_begin(&conn->request);
    return say(conn, sse_tail(conn->asked, usage)) && !closes;
}

static int answer(struct conn *conn)
{
    struct request *request = &conn->request;
    served.requests++;
    served.body_bytes += request->received;
    if (request_wants_events(request)) {
        served.exchanges++;
        conn->asked = request->events ? request->events : default_events;
        conn->sent = 0;
        list_add(conn);
        return say(conn, sse_head()) && say_event(conn);
    }
    int closes = request->closes;
    struct text text =
        request->on_models ? models_answer(closes) : json_answer(request->received, closes);
    request_begin(request);
    return say(conn, text) && !closes;
}

static int read_request(struct conn *conn)
{
    static const struct text go_on = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
    ssize_t got = recv(conn->fd, block, BLOCK, 0);
    if (got < 0 && errno == EAGAIN)
        return 1;
    if (got <= 0)
        return 0;
    for (size_t at = 0; at < (size_t)got;) {
        size_t len = (size_t)got - at;
        enum request_verdict verdict =
            conn->running ? REQUEST_BAD : request_feed(&conn->request, block + at, &len);
        at += len;
        if (verdict == REQUEST_BAD) { /* malformed, or pipelined behind a running exchange */
            served.bad++;
            return 0;
        }
        if (conn->request.expects) {
            conn->request.expects = 0;
            say(conn, go_on);
        }
        if (verdict == REQUEST_COMPLETE && !answer(conn))
            return 0;
    }
    return 1;
}

static void on_ready(struct conn *conn, uint32_t ready)
{
    int lives = !(ready & EPOLLERR);
    if (lives && ready & EPOLLOUT && conn->waiting)
        lives = flush_waiting(conn);
    if (lives && ready & (EPOLLIN | EPOLLHUP))
        lives = read_request(conn);
    if (!lives)
        close_conn(conn);
}

static void accept_all(int listener)
{
    for (int fd; (fd = accept_from(listener)) >= 0;) {
        struct conn *conn = malloc(sizeof *conn);
        if (!conn)
            die("out of memory");
        memset(conn, 0, offsetof(struct conn, request));
        conn->fd = fd;
        request_begin(&conn->request);
        watch(epoll, fd, EPOLLIN, conn);
    }
}

static void step(int timer)
{
    uint64_t times = 0;
    if (read(timer, &times, sizeof times) != sizeof times)
        return;
    served.late_steps += times - 1;
    for (struct conn *conn = running[turn % spread], *next; conn; conn = next) {
        next = conn->next;
        if (!say_event(conn))
            close_conn(conn);
    }
    turn++;
}

static void report(void)
{
    printf("{\"requests\":%llu,\"exchanges\":%llu,\"events\":%llu,\"aborted\":%llu,\"bad\":%llu,"
           "\"late_steps\":%llu,\"body_bytes\":%llu}\n",
           (unsigned long long)served.requests, (unsigned long long)served.exchanges,
           (unsigned long long)served.events, (unsigned long long)served.aborted,
           (unsigned long long)served.bad, (unsigned long long)served.late_steps,
           (unsigned long long)served.body_bytes);
    exit(0);
}

static int make_timer(void)
{
    uint64_t period = step_ns / spread;
    struct timespec t = {(time_t)(period / SECOND_NS), (long)(period % SECOND_NS)};
    struct itimerspec every = {t, t};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    timerfd_settime(fd, 0, &every, NULL);
    return fd;
}

static int make_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Steps come after the reports of a batch: a step may close conns that the batch still names. */
static void serve(int listener, int timer)
{
    struct epoll_event batch[BATCH];
    for (;;) {
        int n = epoll_wait(epoll, batch, BATCH, -1), due = 0;
        for (int i = 0; i < n; i++) {
            void *what = batch[i].data.ptr;
            if (what == &is_listener)
                accept_all(listener);
            else if (what == &is_timer)
                due = 1;
            else if (what == &is_signal)
                report();
            else
                on_ready(what, batch[i].events);
        }
        if (due)
            step(timer);
    }
}

static const char *read_options(int argc, char **argv)
{
    const char *listen = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--listen"))
            listen = argv[i + 1];
        else if (!strcmp(argv[i], "--step-ms"))
            step_ns = number_option(argv[i + 1]) * MILLISECOND_NS;
        else if (!strcmp(argv[i], "--events"))
            default_events = (uint32_t)number_option(argv[i + 1]);
        else if (!strcmp(argv[i], "--spread"))
            spread = (unsigned)number_option(argv[i + 1]);
        else if (!strcmp(argv[i], "--pad"))
            pad = (unsigned)number_option(argv[i + 1]);
        else
            die("unknown option: %s", argv[i]);
    }
    int sound = step_ns && default_events && spread >= 1 && spread <= SPREAD_MAX && pad <= PAD_MAX;
    if (!listen || !sound || argc % 2 == 0)
        die("usage: backend --listen ADDRESS [--step-ms 20] [--events 200] [--spread 1]"
            " [--pad 0..%d]", PAD_MAX);
    return listen;
}

int main(int argc, char **argv)
{
    struct address here = parse_address(read_options(argc, argv));
    raise_nofile();
    sse_prepare((int)pad);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(&here), timer = make_timer();
    watch(epoll, listener, EPOLLIN, &is_listener);
    watch(epoll, timer, EPOLLIN, &is_timer);
    watch(epoll, make_signal(), EPOLLIN, &is_signal);
    serve(listener, timer);
}
