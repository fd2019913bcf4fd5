"""What a network thought of each action, computed afterwards from a log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import Transform

from pokered_rl.emulator import ActionSet, Cartridge, ScreenSize
from pokered_rl.envs import default_transforms
from pokered_rl.episodes import EpisodeLog, EpisodePlayer, cartridge_for
from pokered_rl.modules import RecurrentQuantileNetwork

__all__ = ["action_values"]


def action_values(
    log: EpisodeLog,
    network: RecurrentQuantileNetwork,
    *,
    transforms: Callable[..., Sequence[Transform]] = default_transforms,
    screen: ScreenSize = "half",
    cartridge: Cartridge | None = None,
) -> npt.NDArray[np.float32]:
    """Replays a log and asks a network at every step.

    The network sees what it would have seen in the environment, with its recurrent state carried from the start of the
    log; the actions are those of the log. Weights of another time than the log's give another opinion. Transforms begin
    with empty memories, also where the policy's were persistent.

    Args:
        log: the episode.
        network: the network, with the weights to ask; it acts on the mean weights, without noise.
        transforms: builds those that the network was trained with from the keywords ``profile`` and ``action_set``, as
            ``load_policy(run).make_transforms`` does; `default_transforms` without options by default.
        screen: size of the pictures that the network reads.
        cartridge: the cartridge it was played on; found by default.

    Returns:
        float32 [T, A], the value of each action at each step, as the network scales it.

    Raises:
        EpisodeLogError: the log cannot be played, or its replay is not the recorded episode.
    """
    cartridge = cartridge if cartridge is not None else cartridge_for(log)
    actions = ActionSet(log.header.actions)
    applied = transforms(profile=cartridge.profile, action_set=actions)
    values = np.empty((log.steps, len(actions)), np.float32)
    with EpisodePlayer(log, cartridge=cartridge, screen=screen) as player:
        state: TensorDictBase = network.initial_state([1])
        for step in range(log.steps):
            observed = _observed(player, applied)
            observed.update(state)
            network.step(observed)
            values[step] = observed["action_value"][0].numpy()
            if network.state_keys:
                state = observed["next"].select(*network.state_keys)
            player.play_step(render=True)
    return values


def _observed(player: EpisodePlayer, transforms: Iterable[Transform]) -> TensorDict:
    """What the environment would give out now, batch [1]."""
    step, log = player.step, player.log
    observed = TensorDict(
        {
            "pixels": torch.from_numpy(player.emulator.pixels())[None],
            "ram": torch.from_numpy(player.emulator.ram())[None],
            "wait_frames": torch.tensor([[int(log.wait_frames[step - 1]) if step else 0]], dtype=torch.int32),
            "step_count": torch.tensor([[step]]),
            "action": torch.tensor([int(log.actions[step - 1]) if step else 0]),
            "reward": torch.zeros(1, 1),
            "is_init": torch.tensor([[step == 0]]),
        },
        batch_size=[1],
    )
    for transform in transforms:
        transform(observed)
    return observed
