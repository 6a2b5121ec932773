from zeroproxy._fast.types.plane cimport Plane, Relay

# Write the record of an exchange, once.
cdef void write_record(Plane *p, Relay *r) noexcept nogil
# Release everything the exchange has acquired; the downstream conn stays.
cdef void release_all(Plane *p, Relay *r) noexcept nogil
