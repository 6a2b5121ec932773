"""A member of an upstream, as policy sees one."""

from dataclasses import dataclass

from zeroproxy.config.schema import Config
from zeroproxy.policy.socket_addresses import Address
from zeroproxy.server.endpoints import Addresses, EndpointSet


@dataclass
class ActiveEndpoint:
    index: int
    address: Address


def fill(endpoint_set: EndpointSet, config: Config, addresses: Addresses) -> None:
    """The first set, as a start puts it into the engine."""
    endpoint_set.add_upstreams(config)
    endpoint_set.change(config, addresses)
