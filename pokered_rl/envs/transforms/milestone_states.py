"""`MilestoneStates`: start states of later episodes, captured at milestones of the story."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from tensordict import NestedKey, TensorDictBase
from torchrl.envs import EnvBase, Transform

from pokered_rl.atomic import write_atomically
from pokered_rl.emulator import SaveState
from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.milestone_tracker import MilestoneTracker
from pokered_rl.envs.pokemon_red import PokemonRedEnv
from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile, RamLayout

__all__ = ["MilestoneStates"]


class MilestoneStates(RamTransform):
    """Captures a save state when a milestone of the story is reached and adds it to the pool of start states.

    Later episodes then begin there as well, with the given weight against the states that were there before. A
    milestone is captured once by each environment; with a folder, once by all that share it, and an environment that
    is built later starts with everything in it.

    Reads:
        ``ram`` uint8 [*, R]; the :class:`~pokered_rl.envs.PokemonRedEnv` it is attached to.

    Writes:
        Nothing into the tensordict; ``<folder>/<milestone>.state``.

    Resets:
        Nothing is forgotten.

    Args:
        weight: Weight of each captured state; the state that a run boots to has weight 1.
        folder: Where states are kept; None keeps them in this environment's memory only.
        profile: Whose story; None takes the cartridge's.
        in_keys: RAM.
        ram_layout: See :class:`RamTransform`.

    Raises:
        ConfigError: ``weight`` is not positive.
        RuntimeError: It is not attached to a :class:`~pokered_rl.envs.PokemonRedEnv`.

    Example:
        >>> from pokered_rl.envs import MilestoneStates, make_env
        >>> env = make_env(extra_transforms=[MilestoneStates(weight=0.5)])
        >>> env.close()
    """

    IN_KEYS: ClassVar = ("ram",)
    labels: ClassVar[tuple[str, ...]] = MilestoneTracker.LABELS
    memory: MilestoneTracker

    def __init__(
        self,
        *,
        weight: float = 1.0,
        folder: str | os.PathLike[str] | None = None,
        profile: CartridgeProfile | None = None,
        in_keys: Sequence[NestedKey] | None = None,
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(in_keys=in_keys, ram_layout=ram_layout)
        if not weight > 0:
            raise ConfigError(f"weight must be > 0, got {weight}")
        self.weight = weight
        self.folder = None if folder is None else Path(folder)
        self.profile = profile
        self._captured: set[str] = set()
        self._env: PokemonRedEnv | None = None

    @property
    def env(self) -> PokemonRedEnv:
        """The environment whose pool of start states grows."""
        if self._env is None:
            base = self._base_env()
            if not isinstance(base, PokemonRedEnv):
                raise RuntimeError(f"MilestoneStates must be attached to a PokemonRedEnv, got {type(base).__name__}")
            self._env = base
        return self._env

    def _reset_env_preprocess(self, tensordict: TensorDictBase | None) -> TensorDictBase | None:
        self._read_folder()  # before the start states are drawn
        return super()._reset_env_preprocess(tensordict)

    def _read_folder(self) -> None:
        """Add what other environments have captured."""
        if self.folder is None:
            return
        for path in sorted(self.folder.glob("*.state")):
            if path.stem not in self._captured:
                self._captured.add(path.stem)
                self.env.start_states.add(SaveState.load(path), weight=self.weight, name=path.stem)

    def _allocate(self, num_emulators: int) -> EmulatorMemory:
        profile = self.profile or self.env.cartridge.profile
        self._story = frozenset(profile.milestones.names)
        return MilestoneTracker(num_emulators=num_emulators, profile=profile)

    def _start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        self.memory.start(frame, emulators)

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        for index, name in self.memory.advance(self._frame(next_tensordict)):
            if name in self._story and name not in self._captured:
                self._capture(index, name)
        return next_tensordict

    def _capture(self, index: int, name: str) -> None:
        self._captured.add(name)
        [state] = self.env.save_states([index])
        self.env.start_states.add(state, weight=self.weight, name=name)
        if self.folder is not None:
            path = self.folder / f"{name}.state"
            if not path.exists():  # another worker may be writing it, too
                write_atomically(path, state.to_bytes(), shared=True)

    def set_container(self, container: Transform | EnvBase) -> None:
        """Attach the transform to an environment."""
        super().set_container(container)
        self._env = None

    def get_extra_state(self) -> dict[str, Any]:
        """Return nothing: what was captured is in the folder."""
        return {}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore nothing: without a folder, milestones are captured again when they are reached again."""
