from zeroproxy._fast.http1.hop cimport RequestHop
from zeroproxy._fast.http1.out cimport Out
from zeroproxy._fast.types.http cimport Head

# Write X-Forwarded-For, -Proto and -Host; of a trusted caller also its Forwarded and X-Real-IP.
cdef void put_origin(Out *o, const Head *h, const RequestHop *hop) noexcept nogil
