"""`HelperActions`: leaves one button where a helper acts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from tensordict import NestedKey, TensorDictBase

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.assistance import HELPERS, CannotActError, Helper, Press, ScreenView, check_helpers
from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.ram_frame import RamFrame, any_of, label_ranges
from pokered_rl.envs.transforms.base import RamTransform, put
from pokered_rl.game import SCREEN_RANGES, CartridgeProfile, RamLayout

__all__ = ["HelperActions"]

_log = logging.getLogger(__name__)


class HelperActions(RamTransform):
    """Lets helpers press the buttons of routine tasks: where one acts, its button is the only one left in the mask.

    The policy takes that action because it is the only one allowed, in acting and in the targets of the loss. So the
    stored action is the one that was executed, an episode log replays without the helpers, and off-policy learning
    sees a game in which some states have one action. Put it behind :class:`AffordanceMask`.

    A policy that ignores the mask is not forced: the helper then stops, and begins anew where it is wanted again. A
    helper that cannot act says so, once a reason, as a warning of this module's logger and leaves the mask as it is.

    Reads:
        ``ram`` uint8 [*, R]; ``action`` int64 [*] or one-hot; ``action_mask`` bool [*, A].

    Writes:
        ``action_mask``, and the mask of the environment's action spec.

    Resets:
        The helpers begin anew in the emulators in ``_reset``.

    Args:
        helpers: Names out of :data:`pokered_rl.envs.assistance.HELPERS`.
        profile: The cartridge; None takes Red's.
        actions: Names of the action numbers.
        in_keys: RAM and action.
        out_keys: The mask.
        ram_layout: See :class:`RamTransform`.

    Raises:
        ConfigError: The name of a helper is unknown.

    Example:
        >>> from pokered_rl import make_env
        >>> env = make_env(helpers=["skip_nicknaming"])
        >>> env.reset()["action_mask"].sum() > 1  # nothing to skip here
        tensor(True)
        >>> env.close()
    """

    OUT_KEYS: ClassVar = ("action_mask",)

    memory: _HelperMemory

    def __init__(
        self,
        *,
        helpers: Iterable[str],
        profile: CartridgeProfile | None = None,
        actions: ActionSet | None = None,
        in_keys: Sequence[NestedKey] | None = None,
        out_keys: Sequence[NestedKey] | None = None,
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(in_keys=in_keys, out_keys=out_keys, ram_layout=ram_layout)
        #: Names of the helpers that are on.
        self.helpers = check_helpers(helpers)
        self.actions = actions or ActionSet()
        self._said: set[str] = set()
        made = [HELPERS[name](profile or CartridgeProfile.get("red")) for name in self.helpers]
        self._helpers = [helper for helper in made if self._has_means(helper)]
        #: Index of the no-op, or of B where there is none.
        noop, names = self.actions.noop, self.actions.names
        self._wait = noop if noop is not None else names.index("b") if "b" in names else 0

    def _has_means(self, helper: Helper) -> bool:
        missing = [button for button in helper.buttons if button not in self.actions.names]
        if missing:
            self._say(helper, f"the actions lack {', '.join(missing)}")
        elif helper.profile.name in helper.absent_in:
            self._say(helper, f"{helper.profile.title} has nothing for it to do")
        else:
            return True
        return False

    def _say(self, helper: Helper, reason: str) -> None:
        said = f"The helper {helper.name} cannot act: {reason}. This is said once."
        if said not in self._said:
            self._said.add(said)
            _log.warning("%s", said)

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the transform reads."""
        labels = [label for helper in self._helpers for label in helper.labels]
        return tuple(sorted({*label_ranges((*RamFrame.LABELS, "wTileMap", *labels)), *SCREEN_RANGES}))

    def _allocate(self, num_emulators: int) -> EmulatorMemory:
        return _HelperMemory(num_emulators, len(self._helpers))

    def _start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        memory = self.memory
        memory.stop(emulators)
        memory.refused[emulators] = 0
        memory.acted[emulators] = -1

    def _advance(self, frame: RamFrame, action: npt.NDArray[np.int64] | None) -> None:
        memory = self.memory
        memory.acted = memory.helper.copy()
        if action is not None and any_of(memory.helper >= 0):
            ignored = (memory.helper >= 0) & (action != memory.action)
            memory.acted[ignored] = -1
            memory.stop(ignored)

    def acted(self, index: int) -> str | None:
        """Return the helper that chose the action of the last step of an emulator, None for the policy."""
        number = int(self.memory.acted[index]) if self.num_emulators else -1
        return None if number < 0 else self._helpers[number].name

    def _write(self, frame: RamFrame, out: TensorDictBase) -> None:
        memory = self.memory
        candidates = {int(index): [int(memory.helper[index])] for index in np.flatnonzero(memory.helper >= 0)}
        for number, helper in enumerate(self._helpers):
            for index in np.flatnonzero(helper.wanted(frame)).tolist():
                candidates.setdefault(index, []).append(number)
        if not candidates:
            return
        mask = out.get(self.out_keys[0])
        chosen = mask.reshape(-1, mask.shape[-1]).clone()
        for index, numbers in candidates.items():
            view = ScreenView(frame, index)
            action = next((a for number in numbers if (a := self._ask(number, view)) is not None), None)
            if action is not None:
                chosen[index] = False
                chosen[index, action] = True
        self._update(out, chosen.reshape(mask.shape))

    def _ask(self, number: int, view: ScreenView) -> int | None:
        """Return the action that the helper takes in this step, or None; keep what it remembers."""
        memory, helper, index = self.memory, self._helpers[number], view.index
        goes_on = memory.helper[index] == number
        situation = helper.situation(view)
        if not goes_on and (memory.helper[index] >= 0 or memory.refused[index, number] == situation):
            return None
        try:
            if goes_on and memory.steps[index] >= helper.max_steps:
                raise CannotActError(f"it was not done after {helper.max_steps} steps")
            press: Press | None = helper.press(view, int(memory.stage[index]) if goes_on else 0)
        except CannotActError as error:
            self._say(helper, str(error))
            memory.refused[index, number] = situation
            press = None
        if press is None:
            if goes_on:
                memory.stop(np.arange(len(memory.helper)) == index)
            return None
        action = self._wait if press.button == "wait" else self.actions.index(press.button)
        memory.steps[index] = memory.steps[index] + 1 if goes_on else 1
        memory.helper[index], memory.stage[index], memory.action[index] = number, press.stage, action
        return action

    def _update(self, out: TensorDictBase, mask: Any) -> None:
        """Write the mask, and that of the action spec, which :class:`AffordanceMask` has written in this step."""
        put(out, self.out_keys[0], mask)
        container = self.container
        if container is not None:
            spec = container.full_action_spec[self.in_keys[1]]
            if spec.mask is not None:
                spec.mask.copy_(mask)


class _HelperMemory(EmulatorMemory):
    """What each emulator's helper does."""

    def __init__(self, num_emulators: int, num_helpers: int) -> None:
        #: int64 [E], number of the helper that acts, -1 for none; what it remembers, steps since it began, its action.
        self.helper = np.full(num_emulators, -1)
        self.stage = np.zeros(num_emulators, np.int64)
        self.steps = np.zeros(num_emulators, np.int64)
        self.action = np.full(num_emulators, -1)
        #: int64 [E, H], situation in which a helper gave up, 0 for none.
        self.refused = np.zeros((num_emulators, num_helpers), np.int64)
        #: int64 [E], number of the helper that chose the action of the step just made, -1 for none.
        self.acted = np.full(num_emulators, -1)

    def stop(self, emulators: npt.NDArray[np.bool_]) -> None:
        """End what the helpers of ``emulators`` (bool [E]) do."""
        self.helper[emulators] = self.action[emulators] = -1
        self.stage[emulators] = self.steps[emulators] = 0
