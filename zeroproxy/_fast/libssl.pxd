from zeroproxy._fast.tls_types cimport LibSsl

cdef const LibSsl *libssl() noexcept nogil
cdef bint libssl_open() noexcept nogil
