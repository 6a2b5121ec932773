from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.plane cimport Plane


cdef class Tenants:
    cdef readonly list names    # by index; engine/names.pyx's note
    cdef dict index         # of each name that has one
    cdef list free          # indices without a tenant
    cdef set in_force       # indices of the keys' tenants
    cdef dict leaving       # by index: None, or the ring's head when its last exchange had ended
    cdef int find(self, str name) except -1
    cdef int keep(self, set in_force) except -1
    cdef int reclaim(self, PlaneThread engine) except -1
    cdef object look(self, PlaneThread engine)
    cdef bint is_over(self, Plane *p, bytearray busy, int at, head) except -1
