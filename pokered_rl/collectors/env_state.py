"""The state of an environment in the middle of its episodes, as tensors and plain values."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pokered_rl.emulator import SaveState
from pokered_rl.envs import PokemonRedEnv
from pokered_rl.envs.start_states import StartState

__all__ = ["env_state", "load_env_state"]


def env_state(env: Any) -> dict[str, Any] | None:
    """Everything that the next step of an innermost environment depends on.

    An environment of another library takes part with a pair of methods `episode_state() -> dict` (tensors and plain
    values) and `load_episode_state(dict)`; without them the result is None: its episodes cannot go on elsewhere.
    """
    if hasattr(env, "episode_state"):
        state: dict[str, Any] = env.episode_state()
        return state
    if not isinstance(env, PokemonRedEnv):
        return None
    return {
        "emulators": [_bytes_to_tensor(state.to_bytes()) for state in env.save_states()],
        # Most rows begin from the same few states: each is kept once.
        "start_states": {
            start.state.sha256: _bytes_to_tensor(start.state.to_bytes()) for start in env._starts if start is not None
        },
        "starts": [
            None if start is None else {"name": start.name, "sha256": start.state.sha256, "weight": start.weight}
            for start in env._starts
        ],
        "step_count": torch.from_numpy(env._step_count.copy()),
        "wait_frames": torch.from_numpy(env._wait_frames.copy()),
        "teams_at_start": torch.from_numpy(env._teams_at_start.copy()),
        "generator": json.dumps(env._generator.bit_generator.state),
    }


def load_env_state(env: Any, state: Mapping[str, Any]) -> None:
    """Puts an environment where `env_state` found it.

    Raises:
        SaveStateError: a state belongs to another cartridge or PyBoy version.
    """
    if hasattr(env, "load_episode_state"):
        env.load_episode_state(state)
        return
    emulators = [SaveState.from_bytes(_tensor_to_bytes(value)) for value in state["emulators"]]
    starts = {key: SaveState.from_bytes(_tensor_to_bytes(value)) for key, value in state["start_states"].items()}
    env._pool.reset(range(env.num_emulators), emulators)
    env._starts = [
        None if start is None else StartState(start["name"], starts[start["sha256"]], start["weight"])
        for start in state["starts"]
    ]
    env._step_count[:] = state["step_count"].numpy()
    env._wait_frames[:] = state["wait_frames"].numpy()
    env._teams_at_start[:] = state["teams_at_start"].numpy()
    generator = np.random.default_rng()
    generator.bit_generator.state = json.loads(state["generator"])
    env._generator = generator


def _bytes_to_tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _tensor_to_bytes(data: torch.Tensor) -> bytes:
    return data.numpy().tobytes()
