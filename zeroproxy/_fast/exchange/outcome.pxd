from zeroproxy._fast.types.exchange cimport Blame, Cause, Phase
from zeroproxy._fast.types.meter cimport Exactness

cdef const char *phase_name(int phase) noexcept nogil
cdef const char *blame_name(int blame) noexcept nogil
cdef const char *cause_name(int cause) noexcept nogil
cdef const char *exactness_name(int exactness) noexcept nogil
cdef int outcome_status(int blame, int cause) noexcept nogil
