from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.usage.stats cimport Stats

cdef str upstream_name(int index, tuple names)
cdef str endpoint_url(int index, tuple names)
cdef str tenant_name(int index, tuple names)
cdef list read_overflow(const Stats *stats, tuple names)
cdef list take_overflow_rows(Stats *stats, tuple names)
cdef dict read_record(const Record *record, tuple names)
