"""Listeners: they accept within a budget, refuse above the limit, and pause without descriptors."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from zeroproxy._fast.engine.network_values cimport read_networks
from zeroproxy._fast.engine.preamble cimport preamble_begin
from zeroproxy._fast.exchange.local_reply cimport refuse_over_limit
from zeroproxy._fast.exchange.relay_pool cimport acquire_relay, release_relay
from zeroproxy._fast.net.conn cimport conn_watch
from zeroproxy._fast.net.networks cimport address_read, networks_have
from zeroproxy._fast.net.reactor cimport reactor_add, reactor_remove
from zeroproxy._fast.net.syscalls cimport (
    EAGAIN,
    ECONNABORTED,
    EINTR,
    EPERM,
    EPOLLET,
    EPOLLIN,
    EPROTO,
    IPPROTO_TCP,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    TCP_NODELAY,
    TCP_NOTSENT_LOWAT,
    accept4,
    close,
    errno,
    setsockopt,
    sockaddr,
    sockaddr_storage,
    socklen_t,
)
from zeroproxy._fast.net.timer cimport timer_arm, timer_disarm, timer_init
from zeroproxy._fast.types.clock cimport NS_PER_MS
from zeroproxy._fast.types.network cimport PROXY_FAULT_SENDER, Address, Listener, Networks
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef enum:
    LISTENERS_MAX = 16
    # A new conn is served at once, which may cost as much as a hundred events. More of them in a
    # row would delay running streams.
    ACCEPTS = 16
    # Conns that may wait in the kernel (server/listener.py).
    BACKLOG = 4096
    # Bytes the kernel may hold for a caller that does not read, beyond what its window allows. The
    # kernel's own bound is megabytes: a thousand such callers would use up the memory of TCP.
    UNSENT = 131072


# ---------------------------------------------------------------- accepting


cdef bint adopt(Plane *p, int fd, uint32_t listener, const Address *peer) noexcept nogil:
    """Make a relay for an accepted descriptor. 0: no memory; the descriptor was closed."""
    cdef int one = 1
    cdef const Listener *l = &p.listeners[listener]
    cdef Relay *r = acquire_relay(p)
    if r == NULL:
        close(fd)
        return 0
    if conn_watch(p, &r.down, fd) < 0:
        release_relay(p, r)
        close(fd)
        return 0
    if not l.is_unix:
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    r.listener = <uint8_t>listener
    r.address = peer[0]
    p.counters.accepted += 1
    return preamble_begin(p, r, l)


cdef bint is_stranger(const Listener *l, const Address *peer) noexcept nogil:
    """True for a peer that may not send the header its conn has to begin with."""
    return l.takes_proxy and not l.is_unix and not networks_have(&l.senders, peer)


cdef void starve(Plane *p, Listener *l) noexcept nogil:
    """Pause accepting for 100 ms (HAProxy's figure): descriptors or memory are used up. Running
    exchanges go on."""
    p.counters.starved += 1
    l.paused = 1
    timer_arm(&p.wheel, &l.timer, p.now_ns + 100 * <uint64_t>NS_PER_MS)


cdef void accept_on(Plane *p, uint32_t listener) noexcept nogil:
    """Accept within a budget; the listener is edge-triggered like everything."""
    cdef Listener *l = &p.listeners[listener]
    cdef sockaddr_storage from_
    cdef Address peer
    cdef socklen_t size
    cdef int fd, budget = ACCEPTS
    l.pending = 0
    while not l.paused and l.fd >= 0:
        if budget == 0:
            l.pending = 1
            return
        budget -= 1
        size = sizeof(from_)
        fd = accept4(l.fd, <sockaddr *>&from_, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno == EAGAIN:
                return
            if errno == EINTR or errno == ECONNABORTED or errno == EPROTO or errno == EPERM:
                continue
            starve(p, l)
            return
        address_read(&peer, &from_)
        if is_stranger(l, &peer):
            p.n_proxy_refused[<int>PROXY_FAULT_SENDER] += 1
            close(fd)
        elif p.counters.relays >= p.limits.connections:
            p.counters.refused += 1
            if p.tls == NULL or l.is_unix:
                refuse_over_limit(p, fd)
            close(fd)
        elif not adopt(p, fd, listener, &peer):
            starve(p, l)


cdef void on_listener(void *plane, void *owner, uint32_t events) noexcept nogil:
    accept_on(<Plane *>plane, <uint32_t><size_t>owner)


cdef void on_listener_due(void *plane, void *owner) noexcept nogil:
    cdef Listener *l = &(<Plane *>plane).listeners[<size_t>owner]
    l.paused = 0
    accept_on(<Plane *>plane, <uint32_t><size_t>owner)


cdef bint accept_pending(Plane *p) noexcept nogil:
    cdef uint32_t i
    cdef bint more = 0
    for i in range(p.n_listeners):
        if p.listeners[i].pending:
            accept_on(p, i)
            more |= p.listeners[i].pending
    return more


cdef void accept_all_pending(Plane *p) noexcept nogil:
    """Accept all that wait: the kernel has accepted them, and would reset them."""
    cdef uint32_t i
    cdef int rounds
    for i in range(p.n_listeners):
        rounds = BACKLOG // ACCEPTS
        accept_on(p, i)
        while p.listeners[i].pending and rounds:
            rounds -= 1
            accept_on(p, i)


# ---------------------------------------------------------------- listening


cdef int replace(Networks *t, texts, str key) except -1:
    """The place may have been that of a listener that is gone."""
    free(t.at)
    t.at = NULL
    t.n = 0
    return read_networks(t, texts, key)


cdef int listen_on(Plane *p, int fd, bint is_unix, allowed, senders) except -1:
    cdef size_t i = 0
    cdef int64_t slot
    cdef int unsent = UNSENT
    cdef Listener *l
    while i < p.n_listeners and p.listeners[i].fd >= 0:
        i += 1
    if i == LISTENERS_MAX:
        raise ValueError(f"at most {LISTENERS_MAX} listeners")
    if p.listeners == NULL:
        # Never moved: the timers inside are linked into the wheel.
        p.listeners = <Listener *>calloc(LISTENERS_MAX, sizeof(Listener))
        if p.listeners == NULL:
            raise MemoryError
    l = &p.listeners[i]
    replace(&l.allowed, allowed, "allow_from")
    l.takes_proxy = senders is not None
    replace(&l.senders, senders if l.takes_proxy else (), "proxy_from")
    slot = reactor_add(&p.reactor, fd, EPOLLIN | EPOLLET, on_listener, <void *>i)
    if slot < 0:
        raise OSError(f"cannot watch descriptor {fd}")
    if not is_unix:
        # The conns inherit it.
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent))
    l.fd = fd
    l.slot = <uint32_t>slot
    l.is_unix = is_unix
    l.plane = p
    l.paused = l.pending = 0
    timer_init(&l.timer, on_listener_due, <void *>i)
    p.n_listeners = max(p.n_listeners, <uint32_t>i + 1)
    return i


cdef void stop_listening(Plane *p) noexcept nogil:
    cdef Listener *l
    cdef uint32_t i
    for i in range(p.n_listeners):
        l = &p.listeners[i]
        if l.fd >= 0:
            timer_disarm(&p.wheel, &l.timer)
            reactor_remove(&p.reactor, l.slot)
            l.fd = -1
            l.pending = 0


cdef void listeners_free(Plane *p) noexcept nogil:
    cdef uint32_t i
    for i in range(LISTENERS_MAX if p.listeners != NULL else 0):
        free(p.listeners[i].allowed.at)
        free(p.listeners[i].senders.at)
    free(p.listeners)
