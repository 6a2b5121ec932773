from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Plane, Relay

cdef void send_continue(Plane *p, Relay *r) noexcept nogil
cdef void feed(Plane *p, Relay *r, int what) noexcept nogil
cdef void connect_waiting(Plane *p, Relay *r) noexcept nogil
cdef void flush_more(Plane *p, Relay *r) noexcept nogil
cdef void end_with(Plane *p, Relay *r, int what, int who, int why) noexcept nogil
cdef void lose_attempt(Plane *p, Relay *r, int why) noexcept nogil
cdef bint is_answered(const Relay *r) noexcept nogil
cdef void cut(Plane *p, Relay *r, int why) noexcept nogil
cdef bint send_up(Plane *p, Relay *r, const char *at, size_t n) noexcept nogil
cdef void undo_edits(Relay *r) noexcept nogil
cdef bint try_elsewhere(Plane *p, Relay *r) noexcept nogil
cdef bint retry_idle_notice(Plane *p, Relay *r) noexcept nogil
