#define _GNU_SOURCE
#include "secure.h"
#include "net.h"

#include <dlfcn.h>
#include <errno.h>

enum { WANT_READ = 2, WANT_WRITE = 3, ZERO_RETURN = 6, PARTIAL_AND_MOVING = 3, CTRL_MODE = 33,
       CTRL_MIN_PROTO = 123, CTRL_READ_AHEAD = 41, TLS_1_3 = 0x304 };

static void *(*TLS_client_method)(void), *(*SSL_CTX_new)(void *), *(*SSL_new)(void *);
static long (*SSL_CTX_ctrl)(void *, int, long, void *);
static int (*SSL_CTX_set_ciphersuites)(void *, const char *), (*SSL_set_fd)(void *, int);
static void (*SSL_set_connect_state)(void *), (*SSL_free)(void *), (*ERR_clear_error)(void);
static int (*SSL_read)(void *, void *, int), (*SSL_write)(void *, const void *, int);
static int (*SSL_get_error)(void *, int);
static void *context;

static void *find(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (!found)
        die("OpenSSL lacks %s", name);
    return found;
}

#define FIND(name) (*(void **)&name = find(library, #name))

void secure_load(void)
{
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    if (!library)
        die("no OpenSSL 3 (libssl.so.3)");
    FIND(TLS_client_method), FIND(SSL_CTX_new), FIND(SSL_new), FIND(SSL_CTX_ctrl);
    FIND(SSL_CTX_set_ciphersuites), FIND(SSL_set_fd), FIND(SSL_set_connect_state);
    FIND(SSL_free), FIND(ERR_clear_error), FIND(SSL_read), FIND(SSL_write), FIND(SSL_get_error);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_ctrl(context, CTRL_MODE, PARTIAL_AND_MOVING, NULL);
    SSL_CTX_ctrl(context, CTRL_READ_AHEAD, 1, NULL);
    SSL_CTX_ctrl(context, CTRL_MIN_PROTO, TLS_1_3, NULL);
    if (!SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"))
        die("no TLS_AES_128_GCM_SHA256");
}

void *secure_open(int fd)
{
    void *ssl = SSL_new(context);
    if (!ssl || !SSL_set_fd(ssl, fd))
        die("out of memory");
    SSL_set_connect_state(ssl);
    return ssl;
}

void secure_close(void *ssl)
{
    if (ssl)
        SSL_free(ssl);
}

static ssize_t result(void *ssl, int n)
{
    if (n > 0)
        return n;
    int why = SSL_get_error(ssl, n);
    ERR_clear_error();
    if (why == ZERO_RETURN)
        return 0;
    errno = why == WANT_READ || why == WANT_WRITE ? EAGAIN : EPROTO;
    return -1;
}

ssize_t wire_send(int fd, void *ssl, struct iovec *parts, int n)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
    if (!ssl)
        return sendmsg(fd, &message, MSG_NOSIGNAL);
    return result(ssl, SSL_write(ssl, parts->iov_base, (int)parts->iov_len));
}

ssize_t wire_recv(int fd, void *ssl, char *bytes, size_t len)
{
    size_t got = 0;
    if (!ssl)
        return recv(fd, bytes, len, 0);
    while (got < len) {
        ssize_t n = result(ssl, SSL_read(ssl, bytes + got, (int)(len - got)));
        if (n <= 0)
            return got ? (ssize_t)got : n;
        got += (size_t)n;
    }
    return (ssize_t)got;
}
