from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    COUNT_BITS = 53         # of the largest count of a quota: a double holds it exactly

# Raise a TypeError unless `value` is a `kind`.
cdef int demand_type(object value, str key, object kind) except -1
# Return an int from `least` to `most`; a bool is none.
cdef uint64_t whole(object value, str key, uint64_t least, uint64_t most) except? 0
# Return an index below `n`.
cdef uint32_t index_in(object value, str key, uint32_t n) except? 0
# Return a float or an int from `least` to `most`, which are finite.
cdef double number(object value, str key, double least, double most) except? 0
# Return seconds as ns.
cdef uint64_t ns(object value, str key) except? 0
# Return a bool.
cdef bint flag(object value, str key) except -1
# Return the place of a str in `names`: the value of an enum's member (engine/enum_names.pyx).
cdef int choice(object value, str key, tuple names) except -1
# Return a str in UTF-8, of at most `most` bytes.
cdef bytes encoded(object value, str key, size_t most)
