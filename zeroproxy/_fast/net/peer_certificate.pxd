from zeroproxy._fast.types.plane cimport Conn

cdef enum:
    NAME_MOST = 512         # bytes of a name; a longer one is passed over

# Copy the k-th name of this Identity in the verified certificate of a conn with TLS, NAME_MOST
# bytes at most; returns its length. 0: it is no name that a key can have; -1: there are no more.
cdef ssize_t peer_name(const Conn *c, int identity, int k, char *out) noexcept nogil
