from libc.stdint cimport uint64_t

from zeroproxy._fast.plane cimport Plane, Record
from zeroproxy._fast.stats cimport Stats

cdef list read_vitals(Plane *p, uint64_t after, only)
cdef dict read_plane(Plane *p, Stats *stats, tuple names)
cdef list read_spills(Stats *stats, tuple names)
cdef dict read_record(const Record *record, tuple names)
