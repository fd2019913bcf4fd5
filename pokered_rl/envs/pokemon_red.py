"""`PokemonRedEnv`: E emulators as one batched TorchRL environment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, cast

import numpy as np
import numpy.typing as npt
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Categorical, Composite, OneHot, Unbounded
from torchrl.envs import EnvBase

from pokered_rl.emulator import ActionSet, ActionTiming, Cartridge, Emulator, EmulatorPool, PoolStep, SaveState
from pokered_rl.emulator.boot import boot
from pokered_rl.envs.start_states import StartSource, StartState, StartStates, StatesLike
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.game import FULL_LAYOUT, RamLayout
from pokered_rl.game.ram_map import address

__all__ = ["PokemonRedEnv"]

#: Step limit of an episode that is never truncated.
_NEVER = 2**62


class PokemonRedEnv(EnvBase):
    """Pokémon Red on E emulators; the observation is the screen and the RAM, undecoded.

    Everything else (decoding, masks, rewards, logs) is added by the transforms in :mod:`pokered_rl.envs.transforms`;
    :func:`pokered_rl.envs.make_env` adds the usual ones. The reward is 0 here.

    Reads (batch size [E]):
        ``action`` int64 [E], index into ``actions`` (with ``one_hot_actions`` bool [E, A]); ``_reset`` bool [E, 1].

    Writes:
        ``pixels`` uint8 [E, 72, 20] (half) or [E, 144, 40] (full): four 2-bit shades a byte, the leftmost in the
        highest bits, 0 black to 3 white. ``ram`` uint8 [E, R], the bytes of ``ram_layout``. ``wait_frames`` int32
        [E, 1], emulator frames that the step took beyond ``frames_per_action`` because the game ignored its buttons.
        ``step_count`` int64 [E, 1], agent steps of the episode. ``reward`` float32 [E, 1], zeros. ``done``,
        ``terminated``, ``truncated`` bool [E, 1].

    An episode is truncated after ``max_episode_steps`` steps. With ``terminate_at_hall_of_fame`` the first entry into
    the hall of fame terminates it; nothing else does.

    Resets draw a start state for each emulator in ``_reset``; the others are left alone. The game is deterministic: the
    same start state and actions give the same RAM, byte for byte. The seed decides which start states are drawn.

    Args:
        cartridge: A :class:`~pokered_rl.emulator.Cartridge`, a ROM file, or None to search.
        num_emulators: E.
        num_threads: Threads that step the emulators; more than one helps only while cores are idle.
        screen: ``"half"`` or ``"full"``.
        actions: The buttons that may be pressed.
        timing: Frames of a step.
        start_states: Files or :class:`~pokered_rl.emulator.SaveState` objects (one, several, or a mapping to weights)
            that episodes begin from; None boots the game to its playable start once and begins there.
        max_episode_steps: Agent steps after which an episode is truncated; None for never.
        wait_while_busy: Run the emulator on while the game ignores input, instead of spending agent steps on it.
        max_wait_frames: Longest such wait in one step.
        ram_layout: The bytes in ``ram``; reading all 8,319 of them is rarely needed.
        terminate_at_hall_of_fame: End an episode when the game is finished.
        one_hot_actions: Take actions as one-hot vectors.
        seed: Seed of the start-state draws; None takes a fresh one.

    Raises:
        CartridgeError: The ROM is missing, damaged or unknown.
        ConfigError: A number is out of range.
        SaveStateError: A start state cannot be read or belongs to another cartridge.

    Example:
        >>> from pokered_rl.envs import PokemonRedEnv
        >>> env = PokemonRedEnv(num_emulators=2, max_episode_steps=100)
        >>> td = env.rollout(3)
        >>> td["next", "pixels"].shape
        torch.Size([2, 3, 72, 20])
        >>> env.close()
    """

    def __init__(
        self,
        cartridge: Cartridge | str | os.PathLike[str] | None = None,
        *,
        num_emulators: int = 1,
        num_threads: int = 1,
        screen: str = "half",
        actions: ActionSet | None = None,
        timing: ActionTiming | None = None,
        start_states: StatesLike | StartStates | None = None,
        max_episode_steps: int | None = 2048,
        wait_while_busy: bool = True,
        max_wait_frames: int = 240,
        ram_layout: RamLayout | None = None,
        terminate_at_hall_of_fame: bool = False,
        one_hot_actions: bool = False,
        seed: int | None = None,
    ) -> None:
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ConfigError(f"max_episode_steps must be >= 1 or None, got {max_episode_steps}")
        super().__init__(device=torch.device("cpu"), batch_size=torch.Size([num_emulators]))
        self.cartridge = cartridge if isinstance(cartridge, Cartridge) else Cartridge.find(cartridge)
        self.actions = actions or ActionSet()
        self.timing = timing or ActionTiming()
        self.max_episode_steps = max_episode_steps
        self.wait_while_busy = wait_while_busy
        self.max_wait_frames = max_wait_frames
        self.terminate_at_hall_of_fame = terminate_at_hall_of_fame
        self.one_hot_actions = one_hot_actions
        layout = ram_layout or FULL_LAYOUT
        if terminate_at_hall_of_fame:
            layout = layout.union(RamLayout.of("wNumHoFTeams"))
        self.ram_layout = layout
        self._pool = EmulatorPool(
            self.cartridge,
            num_emulators=num_emulators,
            num_threads=num_threads,
            actions=self.actions,
            timing=self.timing,
            screen=screen,  # type: ignore[arg-type]
            wait_while_busy=wait_while_busy,
            max_wait_frames=max_wait_frames,
            ram_layout=layout,
        )
        try:
            #: Asked for the start of each episode; may be replaced between episodes.
            self.start_states: StartSource = self._make_start_states(start_states)
        except BaseException:
            self._pool.close()
            raise
        self.is_closed = False  # TorchRL closes it when it is garbage-collected only if this is set
        self._open_pool: EmulatorPool | None = self._pool
        #: Called by :meth:`close`, in order, while the emulators still exist.
        self.before_close: list[Callable[[], None]] = []
        #: Called by :meth:`capture` with the emulator and its state.
        self.on_capture: list[Callable[[int, SaveState], None]] = []
        self._starts: list[StartState | None] = [None] * num_emulators
        self._step_count = np.zeros(num_emulators, np.int64)
        #: Agent steps at which the episode of each emulator is truncated.
        self._step_limits = np.full(num_emulators, self._longest_episode, np.int64)
        self._wait_frames = np.zeros(num_emulators, np.int32)
        self._teams_at_start = np.zeros(num_emulators, np.uint8)
        self._hall_of_fame = layout.column(address("wNumHoFTeams")) if terminate_at_hall_of_fame else None
        self._make_specs()
        self.set_seed(seed)

    def _make_start_states(self, given: Any) -> StartStates:
        if isinstance(given, StartStates):
            return given
        if given is not None:
            return StartStates(given)
        with Emulator(self.cartridge) as emulator:
            return StartStates(boot(emulator))

    def _make_specs(self) -> None:
        e = self.batch_size[0]
        self.observation_spec = Composite(
            pixels=Bounded(0, 255, shape=(e, *self._pool.screen_shape), dtype=torch.uint8),
            ram=Bounded(0, 255, shape=(e, self.ram_layout.size), dtype=torch.uint8),
            wait_frames=Bounded(0, max(self.max_wait_frames, 1), shape=(e, 1), dtype=torch.int32),
            step_count=Bounded(0, self._longest_episode, shape=(e, 1), dtype=torch.int64),
            shape=(e,),
        )
        n = len(self.actions)
        self.action_spec = OneHot(n, shape=(e, n)) if self.one_hot_actions else Categorical(n, shape=(e,))
        self.reward_spec = Unbounded(shape=(e, 1), dtype=torch.float32)
        self.full_done_spec = Composite(
            {key: Binary(1, shape=(e, 1), dtype=torch.bool) for key in ("done", "terminated", "truncated")}, shape=(e,)
        )

    @property
    def num_emulators(self) -> int:
        """Number of emulators E."""
        return int(self.batch_size[0])

    def start_state(self, index: int) -> SaveState:
        """Return the save state in which the current episode of emulator ``index`` began.

        Raises:
            RuntimeError: The emulator was never reset.
        """
        return self.start(index).state

    def start(self, index: int) -> StartState:
        """Return what the current episode of emulator ``index`` began with."""
        start = self._starts[index]
        if start is None:
            raise RuntimeError(f"emulator {index} has no episode yet: call reset() first")
        return start

    @property
    def _longest_episode(self) -> int:
        return self.max_episode_steps or _NEVER

    def extend_episodes(self, emulators: npt.NDArray[np.int64] | list[int], steps: int) -> None:
        """Let episodes last ``steps`` agent steps from now at least, within ``max_episode_steps``."""
        until = np.minimum(self._step_count[emulators] + steps, self._longest_episode)
        self._step_limits[emulators] = np.maximum(self._step_limits[emulators], until)

    def save_states(self, emulators: Iterable[int] | None = None) -> list[SaveState]:
        """Return the present state of each given emulator, or of all (about 15 ms each)."""
        return self._pool.save_states(None if emulators is None else list(emulators))

    def capture(self, index: int) -> SaveState:
        """Return the present state of an emulator for later episodes to begin in; its episode log names it."""
        [state] = self.save_states([index])
        for note in self.on_capture:
            note(index, state)
        return state

    def step_count(self, index: int) -> int:
        """Return the agent steps that the episode of emulator ``index`` has had."""
        return int(self._step_count[index])

    def step_limit(self, index: int) -> int | None:
        """Return the agent steps after which the episode of emulator ``index`` is truncated as things are."""
        limit = int(self._step_limits[index])
        return None if self.max_episode_steps is None and limit >= self._longest_episode else limit

    def ram_hash(self, index: int) -> str:
        """Return the SHA-256 (hex) of the present full RAM image of emulator ``index``."""
        return self._pool.ram_hash(index)

    def full_ram(self, index: int) -> torch.Tensor:
        """Return the present full RAM image of emulator ``index``, uint8 [8319], whatever ``ram_layout`` is."""
        return torch.from_numpy(self._pool.emulators[index].ram())

    def episode_state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as tensors and plain values.

        That is the state of every emulator (15 ms and about 10 KB each), the start states of their episodes, the step
        counts and the random generator.
        """
        used = {start.state.sha256: start.state for start in self._starts if start is not None}
        return {
            "emulators": [_to_tensor(state.to_bytes()) for state in self.save_states()],
            "start_states": {key: _to_tensor(state.to_bytes()) for key, state in used.items()},
            "starts": [
                None if start is None else {**start._asdict(), "state": start.state.sha256, "memory": None}
                for start in self._starts
            ],
            "step_count": torch.from_numpy(self._step_count.copy()),
            "step_limits": torch.from_numpy(self._step_limits.copy()),
            "wait_frames": torch.from_numpy(self._wait_frames.copy()),
            "teams_at_start": torch.from_numpy(self._teams_at_start.copy()),
            "generator": json.dumps(self._generator.bit_generator.state),
        }

    def load_episode_state(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`episode_state` was taken.

        Raises:
            CheckpointError: It was taken with another number of emulators.
            SaveStateError: It belongs to another cartridge or PyBoy version.
        """
        emulators = [SaveState.from_bytes(data.numpy().tobytes()) for data in state["emulators"]]
        if len(emulators) != self.num_emulators:
            raise CheckpointError(
                f"the episodes of {len(emulators)} emulators were saved, this environment has {self.num_emulators}"
            )
        known = {key: SaveState.from_bytes(data.numpy().tobytes()) for key, data in state["start_states"].items()}
        self._pool.reset(range(self.num_emulators), emulators)
        self._starts = [None if start is None else _start_state(start, known) for start in state["starts"]]
        self._step_count[:] = state["step_count"].numpy()
        self._step_limits[:] = state["step_limits"].numpy()
        self._wait_frames[:] = state["wait_frames"].numpy()
        self._teams_at_start[:] = state["teams_at_start"].numpy()
        self._generator = np.random.default_rng()
        self._generator.bit_generator.state = json.loads(state["generator"])

    def _observation(self, step: PoolStep) -> dict[str, torch.Tensor]:
        return {
            "pixels": torch.from_numpy(step.pixels),
            "ram": torch.from_numpy(step.ram),
            "wait_frames": torch.from_numpy(step.wait_frames).unsqueeze(-1),
            "step_count": torch.from_numpy(self._step_count.copy()).unsqueeze(-1),
        }

    @classmethod
    def _complete_done(cls, done_spec: Composite, data: TensorDictBase) -> TensorDictBase:
        """Return ``data``: steps and resets write all three entries already."""
        return data

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        if tensordict.get("_step", None) is not None:
            raise NotImplementedError("PokemonRedEnv steps all emulators at once: it takes no partial '_step' mask")
        action = tensordict.get("action")
        if self.one_hot_actions:
            action = action.to(torch.uint8).argmax(-1)
        step = self._pool.step(action.reshape(-1).numpy())
        self._wait_frames[:] = step.wait_frames
        np.add(self._step_count, 1, out=self._step_count)  # `+=` would pass through the environment's __setattr__
        shape = (self.num_emulators, 1)
        truncated = torch.from_numpy(self._step_count >= self._step_limits).unsqueeze(-1)
        if self._hall_of_fame is None:
            terminated, done = torch.zeros(shape, dtype=torch.bool), truncated.clone()
        else:
            terminated = torch.from_numpy(step.ram[:, self._hall_of_fame] > self._teams_at_start).unsqueeze(-1)
            truncated = truncated & ~terminated
            done = terminated | truncated
        # Shapes are right by construction; the checks of the public constructor cost as much as all the rest.
        return TensorDict._new_unsafe(
            {
                **self._observation(step),
                "reward": torch.zeros(shape),
                "done": done,
                "terminated": terminated,
                "truncated": truncated,
            },
            batch_size=self.batch_size,
            device=self.device,
        )

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        chosen = list(range(self.num_emulators)) if mask is None else mask.reshape(-1).nonzero().squeeze(-1).tolist()
        for index in chosen:
            start = self.start_states.draw(self._generator, emulator=index, num_emulators=self.num_emulators)
            self._starts[index] = start
            limit = self._longest_episode if start.max_steps is None else start.max_steps
            self._step_limits[index] = min(limit, self._longest_episode)
        self._pool.reset(chosen, [self.start_state(index) for index in chosen])
        self._wait_frames[chosen] = 0
        self._step_count[chosen] = 0
        # Read again: the arrays of the last step were handed out.
        current = self._pool.observe()._replace(wait_frames=self._wait_frames.copy())
        if self._hall_of_fame is not None:
            self._teams_at_start[chosen] = current.ram[chosen, self._hall_of_fame]
        shape = (self.num_emulators, 1)
        return TensorDict(
            {
                **self._observation(current),
                "done": torch.zeros(shape, dtype=torch.bool),
                "terminated": torch.zeros(shape, dtype=torch.bool),
                "truncated": torch.zeros(shape, dtype=torch.bool),
            },
            batch_size=self.batch_size,
            device=self.device,
        )

    def _set_seed(self, seed: int | None) -> None:
        self._generator = np.random.default_rng(seed)

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Stop the emulators; nothing is written. Closing twice does nothing."""
        pool = self.__dict__.pop("_open_pool", None)
        if pool is not None:
            try:
                for hook in self.before_close:
                    hook()
            finally:
                pool.close()
                self._pool = cast(EmulatorPool, _Closed())
        super().close(raise_if_closed=raise_if_closed)


class _Closed:
    """Stand in for the emulators of a closed environment."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError("the environment was closed, and its emulators with it; make a new one")


def _to_tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _start_state(saved: Mapping[str, Any], states: Mapping[str, SaveState]) -> StartState:
    """Return a saved start; what only an earlier version of the library kept is left out."""
    fields = {name: saved[name] for name in StartState._fields if name in saved}
    return StartState(**fields | {"state": states[saved["state"]]})
