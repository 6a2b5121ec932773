"""zeroproxy: a sidecar reverse proxy for LLM inference servers, at little cost.

    async with zeroproxy.Proxy(zeroproxy.load_config("prod.toml")) as proxy: ...

Public names are resolved when they are first used (PEP 562): importing a module of a low floor
must not pull the upper floors in.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zeroproxy._version import __version__
    from zeroproxy.config.load import load_config, parse_config
    from zeroproxy.config.schema import Config
    from zeroproxy.embed import Proxy
    from zeroproxy.errors import ConfigError, ListenError, ReloadError, ZeroproxyError

# Lines of a library are its host's business: without one that listens they are not for stderr.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_WHERE = {
    "Config": "zeroproxy.config.schema",
    "ConfigError": "zeroproxy.errors",
    "ListenError": "zeroproxy.errors",
    "Proxy": "zeroproxy.embed",
    "ReloadError": "zeroproxy.errors",
    "ZeroproxyError": "zeroproxy.errors",
    "__version__": "zeroproxy._version",
    "load_config": "zeroproxy.config.load",
    "parse_config": "zeroproxy.config.load",
}

__all__ = [
    "Config",
    "ConfigError",
    "ListenError",
    "Proxy",
    "ReloadError",
    "ZeroproxyError",
    "__version__",
    "load_config",
    "parse_config",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _WHERE:
        raise AttributeError(f"module 'zeroproxy' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
