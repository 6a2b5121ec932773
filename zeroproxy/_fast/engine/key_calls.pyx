"""The part of Engine that is about API keys, their terms and their quotas.

Tests: tests/relay/test_keys.py, tests/relay/test_engine_api.py.
"""

from zeroproxy._fast.engine.quota_state cimport (
    key_terms_read,
    quotas_fill_to,
    quotas_grant,
    quotas_read,
    quotas_share,
)
from zeroproxy._fast.engine.token_values cimport Questions
from zeroproxy._fast.engine.values cimport flag


cdef class Keys(Questions):
    """The part of Engine with the keys of callers."""

    def set_keys(self, keys, *, forward=False, headers=False, salt_secret=b"", identity=""):
        """Set the keys that are accepted from now on; running exchanges keep theirs. `keys`:
        config.Key each; None: no key is asked for. `forward`: callers' keys are passed on to
        upstreams that have none. `headers`: answers carry what is left of a key's quotas.
        `salt_secret`: the values of cache_salt are made with it. `identity`: the part of a
        certificate that names a key, one of IDENTITIES. Returns the index of each key."""
        with self.change() as change:
            return change.set_keys(
                keys, forward=forward, headers=headers, salt_secret=salt_secret, identity=identity
            )

    def set_tokens(self, is_on):
        """Look tokens (JWT) up from now on; each that is not known is a question. Forgets all
        verdicts."""
        with self.change() as change:
            change.set_tokens(is_on)

    def key_terms(self):
        """A KeyTermsState for each key that has terms, or has been refused for one."""
        with self.lock:
            return key_terms_read(self, self.names)

    def quotas(self, *, used_only=False):
        """A QuotaState for each quota. `used_only`: of keys used since the last such call."""
        with self.lock:
            return quotas_read(self, self.names, flag(used_only, "used_only"))

    def share_quota(self, index, *, quota, speed, cap):
        """The quota of the key at `index` fills by itself: `speed` a minute, up to `cap`. `quota`:
        "requests" or "tokens"."""
        with self:
            quotas_share(self.p, index, quota, speed, cap)

    def grant_quota(self, index, *, quota, speed, level, used):
        """Set the level of a quota to what was granted when it had used `used`; nothing flows in by
        itself. `speed`: its rate a minute, for Retry-After."""
        with self:
            quotas_grant(self.p, index, quota, speed, level, used)

    def set_quota_level(self, index, *, quota, level):
        """Set the level of a quota that fills by itself, as far as its bounds allow. It is for one
        that another process has counted until now. A leased quota stays as it is."""
        with self:
            quotas_fill_to(self.p, index, quota, level)
