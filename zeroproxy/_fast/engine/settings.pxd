from zeroproxy._fast.types.admission cimport AdmissionSettings
from zeroproxy._fast.types.balance cimport HashSettings
from zeroproxy._fast.types.breaker cimport BreakerSettings
from zeroproxy._fast.types.limits cimport Limits
from zeroproxy._fast.types.pool cimport PoolSettings

cdef int parse_limits(Limits *l, limits) except -1
cdef int parse_breaker(BreakerSettings *t, breaker) except -1
cdef int parse_admission(AdmissionSettings *t, admission) except -1
cdef int read_hash(HashSettings *t, settings) except -1
cdef int parse_pool(PoolSettings *t, pool) except -1
cdef int check_endpoint(endpoint) except -1
