from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay

# Judge the engine's head behind one that was sent early. 1: it does not fit, and the exchange ends.
cdef bint refuse_late_head(Plane *p, Relay *r, const Head *h) noexcept nogil
