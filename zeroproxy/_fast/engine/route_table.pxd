from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane

# Prepare `routes` (of Route) as a Step. `default`: the index of an upstream, or None.
cdef int stage_routes(Step *s, Plane *p, list routes, default) except -1
