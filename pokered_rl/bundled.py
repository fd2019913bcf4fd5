"""Locate the files that ship with the package."""

from __future__ import annotations

from pathlib import Path

from pokered_rl.errors import ConfigError

__all__ = ["CHECKOUT", "bundled_path"]

_PACKAGE = Path(__file__).resolve().parent
#: Root of the checkout when the package is imported from one; else the folder that holds the package.
CHECKOUT = _PACKAGE.parent
#: Name in the wheel -> path in the checkout (pyproject.toml, ``force-include``).
_FILES = {
    "sprout.gb": "roms/sprout.gb",
    "configs": "configs",
    "costs.json": "docs/benchmarks/results/costs.json",
    "expert_logs": "examples/assets/expert_logs",
}


def bundled_path(name: str) -> Path:
    """Return where a file or folder that ships with the package is: in the wheel, or in the checkout.

    Args:
        name: ``sprout.gb``, ``configs``, ``costs.json`` or ``expert_logs``.

    Raises:
        ConfigError: It is in neither place.
    """
    places = (_PACKAGE / "_bundled" / name, CHECKOUT / _FILES[name])
    for place in places:
        if place.exists():
            return place
    raise ConfigError(
        f"{name} is missing from the installation: neither {places[0]} nor {places[1]} exists. Reinstall pokered_rl."
    )
