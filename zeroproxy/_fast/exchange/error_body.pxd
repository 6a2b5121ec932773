from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Relay


cdef enum Dialect:          # how errors look to this caller; from the path of the request
    DIALECT_OPENAI = 0
    DIALECT_ANTHROPIC
    DIALECT_TGI             # and of Triton and KServe: the error is a string
    DIALECT_OLLAMA
    DIALECT_RESPONSES       # OpenAI's, whose streams have error events of their own
    DIALECT_WORKER          # of FastChat

cdef int dialect_of(const char *path, size_t len) noexcept nogil
cdef int write_error_json(const Relay *r, int status, char *out, size_t cap) noexcept nogil
cdef size_t write_cut_event(Relay *r, char *out, size_t cap) noexcept nogil
