from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from zeroproxy._fast.types.meter cimport WALK_TEXT


cdef struct Name:           # meaning of a key in its place
    char[WALK_TEXT] text    # beside its length: a look-up touches one line of memory
    uint8_t len
    uint8_t sense           # Sense
    uint8_t family          # Sense of the family its number belongs to; 0: none
    uint8_t next            # index of the next name of the same place and length; 0: none

# Meaning of the key [at, at + len) in `place`; NULL: none. Static.
cdef const Name *name_in(int place, const char *at, size_t len) noexcept nogil
# Some key has a meaning in `place`.
cdef bint has_names(int place) noexcept nogil
# Type of the value of a root's "type".
cdef int type_of(const char *at, size_t len) noexcept nogil
