from libc.stddef cimport size_t

from zeroproxy._fast.jsonscan.string_end_and_number cimport MARK_MEMBER, MARK_TOKEN, MARK_VALUE
from zeroproxy._fast.types.meter cimport FACT_PROMPT, Meter, Walk


cdef enum WalkState:
    WALK_PLAIN = 0          # between tokens
    WALK_STRING
    WALK_ESCAPE             # behind a backslash inside a string
    WALK_NUMBER             # a number that counts

# Start with the next JSON text; levels left open are forgotten.
cdef void walk_begin(Meter *m) noexcept nogil
# Walk over the next bytes, in any split, and add every root object that ends.
cdef void walk_feed(Meter *m, const char *at, size_t len) noexcept nogil


cdef inline unsigned int marks_now(const Walk *w) noexcept nogil:
    """Marks of bytes that matter: in a level that means something, or outside of all."""
    if w.here.sense >= FACT_PROMPT and not w.here.is_key:
        return MARK_TOKEN | MARK_MEMBER | MARK_VALUE
    return MARK_TOKEN | MARK_MEMBER
