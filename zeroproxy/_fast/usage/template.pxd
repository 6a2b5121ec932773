from libc.stddef cimport size_t

from zeroproxy._fast.types.meter cimport Meter


cdef enum Learning:         # how far the event at hand can stand for those to come
    LEARN_NOT = 0
    LEARN_BEGUN             # its text has not begun
    LEARN_TEXT              # its one text has
    LEARN_ROOT              # the root around that text has ended

cdef void learn_root_begins(Meter *m) noexcept nogil
cdef void learn_text(Meter *m, size_t k) noexcept nogil
cdef void learn_root_ends(Meter *m) noexcept nogil
cdef void learn_event(Meter *m, const char *at, size_t len, size_t data_at) noexcept nogil
cdef bint fits_head(const Meter *m, const char *at, size_t len) noexcept nogil
cdef bint fits_tail(const Meter *m, const char *at, size_t len) noexcept nogil
cdef bint is_one_line(const char *at, size_t len) noexcept nogil
cdef void resume(Meter *m) noexcept nogil
