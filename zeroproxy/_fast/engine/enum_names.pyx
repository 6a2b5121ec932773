"""The names under which C enums cross the border to Python, in both directions.

Note. Each tuple is made from a table by member, in the order of the values. A member without a name
      is an ImportError, so a new one is named here or nothing starts.
"""

from zeroproxy._fast.jsonscan.edits cimport (
    USAGE_REQUEST_COUNT,
    USAGE_REQUEST_FINAL,
    USAGE_REQUEST_NONE,
    USAGE_REQUEST_RUNNING,
    USAGE_REQUEST_RUNNING_ONLY,
    USAGE_REQUEST_TIMINGS,
)
from zeroproxy._fast.types.affinity_and_latency cimport (
    BALANCE_CONSISTENT_HASH,
    BALANCE_COUNT,
    BALANCE_FASTEST,
    BALANCE_LEAST_INFLIGHT,
    BALANCE_POWER_OF_TWO,
    BALANCE_ROUND_ROBIN,
    HASH_SOURCE_COUNT,
    HASH_SOURCE_HEADER,
    HASH_SOURCE_PROMPT,
    HASH_SOURCE_USER,
)
from zeroproxy._fast.types.conn_pool cimport (
    CLOSED_AGE,
    CLOSED_COUNT,
    CLOSED_EXCHANGE,
    CLOSED_IDLE,
    CLOSED_PEER,
    CLOSED_SURPLUS,
)
from zeroproxy._fast.types.http cimport (
    METHOD_COUNT,
    METHOD_DELETE,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_OPTIONS,
    METHOD_OTHER,
    METHOD_PATCH,
    METHOD_POST,
    METHOD_PUT,
)
from zeroproxy._fast.types.key_and_quota cimport (
    IDENTITY_CN,
    IDENTITY_COUNT,
    IDENTITY_NONE,
    IDENTITY_SAN_DNS,
    IDENTITY_SAN_URI,
    QUOTA_COUNT,
    QUOTA_REQUESTS,
    QUOTA_TOKENS,
)
from zeroproxy._fast.types.key_terms cimport (
    PRIORITY_FIELD_COUNT,
    PRIORITY_FIELD_NONE,
    PRIORITY_FIELD_SGLANG,
    PRIORITY_FIELD_VLLM,
    SALT_BY_COUNT,
    SALT_BY_KEY,
    SALT_BY_NONE,
    SALT_BY_TENANT,
    TERM_CACHE_SALT,
    TERM_COUNT,
    TERM_DISABLED,
    TERM_EXPIRED,
    TERM_INFLIGHT,
    TERM_MAX_TOKENS,
    TERM_N,
    TERM_PROMPT_BYTES,
    TERM_UNREAD,
    TERM_UPSTREAM,
)
from zeroproxy._fast.types.network cimport (
    PROXY_FAULT_ADDRESS,
    PROXY_FAULT_CLOSED,
    PROXY_FAULT_COUNT,
    PROXY_FAULT_LATE,
    PROXY_FAULT_LENGTH,
    PROXY_FAULT_NONE,
    PROXY_FAULT_SENDER,
    PROXY_FAULT_SIGNATURE,
    PROXY_FAULT_TLV,
    PROXY_FAULT_VERSION,
)
from zeroproxy._fast.types.record cimport (
    USAGE_BY_CALLER,
    USAGE_BY_COUNT,
    USAGE_BY_NOBODY,
    USAGE_BY_REFUSED,
    USAGE_BY_UNASKED,
    USAGE_BY_US,
)
from zeroproxy._fast.types.tls cimport (
    TLS_FAULT_ABANDONED,
    TLS_FAULT_ALERT,
    TLS_FAULT_CERTIFICATE,
    TLS_FAULT_CLOSED,
    TLS_FAULT_COUNT,
    TLS_FAULT_NONE,
    TLS_FAULT_PLAIN,
    TLS_FAULT_PROTOCOL,
)
from zeroproxy._fast.upstream.breaker cimport (
    BREAKER_CLOSED,
    BREAKER_HALF_OPEN,
    BREAKER_OPEN,
    BREAKER_STATES as BREAKER_STATE_COUNT,
)
from zeroproxy._fast.usage.response_meter cimport (
    FINISH_COUNT,
    FINISH_CUT,
    FINISH_DONE,
    FINISH_ERROR,
    FINISH_UNKNOWN,
)


cdef tuple in_order(str enum, int count, dict names):
    """The names by value."""
    if sorted(names) != list(range(count)) or len(set(names.values())) != count:
        raise ImportError(f"{enum}: each of its {count} members has one name of its own")
    return tuple([names[value] for value in range(count)])


BALANCES = in_order("Balance", BALANCE_COUNT, {
    BALANCE_ROUND_ROBIN: "round_robin", BALANCE_LEAST_INFLIGHT: "least_inflight",
    BALANCE_POWER_OF_TWO: "power_of_two", BALANCE_CONSISTENT_HASH: "consistent_hash",
    BALANCE_FASTEST: "fastest",
})
HASH_SOURCES = in_order("HashSource", HASH_SOURCE_COUNT, {
    HASH_SOURCE_HEADER: "header", HASH_SOURCE_USER: "user", HASH_SOURCE_PROMPT: "prompt",
})
#: `running`: with every event and at the end, without which vLLM reports none; `running_alone`:
#: with every event. `timings`: llama.cpp's, with every event.
USAGE_REQUESTS = in_order("UsageRequest", USAGE_REQUEST_COUNT, {
    USAGE_REQUEST_NONE: "nothing", USAGE_REQUEST_FINAL: "usage", USAGE_REQUEST_RUNNING: "running",
    USAGE_REQUEST_RUNNING_ONLY: "running_alone", USAGE_REQUEST_TIMINGS: "timings",
})
QUOTAS = in_order("QuotaOf", QUOTA_COUNT, {QUOTA_REQUESTS: "requests", QUOTA_TOKENS: "tokens"})
#: Terms of keys that requests are refused for.
TERMS = in_order("Term", TERM_COUNT, {
    TERM_DISABLED: "disabled", TERM_EXPIRED: "expires", TERM_UPSTREAM: "upstreams",
    TERM_INFLIGHT: "max_inflight", TERM_PROMPT_BYTES: "prompt_bytes", TERM_N: "n",
    TERM_MAX_TOKENS: "max_tokens", TERM_UNREAD: "unread", TERM_CACHE_SALT: "cache_salt",
})
PRIORITY_FIELDS = in_order("PriorityField", PRIORITY_FIELD_COUNT, {
    PRIORITY_FIELD_NONE: "off", PRIORITY_FIELD_VLLM: "vllm", PRIORITY_FIELD_SGLANG: "sglang",
})
SALT_BY = in_order("SaltBy", SALT_BY_COUNT, {
    SALT_BY_NONE: "off", SALT_BY_TENANT: "tenant", SALT_BY_KEY: "key",
})
BREAKER_STATES = in_order("BreakerState", BREAKER_STATE_COUNT, {
    BREAKER_CLOSED: "closed", BREAKER_HALF_OPEN: "half_open", BREAKER_OPEN: "open",
})
CLOSED = in_order("Closed", CLOSED_COUNT, {
    CLOSED_PEER: "endpoint", CLOSED_IDLE: "idle", CLOSED_AGE: "age", CLOSED_SURPLUS: "surplus",
    CLOSED_EXCHANGE: "exchange",
})
FINISHES = in_order("Finish", FINISH_COUNT, {
    FINISH_UNKNOWN: "", FINISH_DONE: "done", FINISH_ERROR: "error", FINISH_CUT: "cut",
})
USAGE_BY = in_order("UsageBy", USAGE_BY_COUNT, {
    USAGE_BY_NOBODY: "", USAGE_BY_CALLER: "caller", USAGE_BY_US: "proxy",
    USAGE_BY_REFUSED: "refused", USAGE_BY_UNASKED: "unasked",
})
METHODS = in_order("Method", METHOD_COUNT, {
    METHOD_OTHER: "OTHER", METHOD_GET: "GET", METHOD_HEAD: "HEAD", METHOD_POST: "POST",
    METHOD_PUT: "PUT", METHOD_DELETE: "DELETE", METHOD_OPTIONS: "OPTIONS", METHOD_PATCH: "PATCH",
})
IDENTITIES = in_order("Identity", IDENTITY_COUNT, {
    IDENTITY_NONE: "", IDENTITY_CN: "cn", IDENTITY_SAN_DNS: "san-dns", IDENTITY_SAN_URI: "san-uri",
})
PROXY_FAULTS = in_order("ProxyFault", PROXY_FAULT_COUNT, {
    PROXY_FAULT_NONE: "", PROXY_FAULT_SENDER: "sender", PROXY_FAULT_SIGNATURE: "signature",
    PROXY_FAULT_VERSION: "version", PROXY_FAULT_ADDRESS: "address", PROXY_FAULT_LENGTH: "length",
    PROXY_FAULT_TLV: "tlv", PROXY_FAULT_CLOSED: "closed", PROXY_FAULT_LATE: "timeout",
})
TLS_FAULTS = in_order("TlsFault", TLS_FAULT_COUNT, {
    TLS_FAULT_NONE: "", TLS_FAULT_PLAIN: "plain_http", TLS_FAULT_CERTIFICATE: "certificate",
    TLS_FAULT_ALERT: "refused_by_peer", TLS_FAULT_PROTOCOL: "protocol",
    TLS_FAULT_CLOSED: "closed", TLS_FAULT_ABANDONED: "abandoned",
})
