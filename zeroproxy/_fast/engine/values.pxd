from libc.stdint cimport uint32_t, uint64_t

cdef int demand_type(object value, str key, object kind) except -1
cdef uint64_t whole(object value, str key, uint64_t least, uint64_t most) except? 0
cdef uint32_t index_in(object value, str key, uint32_t n) except? 0
cdef double number(object value, str key, double least, double most) except? 0
cdef uint64_t ns(object value, str key) except? 0
cdef bint flag(object value, str key) except -1
cdef int choice(object value, str key, tuple names) except -1
cdef bytes encoded(object value, str key, size_t most)
