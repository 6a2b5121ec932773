from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.usage.stats cimport Stats

# Return the plane as Engine.snapshot does. With the engine's lock, without the plane lock.
cdef dict read_plane(PlaneThread engine, const Stats *stats, Names names)
