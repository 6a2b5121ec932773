from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.token cimport TokenTable


cdef class Questions(PlaneThread):
    pass

# Prepare empty tables of tokens, or none, as a Step.
cdef int stage_tokens(Step *s, is_on) except -1
# Return the counters of the table as Python values.
cdef dict read_tokens(const TokenTable *t)
# Free all tables and questions.
cdef void tokens_free(Plane *p) noexcept nogil
