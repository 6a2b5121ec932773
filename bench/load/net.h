/* Parts that the programs of the bench share: addresses, non-blocking sockets, the clock, the end.
 *
 * Note 1. Every socket made here is non-blocking, close-on-exec and, on TCP, TCP_NODELAY.
 * Note 2. Set-up errors end the program with a message (die); what a peer does never ends it. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define SECOND_NS 1000000000ull
#define MILLISECOND_NS 1000000ull

struct address { /* "HOST:PORT" with a numeric IPv4 host, or "unix:/path" */
    struct sockaddr_storage storage;
    socklen_t len;
};

uint64_t now_ns(void); /* CLOCK_MONOTONIC: the same clock in every process of the machine */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
struct address parse_address(const char *text);
int listen_on(const struct address *address);
int accept_from(int listener);                  /* -1: none waits, or it could not be taken */
int connect_to(const struct address *address);  /* -1: refused at once */
void watch(int epoll, int fd, uint32_t ready, void *data);
void raise_nofile(void);                        /* RLIMIT_NOFILE up to the hard limit */
uint64_t number_option(const char *text);

#endif
