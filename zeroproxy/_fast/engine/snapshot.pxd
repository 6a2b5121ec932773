from zeroproxy._fast.engine.thread cimport Driven
from zeroproxy._fast.usage.stats cimport Stats

cdef dict read_plane(Driven engine, const Stats *stats, tuple names)
