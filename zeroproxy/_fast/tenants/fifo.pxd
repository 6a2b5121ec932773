from zeroproxy._fast.types.plane cimport Line, Relay

cdef void line_join(Line *l, Relay *r) noexcept nogil
cdef void line_leave(Line *l, Relay *r) noexcept nogil
