# Listeners, addresses of callers, networks, and headers of the PROXY protocol. No code; the laws of
# http.pxd hold here too.

from libc.stdint cimport uint8_t, uint32_t

from zeroproxy._fast.types.reactor cimport Timer


cdef enum AddressKind:
    ADDRESS_NONE = 0        # not known
    ADDRESS_UNIX            # a unix socket: whoever may open the file
    ADDRESS_IP


cdef struct Address:
    uint8_t kind            # AddressKind
    uint8_t[16] ip          # IPv4 as ::ffff:a.b.c.d


cdef struct Network:
    uint8_t[16] ip          # as Address.ip; bits behind the prefix are 0
    uint8_t bits            # of the prefix, 0 to 128; IPv4: 96 and above
    uint8_t is_ip4
    uint8_t is_unix         # every caller on a unix socket


cdef struct Networks:
    uint32_t n
    Network *at             # owned by the struct's owner


cdef enum ProxyFault:       # the reason why a conn was closed before its first byte of HTTP or TLS
    PROXY_FAULT_NONE = 0
    PROXY_FAULT_SENDER      # its address may not send the header
    PROXY_FAULT_SIGNATURE   # there is no header
    PROXY_FAULT_VERSION     # of v2: neither version nor command is known
    PROXY_FAULT_ADDRESS     # not as the family requires
    PROXY_FAULT_LENGTH      # longer than it may be
    PROXY_FAULT_TLV         # a TLV ends behind the header
    PROXY_FAULT_CLOSED      # the peer left before its end
    PROXY_FAULT_LATE
    PROXY_FAULT_COUNT       # always last


cdef struct ProxyHeader:
    uint32_t size           # bytes of the header
    uint8_t is_local        # the sender's own conn: the address of the conn is the caller's
    Address source


cdef struct Listener:
    int fd                  # borrowed from Python, which closes it
    uint32_t slot
    uint8_t is_unix
    uint8_t takes_proxy     # each conn begins with a header of the PROXY protocol
    uint8_t paused          # out of descriptors: tried again when the timer is due
    uint8_t pending         # the budget of one report ran out: accept again before sleeping
    Networks allowed        # callers; without any: all
    Networks senders        # of the PROXY protocol
    void *plane
    Timer timer
