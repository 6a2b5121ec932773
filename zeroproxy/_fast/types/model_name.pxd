# The name of a model as it is kept, and how JSON's escapes are read. No code; cimports libc only.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    MODEL_MAX = 256         # bytes of a name, decoded; a longer one is kept cut, and equals nothing
    MODEL_HEAD = 64         # of them in place
    REAL_MAX = 2 * MODEL_MAX + 2    # of a server's own name, as JSON


cdef struct Unescape:       # a resumable position inside the bytes of one JSON string
    uint8_t state           # strings.UnescapeState
    uint8_t is_bad          # an escape that JSON does not have, or half a surrogate pair
    uint16_t unit           # of \uXXXX, as far as it was read
    uint16_t high           # a high surrogate whose low one has to follow; 0: none


cdef struct ModelName:      # decoded; name_clear, name_free
    uint16_t len            # MODEL_MAX + 1: it goes on, hashed in rest_hash
    Unescape text
    uint64_t rest_hash      # of the part of a longer name that is not kept
    char *more              # owned: the part behind the head; NULL: none
    char[MODEL_HEAD] head


cdef struct Route:          # requests for this model go to that upstream
    uint32_t upstream
    uint16_t len
    uint16_t real_len       # 0: the name is passed on as it is
    char[MODEL_MAX] model
    char[REAL_MAX] real     # the server's own name, as JSON, quotes included
    uint16_t plain_len      # the same as a form has it
    char[MODEL_MAX] plain
