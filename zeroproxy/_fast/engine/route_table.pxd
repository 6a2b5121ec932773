from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane

cdef int stage_routes(Step *s, Plane *p, list routes, default) except -1
