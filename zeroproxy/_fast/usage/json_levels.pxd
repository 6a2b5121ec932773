from libc.stdint cimport uint8_t, uint32_t

from zeroproxy._fast.types.meter cimport (
    PLACE_CHOICE,
    PLACE_CHOICES,
    PLACE_ROOT,
    PLACE_ROOTS,
    SENSE_NONE,
    WALK_DEPTH,
    Meter,
    Walk,
)

# Enter an object or array that begins at `at`.
cdef void open_level(Meter *m, bint is_object, uint32_t at) noexcept nogil
# Leave it again; it ends at `at`.
cdef void close_level(Meter *m, uint32_t at) noexcept nogil


cdef inline int place_now(const Walk *w) noexcept nogil:
    """The Sense of the innermost open level."""
    return w.here.place[w.here.depth - 1] if 0 < w.here.depth <= WALK_DEPTH else SENSE_NONE


cdef inline int sense_of_element(int place) noexcept nogil:
    """Meaning of an element of the array `place`."""
    if place == PLACE_CHOICES:
        return PLACE_CHOICE
    return PLACE_ROOT if place == PLACE_ROOTS else SENSE_NONE


cdef inline void next_member(Walk *w, uint32_t at) noexcept nogil:
    """Step behind a comma: in an array the next element means the same as the last."""
    cdef int place = place_now(w)
    w.here.sense = <uint8_t>sense_of_element(place)
    if w.here.sense == SENSE_NONE:
        w.here.is_key = 1
        if place == PLACE_ROOT:
            w.comma = at
