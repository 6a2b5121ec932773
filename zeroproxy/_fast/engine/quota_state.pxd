from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.plane cimport Plane

# Let a quota fill by itself; one that is not configured stays so.
cdef int quotas_share(Plane *p, index, quota, speed, cap) except -1
# Set a quota's level to what was granted; nothing flows in.
cdef int quotas_grant(Plane *p, index, quota, speed, level, used) except -1
# Set the level of a quota that fills by itself, within its bounds; a leased one stays.
cdef int quotas_fill_to(Plane *p, index, quota, level) except -1
# Return a QuotaState of each quota of keys in force. With `engine.lock`, without the plane lock.
cdef list quotas_read(PlaneThread engine, Names names, bint used_only)
# Return a KeyTermsState of each key that has terms, or has been refused for one.
cdef list key_terms_read(PlaneThread engine, Names names)
