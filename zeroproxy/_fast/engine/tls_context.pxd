from zeroproxy._fast.types.tls cimport TlsCounters, TlsNote


cdef class Context:
    cdef void *ctx          # owned, an SSL_CTX
    cdef int begin(self, bint is_server) except -1

# Put a reference to the context into `place`, for tls_drop; None: nothing.
cdef int tls_adopt(void **place, Context context) except -1
# Release the reference in `place`, if there is one.
cdef void tls_drop(void **place) noexcept nogil
# Return the counters as a dict.
cdef dict read_tls(const TlsCounters *counters)
# Return the reason of the last handshake that failed; empty: none has.
cdef str read_note(const TlsNote *note)
