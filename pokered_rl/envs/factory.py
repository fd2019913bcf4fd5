"""`make_env`: the environment with its usual transforms."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torchrl.envs import Compose, InitTracker, Transform, TransformedEnv

from pokered_rl.emulator import ActionSet, ActionTiming, Cartridge
from pokered_rl.envs.pokemon_red import PokemonRedEnv
from pokered_rl.envs.rewards import REWARD_TERMS, RewardTerm, load_preset, make_terms
from pokered_rl.envs.transforms import (
    AffordanceMask,
    ContextFeatures,
    EpisodeRecorder,
    GameStateReader,
    HelperActions,
    LastActionReward,
    MapMemory,
    RewardTerms,
)
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile, RamLayout
from pokered_rl.game.screen_rules import STACK_RANGE

_REWARD_KEYS = ("weights", "options", "goals", "extra_terms", "write_terms")

__all__ = ["default_transforms", "make_env", "required_layout"]


def default_transforms(
    *,
    profile: CartridgeProfile | None = None,
    action_set: ActionSet | None = None,
    game_fields: Iterable[str] | None = (),
    mask: Mapping[str, Any] | None = None,
    map_memory: Mapping[str, Any] | None = None,
    reward: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    recorder: Mapping[str, Any] | None = None,
    helpers: Iterable[str] = (),
    renew_visits: bool = False,
) -> list[Transform]:
    """Make the transforms that the agent of this library uses, in their order.

    GameStateReader (if it has fields), AffordanceMask, HelperActions (if there are helpers), MapMemory,
    ContextFeatures, RewardTerms, LastActionReward, EpisodeRecorder (if ``recorder`` is given).

    Args:
        profile: Names of maps and events; None takes Red's.
        action_set: The buttons.
        game_fields: Fields of ``("game", ...)``; none by default, since the agent does not read them; None for all.
        mask: Keyword arguments of :class:`AffordanceMask`.
        map_memory: Keyword arguments of :class:`MapMemory`, such as ``{"radius": 10}``.
        reward: Name of a preset (``"exploration"``), a YAML file, or keyword arguments of
            :func:`pokered_rl.envs.rewards.make_terms` (``weights``, ``options``, ``goals``); ``extra_terms``,
            :class:`~pokered_rl.envs.rewards.RewardTerm` objects added to those; and ``write_terms``.
        recorder: Keyword arguments of :class:`EpisodeRecorder`; None records nothing.
        helpers: Helpers that are on (:class:`HelperActions`).
        renew_visits: Each event of the story that the game cannot be finished without
            (:attr:`~pokered_rl.game.CartridgeProfile.required_events`) makes all tiles unvisited again, to the reward
            terms about tiles and to the map memory.
    """
    actions = action_set or ActionSet()
    reward = load_preset(reward) if isinstance(reward, str | os.PathLike) else dict(reward or {})
    _check_reward(reward)
    write_terms = bool(reward.pop("write_terms", True))
    extra_terms: Iterable[RewardTerm] = reward.pop("extra_terms", ())
    terms = [*make_terms(profile=profile, **reward), *extra_terms]
    fields = None if game_fields is None else tuple(game_fields)
    renewing = (profile or CartridgeProfile.get("red")).required_events if renew_visits else ()
    transforms: list[Transform] = []
    if fields is None or fields:
        transforms.append(GameStateReader(fields=fields))
    transforms.append(AffordanceMask(actions=actions, **(mask or {})))
    if helpers := tuple(helpers):
        transforms.append(HelperActions(helpers=helpers, profile=profile, actions=actions))
    transforms += [
        MapMemory(actions=actions, renewing_events=renewing, **(map_memory or {})),
        ContextFeatures(profile=profile, actions=actions),
        RewardTerms(terms=terms, write_terms=write_terms, renewing_events=renewing),
        LastActionReward(num_actions=len(actions)),
    ]
    if recorder is not None:
        transforms.append(EpisodeRecorder(profile=profile, **recorder))
    return transforms


def _check_reward(reward: Mapping[str, Any]) -> None:
    """Refuse keys that a reward does not have; a name of a term is one of its weights."""
    for key in reward:
        if key in _REWARD_KEYS:
            continue
        if key in REWARD_TERMS:
            raise ConfigError(f"reward has no key {key!r}, which is a term; write {{'weights': {{{key!r}: 1.0}}}}")
        near = difflib.get_close_matches(str(key), _REWARD_KEYS, n=3) or _REWARD_KEYS
        raise ConfigError(f"reward has no key {key!r}; did you mean {', '.join(near)}?")


def required_layout(transforms: Iterable[Transform], *, stack: bool = True) -> RamLayout:
    """Return the bytes of RAM that ``transforms`` read together: what the environment has to deliver.

    Args:
        transforms: Those of one environment.
        stack: Whether the return addresses on the stack are those of the retail game
            (``CartridgeProfile.stack_words``). If not, they are left out, and screens are told apart without them.
    """
    spans = [span for transform in transforms for span in getattr(transform, "ram_ranges", ())]
    return RamLayout.merged(span for span in spans if stack or span != STACK_RANGE)


def make_env(
    cartridge: Cartridge | str | os.PathLike[str] | None = None,
    *,
    allow_unknown: bool = False,
    num_emulators: int = 1,
    actions: ActionSet | Sequence[str] | None = None,
    frames_per_action: int = 24,
    hold_frames: int = 8,
    transforms: Sequence[Transform] | None = None,
    game_fields: Iterable[str] | None = (),
    mask: Mapping[str, Any] | None = None,
    map_memory: Mapping[str, Any] | None = None,
    reward: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    recorder: Mapping[str, Any] | None = None,
    helpers: Iterable[str] = (),
    renew_visits: bool = False,
    extra_transforms: Sequence[Transform] = (),
    **env_arguments: Any,
) -> TransformedEnv:
    """Build :class:`PokemonRedEnv` with its transforms and ``is_init``; it reads only the RAM that they declare.

    All arguments can be pickled: the workers of a collector are given ``functools.partial(make_env, ...)``.

    Args:
        cartridge: A :class:`~pokered_rl.emulator.Cartridge`, a ROM file, or None to search.
        allow_unknown: Accept an unknown ROM (a hack).
        num_emulators: E.
        actions: An :class:`~pokered_rl.emulator.ActionSet` or names of actions.
        frames_per_action: Length of a step in frames.
        hold_frames: Frames that the button is held.
        transforms: Instead of :func:`default_transforms`; ``game_fields`` to ``renew_visits`` are unused then.
        game_fields: See :func:`default_transforms`.
        mask: See :func:`default_transforms`.
        map_memory: See :func:`default_transforms`.
        reward: See :func:`default_transforms`.
        recorder: See :func:`default_transforms`.
        helpers: See :func:`default_transforms`.
        renew_visits: See :func:`default_transforms`.
        extra_transforms: Put behind all others, such as the primers of a recurrent policy.
        **env_arguments: Passed on to :class:`PokemonRedEnv` (``num_threads``, ``screen``, ``start_states``,
            ``max_episode_steps``, ``wait_while_busy``, ``max_wait_frames``, ``seed``, ...).

    Example:
        >>> from pokered_rl.envs import make_env
        >>> env = make_env(num_emulators=2)
        >>> env.reset()["action_mask"].shape
        torch.Size([2, 8])
        >>> env.close()
    """
    if not isinstance(cartridge, Cartridge):
        cartridge = Cartridge.find(cartridge, allow_unknown=allow_unknown)
    action_set = actions if isinstance(actions, ActionSet) else ActionSet(tuple(actions)) if actions else ActionSet()
    if transforms is None:
        transforms = default_transforms(
            profile=cartridge.profile,
            action_set=action_set,
            game_fields=game_fields,
            mask=mask,
            map_memory=map_memory,
            reward=reward,
            recorder=recorder,
            helpers=helpers,
            renew_visits=renew_visits,
        )
    layout = env_arguments.pop("ram_layout", None)
    if layout is None:
        layout = required_layout([*transforms, *extra_transforms], stack=cartridge.profile.stack_words)
    env = PokemonRedEnv(
        cartridge,
        num_emulators=num_emulators,
        actions=action_set,
        timing=ActionTiming(frames_per_action=frames_per_action, hold_frames=hold_frames),
        ram_layout=layout,
        **env_arguments,
    )
    # First, because its cost grows with the number of entries that it finds.
    return TransformedEnv(env, Compose(InitTracker(), *transforms, *extra_transforms))
