from libc.stdint cimport uint64_t

from zeroproxy._fast.breaker_types cimport Breaker
from zeroproxy._fast.drive cimport Driven

cdef dict read_breaker(const Breaker *b)
cdef list read_vitals(Driven engine, uint64_t after, only)
