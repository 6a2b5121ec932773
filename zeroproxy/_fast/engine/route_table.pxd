from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane

cdef int stage_routes(Step *s, Plane *p, routes, int default_upstream) except -1
