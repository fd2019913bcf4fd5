"""`MilestoneStates`: start states for later episodes, captured where the story got to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Composite
from torchrl.envs import EnvBase, Transform

from pokered_rl.atomic import write_atomically
from pokered_rl.emulator import SaveState
from pokered_rl.envs.milestones import MilestoneTracker
from pokered_rl.envs.pokemon_red import PokemonRedEnv
from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.game import CartridgeProfile, RamLayout

__all__ = ["MilestoneStates"]


class MilestoneStates(RamTransform):
    """Captures a save state when a milestone of the story is reached and adds it to the pool of start states.

    Later episodes then begin there as well, with the given weight against the states that were there before: the agent
    practises what it can barely reach. A milestone is captured once by each environment; with a folder, once by all
    that share it, and an environment that is built later starts with everything in it.

    Reads:
        ``ram`` uint8 [*, R]; the `PokemonRedEnv` it stands on.

    Writes:
        Nothing into the tensordict; ``<folder>/<milestone>.state``.

    Resets:
        Nothing is forgotten.

    Args:
        weight: weight of each captured state; the state that a run boots to has weight 1.
        folder: where states are kept; None keeps them in this environment's memory only.
        profile: whose story; None takes the cartridge's.
        ram_key, action_key, ram_layout: see `RamTransform`.

    Raises:
        RuntimeError: it does not stand on a `PokemonRedEnv`.
        ValueError: the weight is not positive.

    Example:
        >>> from pokered_rl.envs import MilestoneStates, make_env
        >>> env = make_env(extra_transforms=[MilestoneStates(weight=0.5)])
        >>> env.close()
    """

    labels: ClassVar[tuple[str, ...]] = MilestoneTracker.LABELS

    def __init__(
        self,
        *,
        weight: float = 1.0,
        folder: str | os.PathLike[str] | None = None,
        profile: CartridgeProfile | None = None,
        ram_key: NestedKey = "ram",
        action_key: NestedKey = "action",
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(out_keys=[], ram_key=ram_key, action_key=action_key, ram_layout=ram_layout)
        if not weight > 0:
            raise ValueError(f"weight must be > 0, got {weight}")
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
                raise RuntimeError(f"MilestoneStates must stand on a PokemonRedEnv, got {type(base).__name__}")
            self._env = base
        return self._env

    def _reset_env_preprocess(self, tensordict: TensorDictBase | None) -> TensorDictBase | None:
        self._read_folder()  # before the start states are drawn
        return super()._reset_env_preprocess(tensordict)

    def _read_folder(self) -> None:
        """Takes in what others have captured."""
        if self.folder is None:
            return
        for path in sorted(self.folder.glob("*.state")):
            if path.stem not in self._captured:
                self._captured.add(path.stem)
                self.env.start_states.add(SaveState.load(path), weight=self.weight, name=path.stem)

    def _allocate(self, num_rows: int) -> None:
        profile = self.profile or self.env.cartridge.profile
        self._tracker = MilestoneTracker(num_rows=num_rows, profile=profile)
        self._story = frozenset(profile.milestones.names)

    def _start(self, frame: RamFrame, rows: npt.NDArray[np.bool_], out: TensorDictBase) -> None:
        self._tracker.start(frame, rows)

    def _advance(
        self, frame: RamFrame, action: npt.NDArray[np.int64] | None, out: TensorDictBase, tensordict: TensorDictBase
    ) -> None:
        for row, name in self._tracker.advance(frame):
            if name in self._story and name not in self._captured:
                self._capture(row, name)

    def _capture(self, row: int, name: str) -> None:
        self._captured.add(name)
        [state] = self.env.save_states([row])
        self.env.start_states.add(state, weight=self.weight, name=name)
        if self.folder is not None:
            path = self.folder / f"{name}.state"
            if not path.exists():  # another worker may be about to write it, too
                write_atomically(path, state.to_bytes(), shared=True)

    def set_container(self, container: Transform | EnvBase) -> None:
        """Attaches the transform."""
        super().set_container(container)
        self._env = None

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Adds nothing."""
        return observation_spec

    def get_extra_state(self) -> dict[str, Any]:
        """Nothing: what was captured is in the folder."""
        return {}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores nothing: without a folder the milestones are captured again when they are reached again."""
