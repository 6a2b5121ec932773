from libc.stdint cimport uint16_t, uint32_t, uint64_t

from zeroproxy._fast.types.admission_limits cimport TenantShare
from zeroproxy._fast.types.plane cimport FairQueue, Relay
from zeroproxy._fast.types.record cimport Record

# Return the share of a tenant; borrowed until shares_use. 0 or unknown: the common one.
cdef TenantShare *share_of(FairQueue *q, uint16_t tenant) noexcept nogil
# Append a relay to its tenant's queue, or put it first; borrowed. 0: no memory.
cdef bint fair_queue_push(FairQueue *q, Relay *r, bint is_first) noexcept nogil
# Return how many of those that wait may go before `r`, which is in no queue.
cdef uint64_t fair_queue_ahead(FairQueue *q, const Relay *r) noexcept nogil
# Note that one was admitted out of the queue, and left it.
cdef void fair_queue_departs(FairQueue *q, uint64_t now) noexcept nogil
# Return when the one that waits longest was queued; 0: none waits.
cdef uint64_t fair_queue_oldest(const FairQueue *q) noexcept nogil
# Remove a relay from its tenant's queue, from any place.
cdef void fair_queue_remove(FairQueue *q, Relay *r) noexcept nogil
# Return the relay that is next; NULL: none. `most`: permits one tenant may hold; 0: any number.
cdef Relay *fair_queue_next(FairQueue *q, uint32_t most) noexcept nogil
# Return the relay that leaves a full queue in favour of `r`; NULL: `r` itself is refused.
cdef Relay *fair_queue_victim(FairQueue *q, const Relay *r) noexcept nogil
# Allocate shares of `n` tenants, for shares_use; the caller owns them. NULL: no memory.
cdef TenantShare *shares_stage(const FairQueue *q, uint32_t n) noexcept nogil
# Put `grown` in force with the old shares copied in; returns the old ones, to be freed.
cdef TenantShare *shares_use(FairQueue *q, TenantShare *grown, uint32_t n) noexcept nogil
# Count a permit of `r`, which is in no queue, and charge its expected cost in advance.
cdef void acquire_share(FairQueue *q, Relay *r) noexcept nogil
# Count that `r` has released its permit.
cdef void release_share(FairQueue *q, const Relay *r) noexcept nogil
# Take back what `r` was charged in advance: it has come to nothing.
cdef void return_charge(FairQueue *q, Relay *r) noexcept nogil
# Replace the cost charged in advance by that of the record.
cdef void share_settle(FairQueue *q, const Relay *r, const Record *record) noexcept nogil
