"""Compute the action values of a network along a logged episode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from tensordict import TensorDictBase
from torchrl.envs import Transform

from pokered_rl.data.episode_logs import LogReplay
from pokered_rl.emulator import Cartridge, ScreenSize
from pokered_rl.envs import default_transforms
from pokered_rl.episodes import EpisodeLog
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
    """Replay a log and evaluate a network at every step.

    The network reads the observations of the environment, with its recurrent state carried from the start of the log;
    the actions are those of the log. The values are those with which the policy acted only if the weights are the same.
    Transforms begin with empty memories, also where the policy's were persistent.

    Args:
        log: The episode.
        network: The network; it acts on the mean weights, without noise.
        transforms: Builds those with which the network was trained from the keywords ``profile`` and ``action_set``, as
            ``load_policy(run).make_transforms`` does.
        screen: Size of the pictures that the network reads.
        cartridge: The cartridge the log was played on; found by default.

    Returns:
        float32 [T, A], the value of each action at each step, as the network scales it.

    Raises:
        EpisodeLogError: The log cannot be played, or its replay is not the recorded episode.
    """
    steps = LogReplay(transforms, screen=screen, cartridge=cartridge)(log)
    values = np.empty((log.steps, len(log.header.actions)), np.float32)
    state: TensorDictBase = network.initial_state([1])
    for step in range(log.steps):
        observed = steps[step : step + 1].exclude("next", "action").update(state)
        network.step(observed)
        values[step] = observed["action_value"][0].numpy()
        if network.state_keys:
            state = observed["next"].select(*network.state_keys)
    return values
