from libc.stdint cimport uint64_t

from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.breaker cimport Breaker

# Return a breaker as a BreakerSample.
cdef dict read_breaker(const Breaker *b)
# Return a HealthSample of each endpoint in force, or of the one with index `only`.
# Relays are walked only where an endpoint has been silent for `after` ns.
cdef list read_health_samples(PlaneThread engine, uint64_t after, only)
