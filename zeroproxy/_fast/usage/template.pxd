from libc.stddef cimport size_t

from zeroproxy._fast.types.meter cimport Meter


cdef enum Learning:         # progress towards a template, in the event being walked
    LEARN_NOT = 0
    LEARN_BEGUN             # its text has not begun
    LEARN_TEXT              # its one text has
    LEARN_ROOT              # the root around that text has ended

# A root object begins.
cdef void learn_root_begins(Meter *m) noexcept nogil
# A text that is not empty begins at offset k of what is being walked.
cdef void learn_text(Meter *m, size_t k) noexcept nogil
# A root object ends.
cdef void learn_root_ends(Meter *m) noexcept nogil
# Learn from the event [at, at + len); its data is one line and begins at `data_at`.
cdef void learn_event(Meter *m, const char *at, size_t len, size_t data_at) noexcept nogil
# The event begins with the head of the template.
cdef bint fits_head(const Meter *m, const char *at, size_t len) noexcept nogil
# The text behind the head is followed by exactly the tail.
cdef bint fits_tail(const Meter *m, const char *at, size_t len) noexcept nogil
# There is no line end in it.
cdef bint is_one_line(const char *at, size_t len) noexcept nogil
# Set the walk to where the head ends.
cdef void resume(Meter *m) noexcept nogil
