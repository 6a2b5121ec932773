from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.usage.stats cimport Stats

cdef list read_overflow(const Stats *stats, Names names)
cdef list take_overflow_rows(Stats *stats, Names names)
cdef dict read_record(const Record *record, Names names)
