from zeroproxy._fast.types.tls cimport LibSsl

# Functions of OpenSSL; valid after libssl_open has returned 1.
cdef const LibSsl *libssl() noexcept nogil
# Load OpenSSL once per process. 0: it is missing, or older than 3.
cdef bint libssl_open() noexcept nogil
