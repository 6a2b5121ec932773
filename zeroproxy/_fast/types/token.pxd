# Tokens (JWT) whose verdict is known, and questions to Python. No code; the laws of http.pxd hold
# here too.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from zeroproxy._fast.types.key_and_quota cimport ApiKey

cdef enum:
    TAG = 16                # bytes of a SipHash-128
    QUESTIONS_MAX = 256     # that wait for Python at once
    TOKEN_MAX = 8192        # bytes of a token; a longer one is refused without being read


cdef enum QuestionState:
    QUESTION_FREE = 0
    QUESTION_OPEN
    QUESTION_TAKEN          # Python works on it


cdef struct Question:       # a text that Python judges, while exchanges wait in PHASE_PENDING
    uint8_t state           # QuestionState
    uint8_t[TAG] tag        # of the text, by the table's secret
    uint32_t generation     # one more each time the slot is used
    uint32_t len
    char *text              # owned
    void *first_waiting     # borrowed, a Relay each, through queue_prev and queue_next
    void *last_waiting


cdef struct Token:
    uint8_t[TAG] tag        # of its text, by the secret of its table
    ApiKey *key             # borrowed; NULL: it is refused
    uint64_t until_ns       # 0: a free place
    uint8_t fault           # Fault, where it is refused


cdef struct TokenTable:
    uint8_t is_on           # 0: no token is ever looked at
    uint64_t[2] secret
    Token *known            # owned; sets of TOKEN_WAYS places
    Token *refused          # owned; apart, so that garbage pushes out no good token
    uint64_t n_questions        # questions, since the start
    uint64_t n_turned_away  # no place for another question
