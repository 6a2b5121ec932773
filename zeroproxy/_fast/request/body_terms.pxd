from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from zeroproxy._fast.request.routing cimport BodyStart
from zeroproxy._fast.types.plane cimport Plane, Relay

# Fault of a body in whose kind the key's terms cannot be looked for.
cdef int fault_of_kind(const Plane *p, const Relay *r, const BodyStart *b) noexcept nogil
# Decide what the terms make of a body that is scanned.
cdef void begin_terms(Relay *r) noexcept nogil
# Fault of a body as far as it is scanned.
cdef int judge_terms(const Relay *r) noexcept nogil
# Lower the bounds in the last `n` bytes of the body, which are at `data`, and in digits held.
cdef void lower_bounds(Relay *r, char *data, size_t n) noexcept nogil
# True if digits held are of a number that goes on at offset `begin`.
cdef bint is_held_number_open(const Relay *r, uint64_t begin) noexcept nogil
# Hold the digits at the end of these bytes whose number may go on. Returns how many, or sets
# r.x.fault.
cdef size_t hold_digits(Relay *r, const char *data, size_t n) noexcept nogil
