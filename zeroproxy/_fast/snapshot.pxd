from zeroproxy._fast.drive cimport Driven
from zeroproxy._fast.stats cimport Stats

cdef dict read_plane(Driven engine, const Stats *stats, tuple names)
