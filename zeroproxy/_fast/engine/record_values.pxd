from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.usage.stats cimport Stats

# Return the growth of the overflow since the last call. The consumer's thread.
cdef list take_overflow_rows(Stats *stats, Names names)
# Return a record as a dict.
cdef dict read_record(const Record *record, Names names)
