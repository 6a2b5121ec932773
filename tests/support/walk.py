"""A whole byte stream of one peer through the head parser and the body walker, as a relay does it:
head, body, next head. The relay's own rules are here too. Nothing is read behind a message that
closes or upgrades; there are at most INTERIMS 1xx, and no 101 without a request for it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.probes import http1

LIMITS = (8192, 65535, 128)
RESPONSE_LIMITS = (65535, 65535, 128)  # a status line is not a way to attack us
EXTRA_LIMIT = 16384
INTERIMS = 32


@dataclass
class Message:
    head: dict[str, Any]
    body: bytes = b""


@dataclass
class Walk:
    state: str = "empty"  # empty | incomplete | complete | bad | closed
    fault: str = ""
    fault_at: int = -1  # from the first byte of the whole input
    messages: list[Message] = field(default_factory=list)
    consumed: int = 0


class Walker:
    """Fed with parts of any size; `walk` returns the result."""

    def __init__(self, is_request: bool, to_head: bool = False) -> None:
        self.is_request = is_request
        self.to_head = to_head
        self.walk = Walk()
        self.held = b""
        self.head: dict[str, Any] | None = None
        self.body = b""
        self.framing: Any = None
        self.interims = 0

    def parse(self) -> tuple[int, Any]:
        if self.is_request:
            return http1.request_head(self.held, LIMITS)
        return http1.response_head(self.held, RESPONSE_LIMITS, self.to_head)

    def feed(self, part: bytes) -> None:
        self.held += part
        while self.held and self.walk.state not in ("bad", "closed"):
            if not (self.step_head() if self.head is None else self.step_body()):
                return

    def refuse(self, fault: str, at: int) -> bool:
        self.walk.state, self.walk.fault = "bad", fault
        self.walk.consumed += at
        self.walk.fault_at = self.walk.consumed
        return False

    def drop(self, n: int) -> None:
        self.held = self.held[n:]
        self.walk.consumed += n

    def step_head(self) -> bool:
        verdict, what = self.parse()
        if verdict == http1.BAD:
            return self.refuse(*what)
        if verdict == http1.MORE:
            if self.held.strip(b"\r\n") or not self.is_request:
                self.walk.state = "incomplete"
            return False
        if what["status"] == 101:
            return self.refuse("upgrade", 0)
        self.drop(what["consumed"])
        if not self.is_request and what["status"] < 200:
            self.interims += 1
            self.walk.state = "incomplete"
            return self.interims <= INTERIMS or self.refuse("upgrade", 0)
        self.head = what
        self.body = b""
        self.framing = http1.BodyProbe(what["framing"], what["length"], EXTRA_LIMIT)
        if self.framing.done:
            self.end_message()
        else:
            self.walk.state = "incomplete"
        return True

    def step_body(self) -> bool:
        block = bytearray(self.held)
        verdict, at, n, consumed = self.framing.unframe(block)
        self.body += bytes(block[at : at + n])
        if verdict == http1.BAD:
            return self.refuse(self.framing.fault, consumed)
        self.drop(consumed)
        if verdict == http1.OK:
            self.end_message()
        return True

    def end_message(self) -> None:
        head = self.head
        assert head is not None
        self.walk.messages.append(Message(head, self.body))
        self.head = None
        closes = head["asks_close"] or head["upgrade"] or not self.is_request
        self.walk.state = "closed" if closes else "complete"

    def end(self) -> Walk:
        """The peer has closed. A body that lasts until then is complete now."""
        if self.head is not None and self.head["framing"] == http1.CLOSE:
            self.end_message()
        if self.walk.state == "closed":
            self.walk.state = "complete"
        return self.walk


def walk_requests(parts: Iterable[bytes]) -> Walk:
    walker = Walker(is_request=True)
    for part in parts:
        walker.feed(part)
    return walker.end()


def walk_response(parts: Iterable[bytes], method: str = "GET") -> Walk:
    walker = Walker(is_request=False, to_head=method == "HEAD")
    for part in parts:
        walker.feed(part)
    return walker.end()
