"""The bytes before TLS and HTTP: a header of the PROXY protocol, where the listener takes one.

Law 1. Nothing behind the header is read here: TLS reads the descriptor for itself. So the header
       is peeked at until it is whole, and exactly its bytes are taken.
Law 2. A conn without a good header gets no byte of its request served. It is closed within
       limits.header_timeout, and counted by its fault.
Law 3. The header is read once: a second one is no request, and no TLS.
Tests: tests/relay/test_proxy_protocol.py.
"""

from libc.stdint cimport uint32_t

from zeroproxy._fast.engine.relay_callbacks cimport run_relay
from zeroproxy._fast.exchange.deadlines cimport arm
from zeroproxy._fast.exchange.local_reply cimport refuse_headless
from zeroproxy._fast.exchange.relay_pool cimport release_relay
from zeroproxy._fast.net.conn cimport conn_close, conn_discard_unread, conn_on_events
from zeroproxy._fast.net.networks cimport address_text, networks_have
from zeroproxy._fast.net.proxy_protocol cimport PROXY_MORE, PROXY_MOST, proxy_parse
from zeroproxy._fast.net.reactor cimport reactor_redirect
from zeroproxy._fast.net.syscalls cimport EAGAIN, EINTR, MSG_DONTWAIT, MSG_PEEK, errno, recv
from zeroproxy._fast.net.tls cimport tls_open
from zeroproxy._fast.types.network cimport (
    PROXY_FAULT_CLOSED,
    PROXY_FAULT_NONE,
    PROXY_FAULT_SIGNATURE,
    Listener,
    ProxyHeader,
)
from zeroproxy._fast.types.plane cimport Plane, Relay


cdef bint serve(Plane *p, Relay *r, const Listener *l) noexcept nogil:
    """The caller's address is known: go on with TLS, or with the first request."""
    r.peer_len = <unsigned char>address_text(&r.address, r.peer, sizeof(r.peer))
    r.is_barred = l.allowed.n and not networks_have(&l.allowed, &r.address)
    if p.tls != NULL and not l.is_unix and not tls_open(p, &r.down, p.tls, NULL):
        end(p, r)
        return 0
    r.down.since_ns = p.now_ns
    # The request is often here already: a read now saves a wake-up.
    r.down.may_read = 1
    r.down.may_write = 1
    run_relay(p, r)
    return 1


cdef void end(Plane *p, Relay *r) noexcept nogil:
    conn_close(p, &r.down)
    release_relay(p, r)


cdef void refuse(Plane *p, Relay *r, int fault) noexcept nogil:
    p.n_proxy_refused[fault] += 1
    if fault == PROXY_FAULT_SIGNATURE and p.tls == NULL:
        refuse_headless(p, r.down.fd)
    conn_discard_unread(&r.down)
    end(p, r)


cdef void read_header(Plane *p, Relay *r) noexcept nogil:
    cdef ProxyHeader header
    cdef const Listener *l = &p.listeners[r.listener]
    cdef ssize_t n = recv(r.down.fd, p.scratch, PROXY_MOST, MSG_PEEK | MSG_DONTWAIT)
    cdef int fault
    if n < 0 and (errno == EAGAIN or errno == EINTR) and not r.down.broken:
        arm(p, r)
        return
    fault = proxy_parse(p.scratch, <size_t>n, &header) if n > 0 else <int>PROXY_FAULT_CLOSED
    if fault == PROXY_MORE and (r.down.saw_fin or r.down.broken):
        fault = PROXY_FAULT_CLOSED
    if fault == PROXY_MORE:
        arm(p, r)
    elif fault != PROXY_FAULT_NONE:
        refuse(p, r, fault)
    else:
        recv(r.down.fd, p.scratch, header.size, 0)
        r.awaits_proxy = 0
        if not header.is_local:
            r.address = header.source
        reactor_redirect(&p.reactor, r.down.slot, p.on_downstream)
        serve(p, r, l)


cdef void on_header(void *plane, void *owner, uint32_t events) noexcept nogil:
    cdef Relay *r = <Relay *>owner
    conn_on_events(&r.down, events)
    read_header(<Plane *>plane, r)


cdef bint preamble_begin(Plane *p, Relay *r, const Listener *l) noexcept nogil:
    if not l.takes_proxy:
        return serve(p, r, l)
    r.awaits_proxy = 1
    r.down.since_ns = p.now_ns
    reactor_redirect(&p.reactor, r.down.slot, on_header)
    read_header(p, r)
    return 1
