from libc.stdint cimport uint32_t

from zeroproxy._fast.engine.tenant_table cimport Tenants
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane

cdef tuple api_keys_stage(
    Step *s, PlaneThread engine, rows, bint forwards, Tenants tenants, uint32_t n_models
)
cdef int api_keys_set_quota(Plane *p, int index, str quota, dict settings) except -1
cdef list api_keys_quotas(PlaneThread engine, tuple names, bint used_only)
cdef void api_keys_free(Plane *p) noexcept nogil
