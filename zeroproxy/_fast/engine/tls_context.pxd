from zeroproxy._fast.types.plane cimport Endpoint, Plane
from zeroproxy._fast.types.tls cimport TlsCounters, TlsNote


cdef class Context:
    cdef void *ctx          # owned, an SSL_CTX
    cdef int begin(self, bint is_server) except -1

cdef int tls_adopt(void **place, Context context) except -1
cdef void tls_drop(void **place) noexcept nogil
cdef dict read_tls(const TlsCounters *counters)
cdef str read_note(const TlsNote *note)
