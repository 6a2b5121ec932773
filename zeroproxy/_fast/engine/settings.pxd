from libc.stdint cimport uint64_t

from zeroproxy._fast.types.admission cimport AdmissionSettings
from zeroproxy._fast.types.balance cimport HashSettings
from zeroproxy._fast.types.breaker cimport BreakerSettings
from zeroproxy._fast.types.limits cimport Limits
from zeroproxy._fast.types.pool cimport PoolSettings

cdef uint64_t ns(double seconds) except? 0
cdef int parse_limits(Limits *l, limits) except -1
cdef int parse_breaker(BreakerSettings *t, dict settings) except -1
cdef int parse_admission(AdmissionSettings *t, dict settings) except -1
cdef int parse_hash(HashSettings *t, dict settings) except -1
cdef int parse_pool(PoolSettings *pool, dict settings) except -1
