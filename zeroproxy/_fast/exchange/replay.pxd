from zeroproxy._fast.types.plane cimport Attempt, Plane, Relay

# Send the replay buffer on the attempt's conn, with its endpoint's Host if the exchange leaves that
# open. 0: the conn is broken.
cdef bint send_replay(Plane *p, Relay *r, Attempt *a) noexcept nogil
# Undo the edits in the replay buffer.
cdef void undo_edits(Relay *r) noexcept nogil
