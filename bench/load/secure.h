/* TLS for the generator: OpenSSL 3, opened at run time. Nobody's certificate is verified: what is
 * measured is the target. One cipher for all, TLS_AES_128_GCM_SHA256, with TLS 1.3. */
#ifndef BENCH_SECURE_H
#define BENCH_SECURE_H

#include <sys/types.h>
#include <sys/uio.h>

void secure_load(void);                 /* dies if OpenSSL 3 is not there */
void *secure_open(int fd);              /* a conn that begins its handshake with the first send */
void secure_close(void *ssl);
/* As sendmsg and recv, in the clear where `ssl` is NULL; -1 with EAGAIN where the socket is not
 * ready, in either direction. Of TLS as many records are read as there are and fit. */
ssize_t wire_send(int fd, void *ssl, struct iovec *parts, int n);
ssize_t wire_recv(int fd, void *ssl, char *bytes, size_t len);

#endif
