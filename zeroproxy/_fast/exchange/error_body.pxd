from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Relay


cdef enum Dialect:          # shape of errors, by the path of the request
    DIALECT_OPENAI = 0
    DIALECT_ANTHROPIC
    DIALECT_TGI             # and of Triton and KServe: the error is a string
    DIALECT_OLLAMA
    DIALECT_RESPONSES       # OpenAI's, whose streams have error events of their own
    DIALECT_WORKER          # of FastChat

# Return the Dialect of a path without its query.
cdef int dialect_of(const char *path, size_t len) noexcept nogil
# Write the error body, with a NUL behind it; returns its length as snprintf does.
cdef int write_error_json(const Relay *r, int status, char *out, size_t cap) noexcept nogil
# Write the last event or line of a cut response; returns its length.
cdef size_t write_cut_event(Relay *r, char *out, size_t cap) noexcept nogil
