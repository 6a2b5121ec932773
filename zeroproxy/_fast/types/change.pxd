# Steps of a change of the plane, prepared by engine/change.pyx. No code; the laws of http.pxd hold
# here too.

from zeroproxy._fast.types.plane cimport Plane

ctypedef void (*Apply)(Plane *p, void *what) noexcept nogil
ctypedef void (*Discard)(void *what) noexcept nogil


cdef struct Step:
    Apply apply             # cannot fail; gives `what` the memory that it replaces
    Discard discard         # frees all that `what` owns, applied or not
    void *what              # owned
