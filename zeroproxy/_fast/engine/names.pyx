"""The names behind the indices that records and tables hold.

Note. An endpoint's or tenant's name is there before its slot; an index past the end has the name
      "". So the flusher's thread may read a list while an API call appends.
"""


cdef class Names:
    """The names of one engine. An index without a slot has the name ""."""

    def __cinit__(self, list tenants):
        self.upstreams, self.endpoints, self.keys = [], [], []
        self.tenants = tenants

    cdef str upstream(self, int index):
        return self.upstreams[index] if index < len(self.upstreams) else ""

    cdef str endpoint(self, int index):
        return self.endpoints[index] if index < len(self.endpoints) else ""

    cdef str tenant(self, int index):
        return self.tenants[index] if index < len(self.tenants) else ""
