from zeroproxy._fast.types.key_terms cimport SALT_LEN, KeyTerms

# Fill `t`, which owns memory afterwards, with the terms of a config.Key. `upstreams`: all names, by
# index. Raises as engine/values.pyx does.
cdef int terms_read(KeyTerms *t, key, list upstreams) except -1
# True if both mean the same.
cdef bint terms_are_equal(const KeyTerms *a, const KeyTerms *b) noexcept nogil
# Release the memory of terms.
cdef void terms_free(KeyTerms *t) noexcept nogil
# Write the values of cache_salt for a config.Key, by SaltBy.
cdef int salts_write(char (*salts)[SALT_LEN], bytes secret, key) except -1
