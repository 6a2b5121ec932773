from libc.stdint cimport uint64_t

from zeroproxy._fast.admission_types cimport AdmissionTerms
from zeroproxy._fast.balance_types cimport KeyTerms
from zeroproxy._fast.breaker_types cimport BreakerTerms
from zeroproxy._fast.plane cimport Limits
from zeroproxy._fast.pool_types cimport Pool

cdef uint64_t ns(double seconds) except? 0
cdef int read_limits(Limits *l, limits) except -1
cdef int read_breaker(BreakerTerms *t, dict words) except -1
cdef int read_admission(AdmissionTerms *t, dict words) except -1
cdef int read_key(KeyTerms *t, dict words) except -1
cdef int read_pool(Pool *pool, dict words) except -1
