from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.surface cimport MemberNames

# Prepare the surface of all upstreams: `surfaces` has one SurfaceSettings each, by index.
cdef int stage_surfaces(Step *s, list surfaces, int n_upstreams) except -1
# Add a rule for a name, or for a prefix and "*".
cdef int add_member(MemberNames *m, name) except -1
# Free all surfaces that ever were in force.
cdef void surfaces_free(Plane *p) noexcept nogil
