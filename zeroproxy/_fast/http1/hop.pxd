# The facts of one hop that a head gets on its way. No code.

from libc.stdint cimport uint8_t, uint64_t

from zeroproxy._fast.types.http cimport Span


cdef struct RequestHop:     # added to a request by this hop; spans borrowed for the call
    Span peer               # address of the caller; len 0: unix socket, unknown
    Span proto              # "http" or "https"
    Span host               # Host instead of the caller's, or where that sent none; len 0: left
                            # empty, for the endpoint's authority
    Span request_id         # used unless the caller sent a valid one; len 0: none
    Span traceparent        # the same
    Span bearer             # Authorization instead of the caller's; len 0: none
    Span lines              # whole lines of the proxy's own, which end in CRLF; len 0: none
    uint64_t length         # FRAMING_LENGTH
    uint8_t framing         # Framing of the body as it is sent
    uint8_t adds_via
    uint8_t drops_keys      # the caller's API key ends here
    uint8_t drops_host      # the caller's Host goes no further than X-Forwarded-Host
    uint8_t trusts_forwarded    # X-Forwarded-*, Forwarded and X-Real-IP of the caller are kept;
                                # lists are appended to


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
