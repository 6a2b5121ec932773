cdef class Names:
    cdef readonly list upstreams    # by index
    cdef readonly list endpoints    # URLs by index
    cdef readonly list tenants  # Tenants.names
    cdef readonly list keys     # by index
    cdef str upstream(self, int index)
    cdef str endpoint(self, int index)
    cdef str tenant(self, int index)
