from zeroproxy._fast.types.exchange_enums cimport Blame, Cause, Phase
from zeroproxy._fast.types.meter cimport Exactness

# Return the name of a Phase; static, as those below.
cdef const char *phase_name(int phase) noexcept nogil
# Return the name of a Blame.
cdef const char *blame_name(int blame) noexcept nogil
# Return the name of a Cause.
cdef const char *cause_name(int cause) noexcept nogil
# Return the name of an Exactness.
cdef const char *exactness_name(int exactness) noexcept nogil
# Return the HTTP status of an exchange that ended before a response head was sent.
cdef int outcome_status(int blame, int cause) noexcept nogil
