# HTTP/1.1 heads and bodies: verdicts, faults, fields, positions. No code.
#
# Law 1. This folder cimports libc and itself only, so every other folder may read it.
# Law 2. The owner of a pointer is written where the pointer is declared.
# Law 3. Times are monotonic nanoseconds (suffix _ns) unless the name has wall in it.
# Tests: tests/house/test_floors.py.

from libc.stddef cimport size_t
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum Verdict:
    VERDICT_MORE = 0        # well formed so far; call again with more bytes
    VERDICT_OK              # complete; `consumed` bytes long
    VERDICT_BAD             # refused: `fault`, at the byte `fault_at`


cdef enum Fault:            # the reason of a refusal; head_parser.fault_status and fault_text
    FAULT_NONE = 0
    FAULT_REQUEST_LINE      # not exactly: method SP target SP HTTP/d.d CRLF
    FAULT_METHOD
    FAULT_METHOD_REFUSED    # CONNECT, TRACE
    FAULT_TARGET
    FAULT_VERSION
    FAULT_STATUS_LINE
    FAULT_LINE_END          # bare LF, bare CR
    FAULT_FIELD_NAME
    FAULT_FIELD_VALUE
    FAULT_FIELD_FOLDED
    FAULT_HOST
    FAULT_LENGTH            # Content-Length is not one plain number
    FAULT_CODING            # Transfer-Encoding is not exactly chunked
    FAULT_CODING_UNKNOWN    # a coding that is not implemented
    FAULT_LENGTH_AND_CODING
    FAULT_CONNECTION        # Connection nominates a field that frames or routes
    FAULT_EXPECT
    FAULT_UPGRADE           # 101 that was not requested
    FAULT_LINE_TOO_LONG     # 414
    FAULT_HEAD_TOO_LARGE    # 431
    FAULT_TOO_MANY_FIELDS   # 431
    FAULT_BODY_TOO_LARGE    # 413
    FAULT_CHUNK_SIZE
    FAULT_CHUNK_EXT
    FAULT_CHUNK_END
    FAULT_TRAILER
    FAULT_MODEL             # 404: no upstream serves it
    FAULT_DUPLICATE         # a singleton field occurs twice
    FAULT_KEY               # 401: no API key, or an unknown one
    FAULT_KEY_MODEL         # 403: the key does not allow the model
    FAULT_QUOTA_REQUESTS    # 429
    FAULT_QUOTA_TOKENS      # 429
    FAULT_KEY_UNREAD        # 403: the key allows some models, and the request's is not known
    FAULT_MODEL_LATE        # 400: no model in the first bytes of the body
    FAULT_MODEL_NONE        # 400: no model is named, and no upstream takes such requests
    FAULT_BODY_CODE         # 400: JSON in UTF-16 or UTF-32
    FAULT_BODY_CODED        # 415: compressed, where it has to be read
    FAULT_SIGNED            # 400: these three prevent the count of a response, under a quota
    FAULT_OPTIONS
    FAULT_FIELDS
    FAULT_TOKEN             # 401: not a token of any issuer here
    FAULT_TOKEN_TIME        # 401: expired, or not valid yet
    FAULT_TOKEN_UNREAD      # 503: it could not be verified
    FAULT_NETWORK           # 403: the caller's address may not ask, at all or with its key
    FAULT_PATH              # 404: these three are refused by the surface
    FAULT_PATH_METHOD       # 405
    FAULT_MEMBER            # 400
    FAULT_KEY_DISABLED      # 401; from here on in the order of key_terms.Term
    FAULT_KEY_EXPIRED       # 401
    FAULT_KEY_UPSTREAM      # 403: the key may not use the upstream
    FAULT_KEY_INFLIGHT      # 429
    FAULT_KEY_BYTES         # 413: the key allows shorter bodies only
    FAULT_KEY_N             # 400: more choices than the key allows, or oddly spelt
    FAULT_KEY_MAX_TOKENS    # 400: oddly spelt, so that it cannot be limited
    FAULT_KEY_BODY          # 400: a term of the key cannot be looked for in the body
    FAULT_CACHE_SALT        # 400: the proxy sets it
    FAULT_COUNT             # always last


cdef enum FieldId:          # the fields the proxy itself reads or rewrites
    FIELD_OTHER = 0
    FIELD_HOST
    FIELD_CONNECTION
    FIELD_CONTENT_LENGTH
    FIELD_TRANSFER_ENCODING
    FIELD_TE
    FIELD_TRAILER
    FIELD_UPGRADE
    FIELD_KEEP_ALIVE
    FIELD_PROXY_CONNECTION
    FIELD_HTTP2_SETTINGS
    FIELD_EXPECT
    FIELD_MAX_FORWARDS
    FIELD_VIA
    FIELD_X_FORWARDED_FOR
    FIELD_X_FORWARDED_PROTO
    FIELD_X_FORWARDED_HOST
    FIELD_X_REQUEST_ID
    FIELD_TRACEPARENT
    FIELD_AUTHORIZATION
    FIELD_X_API_KEY
    FIELD_API_KEY
    FIELD_CONTENT_TYPE
    FIELD_CONTENT_ENCODING
    FIELD_ACCEPT_ENCODING
    FIELD_DATE
    FIELD_SERVER
    FIELD_RETRY_AFTER
    FIELD_COOKIE
    FIELD_FORWARDED
    FIELD_X_REAL_IP
    FIELD_X_FORWARDED       # X-Forwarded, and X-Forwarded-* without an id of its own
    FIELD_ALIAS             # one of these names with "_" for "-": CGI-like servers take it for it
    FIELD_SDK_RETRY_COUNT   # X-Stainless-Retry-Count and the two below: of the callers' SDKs
    FIELD_SDK_READ_TIMEOUT
    FIELD_SDK_TIMEOUT
    FIELD_ID_COUNT          # always last


cdef enum Method:           # OTHER is forwarded as it is
    METHOD_OTHER = 0
    METHOD_GET
    METHOD_HEAD
    METHOD_POST
    METHOD_PUT
    METHOD_DELETE
    METHOD_OPTIONS
    METHOD_PATCH
    METHOD_COUNT            # always last


cdef enum Upgrade:          # the protocol that Connection: upgrade and Upgrade name
    UPGRADE_NONE = 0
    UPGRADE_IGNORED         # one that is not passed on; the bytes behind may be in it
    UPGRADE_WEBSOCKET


cdef enum Framing:
    FRAMING_NONE = 0        # no body
    FRAMING_LENGTH          # Content-Length
    FRAMING_CHUNKED
    FRAMING_CLOSE           # until the peer closes (responses only)


cdef enum:
    FIELDS_MAX = 256        # hard size of Head.fields; limits.header_count is at most this


cdef struct Span:           # a view into someone else's bytes; valid until those are consumed
    const char *at
    size_t len


cdef struct Field:          # offsets count from the first byte of the head
    uint32_t name_at
    uint32_t value_at
    uint16_t name_len
    uint16_t value_len      # OWS trimmed on both sides
    uint8_t id              # FieldId
    uint8_t nominated       # 1: named by Connection, so it ends at this hop


cdef struct HeadLimits:
    uint32_t line_bytes     # request line or status line
    uint32_t head_bytes     # the whole head, both CRLFs included
    uint32_t field_count    # at most FIELDS_MAX


cdef struct Head:           # one request head or response head; all offsets from `base`
    const char *base        # borrowed: the bytes given to parse_*, valid until they are consumed
    uint32_t consumed       # bytes of the head, including skipped leading CRLFs and the final CRLF
    uint32_t fault_at       # byte offset of the refusal
    uint16_t fault          # Fault
    uint16_t n_fields
    uint32_t method_at      # requests
    uint32_t target_at      # the origin-form part (path and query) of the target
    uint32_t authority_at   # authority of an absolute-form target; len 0: none
    uint32_t reason_at      # responses
    uint16_t method_len
    uint16_t target_len     # 0: absolute-form without a path (send "/", or "*" for OPTIONS)
    uint16_t authority_len
    uint16_t reason_len
    uint16_t status         # responses
    uint8_t method          # Method
    uint8_t minor           # HTTP/1.minor: 0 or 1
    uint8_t framing         # Framing
    uint8_t asks_close      # Connection: close, or HTTP/1.0 without keep-alive
    uint8_t upgrade         # Upgrade; of a response: WEBSOCKET, or IGNORED where it names another
    uint8_t asks_continue   # Expect: 100-continue, HTTP/1.1
    uint8_t path_only_query     # absolute-form with an empty path but a query: "?" comes first
    int16_t host_field      # index into fields; -1: none
    int16_t upgrade_field   # index into fields; -1: none
    int16_t max_forwards    # -1: absent, or the method does not read it
    uint64_t length         # FRAMING_LENGTH: bytes of body
    uint64_t ids            # of a legal head: one bit for each FieldId that occurs, but FIELD_OTHER
    Field[FIELDS_MAX] fields


cdef struct Body:           # resumable position inside one message body
    uint64_t left           # bytes left of the body (LENGTH) or of this chunk's data (CHUNKED)
    uint64_t size           # chunk size read so far
    uint64_t total          # bytes of body data seen, framing excluded
    uint32_t line_bytes     # bytes of the chunk line or trailer line read so far
    uint32_t extra_bytes    # chunk extensions and trailers of this message, for the limit
    uint16_t fault          # Fault
    uint8_t framing         # Framing
    uint8_t state           # body.BodyState
    uint8_t done            # 1: the last byte of the message was seen
