from zeroproxy._fast.change_types cimport Step
from zeroproxy._fast.plane cimport Plane

cdef int stage_routes(Step *s, Plane *p, routes, int rest) except -1
