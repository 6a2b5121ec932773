/* Faults by choice, and a clock that the target moves.
 *
 * Note 1. Only what the kernel may really do. A short read or write, or an EAGAIN, promises an
 *         edge-triggered set another report; EPOLL_CTL_MOD brings it about.
 * Note 2. Everything follows from the seed: an input that fails once fails again.
 * Note 3. Without faults_begin nothing fails, without faults_clock the clock is the machine's. */
#define _GNU_SOURCE /* accept4 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { WATCHED = 1024, PER = 1000 };
#define NS_PER_S 1000000000ull

static struct {
    int set;
    struct epoll_event event;
} watched[WATCHED];

static uint64_t seed, now_ns, due_ns;
static unsigned rate;
static int timer = -1;

/* From now on the clock stands, at the same moment each time. */
void faults_clock(void)
{
    now_ns = 1000 * NS_PER_S;
    due_ns = 0;
    timer = -1;
}

/* `n_rate` faults in a thousand calls, from now on. */
void faults_begin(uint64_t n_seed, unsigned n_rate)
{
    seed = n_seed | 1;
    rate = n_rate;
}

void faults_end(void)
{
    rate = 0;
}

/* Time at which the next timer is due; 0: none is armed. */
uint64_t faults_due(void)
{
    return due_ns;
}

uint64_t faults_now(void)
{
    return now_ns;
}

/* Move the clock; a timer that is due becomes readable. */
void faults_advance(uint64_t ns)
{
    struct itimerspec at = {{0, 0}, {0, 1}};
    struct pollfd wait = {timer, POLLIN, 0};
    now_ns += ns;
    if (timer < 0 || due_ns == 0 || now_ns < due_ns)
        return;
    due_ns = 0;
    timerfd_settime(timer, 0, &at, NULL);
    poll(&wait, 1, 1000);
}

static unsigned draw(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 24) % n;
}

static int fails(void)
{
    return rate && draw(PER) < rate;
}

static int with(int error)
{
    errno = error;
    return -1;
}

static void report_again(int fd)
{
    if (fd < WATCHED)
        epoll_ctl(watched[fd].set, EPOLL_CTL_MOD, fd, &watched[fd].event);
}

ssize_t faulty_recv(int fd, void *at, size_t n, int flags)
{
    static const int errors[] = {EINTR, EAGAIN, ECONNRESET, ETIMEDOUT};
    if (at == NULL || n < 2 || !fails())
        return recv(fd, at, n, flags);
    unsigned k = draw(6);
    if (k < 4 && errors[k] != EAGAIN)
        return with(errors[k]);
    report_again(fd);
    return k < 4 ? with(EAGAIN) : recv(fd, at, 1 + draw(n < 64 ? (unsigned)n - 1 : 64), flags);
}

ssize_t faulty_send(int fd, const void *at, size_t n, int flags)
{
    static const int errors[] = {EINTR, ECONNRESET, EPIPE, EAGAIN, ENOBUFS};
    if (n < 2 || !fails())
        return send(fd, at, n, flags);
    unsigned k = draw(8);
    if (k < 3)
        return with(errors[k]);
    report_again(fd);
    return k < 5 ? with(errors[k]) : send(fd, at, 1 + draw(n < 64 ? (unsigned)n - 1 : 64), flags);
}

int faulty_accept4(int fd, struct sockaddr *from, socklen_t *size, int flags)
{
    static const int errors[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNABORTED, EINTR, EPROTO};
    if (fails())
        return with(errors[draw(7)]);
    return accept4(fd, from, size, flags);
}

int faulty_connect(int fd, const struct sockaddr *to, socklen_t size)
{
    static const int errors[] = {ECONNREFUSED, EADDRNOTAVAIL, ENETUNREACH, EAGAIN, ENOENT};
    if (!fails())
        return connect(fd, to, size);
    unsigned k = draw(6);
    if (k < 5)
        return with(errors[k]);
    return connect(fd, to, size) ? -1 : with(EINPROGRESS);
}

int faulty_socket(int domain, int type, int protocol)
{
    static const int errors[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS};
    return fails() ? with(errors[draw(4)]) : socket(domain, type, protocol);
}

int faulty_epoll_ctl(int set, int what, int fd, struct epoll_event *event)
{
    if (what == EPOLL_CTL_ADD) {
        if (fails())
            return with(draw(2) ? ENOMEM : ENOSPC);
        if (fd < WATCHED) {
            watched[fd].set = set;
            watched[fd].event = *event;
        }
    }
    return epoll_ctl(set, what, fd, event);
}

int faulty_epoll_wait(int set, struct epoll_event *events, int max, int timeout)
{
    return fails() ? with(EINTR) : epoll_wait(set, events, max, timeout);
}

int faulty_timerfd_settime(int fd, int flags, const struct itimerspec *due, struct itimerspec *was)
{
    if (now_ns == 0)
        return timerfd_settime(fd, flags, due, was);
    timer = fd;
    due_ns = (uint64_t)due->it_value.tv_sec * NS_PER_S + (uint64_t)due->it_value.tv_nsec;
    return 0;
}

int faulty_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (now_ns == 0)
        return clock_gettime(clock, now);
    now->tv_sec = (time_t)(now_ns / NS_PER_S);
    now->tv_nsec = (long)(now_ns % NS_PER_S);
    return 0;
}

void *faulty_malloc(size_t n)
{
    return fails() ? NULL : malloc(n);
}

void *faulty_aligned_alloc(size_t line, size_t n)
{
    return fails() ? NULL : aligned_alloc(line, n);
}

void *faulty_calloc(size_t n, size_t size)
{
    return fails() ? NULL : calloc(n, size);
}

void *faulty_realloc(void *at, size_t n)
{
    return fails() ? NULL : realloc(at, n);
}
