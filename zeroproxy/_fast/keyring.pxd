from libc.stdint cimport uint32_t

from zeroproxy._fast.change_types cimport Step
from zeroproxy._fast.drive cimport Driven
from zeroproxy._fast.plane cimport Plane
from zeroproxy._fast.tenants cimport Tenants

cdef tuple keyring_stage(
    Step *s, Driven engine, rows, bint forwards, Tenants tenants, uint32_t n_models
)
cdef int keyring_set_quota(Plane *p, int index, str quota, dict words) except -1
cdef list keyring_quotas(Driven engine, tuple names, bint used_only)
cdef void keyring_free(Plane *p) noexcept nogil
