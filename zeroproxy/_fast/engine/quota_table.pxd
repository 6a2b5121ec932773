from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.plane cimport Plane

cdef int keyring_share_quota(Plane *p, index, quota, speed, cap) except -1
cdef int keyring_grant_quota(Plane *p, index, quota, speed, level, used) except -1
cdef list api_keys_quotas(PlaneThread engine, Names names, bint used_only)
