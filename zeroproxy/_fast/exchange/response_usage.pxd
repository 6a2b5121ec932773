from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.meter cimport Meter
from zeroproxy._fast.types.plane cimport Relay
from zeroproxy._fast.types.record cimport Record

# Return the kind of a body by its Content-Type.
cdef int kind_of_type(const char *at, size_t len) noexcept nogil
# Return the kind of a body without a Content-Type, by the path of its request.
cdef int kind_of_path(const char *at, size_t len) noexcept nogil
# Set the meter's switches that follow from the path.
cdef void meter_path(Meter *m, const char *at, size_t len) noexcept nogil
# Start to meter a final response by its head, and note how its body comes.
cdef void meter_response(Relay *r, const Head *h) noexcept nogil
# Replace the scan of the request by a meter for a body of this kind.
cdef void begin_response_meter(Relay *r, int kind) noexcept nogil
# Return 1 if the request asks for a stream, as far as its body is read.
cdef bint asks_stream(const Relay *r) noexcept nogil
# Drop the offer of compressed frames from a request that starts a session.
cdef void meter_upgrade(Relay *r, Head *h) noexcept nogil
# Start to meter the messages of a session.
cdef void meter_tunnel(Relay *r) noexcept nogil
# Return the tokens that so many bytes of a prompt are taken for.
cdef int64_t prompt_guess(uint64_t bytes) noexcept nogil
# Return the tokens to charge to a quota.
cdef int64_t tokens_spent(const Relay *r, const Record *record) noexcept nogil
# Write the counts into the record.
cdef void meter_finish(Relay *r, Record *record) noexcept nogil
