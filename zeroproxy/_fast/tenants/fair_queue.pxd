from libc.stdint cimport uint16_t, uint32_t

from zeroproxy._fast.types.admission cimport TenantShare
from zeroproxy._fast.types.plane cimport FairQueue, Relay
from zeroproxy._fast.types.record cimport Record

cdef TenantShare *share_of(FairQueue *q, uint16_t tenant) noexcept nogil
cdef bint fair_queue_push(FairQueue *q, Relay *r) noexcept nogil
cdef void fair_queue_remove(FairQueue *q, Relay *r) noexcept nogil
cdef Relay *fair_queue_next(FairQueue *q, uint32_t most) noexcept nogil
cdef Relay *fair_queue_victim(FairQueue *q, const Relay *r) noexcept nogil
cdef TenantShare *shares_stage(const FairQueue *q, uint32_t n) noexcept nogil
cdef TenantShare *shares_use(FairQueue *q, TenantShare *grown, uint32_t n) noexcept nogil
cdef void acquire_share(FairQueue *q, Relay *r) noexcept nogil
cdef void release_share(FairQueue *q, const Relay *r) noexcept nogil
cdef void share_settle(FairQueue *q, const Relay *r, const Record *record) noexcept nogil
