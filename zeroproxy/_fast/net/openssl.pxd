from zeroproxy._fast.types.tls cimport LibSsl

cdef const LibSsl *libssl() noexcept nogil
cdef bint libssl_open() noexcept nogil
