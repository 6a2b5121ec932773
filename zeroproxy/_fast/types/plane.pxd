# The Plane, which is the whole data plane, and all in it. No code; the laws of http.pxd hold.

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.types.admission_limits cimport AdmissionSettings, Limit, TenantShare
from zeroproxy._fast.types.affinity_and_latency cimport HashSettings, LatencyModel, ResponseLength
from zeroproxy._fast.types.breaker cimport Breaker, BreakerSettings, BreakerTicket
from zeroproxy._fast.types.conn_pool cimport CLOSED_COUNT, LearnedKeepAlive, PoolSettings
from zeroproxy._fast.types.cors cimport CorsTable
from zeroproxy._fast.types.exchange_limits cimport Counters, ExchangeSettings, KeepAlive, Limits
from zeroproxy._fast.types.histogram cimport Histogram
from zeroproxy._fast.types.hold cimport Departures, Hold, Waiting
from zeroproxy._fast.types.http cimport Body, Head, Span
from zeroproxy._fast.types.key_and_quota cimport ApiKey, ApiKeyTable
from zeroproxy._fast.types.key_terms cimport ExchangeTerms, UpstreamTerms
from zeroproxy._fast.types.made_edit cimport EDITS_MAX, MadeEdit
from zeroproxy._fast.types.memory cimport BlockPool, Buffer
from zeroproxy._fast.types.meter cimport BodyScan, HeldEvent
from zeroproxy._fast.types.model_name cimport ModelName, Route
from zeroproxy._fast.types.network cimport PROXY_FAULT_COUNT, Address, Listener
from zeroproxy._fast.types.plane_thread cimport Driver
from zeroproxy._fast.types.reactor cimport (
    OnDue,
    OnGroup,
    OnReady,
    OnSoon,
    Reactor,
    SendBatch,
    Timer,
    Wheel,
)
from zeroproxy._fast.types.surface cimport Surface, SurfaceUse
from zeroproxy._fast.types.tls cimport TlsCounters, TlsNote
from zeroproxy._fast.types.token cimport Question, TokenTable


cdef enum:
    DATE_LEN = 29           # of an IMF-fixdate (RFC 9110 5.6.7)


cdef struct Relay           # below
cdef struct Endpoint        # below
cdef struct Upstream        # below


cdef struct RelayFifo:      # relays that wait, in order, through queue_prev and queue_next
    Relay *head             # borrowed
    Relay *tail
    uint32_t n


cdef struct TenantQueue:    # those of one tenant and one priority; never empty
    RelayFifo fifo
    uint16_t tenant
    uint8_t priority
    uint8_t is_again        # those that their callers' SDKs have sent before


cdef struct FairQueue:      # relays that wait for a permit
    uint32_t n              # in all tenant queues
    uint32_t n_tenant_queues
    uint32_t cap_tenant_queues
    uint32_t n_shares
    TenantQueue *tenant_queues  # owned; in no order
    TenantShare *shares     # owned; by tenant, from 1 on
    TenantShare common      # of those without a tenant
    int64_t clock           # TenantShare.virtual_tokens of the last one admitted
    int64_t mean            # tokens of an exchange, smoothed, of all tenants
    uint64_t n_displaced    # refused to make room for another
    Departures departures


cdef struct Conn:           # one TCP or unix connection, without HTTP
    # -- the part that an event of a stream touches: one line of memory
    void *owner             # borrowed: the Relay; NULL while idle in a pool
    void *tls               # owned, a tls.Tls; NULL: in the clear
    int fd                  # owned; -1: closed
    uint32_t slot           # reactor slot
    uint8_t is_upstream
    uint8_t connecting
    uint8_t may_read        # an edge was reported, and no short read has followed
    uint8_t may_write
    uint8_t saw_fin         # epoll reported RDHUP, or recv returned 0
    uint8_t broken          # epoll reported ERR or HUP, or a call failed
    uint8_t shut            # our FIN was sent
    uint8_t deferred        # 1 + its place in Plane.send_batch; 0: nothing of it is there
    Buffer outbuf           # bytes that a send could not take
    Buffer inbuf            # received, not yet consumed (partial heads, pipelined requests)
    # -- the rest
    int error               # errno of the failure, 0: none
    uint32_t served         # exchanges completed on it
    uint64_t since_ns       # when it was opened, or became idle
    uint64_t opened_ns
    uint64_t write_ns       # last progress of a blocked write, or since when all is handed over
    void *reporter          # borrowed, for on_ready: the Relay of a downstream conn, else the Conn
    Endpoint *endpoint      # borrowed; NULL for downstream
    Conn *prev              # the pool's list, or the plane's free list
    Conn *next
    Timer timer             # upstream: idle, connect of a prewarmed conn


cdef struct ConnList:       # conns without an owner, the latest first
    Conn *head
    Conn *tail
    uint32_t n


cdef struct Endpoint:       # one address of an upstream; Python writes the settings
    Upstream *upstream      # borrowed
    uint32_t index          # in the plane's table
    uint8_t in_rotation     # 1: in rotation
    uint8_t draining        # 1: no new exchange
    uint8_t usage_request   # edits.UsageRequest, on the caller's behalf
    uint8_t takes_usage     # a request that was edited to ask for usage was answered well
    uint8_t refuses_usage   # it was refused, and the same request without the edit was not
    uint32_t model_len      # tokens of its longest model; 0: not known
    uint8_t removed         # 1: its upstream's no more; the slot waits for its address
    uint8_t probe_ok        # its last health probe was answered well; 0: or there is no probe
    uint8_t doubt           # hold.Doubt
    uint32_t weight
    uint32_t inflight
    uint32_t addr_len
    uint32_t authority_len
    char addr[128]          # sockaddr_storage
    char authority[264]     # Host for requests that carry none
    ConnList idle           # owned
    ConnList opening        # owned; prewarm connects under way
    uint32_t n_conns        # all of them: idle, opening, busy
    PoolSettings pool
    LearnedKeepAlive learned
    uint8_t is_warm         # the first set stands, or could not be had
    uint64_t warm_wait_ns   # between two tries; 0: the endpoint is not in doubt
    uint64_t used_ns        # start of its last exchange
    Timer warm_timer
    uint64_t n_warmed
    uint64_t n_closed[CLOSED_COUNT]
    uint64_t n_stale_retries    # a pooled conn died without a byte, another took over
    uint64_t n_retries_withheld     # the same, but the endpoint may have worked on the request
    uint64_t n_connects
    uint64_t n_connect_failures
    uint64_t n_reused
    uint64_t n_stale        # idle conns the endpoint closed, or sent bytes on
    uint64_t n_failures     # attempts lost: reset, cut, timeout, malformed, 5xx
    uint64_t n_busy         # responses 429 and 503
    uint64_t n_unframed     # responses whole in their dialect whose HTTP message was never ended
    Breaker breaker
    uint32_t slow_start_credit  # slow start: the part of a request that it has earned
    uint64_t deprioritized_until_ns     # after 429 or 503: others go first
    uint64_t slow_start_ns  # slow start: since when; 0: over
    uint64_t last_data_ns   # last data of any response; comments and pings are none
    Limit limit
    char tls_name[256]      # its host, as a string; empty: in the clear
    TlsNote tls_note
    uint64_t hash           # of its URL
    LatencyModel latency


cdef struct Upstream:       # a named group of endpoints that serve the same models
    uint32_t index
    uint32_t n_endpoints
    Endpoint **endpoints    # owned array of owned endpoints
    uint32_t cap_endpoints  # places in it
    uint8_t balance         # affinity_and_latency.Balance
    uint32_t cursor         # round robin
    uint64_t chance         # state of its random numbers, never 0
    HashSettings hash
    ResponseLength response_length
    AdmissionSettings admission
    uint32_t inflight       # permits
    uint32_t n_placed       # attempts at its endpoints; a permit may be without one for a moment
    FairQueue queue
    Hold hold
    RelayFifo conn_waiters  # have a permit, wait for a conn
    uint64_t n_waited
    uint32_t max_attempts   # 1: no retry
    uint8_t retry_on_busy
    uint32_t hedge_share    # earned by each exchange, of HEDGE_ONE
    uint32_t hedge_credit   # a hedge costs HEDGE_ONE
    uint64_t n_hedges
    uint64_t n_hedges_won
    uint8_t passes_cookies
    uint8_t sends_own_host  # Host is the endpoint's authority, or `host`, not the caller's
    UpstreamTerms terms
    uint16_t bearer_len
    uint16_t host_len
    char *host              # owned; sent as Host to every endpoint; NULL: each gets its own
    char *bearer            # owned; "Bearer KEY", sent instead of a caller's; NULL: it has none
    BreakerSettings breaker
    uint64_t queue_ns       # time limits; 0: none
    uint64_t connect_ns
    uint64_t first_byte_ns
    uint64_t stream_idle_ns
    uint64_t total_ns
    uint64_t hedge_ns       # no byte of a response for so long: a hedge begins
    Histogram ttft
    Histogram request
    Histogram queue_wait
    Histogram gap           # between two reads of one streamed response
    Histogram overhead      # our own time: from the reports to the sends of request and response
    void *tls               # owned, an SSL_CTX; NULL: no endpoint wants one
    char tls_name[256]      # name in its endpoints' certificates; empty: each its own host


cdef struct Attempt:        # one try of an exchange on one upstream conn
    uint64_t began_ns
    uint64_t sent_ns        # the whole request was handed to the socket
    uint64_t load_area      # fastest: latency.area of the endpoint when the attempt began
    float load              # exchanges in flight there at that time; 0: not noted
    BreakerTicket ticket    # of the endpoint's breaker
    uint8_t counted         # in endpoint.inflight
    uint8_t was_reused      # the conn came from the pool
    uint8_t keeps_conn      # the conn may be pooled after this response
    # -- from here on: the part that an event of a stream touches
    uint8_t got_byte        # a byte of the response was received
    uint8_t paused          # upstream is not read: downstream is full
    Endpoint *endpoint      # borrowed; NULL: none was begun. It outlives the conn, for the record
    Conn *conn              # owned while the attempt is on; NULL otherwise


cdef struct Exchange:       # one request and its response, but for the attempts
    # -- the part that an event of a stream touches, in four lines of memory
    Upstream *upstream      # borrowed
    uint8_t phase           # Phase; only exchange_step writes it
    uint8_t is_streamed     # response is text/event-stream or NDJSON
    uint8_t out_framing     # Framing of the response downstream
    uint8_t edited          # edits.Edited: usage that the edits request
    uint8_t strips          # the response is stripped of usage that only an edit requested
    uint8_t scans_body      # the request body is read in passing: JSON, or a form
    uint32_t n_reads        # reads with data of a streamed response, from its first content on
    uint32_t n_head         # bytes of the response head in plane.compose, not sent yet
    uint64_t last_data_ns   # last data from upstream; comments and pings are none
    uint64_t gap_max_ns     # longest time between two reads of a streamed response
    uint64_t bytes_out
    uint64_t first_content_ns   # first byte of the final response: of its head, or, where it comes
                            # event by event, of its first content
    Buffer partial_event    # an event of the response that goes on in the next read
    Body response_body      # walks the response body
    ExchangeSettings settings
    uint64_t overhead_ns    # from the reports to our send, where a caller waits for it
    uint64_t began_wall_ns
    uint64_t began_ns       # first byte of the head
    uint64_t queued_ns      # asked for a permit
    uint64_t admitted_ns
    BodyScan scan           # begins a line; the fourth of those
    # -- the rest
    uint8_t blame           # Blame
    uint8_t cause           # Cause
    uint8_t ended_in        # Phase
    uint8_t fault           # Fault of a bad head or body, for the answer's text
    uint8_t method          # Method
    uint8_t minor           # HTTP/1.minor of the request
    uint8_t asks_close      # downstream is closed after this exchange
    uint8_t upgrade         # Upgrade of the request
    uint8_t owes_continue   # the caller waits for 100 Continue
    uint8_t holds_permit
    uint8_t is_queued
    ExchangeTerms terms
    uint8_t n_attempts      # attempts begun
    uint8_t needs_fresh_conn    # an idle conn has died: the next attempt gets a new conn
    uint8_t waits_conn      # in its upstream's conn_waiters
    uint8_t replayable      # every request byte sent so far is still in `replay`
    uint8_t head_sent       # a byte of the response has gone downstream
    uint8_t interims        # 1xx forwarded
    uint8_t down_paused     # downstream is not read: upstream is full, or not there yet
    uint8_t dialect         # error_body.Dialect, from the path
    uint8_t settled         # its record was written
    uint8_t tunnel_ends     # tunnel: which sides have ended
    uint8_t is_composed     # `replay` has the head; no permit has been requested yet
    uint8_t sent_100        # 100 was sent before the upstream was known
    uint8_t local_reply     # LocalReply
    uint8_t n_edits
    uint8_t usage_by        # UsageBy
    uint8_t was_served      # the caller has all of the response; the conn may still fail
    uint8_t trace_flags     # of the traceparent
    uint8_t has_parent      # the caller sent one: it is in `parent`
    uint8_t waits_for_more  # the in-buffer holds a partial head, parsed as far as it goes
    uint16_t skip           # bytes of it that an edit replaces, to come
    uint16_t status         # sent downstream; 0: none
    uint8_t id_len
    uint8_t path_len
    uint8_t priority        # of its key; lower is served earlier
    uint16_t tenant         # of its key; 0: none
    uint32_t charged        # tokens its tenant was charged in advance
    uint32_t reserved       # reserved tokens of its key's quota (keys_and_quotas.pyx, law 2)
    ApiKey *key             # borrowed; NULL: no key is required
    Question *question      # borrowed, in PHASE_PENDING; NULL: none
    uint8_t verdict         # Fault that the answer has brought; kept for the head's next reading
    const Span *cors        # borrowed from a CorsTable: lines of the response; NULL: CORS is off
    SurfaceUse surface
    uint32_t routes_at      # bytes of the in-buffer at which its head is parsed again
    uint32_t host_at        # where the endpoint's authority is missing in `replay`; 0: nowhere
    uint64_t affinity       # consistent_hash: of the request; 0: it has none
    int16_t reserve         # bytes the Content-Length sent upstream leaves for edits
    int16_t added           # of them: used
    Waiting waiting
    uint8_t is_hedged       # 1: no second attempt is allowed; 2: one has begun
    MadeEdit[EDITS_MAX] edits
    HeldEvent held_back
    Endpoint *refused_by    # borrowed: answered 400 or 422 to the edited request
    Buffer replay           # the request as it goes upstream, kept for a retry
    Body request_body       # walks the request body
    uint64_t response_head_ns   # first byte of its head
    uint64_t request_read_ns    # last byte of the request from downstream
    uint64_t rate_ns        # since when its body has a least rate: the caller can send, or again
    uint64_t rate_at        # body bytes that were here then
    uint64_t bytes_in       # body bytes, framing excluded
    KeepAlive keepalive
    ModelName model         # the requested one, then the response's
    char trace[16]          # W3C trace id
    char span[8]            # ours
    char parent[8]          # the caller's span
    char request_id[128]
    char path[64]           # cut; for the record


cdef struct Relay:          # one downstream conn, and the exchange it is busy with
    Conn down               # embedded
    Relay *queue_prev       # waiting for a permit, or for a conn
    Relay *queue_next
    Relay *run_next         # in the plane's run list: work that must not recurse
    uint8_t in_run
    uint8_t live            # 1: in use, 0: in the free list
    uint8_t peer_len
    char peer[47]           # text of the caller's address
    Attempt hedge           # the other of two, before any response byte; zero: there is none
    # -- forgotten between two requests (relay_reset)
    Attempt attempt         # the current one, or the last
    Exchange x
    # -- kept; last, so that the lines of a stream stay where they are
    Address address         # of the caller, as `peer` has it
    uint8_t listener        # in the plane's table
    uint8_t is_barred       # its listener's networks do not have the address
    uint8_t awaits_proxy    # the header of the PROXY protocol is still to come


cdef struct Plane:
    Driver driver
    Reactor reactor
    Wheel wheel
    BlockPool blocks
    uint64_t now_ns         # read once per batch of reports
    uint64_t date_ns        # until then `date` is right
    char date[DATE_LEN]     # as a field value; not terminated
    Limits limits
    Counters counters
    Head request_head       # scratch: the request head being handled
    Head response_head      # scratch: the response head being handled
    char *scratch           # owned; SLACK + BLOCK_LARGE + SLACK bytes
    char *compose           # owned; a block's worth, for heads to be sent
    SendBatch send_batch
    ApiKeyTable keys
    TokenTable tokens
    Question *questions     # owned, QUESTIONS_MAX; NULL: nothing is ever asked
    Route *routes           # owned; none: everything goes to the first upstream
    uint32_t n_routes
    void **old_routes       # owned
    uint32_t n_old_routes
    int default_upstream    # for models that no upstream lists; -1: none
    CorsTable *cors         # in force; NULL: CORS is off
    CorsTable *all_cors     # owned; each that was ever in force, the latest first
    Surface *surface        # owned; NULL: everything passes
    char *models            # owned; the list of models, a local reply; NULL: passed on
    uint32_t models_len
    Upstream **upstreams    # owned
    uint32_t n_upstreams
    Endpoint **endpoints    # borrowed from their upstreams, by index
    uint32_t n_endpoints
    Listener *listeners     # owned
    uint32_t n_listeners
    Relay *free_relays      # owned
    Conn *free_conns        # owned
    Relay *run_head
    Relay *run_tail
    Relay **relays          # owned; every relay ever made, for drain and close
    uint32_t n_relays
    uint32_t cap_relays
    uint8_t draining        # exchange_enums.Drain
    uint8_t adds_via
    uint8_t trusts_forwarded
    uint8_t serves_half_close   # a caller's FIN behind its request is no abort
    uint8_t breaker_changed     # a breaker has moved: to be reported to policy
    uint8_t has_questions       # a question has come: to be reported
    uint8_t makes_spans     # each exchange is a span of its own in the caller's trace
    uint64_t keepalive_ns   # silence before a comment; 0: none; KEEPALIVE_AUTO: the caller's choice
    uint64_t sample_below   # new traces whose low 64 bits are below it are sampled
    uint64_t serial
    uint64_t id_seed[2]
    void *tls               # owned, an SSL_CTX: TCP listeners speak TLS; NULL: they do not
    TlsCounters tls_counters
    uint64_t n_proxy_refused[PROXY_FAULT_COUNT]
    void *ring              # ring.Ring, owned
    void *stats             # stats.Stats, owned
    OnReady on_downstream   # set by engine/relay_callbacks.pyx: calls up, never by name
    OnReady on_upstream
    OnReady on_unsent       # a deferred send was not taken whole; its events: none
    OnGroup on_group_end
    OnSoon on_soon          # a conn is served next
    OnDue on_relay_due
    OnDue on_conn_due
