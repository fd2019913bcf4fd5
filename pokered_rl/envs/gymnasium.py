"""The environment with Gymnasium's interfaces.

``import pokered_rl`` registers ``pokered_rl/PokemonRed-v0`` with Gymnasium:

    >>> import gymnasium
    >>> import pokered_rl
    >>> env = gymnasium.make("pokered_rl/PokemonRed-v0")
    >>> envs = gymnasium.make_vec("pokered_rl/PokemonRed-v0", num_envs=8)
    >>> env.close(), envs.close()
    (None, None)
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from tensordict import TensorDictBase

from pokered_rl.emulator import SaveState
from pokered_rl.envs.factory import make_env
from pokered_rl.envs.start_states import StartState, StartStates
from pokered_rl.errors import ConfigError
from pokered_rl.observations import unpack_shades

__all__ = ["PokemonRedGymEnv", "PokemonRedVectorEnv"]

Observation = dict[str, npt.NDArray[Any]]
#: Frames a second of the console.
_FRAME_RATE = 59.7275
_GREY_OF_SHADE = np.array([0, 85, 170, 255], np.uint8)


#: Entries that are observations, have a place of their own in ``info``, or matter to a recurrent policy only.
_PLACED = frozenset({"pixels", "map_memory", "context", "action_mask", "wait_frames", "step_count"})
_INTERNAL = frozenset({"ram", "is_init", "last_action", "last_reward"})


class _ChosenStarts:
    """The start states that ``reset(options={"start_state": ...})`` names, one for each emulator."""

    def __init__(self, starts: list[StartState]) -> None:
        self._starts = starts

    def draw(self, generator: np.random.Generator, *, emulator: int = 0, num_emulators: int = 1) -> StartState:
        return self._starts[emulator]


class _Adapter:
    """The environment with NumPy arrays, for both interfaces."""

    def __init__(self, arguments: dict[str, Any], *, num_emulators: int, render_mode: str | None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.env = make_env(num_emulators=num_emulators, **arguments)
        base = self.env.base_env
        self.actions = base.actions
        self.fps = _FRAME_RATE / base.timing.frames_per_action
        spec = self.env.observation_spec
        lines, columns = spec["pixels"].shape[1:]
        entries: dict[str, spaces.Space[Any]] = {"pixels": spaces.Box(0, 255, (lines, 4 * columns, 1), np.uint8)}
        keys = set(spec.keys())
        if "map_memory" in keys:
            entries["map_memory"] = spaces.Box(0, 3, tuple(spec["map_memory"].shape[1:]), np.uint8)
        if "context" in keys:
            entries["context"] = spaces.Box(0.0, 1.0, tuple(spec["context"].shape[1:]), np.float32)
        self.space = spaces.Dict(entries)
        #: Entries of ``info`` that stand in the environment under the same name.
        self._further = sorted(keys - _PLACED - _INTERNAL)
        self._closed = False
        self.td: TensorDictBase | None = None

    def observe(self, td: TensorDictBase) -> Observation:
        """Return the observation as new arrays [E, ...]."""
        shades = unpack_shades(td.get("pixels").numpy())  # [E, lines, columns]
        others = {name: td.get(name).numpy().copy() for name in self.space.spaces if name != "pixels"}
        return {"pixels": _GREY_OF_SHADE[shades][..., None], **others}

    def info(self, td: TensorDictBase) -> dict[str, Any]:
        """Return mask, frames waited, length of the episode so far, and what further transforms wrote, [E, ...]."""
        return {
            "action_mask": self._mask(td),
            "wait_frames": td.get("wait_frames").squeeze(-1).numpy().copy(),
            "step_count": td.get("step_count").squeeze(-1).numpy().copy(),
            **{name: _arrays(td.get(name)) for name in self._further if td.get(name, None) is not None},
        }

    def _mask(self, td: TensorDictBase) -> npt.NDArray[np.bool_]:
        mask = td.get("action_mask", None)
        allowed: npt.NDArray[np.bool_] = (
            np.ones((*td.batch_size, len(self.actions)), np.bool_) if mask is None else mask.numpy().copy()
        )
        return allowed

    def begin(self, seed: int | None, options: dict[str, Any] | None) -> TensorDictBase:
        """Begin an episode of every emulator, with the options of :meth:`gymnasium.Env.reset`."""
        self._check_open("reset")
        unknown = set(options or {}) - {"start_state"}
        if unknown:
            raise ConfigError(f"reset has no option {sorted(unknown)[0]!r}; it has start_state")
        if not options:
            return self.reset(seed)
        base = self.env.base_env
        pool, chosen = base.start_states, options["start_state"]
        several = chosen if isinstance(chosen, list | tuple) else [chosen] * base.num_emulators
        if len(several) != base.num_emulators:
            raise ConfigError(f"start_state must be one, or {base.num_emulators} for the emulators, got {len(several)}")
        base.start_states = _ChosenStarts([_start(each, pool) for each in several])
        try:
            return self.reset(seed)
        finally:
            base.start_states = pool

    def close(self) -> None:
        self._closed = True
        self.env.close(raise_if_closed=False)

    def _check_open(self, what: str) -> None:
        if self._closed:
            raise gymnasium.error.ClosedEnvironmentError(f"{what}: the environment was closed; make a new one")

    def _need_reset(self, what: str) -> NoReturn:
        raise gymnasium.error.ResetNeeded(f"call reset() before {what}()")

    def reset(self, seed: int | None, emulators: npt.NDArray[np.bool_] | None = None) -> TensorDictBase:
        if seed is not None:
            self.env.set_seed(seed)
        if emulators is None or self.td is None:
            td = self.env.reset()
        else:
            mask = torch.from_numpy(emulators).unsqueeze(-1)
            td = self.env.reset(self.td.clone(False).set("_reset", mask))
        self.td = td
        return td

    def step(self, actions: npt.NDArray[np.integer]) -> TensorDictBase:
        self._check_open("step")
        if self.td is None:
            self._need_reset("step")
        td = self.td.set("action", torch.as_tensor(np.asarray(actions), dtype=torch.int64).reshape(-1))
        self.td = self.env.step(td).get("next")
        assert self.td is not None
        return self.td

    def masks(self) -> npt.NDArray[np.bool_]:
        if self.td is None:
            self._need_reset("action_masks")
        return self._mask(self.td)

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the screen of one emulator as RGB, uint8 [144, 160, 3]."""
        if self.td is None:
            self._need_reset("render")
        shades = unpack_shades(self.td.get("pixels")[index].numpy())
        grey = _GREY_OF_SHADE[shades]
        factor = 144 // grey.shape[0]
        grey = grey.repeat(factor, 0).repeat(factor, 1)
        return np.repeat(grey[..., None], 3, -1)


def _arrays(value: Any) -> Any:
    """Return a tensor [E, 1] as an array [E], any other as it is, and a TensorDict as a dict of these."""
    if isinstance(value, TensorDictBase):
        return {name: _arrays(each) for name, each in value.items()}
    return (value.squeeze(-1) if value.ndim == 2 and value.shape[-1] == 1 else value).numpy().copy()


def _one(value: Any, index: int) -> Any:
    """Return the part of one emulator, numbers as Python's."""
    if isinstance(value, dict):
        return {name: _one(each, index) for name, each in value.items()}
    part = value[index]
    return part.item() if part.ndim == 0 else part


def _start(given: Any, pool: Any) -> StartState:
    """Return the entry of the pool with this name, or the state of a file."""
    if isinstance(given, str) and isinstance(pool, StartStates):
        for entry in pool:
            if entry.name == given:
                return entry
    if not isinstance(given, str | os.PathLike | SaveState):
        raise ConfigError(f"start_state must be a name, a file or a SaveState, got {type(given).__name__}")
    return next(iter(StartStates(given)))


class PokemonRedGymEnv(gymnasium.Env[Observation, np.int64]):
    """One emulator as a :class:`gymnasium.Env`.

    Observations are a dict: ``pixels`` uint8 [72, 80, 1] (``screen="full"``: [144, 160, 1]) in the greys 0, 85, 170 and
    255; ``map_memory`` uint8 [2, 21, 21], 0..3; ``context`` float32 [C]. ``info`` has ``action_mask``, ``wait_frames``,
    ``step_count``, ``reward_terms``, ``game`` (with ``game_fields``) and what ``extra_transforms`` write. An episode is
    truncated after ``max_episode_steps`` steps.

    Args:
        render_mode: None or ``"rgb_array"``.
        **arguments: Arguments of :func:`pokered_rl.envs.make_env` except ``num_emulators``.

    Raises:
        ConfigError: ``render_mode`` is another one, or ``num_emulators`` is given.

    Example:
        >>> env = PokemonRedGymEnv(max_episode_steps=100)
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample(info["action_mask"]))
        >>> env.close()
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012 - Gymnasium's convention

    def __init__(self, *, render_mode: str | None = None, **arguments: Any) -> None:
        if "num_emulators" in arguments:
            raise ConfigError(
                "num_emulators: this environment has one emulator; gymnasium.make_vec(..., num_envs=8) has many"
            )
        self._adapter = _Adapter(arguments, num_emulators=1, render_mode=render_mode)
        self.render_mode = render_mode
        self.observation_space: Any = self._adapter.space
        self.action_space = spaces.Discrete(len(self._adapter.actions))
        self.metadata = {**self.metadata, "render_fps": max(1, round(self._adapter.fps))}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Decides which start states are drawn from now on.
            options: ``{"start_state": ...}`` begins in the state of that name, or in that file or
                :class:`~pokered_rl.emulator.SaveState`.
        """
        super().reset(seed=seed)
        td = self._adapter.begin(seed, options)
        return self._first(self._adapter.observe(td)), self._info(td)

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Press a button for one agent step."""
        td = self._adapter.step(np.asarray([action]))
        return (
            self._first(self._adapter.observe(td)),
            float(td.get("reward")),
            bool(td.get("terminated")),
            bool(td.get("truncated")),
            self._info(td),
        )

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions can have an effect, bool [A], as MaskablePPO reads it."""
        mask: npt.NDArray[np.bool_] = self._adapter.masks()[0]
        return mask

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the screen, uint8 [144, 160, 3]."""
        return self._adapter.picture(0) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Stop the emulator."""
        self._adapter.close()

    def _info(self, td: TensorDictBase) -> dict[str, Any]:
        info: dict[str, Any] = _one(self._adapter.info(td), 0)
        # Sampling of a Discrete space takes its mask as int8.
        info["action_mask"] = info["action_mask"].astype(np.int8)
        return info

    @staticmethod
    def _first(arrays: Observation) -> Observation:
        return {name: array[0] for name, array in arrays.items()}


class PokemonRedVectorEnv(VectorEnv[Observation, npt.NDArray[np.integer], npt.NDArray[Any]]):
    """E emulators as a :class:`gymnasium.vector.VectorEnv`, stepped as one batch.

    Observations and infos are those of :class:`PokemonRedGymEnv`, [E, ...]. Episodes that end are reset in the same
    step (``AutoresetMode.SAME_STEP``): ``info["final_obs"]`` and ``info["final_info"]`` have their last ones.

    Args:
        num_envs: E.
        render_mode: None or ``"rgb_array"``: a tuple of E pictures.
        autoreset_mode: ``AutoresetMode.SAME_STEP``; the environment has no other.
        **arguments: Arguments of :func:`pokered_rl.envs.make_env`.

    Raises:
        ConfigError: ``render_mode`` or ``autoreset_mode`` is another one, or ``num_emulators`` is given.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's convention
        "render_modes": ["rgb_array"],
        "render_fps": 2,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **arguments: Any,
    ) -> None:
        if autoreset_mode not in (AutoresetMode.SAME_STEP, AutoresetMode.SAME_STEP.value):
            raise ConfigError(
                f"autoreset_mode must be AutoresetMode.SAME_STEP, got {autoreset_mode}; for another one use "
                'make_vec(..., vectorization_mode="sync", vector_kwargs={"autoreset_mode": ...})'
            )
        if "num_emulators" in arguments:
            raise ConfigError("num_emulators: a vector environment has num_envs emulators")
        self._adapter = _Adapter(arguments, num_emulators=num_envs, render_mode=render_mode)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_observation_space = self._adapter.space
        self.observation_space = batch_space(self._adapter.space, num_envs)
        self.single_action_space = spaces.Discrete(len(self._adapter.actions))
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin all episodes; of a list of seeds the first is used, since the emulators share a generator.

        Args:
            seed: See :meth:`PokemonRedGymEnv.reset`.
            options: See there; ``start_state`` may be a list of E.
        """
        first = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=first)
        td = self._adapter.begin(first, options)
        return self._adapter.observe(td), self._adapter.info(td)

    def step(
        self, actions: npt.NDArray[np.integer]
    ) -> tuple[Observation, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], dict[str, Any]]:
        """Step all emulators and reset those whose episode ends."""
        td = self._adapter.step(actions)
        observation = self._adapter.observe(td)
        info: dict[str, Any] = dict(self._adapter.info(td))
        reward = td.get("reward").squeeze(-1).numpy().astype(np.float64)
        terminated, truncated = (td.get(key).squeeze(-1).numpy().copy() for key in ("terminated", "truncated"))
        over = terminated | truncated
        if over.any():
            final, final_info = observation, info
            td = self._adapter.reset(None, over)
            observation, info = self._adapter.observe(td), dict(self._adapter.info(td))
            last: Any = np.empty(self.num_envs, object)
            for index in np.flatnonzero(over):
                last[index] = {name: array[index] for name, array in final.items()}
            info |= {"final_obs": last, "_final_obs": over, "final_info": final_info, "_final_info": over}
        return observation, reward, terminated, truncated, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions can have an effect, bool [E, A]."""
        return self._adapter.masks()

    def render(self) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """Return the screens, uint8 [144, 160, 3] each."""
        if self.render_mode is None:
            return None
        return tuple(self._adapter.picture(index) for index in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the emulators."""
        self._adapter.close()
