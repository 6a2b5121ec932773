from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.meter cimport Meter
from zeroproxy._fast.types.plane cimport Relay
from zeroproxy._fast.types.record cimport Record


cdef enum RequestType:      # what a Content-Type says of a request
    REQUEST_TYPE_NONE = 0
    REQUEST_TYPE_JSON
    REQUEST_TYPE_FORM
    REQUEST_TYPE_OTHER

cdef bint ends_with(const char *at, size_t len, const char *tail, size_t n) noexcept nogil
cdef int kind_of_type(const char *at, size_t len) noexcept nogil
cdef int type_of_request(const char *at, size_t len) noexcept nogil
cdef int kind_of_path(const char *at, size_t len) noexcept nogil
cdef void meter_path(Meter *m, const char *at, size_t len) noexcept nogil
cdef void meter_response(Relay *r, const Head *h) noexcept nogil
cdef void meter_upgrade(Relay *r, Head *h) noexcept nogil
cdef void meter_tunnel(Relay *r) noexcept nogil
cdef bint generates(const char *at, size_t len) noexcept nogil
cdef int64_t prompt_guess(uint64_t bytes) noexcept nogil
cdef bint is_generating(const char *at, size_t len) noexcept nogil
cdef int64_t tokens_spent(const Relay *r, const Record *record) noexcept nogil
cdef void meter_finish(Relay *r, Record *record) noexcept nogil
