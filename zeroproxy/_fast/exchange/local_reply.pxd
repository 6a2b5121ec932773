from zeroproxy._fast.types.plane cimport Plane, Relay

# Send the local reply that the outcome calls for. 0: the downstream conn is broken.
cdef bint send_local_reply(Plane *p, Relay *r) noexcept nogil
# Send a 503 to a descriptor above the limit; the caller closes it.
cdef void refuse_over_limit(Plane *p, int fd) noexcept nogil
# Send a 400 to a descriptor that lacks its header of the PROXY protocol; the caller closes it.
cdef void refuse_headless(Plane *p, int fd) noexcept nogil
# Send a 400 in the clear to a descriptor that speaks TLS; the caller closes it.
cdef void refuse_plain(Plane *p, int fd) noexcept nogil
