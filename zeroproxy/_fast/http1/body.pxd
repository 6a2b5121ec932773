from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.types.http cimport Body, Verdict


cdef struct BodySlice:      # result of one call of body_unframe
    size_t data_at          # body data: one contiguous span of the buffer
    size_t data_len
    size_t consumed         # bytes that belong to this message; BAD: offset of the wrong byte


cdef enum BodyState:        # meaning of the next byte
    BODY_SIZE = 0           # first digit of a chunk size
    BODY_DIGITS             # more digits, or the byte that ends them
    BODY_EXT_NAME           # first byte of an extension name
    BODY_EXT_NAMED          # more of it
    BODY_EXT_VALUE          # first byte of an extension value
    BODY_EXT_TOKEN          # more of it
    BODY_EXT_QUOTED         # inside quotes
    BODY_EXT_ESCAPED        # behind a backslash inside quotes
    BODY_EXT_CLOSED         # behind the closing quote
    BODY_LINE_LF            # LF of a chunk line
    BODY_DATA_CR            # CRLF behind chunk data
    BODY_DATA_LF
    BODY_TRAILER            # first byte of a trailer line, or CR of the empty line
    BODY_TRAILER_NAME
    BODY_TRAILER_VALUE
    BODY_TRAILER_LF
    BODY_LAST_LF            # LF of the empty line: the end
    BODY_LINE_STATES        # states below are read byte by byte, by the table
    BODY_DATA = BODY_LINE_STATES
    BODY_FAILED

cdef enum:
    LAST_CHUNK = 5          # bytes of last_chunk


cdef inline const char *last_chunk() noexcept nogil:
    """The end of a chunked body without trailers."""
    return b"0\r\n\r\n"

# Start a body. `length` counts for FRAMING_LENGTH only; one without a body is done at once.
cdef void body_begin(Body *b, int framing, uint64_t length) noexcept nogil
# Take the framing off `len` bytes in place; `cut` receives the data and the bytes consumed.
cdef Verdict body_unframe(
    Body *b, char *buf, size_t len, BodySlice *cut, uint32_t extra_limit,
) noexcept nogil
# Frame `len` > 0 bytes in place, with 32 free bytes on either side; returns the size line's length.
cdef size_t frame_chunk(char *data, size_t len) noexcept nogil
# Write the last chunk at `at`; returns its length.
cdef size_t frame_last(char *at) noexcept nogil
