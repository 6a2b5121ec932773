/* Included in front of every compiled file of the data plane, in the fuzzing build only. The calls
 * below go to faults.c, which lets some of them fail as the kernel and the allocator may. */
#ifndef ZP_FAULTS_H
#define ZP_FAULTS_H

#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN
#endif
#include <Python.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

ssize_t faulty_recv(int fd, void *at, size_t n, int flags);
ssize_t faulty_send(int fd, const void *at, size_t n, int flags);
int faulty_accept4(int fd, struct sockaddr *from, socklen_t *size, int flags);
int faulty_connect(int fd, const struct sockaddr *to, socklen_t size);
int faulty_socket(int domain, int type, int protocol);
int faulty_epoll_ctl(int set, int what, int fd, struct epoll_event *event);
int faulty_epoll_wait(int set, struct epoll_event *events, int max, int timeout);
int faulty_timerfd_settime(int fd, int flags, const struct itimerspec *due, struct itimerspec *was);
int faulty_clock_gettime(clockid_t clock, struct timespec *now);
void *faulty_malloc(size_t n);
void *faulty_calloc(size_t n, size_t size);
void *faulty_aligned_alloc(size_t line, size_t n);
void *faulty_realloc(void *at, size_t n);

#define recv(...) faulty_recv(__VA_ARGS__)
#define send(...) faulty_send(__VA_ARGS__)
#define accept4(...) faulty_accept4(__VA_ARGS__)
#define connect(...) faulty_connect(__VA_ARGS__)
#define socket(...) faulty_socket(__VA_ARGS__)
#define epoll_ctl(...) faulty_epoll_ctl(__VA_ARGS__)
#define epoll_wait(...) faulty_epoll_wait(__VA_ARGS__)
#define timerfd_settime(...) faulty_timerfd_settime(__VA_ARGS__)
#define clock_gettime(...) faulty_clock_gettime(__VA_ARGS__)
#define malloc(n) faulty_malloc(n)
#define calloc(n, size) faulty_calloc(n, size)
#define aligned_alloc(line, n) faulty_aligned_alloc(line, n)
#define realloc(at, n) faulty_realloc(at, n)

#endif
