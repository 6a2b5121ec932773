/* The generator's own words: options, what is counted, one conn. */
#ifndef BENCH_GENERATOR_H
#define BENCH_GENERATOR_H

#include "hist.h"
#include "net.h"
#include "response.h"

enum mode {
    MODE_STREAMS,  /* every conn runs exchanges with events, one after the other */
    MODE_REQUESTS, /* JSON answers, kept-alive conns */
    MODE_CONNECTS, /* JSON answers, a new conn for each */
    MODE_IDLE,     /* one JSON answer per conn, then silence */
};

enum { PIDS_MAX = 64 };

struct options {
    struct address target;
    enum mode mode;
    uint32_t conns, events;
    double seconds, warmup, ramp, stall;
    int even;            /* first exchanges are as long as all others */
    uint32_t leave;      /* hang up after so many events of an exchange; 0: never */
    uint64_t rate;       /* requests per second over all conns; 0: as fast as answers come */
    uint64_t lives;      /* exchanges per conn, then the end; 0: run for `seconds` */
    size_t body;         /* bytes of the request body, at least */
    int tls;             /* speak TLS; no certificate is verified */
    int usage, hold;     /* ask for a usage event; go on after the window until stdin ends */
    int pids[PIDS_MAX], n_pids; /* processes whose CPU time is read at both ends of the window */
};

struct counts { /* of one window */
    uint64_t events, requests, bytes_in, bytes_out, conns_made;
    uint64_t failures[FAIL_COUNT];
    struct hist first_event, answer, delay, gap;
};

struct conn {
    int fd;                  /* -1: down, comes back at reopen_ns */
    void *tls;               /* NULL: in the clear */
    uint8_t connected, busy, watches_writable, spent;
    uint8_t awaits_turn;
    uint8_t staggered;       /* its first exchange, which is shorter, is behind it */
    uint64_t reopen_ns, asked_ns, progress_ns, last_event_ns, lives;
    size_t sent;             /* of the request */
    size_t len;              /* of the request, head and body */
    size_t head_len;
    char head[640];
    struct response response;
};

struct window { /* what the report says beside the counts */
    uint64_t from_ns, to_ns, cpu_ns[PIDS_MAX], own_cpu_ns;
    uint64_t warmup_failures, not_answered; /* conns that never had an answer at the start */
};

extern struct options options;
void read_options(int argc, char **argv);
uint64_t cpu_of(int pid); /* user and system CPU time of a process, exact; 0: it is gone */
void print_report(const struct counts *counts, const struct window *window);

#endif
