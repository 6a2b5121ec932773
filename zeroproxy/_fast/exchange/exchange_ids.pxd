from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef enum:
    REQUEST_ID_LEN = 32
    TRACEPARENT_LEN = 55

# Seed the generator of ids; -1: the kernel gave no entropy.
cdef int seed_ids(Plane *p) noexcept nogil
# Return 64 bits that nobody needs to keep secret.
cdef uint64_t next_word(Plane *p) noexcept nogil
# Write a new request id; returns REQUEST_ID_LEN. No NUL.
cdef size_t make_request_id(Plane *p, char *out) noexcept nogil
# Set the exchange's trace from the head, or start one. Returns the length of the traceparent in
# `out` that replaces the caller's; 0: the caller's is passed on.
cdef size_t adopt_trace(Plane *p, Relay *r, Head *h, char *out) noexcept nogil
