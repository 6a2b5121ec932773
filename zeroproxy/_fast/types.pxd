# The words of the data plane: every enum and struct that more than one file needs. No code.
#
# Law 1. This file cimports libc and nothing else, so every floor may read it.
# Law 2. Who owns a pointer is written where the pointer is declared.
# Law 3. Times are monotonic nanoseconds (suffix _ns) unless the name says wall.

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# ---------------------------------------------------------------- kernels: verdicts and heads


cdef enum Verdict:
    VERDICT_MORE = 0        # well formed so far; call again with more bytes
    VERDICT_OK              # complete; `consumed` says how far
    VERDICT_BAD             # refused; `fault` says what, `fault_at` which byte


cdef enum Fault:            # why bytes were refused; http1.fault_status and fault_text
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
    FAULT_CODING_UNKNOWN    # a coding we do not implement
    FAULT_LENGTH_AND_CODING
    FAULT_CONNECTION        # Connection nominates a field that frames or routes
    FAULT_EXPECT
    FAULT_UPGRADE           # 101 that nobody asked for
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
    FAULT_KEY               # 401: no API key, or one nobody knows
    FAULT_KEY_MODEL         # 403: the key does not allow the model
    FAULT_QUOTA_REQUESTS    # 429
    FAULT_QUOTA_TOKENS      # 429
    FAULT_KEY_UNREAD        # 403: the key allows some models, and which one is meant cannot be told
    FAULT_MODEL_LATE        # 400: no model in the first bytes of the body
    FAULT_MODEL_NONE        # 400: it names none, and no upstream takes what names none
    FAULT_BODY_CODE         # 400: JSON in UTF-16 or UTF-32
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


cdef enum Upgrade:          # what Connection: upgrade and the Upgrade field ask for
    UPGRADE_NONE = 0
    UPGRADE_IGNORED         # something that we do not pass on; what follows may be meant for it
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
    uint8_t path_only_query  # absolute-form with an empty path but a query: "?" comes first
    int16_t host_field      # index into fields; -1: none
    int16_t upgrade_field   # index into fields; -1: none
    int16_t max_forwards    # -1: absent, or the method does not read it
    uint64_t length         # FRAMING_LENGTH: bytes of body
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

# ---------------------------------------------------------------- kernels: metering


cdef enum Exactness:
    EXACT = 0               # the server's own final count
    LOWER_BOUND             # cut short: at least this many
    NONE                    # nothing countable was seen
    UNTRUSTED               # the server counts, but is known to be wrong
    UNCOUNTED               # an engine worked on it; it ended before any count came
    EXACTNESS_COUNT


cdef struct Tokens:         # -1: not known
    int64_t prompt          # total, cached ones included
    int64_t completion
    int64_t cached
    int64_t reasoning

# ---------------------------------------------------------------- the life of an exchange


cdef enum Phase:            # where an exchange is
    PHASE_IDLE = 0          # nothing asked yet on this conn
    PHASE_HEAD              # the first bytes of a request head are here; a body may be waited for
    PHASE_QUEUED            # waits for a permit
    PHASE_CONNECTING        # waits for an upstream conn
    PHASE_WAITING           # the request is being sent or was sent; no final response head yet
    PHASE_RELAYING          # the response head has gone downstream: no way back
    PHASE_TUNNEL            # 101: bytes both ways, no HTTP any more
    PHASE_FLUSHING          # nothing more will be added; the last bytes wait for the socket
    PHASE_LINGERING         # write side shut; late bytes are read and dropped, so that no RST
                            # destroys the answer
    PHASE_CLOSED
    PHASE_COUNT             # always last


cdef enum Input:            # what can happen to an exchange
    IN_BYTES = 0            # first byte of a request
    IN_REQUEST              # a complete, legal request head
    IN_REFUSED              # we answer this one ourselves: bad head, limit, overload, ...
    IN_PERMIT               # admitted
    IN_CONNECTED            # an upstream conn is ready
    IN_LOST_MAY_RETRY       # the attempt failed and the law allows another
    IN_LOST                 # the attempt failed for good before a response head
    IN_RESPONSE             # final response head forwarded
    IN_SWITCHED             # 101 forwarded
    IN_CUT                  # upstream failed after the head went downstream
    IN_COMPLETE             # the last byte of the response was handed on
    IN_FLUSHED              # the out-buffer downstream is empty; the conn may serve again
    IN_FLUSHED_CLOSE        # the same, and the conn is to be closed
    IN_DRAINED              # lingering is over
    IN_GONE                 # downstream left, or is cut off by us
    INPUT_COUNT             # always last


cdef enum Action:           # what the relay does after a move
    ACT_NONE = 0
    ACT_ADMIT               # ask for a permit
    ACT_CONNECT             # pick an endpoint, take or open a conn
    ACT_SEND                # send the held request
    ACT_RETRY               # give the dead attempt back, go to ACT_CONNECT
    ACT_ANSWER              # give the attempt back, send an error of our own, flush
    ACT_FLUSH               # give the attempt back, flush
    ACT_CUT                 # give the attempt back, say so in the stream's dialect if the last
                            # byte ended an event, flush, and close without a clean end
    ACT_NEXT                # write the record; read the next request
    ACT_LINGER              # write the record; shut the write side, drop what still arrives
    ACT_CLOSE               # give everything back, write the record, close downstream
    ACT_BUG                 # not a row of the table
    ACTION_COUNT            # always last


cdef enum LocalReply:       # an answer of our own that is no error
    LOCAL_REPLY_NONE = 0
    LOCAL_REPLY_MODELS      # the list of models
    LOCAL_REPLY_OPTIONS     # OPTIONS that may go no further (RFC 9110 7.6.2)


cdef enum Blame:            # who ended it
    BLAME_NOBODY = 0
    BLAME_DOWNSTREAM
    BLAME_UPSTREAM
    BLAME_OURSELVES
    BLAME_COUNT


cdef enum Cause:            # why it ended
    CAUSE_DONE = 0          # the whole response was relayed
    CAUSE_CLOSED            # FIN where bytes were owed
    CAUSE_RESET
    CAUSE_TIMEOUT
    CAUSE_MALFORMED
    CAUSE_TOO_LARGE
    CAUSE_REFUSED           # connection refused, unreachable, or a request we do not serve
    CAUSE_OVERLOAD          # queue full, queue timeout, connection cap
    CAUSE_NO_ENDPOINT       # none in rotation
    CAUSE_DRAINED           # we are shutting down
    CAUSE_TLS               # no TLS with the endpoint: its certificate, ours, or the protocol
    CAUSE_COUNT

# ---------------------------------------------------------------- memory


cdef enum:
    # One read. An SSE burst fits many times over; a prompt upload of 100 MB takes 1,600 of them.
    # A whole read plus the framing we add (<= 32 bytes) fits one large block, so what a send
    # could not take always fits one block of the conn.
    READ_MAX = 64512
    SLACK = 512             # before and after a read: room to write chunk framing in place
    BLOCK_CLASSES = 3       # 2 KiB, 16 KiB, 66 KiB
    BLOCK_SMALL = 2048      # a chat request with a short prompt
    BLOCK_MEDIUM = 16384
    BLOCK_LARGE = 67584


cdef struct Buffer:         # bytes [at, end) of one block; empty buffers hold no block
    uint32_t at
    uint32_t end
    char *data              # owned; from and to the BlockPool
    uint32_t cap            # 0: no block


cdef struct BlockPool:
    void *free_head[BLOCK_CLASSES]      # owned; singly linked through the first word
    uint32_t n_free[BLOCK_CLASSES]
    uint32_t keep[BLOCK_CLASSES]        # more than this many free blocks go back to the allocator
    uint64_t bytes_out                  # bytes lent out at the moment
