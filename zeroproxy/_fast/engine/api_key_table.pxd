from libc.stdint cimport uint32_t

from zeroproxy._fast.engine.tenant_table cimport Tenants
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane

cdef tuple api_keys_stage(
    Step *s, PlaneThread engine, list keys, forwards, Tenants tenants, uint32_t n_models
)
cdef void api_keys_free(Plane *p) noexcept nogil
