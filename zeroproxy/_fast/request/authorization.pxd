from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.plane cimport Plane, Relay

# ---- heads

cdef enum:
    FAULT_PENDING = -1      # none yet: Python is asked

# Fault of a head that may not pass; else the key, its tenant and its reservation are in r.x.
# FAULT_PENDING: the head is to be read again in PHASE_PENDING's way.
cdef int authorize(Plane *p, Relay *r, const Head *h) noexcept nogil
# Fault of a body that is longer than r.x.settings.body_bytes.
cdef int fault_too_large(const Relay *r) noexcept nogil
# True if the caller's key allows some models only.
cdef bint is_model_restricted(const Relay *r) noexcept nogil
# True if the caller's key has a quota of tokens.
cdef bint has_token_quota(const Relay *r) noexcept nogil
# TermsRead, or-ed: what the scan of the caller's body has to look for.
cdef int terms_to_read(const Plane *p, const Relay *r) noexcept nogil
# True if the caller's key limits max_tokens or n.
cdef bint is_capped(const Relay *r) noexcept nogil

# ---- bodies

# Fault of a body that was read, for a key with a quota of tokens: it prevents the count, or exceeds
# the quota. Raises the reservation.
cdef int judge_body(Plane *p, Relay *r) noexcept nogil
# True if the key allows the one model that the body so far names, r.x.model.
cdef bint is_model_allowed(const Relay *r, const RequestScan *a) noexcept nogil
# True if the first bytes of a body are not UTF-16 or UTF-32.
cdef bint is_plain_json(const char *at, size_t n) noexcept nogil
