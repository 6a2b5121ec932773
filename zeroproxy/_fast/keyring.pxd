from zeroproxy._fast.plane cimport Plane, Upstream

cdef list keyring_set(Plane *p, rows, bint forwards, tuple names)
cdef int keyring_set_bearer(Upstream *u, bytes key) except -1
cdef int keyring_set_quota(Plane *p, int index, str quota, dict words) except -1
cdef list keyring_quotas(Plane *p, tuple names, bint used_only)
cdef void keyring_free(Plane *p) noexcept nogil
