"""Diagnostics of learning: acting learning rate, dormant units and sensitivity to each input."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from torch import Tensor, nn

from pokered_rl.modules.encoder import ResidualBlock
from pokered_rl.modules.recurrent_network import RecurrentQuantileNetwork

__all__ = ["acting_learning_rate", "diagnose", "dormant_units", "input_shares"]


#: Observations that the dormant units are counted on, at most.
_MAX_OBSERVATIONS = 256


def acting_learning_rate(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, float]:
    """Return the share of Adam's learning rate that acts on each part of a network.

    A parameter moves by ``lr m / (sqrt(v) + eps)``; the share is ``sqrt(v) / (sqrt(v) + eps)``, bias-corrected, and its
    median over the parameters of a part is returned. Near zero, epsilon and not the gradient decides the step.
    Parameters that never had a gradient, as behind inputs that are always zero, are left out.

    Args:
        optimizer: Adam over the network's parameters.
        network: The network; a part is a branch of its encoder or a child module.
    """
    shares: dict[str, list[Tensor]] = {}
    names = {parameter: name for name, parameter in network.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter)
            if not state or parameter not in names:
                continue
            correction = 1 - group["betas"][1] ** float(state["step"])
            root = (state["exp_avg_sq"].flatten() / correction).sqrt()
            root = root[root > 0]
            shares.setdefault(_part(names[parameter]), []).append(root / (root + group["eps"]))
    joined = {part: torch.cat(values) for part, values in shares.items()}
    return {part: float(share.median()) if len(share) else 0.0 for part, share in joined.items()}


def dormant_units(encoder: nn.Module, observations: Sequence[Tensor], *, threshold: float = 0.025) -> dict[str, float]:
    """Return the share of dormant units in each branch of an encoder (Sokar et al. 2023).

    A unit (a channel of a convolution) behind a ReLU is dormant when its mean absolute activation over the observations
    is at most ``threshold`` times the mean of its layer.

    Args:
        encoder: Encoder of a network.
        observations: Its inputs, each [M, ...].
        threshold: Tau of the paper.
    """
    counts: dict[str, list[Tensor]] = {}

    def count(branch: str, module: nn.Module, inputs: Any, activation: Tensor) -> None:
        score = activation.abs().flatten(2).mean((0, 2)) if activation.ndim > 2 else activation.abs().mean(0)
        counts.setdefault(branch, []).append(score <= threshold * score.mean())

    hooks = [
        module.register_forward_hook(partial(count, _part(f"encoder.{name}")))
        for name, module in encoder.named_modules()
        if isinstance(module, nn.ReLU | ResidualBlock)
    ]
    try:
        with torch.no_grad():
            encoder.forward(*observations)  # not a call: a compiled encoder has no hooks
    finally:
        for hook in hooks:
            hook.remove()
    return {branch: float(torch.cat(flags).float().mean()) for branch, flags in counts.items()}


def input_shares(network: RecurrentQuantileNetwork, step: TensorDictBase) -> dict[str, float]:
    """Return the share of each observation in the action values.

    The values of M steps are computed with one observation taken from other steps; the share is the mean absolute
    change of the values, divided by the sum over the observations.

    Args:
        network: The network, on mean weights.
        step: Observations [M, ...] and states [M, H] of M different steps, in any order.
    """
    state = tuple(step[key] for key in network.state_keys)
    observations = {key: step[key] for key in network.observation_keys}
    values = network.act(list(observations.values()), state)[0]
    other = len(values) // 2
    changes = {}
    for key, value in observations.items():
        swapped = observations | {key: value.roll(other, 0)}
        changes[key] = float((network.act(list(swapped.values()), state)[0] - values).abs().mean())
    total = sum(changes.values())
    return {_flat(key): change / total if total else 0.0 for key, change in changes.items()}


def diagnose(
    network: RecurrentQuantileNetwork, optimizer: torch.optim.Optimizer, batch: TensorDictBase, *, first_step: int
) -> dict[str, float]:
    """Compute all diagnostics of a learner, as metrics named ``lr_share_PART``, ``dormant_BRANCH``, ``q_share_INPUT``.

    Args:
        network: The online network.
        optimizer: Its optimizer.
        batch: Sequences [B] as :class:`~pokered_rl.objectives.R2D2Loss` takes them.
        first_step: First step with a loss, ``burn_in_steps``.
    """
    states = batch.get("unroll_state", batch)  # without it, the states before the burn-in
    unrolled = {key: batch[key][:, first_step:] for key in network.observation_keys}
    step = TensorDict({key: value[:, 0] for key, value in unrolled.items()}, batch.batch_size)
    step.update({key: states[key] for key in network.state_keys})
    num_observations = batch["action"][:, first_step:].numel()
    every = -(-num_observations // _MAX_OBSERVATIONS)
    found: Mapping[str, Mapping[str, float]] = {
        "lr_share": acting_learning_rate(optimizer, network),
        "dormant": dormant_units(network.encoder, [value.flatten(0, 1)[::every] for value in unrolled.values()]),
        "q_share": input_shares(network, step),
    }
    return {f"{kind}_{name}": value for kind, values in found.items() for name, value in values.items()}


def _part(name: str) -> str:
    """Map a parameter's name to the part of the network: ``encoder.encoders.pixels.layers.0.weight`` to ``pixels``."""
    names = name.split(".")
    return names[2] if names[1:2] in (["encoders"], ["norms"]) else names[0]


def _flat(key: NestedKey) -> str:
    return key if isinstance(key, str) else "_".join(map(_flat, key))
