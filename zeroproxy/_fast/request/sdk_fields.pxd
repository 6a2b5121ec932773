from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Relay

# Note the patience of the caller and its retry, as its SDK tells them; the upstream is chosen.
cdef void read_sdk_fields(Relay *r, const Head *h) noexcept nogil
