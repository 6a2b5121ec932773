"""The terms of a breaker, and answers that move it."""

BREAKER = {
    "failures": 3, "error_rate": 0.0, "min_requests": 20, "half_open_probes": 1,
    "count_busy": False, "window": 60.0, "open_for": 0.05, "slow_start": 0.0,
}  # fmt: skip


def status(code: int) -> bytes:
    return b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % code


def terms(**more: object) -> dict[str, object]:
    return {**BREAKER, **more}
