"""The names behind the indices that records and tables hold.

Law. A list is longer than any index in a record: it grows before the slot exists. So the flusher's
     thread reads it while an API call appends.
"""


cdef class Names:
    """One engine's. An index nobody has has no name."""

    def __cinit__(self, list tenants):
        self.upstreams, self.endpoints, self.keys = [], [], []
        self.tenants = tenants

    cdef str upstream(self, int index):
        return self.upstreams[index] if index < len(self.upstreams) else ""

    cdef str endpoint(self, int index):
        return self.endpoints[index] if index < len(self.endpoints) else ""

    cdef str tenant(self, int index):
        return self.tenants[index] if index < len(self.tenants) else ""
