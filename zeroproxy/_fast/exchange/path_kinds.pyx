"""Kinds of requests by the ends of their paths: those that make an engine work, and those whose
answer is text.

Note. Servers put such paths below prefixes of their own, so only the end of a path counts.
"""

from libc.stddef cimport size_t
from libc.string cimport memcmp

# Ends of the paths of requests that make an engine work; compiled at import.
WORKING_PATHS = (
    b"/completions", b"/completion", b"/messages", b"/responses", b"/invocations", b"/batch",
    b"/generate", b"/generate_stream", b"/infill", b"/api/chat", b"/embeddings", b"/embedding",
    b"/api/embed", b"/api/embeddings", b"/pooling", b"/rerank", b"/reranking", b"/score",
    b"/classify", b"/transcriptions", b"/translations", b"/worker_generate",
    b"/worker_generate_stream", b"/worker_get_embeddings",
)

cdef enum:
    TAILS_MAX = 32

cdef struct Tail:
    const char *at          # lives in WORKING_PATHS
    size_t len

cdef Tail[TAILS_MAX] TAILS
cdef int n_tails = 0


cdef int compile_paths() except -1:
    global n_tails
    for path in WORKING_PATHS:
        TAILS[n_tails].at = path
        TAILS[n_tails].len = len(path)
        n_tails += 1
    return 0


compile_paths()


cdef bint ends_with(const char *at, size_t len, const char *tail, size_t n) noexcept nogil:
    return len >= n and memcmp(at + len - n, tail, n) == 0


cdef bint is_generating(const char *at, size_t len) noexcept nogil:
    return (
        ends_with(at, len, b"/completions", 12) or ends_with(at, len, b"/completion", 11)
        or ends_with(at, len, b"/invocations", 12) or ends_with(at, len, b"/responses", 10)
        or ends_with(at, len, b"/messages", 9) or ends_with(at, len, b"/generate", 9)
        or ends_with(at, len, b"/generate_stream", 16) or ends_with(at, len, b"/api/chat", 9)
    )


cdef bint generates(const char *at, size_t len) noexcept nogil:
    cdef int k
    for k in range(n_tails):
        if ends_with(at, len, TAILS[k].at, TAILS[k].len):
            return 1
    return 0
