/* The three calls of the hot path, without glibc's additions for processes with threads. Those are
 * two locked instructions, and a pair of calls that make each a cancellation point: unused here.
 * Checked builds keep glibc's: sanitizers watch it, and the fuzzer's faults stand before it. */
#ifndef ZEROPROXY_SYSCALLS_H
#define ZEROPROXY_SYSCALLS_H

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if ZP_DEBUG

static inline ssize_t zp_recv(int fd, void *at, size_t n, int flags) {
    return recv(fd, at, n, flags);
}

static inline ssize_t zp_send(int fd, const void *at, size_t n, int flags) {
    return send(fd, at, n, flags);
}

static inline int zp_epoll_wait(int set, struct epoll_event *events, int max, int timeout) {
    return epoll_wait(set, events, max, timeout);
}

#else

static inline ssize_t zp_recv(int fd, void *at, size_t n, int flags) {
    return syscall(SYS_recvfrom, fd, at, n, flags, NULL, NULL);
}

static inline ssize_t zp_send(int fd, const void *at, size_t n, int flags) {
    return syscall(SYS_sendto, fd, at, n, flags, NULL, 0);
}

/* arm64 has no epoll_wait; the last two: no signal mask, of no size. */
static inline int zp_epoll_wait(int set, struct epoll_event *events, int max, int timeout) {
    return (int)syscall(SYS_epoll_pwait, set, events, max, timeout, NULL, 0);
}

#endif

#endif
