from libc.stdint cimport uint16_t, uint32_t

from zeroproxy._fast.types.admission cimport Share
from zeroproxy._fast.types.plane cimport Queue, Relay
from zeroproxy._fast.types.record cimport Record

cdef Share *share_of(Queue *q, uint16_t tenant) noexcept nogil
cdef bint lane_join(Queue *q, Relay *r) noexcept nogil
cdef void lane_leave(Queue *q, Relay *r) noexcept nogil
cdef Relay *lane_next(Queue *q, uint32_t most) noexcept nogil
cdef Relay *lane_worst(Queue *q, const Relay *r) noexcept nogil
cdef Share *shares_stage(const Queue *q, uint32_t n) noexcept nogil
cdef Share *shares_use(Queue *q, Share *grown, uint32_t n) noexcept nogil
cdef void share_take(Queue *q, Relay *r) noexcept nogil
cdef void share_return(Queue *q, const Relay *r) noexcept nogil
cdef void share_settle(Queue *q, const Relay *r, const Record *record) noexcept nogil
