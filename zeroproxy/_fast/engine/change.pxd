from libc.stdint cimport uint32_t

from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.tenant_indices cimport Tenants
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Endpoint, Upstream


cdef class Change:
    cdef PlaneThread engine
    cdef Names names
    cdef Tenants tenants
    cdef Step *steps        # owned
    cdef uint32_t n_steps
    cdef uint32_t cap_steps
    cdef uint32_t n_joining     # endpoints that are to be in force
    cdef uint32_t n_made    # slots that are new for them
    cdef uint32_t n_added   # upstreams
    cdef uint32_t n_models  # once the change is in force
    cdef bint has_routes
    cdef bint has_keys
    cdef set secured        # indices of upstreams that get TLS
    cdef dict key_names     # by index
    cdef set whose          # indices of tenants with a key, once the change is in force
    cdef Step *step(self) except NULL
    cdef Upstream *upstream_at(self, index) except NULL
    cdef Endpoint *endpoint_at(self, index) except NULL
    cdef int demand_tls(self, Upstream *u, settings) except -1
    cdef int stage_series(self) except -1
    cdef int commit(self) except -1
    cdef int undo(self) except -1
    cdef int discard(self) except -1
