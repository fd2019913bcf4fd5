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

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from tensordict import TensorDictBase

from pokered_rl.envs.factory import make_env
from pokered_rl.errors import ConfigError
from pokered_rl.observations import unpack_shades

__all__ = ["PokemonRedGymEnv", "PokemonRedVectorEnv"]

Observation = dict[str, npt.NDArray[Any]]
#: Frames a second of the console.
_FRAME_RATE = 59.7275
_GREY_OF_SHADE = np.array([0, 85, 170, 255], np.uint8)


class _Adapter:
    """The environment with NumPy arrays, for both interfaces."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.env = make_env(**arguments)
        base = self.env.base_env
        self.actions = base.actions
        self.fps = _FRAME_RATE / base.timing.frames_per_action
        spec = self.env.observation_spec
        lines, columns = spec["pixels"].shape[1:]
        memory, context = spec["map_memory"].shape[1:], spec["context"].shape[1:]
        self.space = spaces.Dict(
            {
                "pixels": spaces.Box(0, 255, (lines, 4 * columns, 1), np.uint8),
                "map_memory": spaces.Box(0, 3, tuple(memory), np.uint8),
                "context": spaces.Box(0.0, 1.0, tuple(context), np.float32),
            }
        )
        self.td: TensorDictBase | None = None

    def observe(self, td: TensorDictBase) -> Observation:
        """Return the observation as new arrays [E, ...]."""
        shades = unpack_shades(td.get("pixels").numpy())  # [E, lines, columns]
        return {
            "pixels": _GREY_OF_SHADE[shades][..., None],
            "map_memory": td.get("map_memory").numpy().copy(),
            "context": td.get("context").numpy().copy(),
        }

    def info(self, td: TensorDictBase) -> dict[str, npt.NDArray[Any]]:
        """Return mask, frames waited and length of the episode so far, [E, ...]."""
        return {
            "action_mask": td.get("action_mask").numpy().copy(),
            "wait_frames": td.get("wait_frames").squeeze(-1).numpy().copy(),
            "step_count": td.get("step_count").squeeze(-1).numpy().copy(),
        }

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
        if self.td is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        td = self.td.set("action", torch.as_tensor(np.asarray(actions), dtype=torch.int64).reshape(-1))
        self.td = self.env.step(td).get("next")
        assert self.td is not None
        return self.td

    def masks(self) -> npt.NDArray[np.bool_]:
        if self.td is None:
            raise gymnasium.error.ResetNeeded("call reset() before action_masks()")
        masks: npt.NDArray[np.bool_] = self.td.get("action_mask").numpy().copy()
        return masks

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the screen of one emulator as RGB, uint8 [144, 160, 3]."""
        if self.td is None:
            raise gymnasium.error.ResetNeeded("call reset() before render()")
        shades = unpack_shades(self.td.get("pixels")[index].numpy())
        grey = _GREY_OF_SHADE[shades]
        factor = 144 // grey.shape[0]
        grey = grey.repeat(factor, 0).repeat(factor, 1)
        return np.repeat(grey[..., None], 3, -1)


class PokemonRedGymEnv(gymnasium.Env[Observation, np.int64]):
    """One emulator as a :class:`gymnasium.Env`.

    Observations are a dict: ``pixels`` uint8 [72, 80, 1] (``screen="full"``: [144, 160, 1]) in the greys 0, 85, 170 and
    255; ``map_memory`` uint8 [2, 21, 21], 0..3; ``context`` float32 [C]. ``info`` has ``action_mask``, ``wait_frames``,
    ``step_count`` and ``reward_terms``. An episode is truncated after ``max_episode_steps`` steps.

    Args:
        render_mode: None or ``"rgb_array"``.
        **arguments: Arguments of :func:`pokered_rl.envs.make_env` except ``num_emulators``.

    Raises:
        ConfigError: ``render_mode`` is another one.

    Example:
        >>> env = PokemonRedGymEnv(max_episode_steps=100)
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample(info["action_mask"]))
        >>> env.close()
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012 - Gymnasium's convention

    def __init__(self, *, render_mode: str | None = None, **arguments: Any) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self._adapter = _Adapter({**arguments, "num_emulators": 1})
        self.render_mode = render_mode
        self.observation_space: Any = self._adapter.space
        self.action_space = spaces.Discrete(len(self._adapter.actions))
        self.metadata = {**self.metadata, "render_fps": max(1, round(self._adapter.fps))}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the seed decides which start state is drawn."""
        super().reset(seed=seed)
        td = self._adapter.reset(seed)
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
        self._adapter.env.close(raise_if_closed=False)

    def _info(self, td: TensorDictBase) -> dict[str, Any]:
        info: dict[str, Any] = self._first(self._adapter.info(td))
        # Sampling of a Discrete space takes its mask as int8.
        info["action_mask"] = info["action_mask"].astype(np.int8)
        terms = td.get("reward_terms", None)
        if terms is not None:
            info["reward_terms"] = {name: float(value) for name, value in terms.items()}
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
        **arguments: Arguments of :func:`pokered_rl.envs.make_env`.

    Raises:
        ConfigError: ``render_mode`` is another one.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's convention
        "render_modes": ["rgb_array"],
        "render_fps": 2,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, num_envs: int = 1, *, render_mode: str | None = None, **arguments: Any) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self._adapter = _Adapter({**arguments, "num_emulators": num_envs})
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_observation_space = self._adapter.space
        self.observation_space = batch_space(self._adapter.space, num_envs)
        self.single_action_space = spaces.Discrete(len(self._adapter.actions))
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin all episodes; of a list of seeds the first is used, since the emulators share a generator."""
        first = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=first)
        td = self._adapter.reset(first)
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
        self._adapter.env.close(raise_if_closed=False)
