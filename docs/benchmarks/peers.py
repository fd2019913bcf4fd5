"""Row `peer`: acting end to end against vectorised environments of one emulator a process."""

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from pyboy import PyBoy
from torchrl.envs import ParallelEnv

from acting import PlayingPool, children, playing_pool, running, stopped
from bare import BareEmulators, BareProcesses, playable_state, scripted_actions
from pairs import Row
from pokered_rl.emulator import ActionSet, Cartridge, SaveState
from pokered_rl.envs import make_env
from pokered_rl.modules import R2D2Network
from pokered_rl.resources import available_cpus


class OneEmulator(gym.Env[Any, Any]):
    """The usual environment at its best: one PyBoy in a process of its own, grey pictures of half size as bytes."""

    def __init__(self, state: bytes) -> None:
        cartridge = Cartridge.find()
        self._bare = BareEmulators(cartridge, 1)
        self._bare.load(SaveState.from_bytes(state))
        self._boy: PyBoy = self._bare.boys[0]
        self.observation_space = gym.spaces.Box(0, 255, (72, 80), np.uint8)
        self.action_space = gym.spaces.Discrete(len(ActionSet()))

    def _observation(self) -> np.ndarray:
        return self._boy.screen.ndarray[::2, ::2, 0].copy()

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
    """The `tiny` network; it sees the frame alone, so it is a little cheaper than ours."""

    def __init__(self, rows: int) -> None:
        self._network = R2D2Network(
            num_actions=len(ActionSet()), size="tiny", map_shape=None, use_last_action=False, use_last_reward=False
        ).eval()
        self._state = self._network.initial_state([rows])
        self._rng = np.random.default_rng(0)

    @torch.inference_mode()
    def act(self, frames: np.ndarray) -> np.ndarray:
        """Values from the network, actions at random: both arrangements play alike."""
        shades = frames >> 6  # [E, 72, 80]
        packed = shades[..., 0::4] << 6 | shades[..., 1::4] << 4 | shades[..., 2::4] << 2 | shades[..., 3::4]
        tensordict = self._state.clone(False)
        tensordict["pixels"] = torch.from_numpy(packed)
        tensordict = self._network.step(tensordict)
        for key in self._network.state_keys:
            self._state[key] = tensordict["next", key]
        return self._rng.integers(0, len(ActionSet()), len(frames))


#: A function that measures steps a second for so many seconds, and the peer's processes.
_Peer = contextlib.AbstractContextManager[tuple[Callable[[float], float], list[int]]]


@contextlib.contextmanager
def _gymnasium(emulators: int, state: SaveState) -> Iterator[tuple[Callable[[float], float], list[int]]]:
    """Gymnasium's `AsyncVectorEnv` with the network acting: a function that measures steps a second, and processes."""
    others = children()
    # From the server that our workers started, where there is one: its processes need not import everything anew.
    context = multiprocessing.get_start_method()
    vector = gym.vector.AsyncVectorEnv([partial(OneEmulator, state.to_bytes())] * emulators, context=context)
    network = _Network(emulators)
    frames, _ = vector.reset()

    def steps_per_second(seconds: float) -> float:
        nonlocal frames
        steps, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            frames, *_ = vector.step(network.act(frames))
            steps += emulators
        return steps / elapsed

    steps_per_second(0.5)
    yield steps_per_second, sorted(children() - others)
    vector.close()


@contextlib.contextmanager
def _parallel_env(emulators: int, state: SaveState) -> Iterator[tuple[Callable[[float], float], list[int]]]:
    """TorchRL's `ParallelEnv` of single environments, no network: as `_gymnasium`."""
    others = children()
    env = ParallelEnv(emulators, partial(make_env, num_emulators=1, start_states=state, wait_while_busy=False))
    tensordict = env.reset()
    actions = torch.from_numpy(scripted_actions(1_000, emulators, num_actions=len(ActionSet())))

    def steps_per_second(seconds: float) -> float:
        nonlocal tensordict
        steps, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            tensordict["action"] = actions[steps // emulators % len(actions), :, None]
            _, tensordict = env.step_and_maybe_reset(tensordict)
            steps += emulators
        return steps / elapsed

    steps_per_second(0.5)
    yield steps_per_second, sorted(children() - others)
    env.close()


def _in_turn(ours: PlayingPool, theirs: _Peer, *, seconds: float, rounds: int, bare: BareProcesses) -> Row:
    """Ours, a peer and bare emulators in turn; while one plays, the processes of the others are stopped or idle.

    The part "bare emulators" is what anything that emulates on these cores can reach against the same peer.
    """
    row, most = Row([], [], "steps/s"), Row([], [], "steps/s")
    with theirs as (rate, pids), stopped(pids):
        for _ in range(rounds):
            with running(ours.pids):
                row.ours.append(ours.steps_per_second(seconds))
            with running(pids):
                row.limit.append(rate(seconds))
            most.ours.append(bare.steps_per_second(seconds / 2))
    most.limit = row.limit
    row.parts["bare emulators"] = most
    return row


def peer(*, quick: bool) -> Row:
    """Our workers with the `tiny` network, as the config has them, against Gymnasium's `AsyncVectorEnv`.

    The peer has one emulator a process, as many as 2, 4, 8 or 16 a core; the row compares with the fastest of them
    (which is looked for first, in short runs), a part with TorchRL's `ParallelEnv` of single environments, our own
    transforms inside. A part of the row compares bare emulators with the peer, which is the upper limit.
    """
    seconds, rounds = (3.0, 2) if quick else (5.0, 5)
    cartridge = Cartridge.find()
    state = playable_state(cartridge)
    bare = BareProcesses(cartridge, processes=available_cpus(), emulators=16)
    with contextlib.closing(bare), playing_pool("tiny", workers=available_cpus()) as playing, stopped(playing.pids):
        tried = {each * available_cpus(): 0.0 for each in ((4, 16) if quick else (2, 4, 8, 16))}
        for number in tried:
            with _gymnasium(number, state) as (rate, _):
                tried[number] = statistics.median(rate(seconds / 2) for _ in range(3))
        fastest = max(tried, key=lambda number: tried[number])
        compare = partial(_in_turn, playing, seconds=seconds, rounds=rounds, bare=bare)
        row = compare(_gymnasium(fastest, state))
        row.notes = {
            "peer_emulators": fastest,
            "our_emulators": available_cpus() * playing.workers.emulators_per_worker,
        }
        row.extra["peer_steps_per_second"] = {str(number): round(rate) for number, rate in tried.items()}
        singles = 4 * available_cpus()
        parallel = compare(_parallel_env(singles, state))
        parallel.parts.clear()
        row.parts[f"ParallelEnv of {singles}, no policy"] = parallel
    return row
