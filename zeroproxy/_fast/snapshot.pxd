from libc.stdint cimport uint64_t

from zeroproxy._fast.plane cimport Endpoint, Plane, Record
from zeroproxy._fast.stats cimport Stats

cdef dict read_vitals(const Plane *p, const Endpoint *e, uint64_t now, uint64_t after)
cdef dict read_plane(Plane *p, Stats *stats, tuple names)
cdef list read_spills(Stats *stats, tuple names)
cdef dict read_record(const Record *record, tuple names)
