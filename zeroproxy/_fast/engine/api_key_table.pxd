from libc.stdint cimport uint32_t

from zeroproxy._fast.engine.tenant_indices cimport Tenants
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane

# Prepare a table of `keys` (config.Key each; None: no key is asked for) as a Step. `headers`:
# answers carry what is left of quotas; `secret`: of the values of cache_salt, b"": there are none;
# `upstreams`: names, by index. Returns each key's index, and the set of their tenants' indices.
cdef tuple api_keys_stage(
    Step *s, PlaneThread engine, list keys, bint forwards, bint headers, bytes secret, identity,
    list upstreams, Tenants tenants, uint32_t n_models
)
# Free all keys and their table.
cdef void api_keys_free(Plane *p) noexcept nogil
