from libc.stdint cimport uint64_t

from zeroproxy._fast.types.admission cimport AdmissionTerms
from zeroproxy._fast.types.balance cimport KeyTerms
from zeroproxy._fast.types.breaker cimport BreakerTerms
from zeroproxy._fast.types.limits cimport Limits
from zeroproxy._fast.types.pool cimport Pool

cdef uint64_t ns(double seconds) except? 0
cdef int read_limits(Limits *l, limits) except -1
cdef int read_breaker(BreakerTerms *t, dict words) except -1
cdef int read_admission(AdmissionTerms *t, dict words) except -1
cdef int read_key(KeyTerms *t, dict words) except -1
cdef int read_pool(Pool *pool, dict words) except -1
