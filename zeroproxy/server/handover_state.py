"""State that a proxy hands over to the one in its place, beside sockets: all that it has learned.

Law 1. An endpoint is known by its upstream's name and its URL, a key by a digest of its digest.
       Those that only one of the two processes has are left out.
Law 2. A quota is handed over less what running exchanges have reserved: they end, and are counted,
       in the old process. So no key gets more than its quota, but for exchanges that cost more than
       they reserved. A quota that is shared by Redis is not handed over: Redis has it.
Note. Left out are windows of breakers, latency models and health: found again within seconds.
Tests: tests/unit/test_handover_state.py.
"""

from __future__ import annotations

import logging

import msgspec

from zeroproxy._fast.engine.settings_types import Learned
from zeroproxy.policy.shared_quota import bucket_name
from zeroproxy.server.handover_messages import Gone, Quota
from zeroproxy.server.worker import Worker

log = logging.getLogger(__name__)


def names_of_keys(worker: Worker) -> dict[str, int]:
    """The index of each key in the engine, by a name that shows nobody its digest."""
    return {bucket_name("key", sha256): index for sha256, index in worker.key_indices.items()}


def collect(worker: Worker) -> Gone:
    assert worker.engine is not None and worker.endpoint_set is not None
    names = {index: name for name, index in names_of_keys(worker).items()}
    quotas = [
        Quota(names[row["index"]], row["quota"], row["level"] - row["reserved"])
        for row in worker.engine.quotas()
        if row["index"] in names and not row["leased"]
    ]
    return Gone(
        busy=worker.engine.busy(),
        learned=[{**row} for row in worker.engine.learned()],  # type: ignore[dict-item]
        quotas=quotas,
        drained=worker.endpoint_set.drained_urls(),
    )


def restore(worker: Worker, gone: Gone) -> None:
    """Go on from there. Values that do not fit are logged and left out: no reason to stop."""
    try:
        restore_endpoints(worker, gone)
        restore_quotas(worker, gone)
    except (msgspec.ValidationError, TypeError, ValueError, KeyError, IndexError) as error:
        log.warning(f"not all that the old process had learned can be used: {error}")
    for url in gone.drained:
        worker.drain_endpoint(url, True)


def restore_endpoints(worker: Worker, gone: Gone) -> None:
    assert worker.engine is not None and worker.endpoint_set is not None
    places = {
        (upstream.name, active.address.url): active.index
        for k, upstream in enumerate(worker.config.upstream)
        for active in worker.endpoint_set.group(k)
    }
    with worker.engine.change() as change:
        for row in gone.learned:
            index = places.get((str(row.pop("upstream")), str(row.pop("url"))))
            learned = msgspec.convert(row, Learned)
            if index is not None:
                change.set_learned(index, learned=learned)


def restore_quotas(worker: Worker, gone: Gone) -> None:
    assert worker.engine is not None
    places = names_of_keys(worker)
    for quota in gone.quotas:
        if quota.key in places:
            worker.engine.set_quota_level(places[quota.key], quota=quota.quota, level=quota.level)
