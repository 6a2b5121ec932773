# The life of one exchange: phases, inputs, actions, and how it ended. No code.


cdef enum Phase:            # where an exchange is
    PHASE_IDLE = 0          # no request yet on this conn
    PHASE_HEAD              # the first bytes of a request head are here; a body may be waited for
    PHASE_PENDING            # the head waits in the in-buffer for an answer of Python
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


cdef enum Input:            # an input of the state machine
    IN_BYTES = 0            # first byte of a request
    IN_REQUEST              # a complete, legal request head
    IN_REFUSED              # a local reply is due: bad head, limit, overload, ...
    IN_QUESTION             # the head cannot be judged before Python has answered
    IN_VERDICT              # Python has answered: the head is read again
    IN_PERMIT               # admitted
    IN_CONNECTED            # an upstream conn is ready
    IN_LOST_MAY_RETRY       # the attempt failed and a retry is allowed
    IN_HELD                 # no endpoint took the request: it waits until one is back
    IN_LOST                 # the attempt failed before a response head, and no retry is allowed
    IN_RESPONSE             # final response head forwarded
    IN_SWITCHED             # 101 forwarded
    IN_CUT                  # upstream failed after the head went downstream
    IN_COMPLETE             # the last byte of the response was sent on
    IN_FLUSHED              # the out-buffer downstream is empty; the conn may serve again
    IN_FLUSHED_CLOSE        # the same, and the conn is to be closed
    IN_DRAINED              # lingering is over
    IN_GONE                 # downstream left, or is cut off by us
    INPUT_COUNT             # always last


cdef enum Action:           # of the relay, after a move
    ACT_NONE = 0
    ACT_ADMIT               # ask for a permit
    ACT_CONNECT             # pick an endpoint, check out or open a conn
    ACT_SEND                # send the held request
    ACT_RETRY               # release the lost attempt, go to ACT_CONNECT
    ACT_HOLD                # release the lost attempt and the permit, go back to the queue
    ACT_ANSWER              # release the attempt, send a local reply, flush
    ACT_FLUSH               # release the attempt, flush
    ACT_CUT                 # release the attempt, report the cut in the stream's dialect if the
                            # last byte ended an event, flush, and close without a clean end
    ACT_NEXT                # write the record; read the next request
    ACT_LINGER              # write the record; shut the write side, drop what still arrives
    ACT_CLOSE               # release everything, write the record, close downstream
    ACT_BUG                 # not a row of the table
    ACTION_COUNT            # always last


cdef enum Drain:            # of the plane
    DRAIN_NONE = 0
    DRAIN_SETTLES           # answers close their conns; new conns are served
    DRAIN_ENDS              # the same, and no conn waits for a request


cdef enum LocalReply:       # a local reply that is no error
    LOCAL_REPLY_NONE = 0
    LOCAL_REPLY_MODELS      # the list of models
    LOCAL_REPLY_PREFLIGHT   # CORS, if it is answered here
    LOCAL_REPLY_OPTIONS     # OPTIONS that may go no further (RFC 9110 7.6.2)


cdef enum Blame:            # the party that ended it
    BLAME_NOBODY = 0
    BLAME_DOWNSTREAM
    BLAME_UPSTREAM
    BLAME_OURSELVES
    BLAME_COUNT


cdef enum Cause:            # the reason for the end
    CAUSE_DONE = 0          # the whole response was relayed
    CAUSE_CLOSED            # FIN where bytes were owed
    CAUSE_RESET
    CAUSE_TIMEOUT
    CAUSE_MALFORMED
    CAUSE_TOO_LARGE
    CAUSE_REFUSED           # connection refused, unreachable, or a request that is not served
    CAUSE_OVERLOAD          # queue full, queue timeout, connection cap
    CAUSE_NO_ENDPOINT       # none in rotation
    CAUSE_DRAINED           # the proxy shuts down
    CAUSE_TLS               # no TLS with the endpoint: its certificate, ours, or the protocol
    CAUSE_TOKEN             # a token that is not valid
    CAUSE_NETWORK           # the caller's address is in no network that may ask
    CAUSE_SURFACE           # a path, method or member of the body that does not pass here
    CAUSE_COUNT
