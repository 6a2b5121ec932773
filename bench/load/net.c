#define _GNU_SOURCE
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void parse_unix(const char *path, struct address *out)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&out->storage;
    if (strlen(path) >= sizeof un->sun_path)
        die("socket path too long: %s", path);
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, path);
    out->len = sizeof *un;
}

struct address parse_address(const char *text)
{
    struct address out;
    memset(&out, 0, sizeof out);
    if (strncmp(text, "unix:", 5) == 0) {
        parse_unix(text + 5, &out);
        return out;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)&out.storage;
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host)
        die("not HOST:PORT or unix:/path: %s", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)number_option(colon + 1));
    if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
        die("not a numeric IPv4 address: %s", host);
    out.len = sizeof *in;
    return out;
}

static int make_socket(const struct address *address)
{
    int family = address->storage.ss_family, on = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && family == AF_INET)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int listen_on(const struct address *address)
{
    int on = 1, fd = make_socket(address);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->storage.ss_family == AF_UNIX)
        unlink(((const struct sockaddr_un *)&address->storage)->sun_path);
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) < 0)
        die("bind: %s", strerror(errno));
    /* More than SOMAXCONN is cut down by the kernel. A burst of 4,000 conns must not meet a short
     * queue: SYN retries (1 s) would be measured as the proxy's latency. */
    if (listen(fd, 1 << 16) < 0)
        die("listen: %s", strerror(errno));
    return fd;
}

int accept_from(int listener)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on unix: harmless */
    else if (errno == EMFILE || errno == ENFILE)
        die("out of file descriptors: raise `ulimit -Hn`");
    return fd;
}

int connect_to(const struct address *address)
{
    int fd = make_socket(address);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&address->storage, address->len) == 0
        || errno == EINPROGRESS)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

void watch(int epoll, int fd, uint32_t ready, void *data)
{
    struct epoll_event e = {.events = ready, .data = {.ptr = data}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0
        && (errno != EEXIST || epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e) < 0))
        die("epoll_ctl: %s", strerror(errno));
}

void raise_nofile(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

uint64_t number_option(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end)
        die("not a number: %s", text);
    return value;
}
