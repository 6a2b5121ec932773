"""A member of an upstream, as policy sees one."""

from dataclasses import dataclass

from zeroproxy.policy.addresses import Address


@dataclass
class Member:
    index: int
    address: Address
