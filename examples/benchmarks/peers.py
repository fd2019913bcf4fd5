"""Row `peer`: acting end to end against the arrangements that people usually build."""

import time
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from pyboy import PyBoy
from torchrl.envs import ParallelEnv

from pokered_rl.emulator import ActionSet, Cartridge, SaveState
from pokered_rl.envs import make_env
from pokered_rl.modules import R2D2Network

from .acting import actor_rate, cores, playable_state, playing_actors
from .bare import BareEmulators
from .pairs import Row


class OneEmulator(gym.Env[Any, Any]):
    """The usual environment: one PyBoy in a process of its own, RGB pixels as floats."""

    def __init__(self, state: bytes) -> None:
        cartridge = Cartridge.find()
        self._bare = BareEmulators(cartridge, 1)
        self._bare.load(SaveState.from_bytes(state))
        self._boy: PyBoy = self._bare._boys[0]
        self.observation_space = gym.spaces.Box(0.0, 1.0, (144, 160, 3), np.float32)
        self.action_space = gym.spaces.Discrete(len(ActionSet()))

    def _observation(self) -> np.ndarray:
        return self._boy.screen.ndarray[..., :3].astype(np.float32) / 255.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Play on from where it is."""
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action):
        """24 frames with the button held for 8 of them, the last one drawn."""
        self._bare.play(np.full((1, 1), action))
        return self._observation(), 0.0, False, False, {}

    def close(self) -> None:
        """Stop the emulator."""
        self._bare.close()


class _Network:
    """The `tiny` network on float frames, brought to its input size the way such code does: every second pixel."""

    def __init__(self, rows: int) -> None:
        self._network = R2D2Network(num_actions=len(ActionSet()), size="tiny").eval()
        self._state = self._network.initial_state([rows])
        self._rng = np.random.default_rng(0)

    @torch.inference_mode()
    def act(self, frames: np.ndarray) -> np.ndarray:
        """Values from the network, actions at random: both arrangements play alike."""
        shades = (frames[:, ::2, ::2, 0] * 255).astype(np.uint8) >> 6  # [E, 72, 80]
        packed = shades[..., 0::4] << 6 | shades[..., 1::4] << 4 | shades[..., 2::4] << 2 | shades[..., 3::4]
        tensordict = self._state.clone(False)
        tensordict["pixels"] = torch.from_numpy(packed)
        tensordict = self._network.step(tensordict)
        for key in self._network.state_keys:
            self._state[key] = tensordict["next", key]
        return self._rng.integers(0, len(ActionSet()), len(frames))


def _gymnasium_rate(vector: gym.vector.AsyncVectorEnv, network: _Network, frames: np.ndarray, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        frames, *_ = vector.step(network.act(frames))
    return steps * vector.num_envs / (time.perf_counter() - start)


def _parallel_rate(env: ParallelEnv, steps: int) -> float:
    start = time.perf_counter()
    env.rollout(steps, break_when_any_done=False)
    return steps * env.num_workers / (time.perf_counter() - start)


def peer(*, quick: bool) -> Row:
    """Our actors with the `tiny` network against Gymnasium's `AsyncVectorEnv` with one emulator a process.

    The part compares with TorchRL's `ParallelEnv` of single environments, our own transforms inside.
    """
    emulators, steps, rounds = 8 * cores(), 40 if quick else 100, 2 if quick else 4
    state = playable_state(Cartridge.find())
    row, parallel_row = Row([], [], "steps/s"), Row([], [], "steps/s")
    for _ in range(rounds):
        with playing_actors("tiny", workers=cores(), emulators=8) as actors:
            ours = actor_rate(actors, 4.0 if quick else 8.0)
        vector = gym.vector.AsyncVectorEnv([partial(OneEmulator, state.to_bytes())] * emulators, context="spawn")
        frames, _ = vector.reset()
        network = _Network(emulators)
        _gymnasium_rate(vector, network, frames, 5)
        row.limit.append(_gymnasium_rate(vector, network, frames, steps))
        vector.close()
        env = ParallelEnv(emulators, partial(make_env, num_emulators=1, start_states=state, wait_while_busy=False))
        _parallel_rate(env, 5)
        parallel_row.limit.append(_parallel_rate(env, steps))
        env.close()
        row.ours.append(ours)
        parallel_row.ours.append(ours)
    row.parts["ParallelEnv, no policy"] = parallel_row
    return row
