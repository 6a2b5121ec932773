# Terms of an API key, and what the scan of a body notes for them. No code; the laws of http.pxd
# hold here too.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum Term:             # of a key; in the order of Fault from FAULT_KEY_DISABLED on
    TERM_DISABLED = 0
    TERM_EXPIRED
    TERM_UPSTREAM
    TERM_INFLIGHT
    TERM_PROMPT_BYTES
    TERM_N
    TERM_MAX_TOKENS
    TERM_UNREAD             # the body cannot be read, and a term has to be looked for in it
    TERM_CACHE_SALT         # the caller's own, where the proxy sets it
    TERM_COUNT              # always last


cdef enum:
    SALT_LEN = 43           # a SHA-256 in base64url, without padding
    BOUNDS_MAX = 8          # numbers of one body that may have to be lowered
    BOUND_DIGITS = 24       # of such a number; REQUEST_TEXT


cdef enum SaltBy:           # callers that share a cache_salt
    SALT_BY_NONE = 0        # none is set
    SALT_BY_TENANT
    SALT_BY_KEY
    SALT_BY_COUNT           # always last


cdef enum PriorityField:    # the header field in which an engine takes a priority
    PRIORITY_FIELD_NONE = 0
    PRIORITY_FIELD_VLLM
    PRIORITY_FIELD_SGLANG
    PRIORITY_FIELD_COUNT    # always last


cdef struct KeyTerms:       # as configured; a reload replaces them as a whole
    uint64_t expires_ns     # wall clock; 0: never
    uint64_t prompt_bytes   # of a request's body; 0: no limit, as all below
    uint32_t max_inflight
    uint32_t n              # choices
    uint32_t max_tokens
    uint32_t max_tokens_default     # inserted where a request names none
    uint8_t is_disabled
    uint8_t waits           # above max_inflight a request waits; 0: it is refused
    uint8_t caps_to_model   # max_tokens is what the engine's model can do
    uint32_t n_upstreams    # 0: all are allowed
    uint32_t *upstreams     # owned; their indices


cdef struct UpstreamTerms:  # what its engines get to know of a caller's key
    uint8_t priority_field  # PriorityField: it gets the key's priority
    uint8_t salt_by         # SaltBy


cdef struct ExchangeTerms:  # what an exchange has of its key's terms
    uint8_t holds_place     # of its key (ApiKey.inflight)
    uint8_t waits_place     # in ApiKey.waiting
    uint8_t n_held          # bytes in `held`
    char[BOUND_DIGITS] held     # digits of the request body that wait for the end of their number


cdef enum TermsRead:        # reasons to look for terms in a body, or-ed
    TERMS_READ_MAX_TOKENS = 1
    TERMS_READ_N = 2
    TERMS_READ_SALT = 4


cdef struct BoundPlace:     # a number of a body that may have to be lowered
    uint64_t at             # offset of its first digit
    uint32_t value          # UINT32_MAX: that or more
    uint8_t len


cdef enum BoundName:        # bounds of the tokens of an answer
    BOUND_NAME_MAX_TOKENS = 0
    BOUND_NAME_MAX_COMPLETION_TOKENS
    BOUND_NAME_MAX_OUTPUT_TOKENS    # OpenAI Responses
    BOUND_NAME_N_PREDICT    # llama.cpp
    BOUND_NAME_NUM_PREDICT  # Ollama
    BOUND_NAME_MAX_NEW_TOKENS   # TGI, SGLang, FastChat's workers
    BOUND_NAMES             # always last; at most 8


cdef enum Container:        # the object that has a bound
    CONTAINER_ROOT = 0
    CONTAINER_OPTIONS       # Ollama
    CONTAINER_PARAMETERS    # TGI
    CONTAINER_SAMPLING_PARAMS   # SGLang, vLLM


cdef enum TermsPlace:       # Place.key of a possible insertion, beside edits.Key
    TERMS_PLACE_FIRST = 64
    TERMS_PLACE_ROOT_END = TERMS_PLACE_FIRST
    TERMS_PLACE_SALT
    # + 2 * Container, + 1 where it is empty; Place.lacks: its names
    TERMS_PLACE_CONTAINER_END = 72
    TERMS_PLACE_CONTAINER_NULL = 80     # + Container
    # + 8 * Container + BoundName; Place.lacks: bounds with a number before
    TERMS_PLACE_NULL = 96


cdef enum BoundFamily:      # of paths that take a bound by the same name
    BOUND_FAMILY_NONE = 0   # nothing is inserted
    BOUND_FAMILY_CHAT       # max_completion_tokens before max_tokens
    BOUND_FAMILY_COMPLETIONS    # max_tokens, Anthropic's messages too
    BOUND_FAMILY_RESPONSES  # max_output_tokens
    BOUND_FAMILY_LLAMA      # n_predict
    BOUND_FAMILY_WORKER     # FastChat's workers: max_new_tokens
    BOUND_FAMILY_OLLAMA     # options.num_predict
    BOUND_FAMILY_TGI        # max_new_tokens of parameters, or of SGLang's sampling_params
    BOUND_FAMILY_VLLM_GENERATE  # sampling_params.max_tokens
    BOUND_FAMILY_COUNT      # always last


# TermsPlace of the end of a container.
cdef inline int container_end_place(int container, bint is_empty) noexcept nogil:
    return TERMS_PLACE_CONTAINER_END + 2 * container + is_empty


# TermsPlace of a container that is null.
cdef inline int container_null_place(int container) noexcept nogil:
    return TERMS_PLACE_CONTAINER_NULL + container


# TermsPlace of a bound that is null.
cdef inline int null_place(int container, int name) noexcept nogil:
    return TERMS_PLACE_NULL + 8 * container + name


cdef struct TermsScan:      # facts for the terms of a key, in the scan of a JSON body
    uint8_t reads           # TermsRead; 0: none of this is noted
    uint8_t is_odd          # TermsRead: servers differ about a member's spelling or value
    uint8_t has_root        # the body is an object
    uint8_t has_member      # it has a member
    uint8_t has_salt        # a root member cache_salt, in any spelling
    uint8_t is_sglang       # a root member that SGLang's /generate has, and TGI's has not
    uint8_t is_escaped      # the name being read has an escape
    uint8_t in_number       # a bound is being read, from number_at on
    uint8_t n_bounds
    uint8_t n_lowered       # of them: those that have passed
    uint8_t containers      # Containers that have begun, one bit each
    uint8_t container       # Container of the last of them
    uint8_t is_inner_empty  # it has no member yet
    uint8_t name            # terms.Name of the last member with a number
    uint8_t values          # BoundNames of the root with a number, one bit each
    uint8_t inner_values    # the same in the container
    uint16_t names          # terms.Name of the root's members with a number or null, one bit each
    uint16_t inner_names    # the same in the container
    uint16_t n_most         # the largest number of choices
    uint64_t number_at      # offset of the number being read
    BoundPlace[BOUNDS_MAX] bounds
    # -- the rest is decided when the upstream is known
    uint8_t family          # BoundFamily
    uint32_t cap            # of each bound; 0: none
    uint32_t inserts        # the bound where none is named; 0: nothing
    const char *salt        # borrowed: SALT_LEN bytes; NULL: none is set
