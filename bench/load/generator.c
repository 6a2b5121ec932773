/* A closed-loop caller. Every conn has at most one request under way, every response is checked to
 * its last byte (response.c). Every event is timed against the clock the backend wrote into it.
 *
 * Note 1. Warm-up is not measured: counts begin at `open` and end at `closed`. Failures after
 *         `closed` still count; those before `open` are reported apart.
 * Note 2. CPU times are read by this program at the same two instants as its counts.
 * Note 3. First exchanges are of different lengths, so that later ends and beginnings are spread
 *         evenly. Events stay in step: that is the backend's doing.
 * Note 4. A conn that failed comes back after a pause: a dead target is not hammered. */
#define _GNU_SOURCE
#include "generator.h"
#include "secure.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 512, BLOCK = 65536, PAUSE_MS = 100, TICK_MS = 1, IDLE_TICK_MS = 20 };

static struct conn *conns;
static uint32_t n_down, n_spent;
static uint32_t *ready_conns, first_ready, n_ready; /* a ring: conns that await their turn (rate) */
static char block[BLOCK], *body;
static size_t body_len;
static struct counts live;
static struct window window;
static uint64_t paced_from_ns, paced;
static int epoll, ended;

static uint64_t to_ns(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

/* ---------------------------------------------------------------- requests */

static void on_event(void *owner, uint64_t stamp_ns);

static void make_body(void)
{
    char members[256];
    int events = options.mode == MODE_STREAMS;
    snprintf(members, sizeof members,
             "{\"model\":\"bench/model-8b-instruct\",\"max_tokens\":256,\"temperature\":0.7,"
             "\"stream\":%s,%s\"messages\":[{\"role\":\"user\",\"content\":\"",
             events ? "true" : "false",
             events && options.usage ? "\"stream_options\":{\"include_usage\":true}," : "");
    size_t len = strlen(members), least = len + 256;
    body_len = options.body > least ? options.body : least;
    body = malloc(body_len);
    if (!body)
        die("out of memory");
    memcpy(body, members, len);
    for (size_t at = len; at < body_len; at++)
        body[at] = "why does the relay wait "[at % 24];
    memcpy(body + body_len - 4, "\"}]}", 4);
}

static uint32_t events_of(const struct conn *conn)
{
    uint64_t place = (uint64_t)(conn - conns) + 1;
    uint64_t part = options.events * place / options.conns;
    uint64_t events = conn->staggered || options.even ? options.events : part;
    return events ? (uint32_t)events : 1;
}

static void make_request(struct conn *conn)
{
    struct expect expect = {.received = body_len};
    char asked[32] = "";
    if (options.mode == MODE_STREAMS) {
        expect.events = events_of(conn);
        expect.usage = (uint8_t)options.usage;
        snprintf(asked, sizeof asked, "x-events: %u\r\n", expect.events);
    }
    conn->head_len = (size_t)snprintf(
        conn->head, sizeof conn->head,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: engine.test\r\nAccept: */*\r\n"
        "User-Agent: OpenAI/Python 2.0.0\r\nAuthorization: Bearer sk-bench-0123456789abcdef\r\n"
        "Content-Type: application/json\r\n%s%sContent-Length: %zu\r\n\r\n",
        asked, options.mode == MODE_CONNECTS ? "Connection: close\r\n" : "", body_len);
    conn->len = conn->head_len + body_len;
    conn->sent = 0;
    response_begin(&conn->response, expect);
    conn->response.owner = conn;
    conn->response.on_event = on_event;
}

/* ---------------------------------------------------------------- one conn */

static void go_down(struct conn *conn, uint64_t pause_ns)
{
    secure_close(conn->tls);
    conn->tls = NULL;
    close(conn->fd);
    conn->fd = -1;
    conn->busy = conn->connected = 0;
    conn->reopen_ns = now_ns() + pause_ns;
    n_down++;
}

static void fail(struct conn *conn, enum failure why)
{
    live.failures[why]++;
    go_down(conn, PAUSE_MS * MILLISECOND_NS);
}

static void lose(struct conn *conn)
{
    if (!conn->connected)
        fail(conn, FAIL_CONNECT);
    else if (conn->busy)
        fail(conn, response_begun(&conn->response) ? FAIL_CUT : FAIL_UNANSWERED);
    else if (options.mode == MODE_IDLE)
        fail(conn, FAIL_IDLE_CLOSED);
    else
        go_down(conn, 0); /* a kept-alive conn may be closed between requests */
}

static void watch_conn(struct conn *conn, int writable)
{
    if (conn->watches_writable != writable)
        watch(epoll, conn->fd, writable ? EPOLLIN | EPOLLOUT : EPOLLIN, conn);
    conn->watches_writable = (uint8_t)writable;
}

static void send_request(struct conn *conn)
{
    while (conn->sent < conn->len) {
        size_t in_head = conn->sent < conn->head_len ? conn->head_len - conn->sent : 0;
        size_t at = in_head ? 0 : conn->sent - conn->head_len;
        struct iovec parts[2] = {{conn->head + conn->sent, in_head}, {body + at, body_len - at}};
        ssize_t sent = wire_send(conn->fd, conn->tls, parts + !in_head, in_head ? 2 : 1);
        if (sent < 0 && errno != EAGAIN) {
            lose(conn);
            return;
        }
        if (sent < 0)
            break;
        conn->sent += (size_t)sent;
        live.bytes_out += (uint64_t)sent;
    }
    conn->progress_ns = now_ns();
    /* In a handshake it is the peer who is waited for: what it says begins the next try. */
    watch_conn(conn, conn->sent < conn->len && !(conn->tls && !conn->sent));
}

static void begin(struct conn *conn)
{
    make_request(conn);
    conn->busy = 1;
    conn->last_event_ns = 0;
    if (conn->connected) { /* a new conn is timed from its connect */
        conn->asked_ns = now_ns();
        send_request(conn);
    }
}

static void open_conn(struct conn *conn)
{
    n_down--;
    conn->asked_ns = conn->progress_ns = now_ns();
    conn->fd = connect_to(&options.target);
    if (conn->fd < 0) {
        conn->reopen_ns = now_ns() + PAUSE_MS * MILLISECOND_NS;
        n_down++;
        live.failures[FAIL_CONNECT]++;
        return;
    }
    conn->connected = conn->watches_writable = 0;
    conn->tls = options.tls ? secure_open(conn->fd) : NULL;
    live.conns_made++;
    watch_conn(conn, 1);
    begin(conn);
}

static void on_event(void *owner, uint64_t stamp_ns)
{
    struct conn *conn = owner;
    uint64_t now = conn->progress_ns; /* taken when these bytes were received */
    live.events++;
    hist_add(&live.delay, now > stamp_ns ? now - stamp_ns : 0);
    if (conn->last_event_ns)
        hist_add(&live.gap, now - conn->last_event_ns);
    else
        hist_add(&live.first_event, now - conn->asked_ns);
    conn->last_event_ns = now;
}

static void await_turn(struct conn *conn)
{
    if (conn->awaits_turn) /* a conn that went down and came back keeps its place */
        return;
    conn->awaits_turn = 1;
    ready_conns[(first_ready + n_ready++) % options.conns] = (uint32_t)(conn - conns);
}

static struct conn *next_turn(void)
{
    struct conn *conn = &conns[ready_conns[first_ready]];
    first_ready = (first_ready + 1) % options.conns;
    n_ready--;
    conn->awaits_turn = 0;
    return conn;
}

static void complete(struct conn *conn)
{
    live.requests++;
    hist_add(&live.answer, conn->progress_ns - conn->asked_ns);
    conn->busy = 0;
    conn->staggered = 1;
    conn->lives++;
    if (options.lives && conn->lives == options.lives) {
        conn->spent = 1;
        n_spent++;
    } else if (options.mode == MODE_CONNECTS) {
        return; /* the peer was asked to close and has to: lose() opens the next one */
    } else if (conn->response.closes) {
        go_down(conn, 0);
    } else if (options.rate) {
        await_turn(conn);
    } else if (options.mode != MODE_IDLE) {
        begin(conn);
    }
}

/* An answer that the caller did not wait for is no failure: it counts as a request. */
static void leave(struct conn *conn)
{
    live.requests++;
    conn->staggered = 1;
    go_down(conn, 0);
}

static void receive(struct conn *conn)
{
    ssize_t got = wire_recv(conn->fd, conn->tls, block, BLOCK);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        lose(conn);
        return;
    }
    conn->progress_ns = now_ns();
    live.bytes_in += (uint64_t)got;
    if (!conn->busy) {
        fail(conn, FAIL_SURPLUS);
        return;
    }
    enum verdict verdict = response_feed(&conn->response, block, (size_t)got);
    if (verdict == RESPONSE_BAD)
        fail(conn, (enum failure)conn->response.failure);
    else if (verdict == RESPONSE_COMPLETE)
        complete(conn);
    else if (options.leave && conn->response.events >= options.leave)
        leave(conn);
}

static void on_ready(struct conn *conn, uint32_t ready)
{
    if (conn->fd < 0 || conn->spent)
        return;
    if (ready & EPOLLERR || (ready & EPOLLHUP && !(ready & EPOLLIN))) {
        lose(conn);
        return;
    }
    if (ready & EPOLLOUT) {
        conn->connected = 1;
        send_request(conn);
    }
    if (ready & (EPOLLIN | EPOLLHUP) && conn->fd >= 0)
        receive(conn);
    if (conn->tls && conn->busy && !conn->sent)
        send_request(conn);
}

/* ---------------------------------------------------------------- time */

static void reopen_due(uint64_t now)
{
    for (uint32_t i = 0; i < options.conns && n_down; i++)
        if (conns[i].fd < 0 && conns[i].reopen_ns <= now)
            open_conn(&conns[i]);
}

/* A target that falls behind is not chased. Requests without a free conn are lost to the rate, as
 * the report's requests per second show. */
static void send_paced(uint64_t now)
{
    uint64_t due = (now - paced_from_ns) * options.rate / SECOND_NS;
    while (paced < due && n_ready) {
        struct conn *conn = next_turn();
        if (conn->fd >= 0 && !conn->busy)
            begin(conn);
        paced++;
    }
    if (paced < due)
        paced = due;
}

static void open_window(uint64_t now)
{
    for (int kind = 0; kind < FAIL_COUNT; kind++)
        window.warmup_failures += live.failures[kind];
    for (uint32_t i = 0; i < options.conns; i++)
        window.not_answered += !conns[i].lives && !response_begun(&conns[i].response);
    memset(&live, 0, sizeof live);
    window.from_ns = now;
    for (int i = 0; i < options.n_pids; i++)
        window.cpu_ns[i] = cpu_of(options.pids[i]);
    window.own_cpu_ns = cpu_of(getpid());
    printf("open\n");
    fflush(stdout);
}

static struct counts close_window(uint64_t now)
{
    for (int i = 0; i < options.n_pids; i++)
        window.cpu_ns[i] = cpu_of(options.pids[i]) - window.cpu_ns[i];
    window.own_cpu_ns = cpu_of(getpid()) - window.own_cpu_ns;
    window.to_ns = now;
    uint64_t patience = to_ns(options.stall);
    for (uint32_t i = 0; i < options.conns; i++)
        if (conns[i].fd >= 0 && (conns[i].busy || options.mode == MODE_CONNECTS)
            && now - conns[i].progress_ns > patience)
            live.failures[FAIL_STALLED]++;
    printf("closed\n");
    fflush(stdout);
    return live;
}

static void run_until(uint64_t end_ns)
{
    struct epoll_event batch[BATCH];
    for (uint64_t now = now_ns(); now < end_ns && !ended; now = now_ns()) {
        if (n_down)
            reopen_due(now);
        if (options.rate)
            send_paced(now);
        if (options.lives && n_spent == options.conns)
            return;
        uint64_t left_ms = (end_ns - now) / MILLISECOND_NS + 1;
        uint64_t tick = n_down || options.rate ? TICK_MS : IDLE_TICK_MS;
        int n = epoll_wait(epoll, batch, BATCH, (int)(left_ms < tick ? left_ms : tick));
        for (int i = 0; i < n; i++) {
            if (batch[i].data.ptr)
                on_ready(batch[i].data.ptr, batch[i].events);
            else
                ended = 1; /* standard input */
        }
    }
}

static void prepare(void)
{
    conns = calloc(options.conns, sizeof *conns);
    ready_conns = calloc(options.conns, sizeof *ready_conns);
    if (!conns || !ready_conns)
        die("out of memory");
    make_body();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t now = now_ns();
    paced_from_ns = now;
    for (uint32_t i = 0; i < options.conns; i++) {
        conns[i].fd = -1;
        conns[i].reopen_ns = now + to_ns(options.ramp) * i / options.conns;
    }
    n_down = options.conns;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    read_options(argc, argv);
    raise_nofile();
    if (options.tls)
        secure_load();
    prepare();
    if (!options.lives)
        run_until(now_ns() + to_ns(options.warmup));
    open_window(now_ns());
    run_until(now_ns() + to_ns(options.seconds));
    struct counts counts = close_window(now_ns());
    if (options.hold) {
        watch(epoll, STDIN_FILENO, EPOLLIN, NULL);
        run_until(UINT64_MAX);
    }
    for (int kind = 0; kind < FAIL_COUNT; kind++)
        counts.failures[kind] = live.failures[kind];
    print_report(&counts, &window);
    return 0;
}
