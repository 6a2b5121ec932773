from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane

# Prepare config.Cors as a Step; no origin: CORS is off.
cdef int stage_cors(Step *s, cors) except -1
# Free all tables of a plane that ends.
cdef void cors_free(Plane *p) noexcept nogil
