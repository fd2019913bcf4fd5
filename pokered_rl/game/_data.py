"""Read the package's JSON tables."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["load_json"]


@cache
def load_json(name: str) -> Any:
    """Return the parsed table ``pokered_rl/game/data/<name>``; callers must not change it."""
    return json.loads((resources.files("pokered_rl.game") / "data" / name).read_text(encoding="utf-8"))
