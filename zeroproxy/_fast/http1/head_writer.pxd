from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from zeroproxy._fast.types.http cimport Head, Span


cdef struct RequestHop:     # added to a request by this hop; spans borrowed for the call
    Span peer               # address of the caller; len 0: unix socket, unknown
    Span proto              # "http" or "https"
    Span authority          # of the endpoint: Host where the caller sent none
    Span request_id         # used unless the caller sent a valid one; len 0: none
    Span traceparent        # the same
    Span bearer             # Authorization instead of the caller's; len 0: none
    Span lines              # whole lines of the proxy's own, which end in CRLF; len 0: none
    uint64_t length         # FRAMING_LENGTH
    uint8_t framing         # Framing of the body as it is sent
    uint8_t adds_via
    uint8_t drops_keys      # the caller's API key ends here
    uint8_t trusts_forwarded    # X-Forwarded-* of the caller are kept and appended to; Forwarded
                                # and X-Real-IP go on as they are


cdef struct ResponseHop:    # added to a response by this hop
    Span date               # sent unless the response has one
    Span request_id         # sent unless the response has one; len 0: none
    Span lines              # whole lines of the proxy's own, which end in CRLF; len 0: none
    Span cors               # field lines; len 0: none
    uint64_t length         # FRAMING_LENGTH
    uint8_t framing         # Framing of the body as it is sent
    uint8_t closes          # this conn ends after the response
    uint8_t keeps_alive     # HTTP/1.0 caller whose conn stays: Connection: keep-alive is due
    uint8_t switches        # a 101 that was requested

# Write the head for upstream; returns its length, 0: above `cap`.
cdef size_t write_request_head(
    const Head *h, const RequestHop *hop, char *out, size_t cap,
) noexcept nogil
# Write the head for downstream; returns its length, 0: above `cap`.
cdef size_t write_response_head(
    const Head *h, const ResponseHop *back, char *out, size_t cap,
) noexcept nogil
