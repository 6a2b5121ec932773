"""The surface of every upstream, handed to the engine."""

from __future__ import annotations

from zeroproxy._fast.engine.change import Change
from zeroproxy._fast.engine.settings_types import SurfaceSettings
from zeroproxy.config.schema import Config
from zeroproxy.config.surface import Surface, rules_of


def settings_of(surface: Surface) -> SurfaceSettings:
    return SurfaceSettings(
        paths=rules_of(surface.paths),
        strip_headers=surface.strip_headers,
        keep_headers=surface.keep_headers,
        refuse_fields=surface.refuse_fields,
    )


def stage_surfaces(change: Change, config: Config) -> None:
    change.set_surfaces([settings_of(upstream.surface) for upstream in config.upstream])
