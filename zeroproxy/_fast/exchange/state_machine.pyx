"""The exchange table: every move of an exchange from phase to phase.

Law 1. Every legal move is a row of MOVES. Any other is a bug: a debug build aborts. A release build
       returns ACT_BUG, and the relay closes both sides.
Law 2. Nothing here touches a socket, a buffer or a clock: it maps inputs to actions.
Law 3. Once the response head was sent downstream there is no way back to CONNECTING: a retry would
       show the caller two answers.
Law 4. CLOSED takes no input: a relay that is closed is never stepped again.
Tests: tests/unit/test_core.py.
"""

from zeroproxy._fast.types.exchange_enums cimport (
    ACT_ADMIT,
    ACT_ANSWER,
    ACT_BUG,
    ACT_CLOSE,
    ACT_CONNECT,
    ACT_CUT,
    ACT_FLUSH,
    ACT_HOLD,
    ACT_LINGER,
    ACT_NEXT,
    ACT_NONE,
    ACT_RETRY,
    ACT_SEND,
    INPUT_COUNT,
    IN_BYTES,
    IN_COMPLETE,
    IN_CONNECTED,
    IN_CUT,
    IN_DRAINED,
    IN_FLUSHED,
    IN_FLUSHED_CLOSE,
    IN_GONE,
    IN_HELD,
    IN_LOST,
    IN_LOST_MAY_RETRY,
    IN_PERMIT,
    IN_QUESTION,
    IN_REFUSED,
    IN_REQUEST,
    IN_RESPONSE,
    IN_SWITCHED,
    IN_VERDICT,
    PHASE_CLOSED,
    PHASE_CONNECTING,
    PHASE_COUNT,
    PHASE_FLUSHING,
    PHASE_HEAD,
    PHASE_IDLE,
    PHASE_LINGERING,
    PHASE_PENDING,
    PHASE_QUEUED,
    PHASE_RELAYING,
    PHASE_TUNNEL,
    PHASE_WAITING,
    Action,
    Input,
)
from zeroproxy._fast.types.invariant cimport invariant

MOVES = {
    (PHASE_IDLE, IN_BYTES): (PHASE_HEAD, ACT_NONE),
    (PHASE_IDLE, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),

    (PHASE_HEAD, IN_REQUEST): (PHASE_QUEUED, ACT_ADMIT),
    (PHASE_HEAD, IN_REFUSED): (PHASE_FLUSHING, ACT_ANSWER),
    (PHASE_HEAD, IN_QUESTION): (PHASE_PENDING, ACT_NONE),
    (PHASE_HEAD, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),

    (PHASE_PENDING, IN_VERDICT): (PHASE_HEAD, ACT_NONE),
    (PHASE_PENDING, IN_REFUSED): (PHASE_FLUSHING, ACT_ANSWER),
    (PHASE_PENDING, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),

    (PHASE_QUEUED, IN_PERMIT): (PHASE_CONNECTING, ACT_CONNECT),
    (PHASE_QUEUED, IN_REFUSED): (PHASE_FLUSHING, ACT_ANSWER),
    (PHASE_QUEUED, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),

    (PHASE_CONNECTING, IN_CONNECTED): (PHASE_WAITING, ACT_SEND),
    (PHASE_CONNECTING, IN_LOST_MAY_RETRY): (PHASE_CONNECTING, ACT_RETRY),
    (PHASE_CONNECTING, IN_HELD): (PHASE_QUEUED, ACT_HOLD),
    (PHASE_CONNECTING, IN_LOST): (PHASE_FLUSHING, ACT_ANSWER),
    (PHASE_CONNECTING, IN_REFUSED): (PHASE_FLUSHING, ACT_ANSWER),
    (PHASE_CONNECTING, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),

    (PHASE_WAITING, IN_RESPONSE): (PHASE_RELAYING, ACT_NONE),
    (PHASE_WAITING, IN_SWITCHED): (PHASE_TUNNEL, ACT_NONE),
    (PHASE_WAITING, IN_LOST_MAY_RETRY): (PHASE_CONNECTING, ACT_RETRY),
    (PHASE_WAITING, IN_HELD): (PHASE_QUEUED, ACT_HOLD),
    (PHASE_WAITING, IN_LOST): (PHASE_FLUSHING, ACT_ANSWER),
    (PHASE_WAITING, IN_REFUSED): (PHASE_FLUSHING, ACT_ANSWER),
    (PHASE_WAITING, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),

    (PHASE_RELAYING, IN_COMPLETE): (PHASE_FLUSHING, ACT_FLUSH),
    (PHASE_RELAYING, IN_CUT): (PHASE_FLUSHING, ACT_CUT),
    (PHASE_RELAYING, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),

    (PHASE_TUNNEL, IN_COMPLETE): (PHASE_FLUSHING, ACT_FLUSH),
    (PHASE_TUNNEL, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),

    (PHASE_FLUSHING, IN_FLUSHED): (PHASE_IDLE, ACT_NEXT),
    (PHASE_FLUSHING, IN_FLUSHED_CLOSE): (PHASE_LINGERING, ACT_LINGER),
    (PHASE_FLUSHING, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),

    (PHASE_LINGERING, IN_DRAINED): (PHASE_CLOSED, ACT_CLOSE),
    (PHASE_LINGERING, IN_GONE): (PHASE_CLOSED, ACT_CLOSE),
}

cdef unsigned char[PHASE_COUNT][INPUT_COUNT] NEXT_PHASE
cdef unsigned char[PHASE_COUNT][INPUT_COUNT] NEXT_ACTION


cdef int compile_moves() except -1:
    cdef int phase, what
    for phase in range(PHASE_COUNT):
        for what in range(INPUT_COUNT):
            NEXT_PHASE[phase][what] = PHASE_CLOSED
            NEXT_ACTION[phase][what] = ACT_BUG
    for (phase, what), (to, action) in MOVES.items():
        NEXT_PHASE[phase][what] = to
        NEXT_ACTION[phase][what] = action
    return 0


compile_moves()


cdef Action exchange_step(unsigned char *phase, Input what) noexcept nogil:
    """The only writer of a phase."""
    cdef Action action = <Action>NEXT_ACTION[phase[0]][<int>what]
    invariant(action != ACT_BUG)
    phase[0] = NEXT_PHASE[phase[0]][<int>what]
    return action


cdef bint may_retry(const RetryFacts *a) noexcept nogil:
    """The law of retries (ARCHITECTURE.md, invariant 4). A request that may have started to
    generate is never sent twice: it may be what has ended the endpoint."""
    if a.head_sent or not a.replayable or a.tried >= a.attempts:
        return 0
    if a.busy:
        return 1
    if a.got_byte:
        return 0
    if not a.connected:
        return 1
    return a.reused and not a.timed_out and (a.is_race or a.is_idempotent)
