from zeroproxy._fast.types.key_and_quota cimport ApiKey, ApiKeyTable
from zeroproxy._fast.types.plane cimport Conn

# Find the key in force of the caller's certificate, by the table's kind of name. NULL: none.
cdef ApiKey *certificate_key(const ApiKeyTable *keys, Conn *c) noexcept nogil
