"""Before the first measured request: descriptors, the list of models, one trial request. A
fault is explained, because a table of 512 equal failures helps nobody."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from typing import Any

import aiohttp
import orjson

from zeroproxy.errors import ZeroproxyError, one_line
from zeroproxy.loadtest.dialects import Ask
from zeroproxy.loadtest.tally import Tally
from zeroproxy.loadtest.timed_request import Exchange, Target, message_of
from zeroproxy.server.fd_limits import widen_table

SPARE = 64  # descriptors for everything that is no request
SHOWN = 12  # models that a message lists


def need_descriptors(concurrency: int) -> None:
    """Raise the soft limit if need be, so that all fit. Raises ZeroproxyError if the hard one
    is too low."""
    need = concurrency + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < need:
        if hard != resource.RLIM_INFINITY and hard < need:
            raise ZeroproxyError(
                f"{concurrency} requests at once need {need} file descriptors, and only {hard} "
                f"are allowed: `ulimit -Hn {need}` as root, or a lower --concurrency"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    widen_table(need)


def models_url(url: str) -> str:
    head, sep, _ = url.rpartition("/v1/")
    return f"{head}/v1/models" if sep else url.rsplit("/", 1)[0] + "/models"


async def list_models(session: aiohttp.ClientSession, target: Target) -> list[str]:
    """The models in the server's list; empty: it has no such list. Raises ZeroproxyError if it
    cannot be reached or does not let us in."""
    try:
        async with session.get(models_url(target.url), headers=target.headers) as response:
            data = await response.read()
            status = response.status
    except aiohttp.ClientConnectorError as error:
        raise ZeroproxyError(f"{target.name} cannot be reached: {why_of(error)}") from None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise ZeroproxyError(f"{target.name}: GET /v1/models was not answered: {error}") from None
    if status in (401, 403):
        raise ZeroproxyError(refused(target, status, message_of(data)))
    try:
        listed: Any = orjson.loads(data)
        return [str(one["id"]) for one in listed["data"]] if status == 200 else []
    except (ValueError, TypeError, KeyError):
        return []


def why_of(error: aiohttp.ClientConnectorError) -> str:
    """The system's message, or that of TLS."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({error.certificate_error}); --insecure takes any"
    number = error.os_error.errno
    return os.strerror(number) if number and number > 0 else str(error.os_error) or str(error)


def refused(target: Target, status: int, message: str) -> str:
    has_key = "Authorization" in target.headers
    hint = "the key was not taken" if has_key else "give a key with --api-key-file or --api-key-env"
    return one_line(f"{target.name} returned {status} ({message[:200]}): {hint}")


def choose_model(target: Target, wanted: str, models: list[str]) -> str:
    """The model of the options, else the first of the list. Raises ZeroproxyError."""
    if wanted:
        return wanted  # a server may serve names that it does not list: the trial request decides
    if not models:
        raise ZeroproxyError(f"{target.name} lists no models: name one with --model")
    return models[0]


async def try_once(session: aiohttp.ClientSession, target: Target, ask: Ask) -> tuple[str, str]:
    """(kind, message) of the failure of one request; empty: it was answered."""
    tally = Tally()
    await Exchange(target, ask, tally).run(session, 0)
    kind = next(iter(tally.failures), "")
    return kind, tally.messages.get(kind, "")


async def check(session: aiohttp.ClientSession, target: Target, ask: Ask) -> Ask:
    """The request that this target can answer: `ask` with a model, and without asking for usage
    if the target does not know that. Raises ZeroproxyError."""
    models = await list_models(session, target)
    ask = replace(ask, model=choose_model(target, ask.model, models))
    kind, message = await try_once(session, target, ask)
    if kind in ("status 400", "status 422") and ask.wants_usage and ask.streams:
        without = replace(ask, wants_usage=False)
        if not (await try_once(session, target, without))[0]:
            return without
    if kind:
        raise ZeroproxyError(explain(target, ask, models, (kind, message)))
    return ask


def explain(target: Target, ask: Ask, models: list[str], wrong: tuple[str, str]) -> str:
    kind, message = wrong
    status = int(kind.removeprefix("status ")) if kind.startswith("status ") else 0
    if status in (401, 403):
        return refused(target, status, message)
    text = f"{target.name}: the first request failed: {kind}"
    text += f" ({message})" if message else ""
    if models and ask.model not in models and status in (400, 404, 422):
        more = f" and {len(models) - SHOWN} more" if len(models) > SHOWN else ""
        text += f"; it has no model {ask.model}, but {', '.join(models[:SHOWN])}{more}"
    elif status == 404:
        text += "; is --path right?"
    return one_line(text)
