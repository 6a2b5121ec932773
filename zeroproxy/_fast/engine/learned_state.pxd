from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Endpoint

# Return a LearnedSample of each endpoint in force. With `engine.lock`, without the plane lock.
cdef list read_learned(PlaneThread engine, Names names)
# Prepare Learned as a Step.
cdef int stage_learned(Step *s, Endpoint *e, learned) except -1
