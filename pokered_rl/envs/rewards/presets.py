"""The reward terms of the library, made from weights and options as in a config."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pokered_rl.bundled import bundled_path
from pokered_rl.envs.rewards.base import RewardTerm
from pokered_rl.envs.rewards.battle import BattleDamage, BattleOutcome, Blackout, Escape, Healing, LowHealth
from pokered_rl.envs.rewards.first_times import FieldMoves, HiddenItems, Signs, Talks, Warps
from pokered_rl.envs.rewards.goals import Goals
from pokered_rl.envs.rewards.movement import (
    Frontier,
    Idle,
    MapStay,
    NewMaps,
    NewTiles,
    Novelty,
    Revisit,
    ScreenNovelty,
    Steps,
)
from pokered_rl.envs.rewards.progress import (
    Badges,
    Champion,
    Events,
    Items,
    KeyItems,
    Levels,
    Money,
    PokedexOwned,
    PokedexSeen,
)
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile

__all__ = ["REWARD_TERMS", "load_preset", "make_terms"]

#: Every term by its name, in the order of the columns in reports.
REWARD_TERMS: dict[str, type[RewardTerm]] = {
    term.name: term
    for term in (
        NewTiles,
        NewMaps,
        Frontier,
        ScreenNovelty,
        Novelty,
        Badges,
        Events,
        PokedexOwned,
        PokedexSeen,
        Levels,
        Items,
        KeyItems,
        Champion,
        BattleOutcome,
        BattleDamage,
        Escape,
        Blackout,
        LowHealth,
        Steps,
        Idle,
        Revisit,
        MapStay,
        Talks,
        Signs,
        Warps,
        HiddenItems,
        FieldMoves,
        Healing,
        Money,
        Goals,
    )
}


def make_terms(
    *,
    weights: Mapping[str, float] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    goals: Iterable[Mapping[str, Any]] = (),
    profile: CartridgeProfile | None = None,
) -> list[RewardTerm]:
    """Make the reward terms whose weight is not 0.

    Args:
        weights: Weight by name of the term; the others keep their default weight (the preset ``balanced``).
        options: Further constructor arguments by name of the term, such as ``{"revisit": {"cap": 5}}``.
        goals: Curriculum goals, see :class:`Goal`.
        profile: Names of maps, events and items; None takes Red's.

    Raises:
        ConfigError: A term or option does not exist; the message has the nearest names.

    Example:
        >>> from pokered_rl.envs.rewards import REWARD_TERMS, make_terms
        >>> [term.name for term in make_terms(weights={name: 0 for name in REWARD_TERMS} | {"badges": 5})]
        ['badges']
    """
    weights, options = dict(weights or {}), dict(options or {})
    for name in (*weights, *options):
        if name not in REWARD_TERMS:
            near = difflib.get_close_matches(name, REWARD_TERMS, n=3) or list(REWARD_TERMS)
            raise ConfigError(f"there is no reward term {name!r}; did you mean {', '.join(near)}?")
    terms = []
    for name, term in REWARD_TERMS.items():
        weight = float(weights.get(name, term.default_weight))
        if weight == 0.0:
            continue
        arguments: dict[str, Any] = dict(options.get(name, {}))
        accepted = inspect.signature(term).parameters
        for key in arguments:
            if key not in accepted or key in ("weight", "profile"):
                near = [each for each in accepted if each not in ("weight", "profile")]
                raise ConfigError(f"reward term {name!r} has no option {key!r}; it has: {', '.join(near) or 'none'}")
        if "profile" in accepted:
            arguments["profile"] = profile
        if term is Goals:
            arguments["goals"] = [*arguments.get("goals", ()), *goals]
            if not arguments["goals"]:
                continue
        terms.append(term(weight=weight, **arguments))
    return terms


def load_preset(name: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a preset: the keyword arguments ``weights``, ``options`` and ``goals`` of :func:`make_terms`.

    Args:
        name: ``balanced``, ``exploration``, ``story``, or the path of a YAML file.

    Raises:
        ConfigError: There is no such preset or file, or it has other keys.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        folder = bundled_path("configs") / "reward"
        path = folder / f"{name}.yaml"
        if not path.is_file():
            known = sorted(each.stem for each in folder.glob("*.yaml"))
            raise ConfigError(f"there is no reward preset {str(name)!r}; there are: {', '.join(known)}")
    try:
        preset = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"reward preset {path} cannot be read: {error}") from error
    if not isinstance(preset, dict) or set(preset) - {"weights", "options", "goals"}:
        found = ", ".join(map(str, preset)) if isinstance(preset, dict) else type(preset).__name__
        raise ConfigError(f"reward preset {path} may have the keys weights, options, goals; got {found}")
    return {str(key): value for key, value in preset.items() if value}
