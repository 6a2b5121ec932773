from libc.stdint cimport uint64_t

from zeroproxy._fast.engine.thread cimport Driven
from zeroproxy._fast.types.breaker cimport Breaker

cdef dict read_breaker(const Breaker *b)
cdef list read_vitals(Driven engine, uint64_t after, only)
