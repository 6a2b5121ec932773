from libc.stdint cimport uint32_t

from zeroproxy._fast.engine.tenant_table cimport Tenants
from zeroproxy._fast.engine.thread cimport Driven
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane

cdef tuple keyring_stage(
    Step *s, Driven engine, rows, bint forwards, Tenants tenants, uint32_t n_models
)
cdef int keyring_set_quota(Plane *p, int index, str quota, dict words) except -1
cdef list keyring_quotas(Driven engine, tuple names, bint used_only)
cdef void keyring_free(Plane *p) noexcept nogil
