from zeroproxy._fast.types.admission_limits cimport AdmissionSettings
from zeroproxy._fast.types.affinity_and_latency cimport HashSettings
from zeroproxy._fast.types.breaker cimport BreakerSettings
from zeroproxy._fast.types.conn_pool cimport PoolSettings
from zeroproxy._fast.types.exchange_limits cimport Limits

# Fill the struct from config.Limits.
cdef int parse_limits(Limits *l, limits) except -1
# Fill the struct from config.Breaker.
cdef int parse_breaker(BreakerSettings *t, breaker) except -1
# Fill the struct from config.Admission, `queue_timeout` left out.
cdef int parse_admission(AdmissionSettings *t, admission) except -1
# Fill the struct from config.Hash.
cdef int parse_hash(HashSettings *t, settings) except -1
# Fill the struct from config.Pool.
cdef int parse_pool(PoolSettings *t, pool) except -1
# Check the types and sizes of an EndpointSettings.
cdef int check_endpoint(endpoint) except -1
