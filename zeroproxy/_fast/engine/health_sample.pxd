from libc.stdint cimport uint64_t

from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.breaker cimport Breaker

cdef dict read_breaker(const Breaker *b)
cdef list read_health_samples(PlaneThread engine, uint64_t after, only)
