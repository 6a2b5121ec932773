from libc.stdint cimport uint64_t

from zeroproxy._fast.plane cimport Plane, Relay, Upstream

cdef Relay *relay_take(Plane *p) noexcept nogil
cdef void relay_release(Plane *p, Relay *r) noexcept nogil
cdef void relay_reset(Plane *p, Relay *r) noexcept nogil
cdef void relay_later(Plane *p, Relay *r) noexcept nogil
cdef void blame(Relay *r, int who, int why) noexcept nogil
cdef void write_record(Plane *p, Relay *r) noexcept nogil
cdef void give_back_attempt(Plane *p, Relay *r) noexcept nogil
cdef void give_back_all(Plane *p, Relay *r) noexcept nogil
cdef void give_back_permit(Plane *p, Relay *r) noexcept nogil
cdef void admit_waiting(Plane *p, Upstream *u) noexcept nogil
cdef void leave_queue(Relay *r) noexcept nogil
cdef void wake_waiting(Plane *p, Upstream *u) noexcept nogil
cdef void wait_for_conn(Plane *p, Relay *r) noexcept nogil
cdef void stop_waiting(Plane *p, Relay *r) noexcept nogil
