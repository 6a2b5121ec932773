from zeroproxy._fast.types.network cimport Networks

# Read networks as the configuration has them (config/networks.py); `key` is named in errors.
cdef int read_networks(Networks *t, texts, str key) except -1
