from zeroproxy._fast.plane cimport Record, Relay
from zeroproxy._fast.types cimport Head

cdef void meter_response(Relay *r, const Head *h) noexcept nogil
cdef void meter_finish(Relay *r, Record *record) noexcept nogil
