/* The end of a process whose data plane cannot go on. */
#ifndef ZEROPROXY_FATAL_H
#define ZEROPROXY_FATAL_H

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ZP_FATAL_PATIENCE_MS = 1000 };

/* One line on stderr, which may be a pipe that nobody reads, then SIGABRT: a supervisor sees that
 * the process failed, and starts it again. */
static inline void zp_fatal(const char *what, int error) {
    char line[256];
    struct pollfd out = {STDERR_FILENO, POLLOUT, 0};
    int n = snprintf(line, sizeof(line), "zeroproxy: %s: %s; the process ends\n", what,
                     strerror(error));
    if (n > (int)sizeof(line) - 1)
        n = (int)sizeof(line) - 1;
    if (n > 0 && poll(&out, 1, ZP_FATAL_PATIENCE_MS) == 1 &&
        write(STDERR_FILENO, line, (size_t)n) < 0)
        abort();
    abort();
}

#endif
