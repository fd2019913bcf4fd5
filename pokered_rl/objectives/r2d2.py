"""The R2D2 loss: routes the entries of stored sequences to the mathematics of :mod:`~pokered_rl.objectives.functional`.

Letters: B batch, L stored sequence length, U unroll (steps with a loss), A actions, N quantiles, H hidden units.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase, TensorDictParams
from tensordict.nn import TensorDictModuleBase, dispatch
from torch import Tensor
from torchrl.envs import ExplorationType
from torchrl.modules import reset_noise
from torchrl.objectives import LossModule

from pokered_rl.errors import ConfigError
from pokered_rl.objectives.functional import (
    SequenceTerms,
    double_q_action,
    large_margin_loss,
    masked_mean,
    sequence_terms,
)

__all__ = ["R2D2Loss"]


class R2D2Loss(LossModule):
    """Recurrent double Q-learning with quantiles from stored sequences (Kapturowski et al. 2019).

    For every transition t of the unroll, with online parameters ``w`` and target parameters ``w-``::

        a*       = argmax over allowed a of mean_i q_i(s', a; w)
        y_j      = h( sum_{k<m} gamma^k r_{t+k} + gamma^m h^-1(q_j(s_{t+m}, a*; w-)) )
        loss_t   = sum_i mean_j |tau_i - 1{u_ij < 0}| H_kappa(u_ij),   u_ij = y_j - q_i(s_t, a_t; w)
        delta_t  = mean_j y_j - mean_i q_i(s_t, a_t; w)
        priority = eta max_t |delta_t| + (1 - eta) mean_t |delta_t|

    ``h`` is the value rescaling, m is n_step or less where the episode ends (see
    :func:`~pokered_rl.objectives.functional.n_step_targets`). Sources of each part: that module and the page on R2D2.

    Reads a TensorDict of batch size [B] whose L steps are burn-in, unroll and ``n_step`` successors, in this order:
        - the network's observations [B, L, ...] and its state entries [B, H], the state at the first real step;
        - ``action`` int64 [B, L], ``reward`` [B, L], ``terminated`` and ``truncated`` bool [B, L]
          (a trailing singleton is accepted); step t holds what followed from acting at step t;
        - optional: ``mask`` bool [B, L], True at transitions (all without it); ``action_mask`` bool [B, L, A];
          ``priority_weight`` [B], importance weights (:class:`~pokered_rl.data.SequenceReplay` has divided them by the
          maximum of the batch); ``demonstration`` bool [B, L], True at steps that show how to play; a sequence
          with such a step is a demonstration.

    Burn-in is all or nothing. Where ``mask`` is False at the first step it is padding, and the stored state is that of
    the first unroll step. An ended episode continues with its final observation, ``mask`` False.

    Writes ``td_error`` [B], the sequence priority, and ``td_error_steps`` [B, L], zero outside the valid unroll steps.

    Returns a TensorDict with ``loss_quantile``, ``loss_reconstruction`` and ``loss_map_reconstruction`` where the
    network reconstructs, each weighted already, so that their sum is to be minimised; and figures to log: ``mean_q``,
    ``target_q``, ``td_error_abs``, ``quantile_spread`` in rescaled space, ``mask_changed_argmax``, ``valid_fraction``
    and the plain reconstruction errors. A batch with ``demonstration`` adds ``loss_margin``, if it has a weight
    (:func:`~pokered_rl.objectives.functional.large_margin_loss` of the demonstrations); ``demonstration_share``; and,
    of the demonstrations in it (NaN without any), ``demonstration_loss``, ``demonstration_td_error``,
    ``demonstration_priority`` and ``demonstration_agreement``, the share of steps whose greedy action is the one shown.

    Each sequence contributes ``weight * sum of its step losses``, auxiliary losses alike: every transition weighs the
    same, whether its sequence is full or ends early, and the weight of an auxiliary loss does not depend on U.
    ``reduction`` then takes the mean or the sum over sequences, or none. With a mean over the steps
    (``step_reduction="mean"``) gradients are U times smaller; Adam's epsilon of R2D2, 1e-3, belongs to the sum.

    Gradients flow through the taken action's quantiles at the unroll steps and through the reconstructions, back to the
    first unroll step. Nothing flows into burn-in, target network, action selection or priorities.

    Noise: noisy layers are resampled once a forward, for online and target network independently, and each sample
    holds for burn-in and unroll; the selection of ``a*`` has a sample of its own (Fortunato et al. 2018). TorchRL runs
    losses under ``ExplorationType.DETERMINISTIC``, where noisy layers use mean weights and sigma gets no gradient; this
    loss runs under ``RANDOM``.

    Rescaling, targets, loss and priorities are computed in float32 under autocast too.

    Args:
        network: Module that maps observations [B, T, ...] and states [B, H] to ``quantiles`` [B, T, A, N] and
            ``("next", state)``; its state entries are those it reads and also writes under ``next``.
        burn_in_steps: Steps that only warm up the recurrent state.
        n_step: Steps of the n-step return, and successors at the end of a sequence.
        gamma: Discount of one step.
        eta: Weight of the maximum in the priority.
        kappa: Width of the quadratic part of the quantile Huber loss.
        rescale_eps: Epsilon of the value rescaling; None learns plain values.
        reconstruction_weight: Weight of the context reconstruction.
        map_reconstruction_weight: Weight of the map reconstruction.
        reduction: Over sequences: ``mean``, ``sum`` or ``none`` ([B] losses).
        step_reduction: Over the steps of a sequence: ``sum`` or ``mean``.
        reconstruct_next: Reconstruct the observation after step t, not the one that the network reads at t.
        selection_noise: Select ``a*`` under a noise sample of its own; needs a network that writes ``core_output`` and
            has a noisy ``head``, and is without effect for others.
        augmentation: Maps a TensorDict [B, L] of the observations to one; applied once, so both networks see the same
            frames.
        margin_weight: Weight of the large-margin loss of demonstrations, whose steps the mask forbids left out.
        margin: Its margin, in rescaled space.
        log_delta_q: Return ``delta_q``, the distance between the values from the burned-in and from the policy's own
            state (R2D2, section 3); reads the state entries [B, H] of the first unroll step under ``unroll_state``.
        compile_terms: Compile the mathematics as one graph.

    Raises:
        ConfigError: for a value out of range.

    Example:
        >>> from torchrl.modules import MLP
        >>> from torchrl.objectives import SoftUpdate
        >>> from pokered_rl.modules import RecurrentQuantileNetwork
        >>> network = RecurrentQuantileNetwork(
        ...     encoder=MLP(in_features=4, out_features=32, num_cells=[32]), observation_keys=["observation"],
        ...     num_features=32, num_actions=2, hidden_size=32, head_size=32)
        >>> loss = R2D2Loss(network, burn_in_steps=2, n_step=1)
        >>> updater = SoftUpdate(loss, tau=0.01)
        >>> batch = network.initial_state([3]).update({
        ...     "observation": torch.randn(3, 7, 4), "action": torch.zeros(3, 7, dtype=torch.int64),
        ...     "reward": torch.ones(3, 7), "terminated": torch.zeros(3, 7, dtype=torch.bool),
        ...     "truncated": torch.zeros(3, 7, dtype=torch.bool)})
        >>> loss(batch)["loss_quantile"].backward()
        >>> batch["td_error"].shape, batch["td_error_steps"].shape
        (torch.Size([3]), torch.Size([3, 7]))
    """

    @dataclass
    class _AcceptedKeys:
        """Entries that ``set_keys`` renames; the class describes them."""

        action: NestedKey = "action"
        reward: NestedKey = "reward"
        terminated: NestedKey = "terminated"
        truncated: NestedKey = "truncated"
        action_mask: NestedKey = "action_mask"
        mask: NestedKey = "mask"
        quantiles: NestedKey = "quantiles"
        core_output: NestedKey = "core_output"
        context: NestedKey = "context"
        context_reconstruction: NestedKey = "context_reconstruction"
        map_memory: NestedKey = "map_memory"
        map_reconstruction: NestedKey = "map_reconstruction"
        unroll_state: NestedKey = "unroll_state"
        priority: NestedKey = "td_error"
        priority_steps: NestedKey = "td_error_steps"
        priority_weight: NestedKey = "priority_weight"
        demonstration: NestedKey = "demonstration"

    default_keys = _AcceptedKeys
    #: Noisy layers act under RANDOM only; the default, DETERMINISTIC, would leave their sigma without a gradient.
    deterministic_sampling_mode = ExplorationType.RANDOM

    network: TensorDictModuleBase
    network_params: TensorDictParams
    target_network_params: TensorDictParams

    def __init__(
        self,
        network: TensorDictModuleBase,
        *,
        burn_in_steps: int = 40,
        n_step: int = 5,
        gamma: float = 0.997,
        eta: float = 0.9,
        kappa: float = 1.0,
        rescale_eps: float | None = 1e-3,
        reconstruction_weight: float = 0.05,
        map_reconstruction_weight: float = 0.05,
        reduction: str = "mean",
        step_reduction: str = "sum",
        reconstruct_next: bool = True,
        selection_noise: bool = True,
        augmentation: Callable[[TensorDictBase], TensorDictBase] | None = None,
        margin_weight: float = 0.0,
        margin: float = 0.8,
        log_delta_q: bool = False,
        compile_terms: bool = False,
    ) -> None:
        super().__init__()
        for name, value, low, high in (
            ("burn_in_steps", burn_in_steps, 0, None),
            ("n_step", n_step, 1, None),
            ("gamma", gamma, 0, 1),
            ("eta", eta, 0, 1),
            ("margin_weight", margin_weight, 0, None),
            ("margin", margin, 0, None),
        ):
            if value < low or (high is not None and value > high):
                raise ConfigError(f"{name} must be in [{low}, {'inf' if high is None else high}], got {value}")
        if not kappa > 0:
            raise ConfigError(f"kappa must be > 0, got {kappa}")
        if reduction not in ("mean", "sum", "none"):
            raise ConfigError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        if step_reduction not in ("sum", "mean"):
            raise ConfigError(f"step_reduction must be 'sum' or 'mean', got {step_reduction!r}")
        self.convert_to_functional(network, "network", create_target_params=True)
        self.burn_in_steps = burn_in_steps
        self.n_step = n_step
        self.reduction = reduction
        self.step_reduction = step_reduction
        self.reconstruct_next = reconstruct_next
        is_noisy = getattr(getattr(network, "head", None), "noisy", False)
        self.selection_noise = selection_noise and is_noisy and self.tensor_keys.core_output in network.out_keys
        self.augmentation = augmentation
        self.margin_weight = margin_weight
        self.margin = margin
        self.log_delta_q = log_delta_q
        self.reconstruction_weight = reconstruction_weight
        self.map_reconstruction_weight = map_reconstruction_weight
        written = set(network.out_keys)
        self.state_keys = [key for key in network.in_keys if _next(key) in written]
        self.observation_keys = [key for key in network.in_keys if _next(key) not in written]
        self._terms: Callable[..., SequenceTerms] = partial(
            torch.compile(sequence_terms, fullgraph=True) if compile_terms else sequence_terms,
            gamma=gamma,
            n_step=n_step,
            eta=eta,
            kappa=kappa,
            rescale_eps=rescale_eps,
        )

    @property
    def in_keys(self) -> list[NestedKey]:
        """Entries that the loss reads; the last three are optional."""
        keys = self.tensor_keys
        flow = [keys.action, keys.reward, keys.terminated, keys.truncated]
        return [*self.observation_keys, *self.state_keys, *flow, keys.action_mask, keys.mask, keys.priority_weight]

    @property
    def out_keys(self) -> list[str]:
        """Entries of the returned TensorDict, the parts of the loss first."""
        reconstructions = list(self._reconstructions())
        return [
            "loss_quantile",
            *(f"loss_{name}" for name in reconstructions),
            *(f"{name}_error" for name in reconstructions),
            *("mean_q", "target_q", "td_error_abs", "quantile_spread", "mask_changed_argmax", "valid_fraction"),
            *(["delta_q"] if self.log_delta_q else []),
        ]

    @dispatch(auto_batch_size=False)
    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """Compute the loss of a batch of sequences and write its priorities; see the class."""
        keys = self.tensor_keys
        action = tensordict[keys.action]
        if tensordict.ndim > 1 or action.ndim != 2:
            raise ValueError(
                "the batch must have batch size [B] and actions [B, L], "
                f"got {tuple(tensordict.batch_size)} and {tuple(action.shape)}"
            )
        length, first = action.shape[1], self.burn_in_steps
        last = length - self.n_step
        if last <= first:
            raise ValueError(
                f"sequences need more than burn_in_steps + n_step = {first + self.n_step} steps, got {length}"
            )
        observations = TensorDict({key: tensordict[key] for key in self.observation_keys}, list(action.shape))
        if self.augmentation is not None:
            observations = self.augmentation(observations)
        stored = {key: tensordict[key].float() for key in self.state_keys}
        mask = tensordict.get(keys.mask, None)
        mask = torch.ones_like(action, dtype=torch.bool) if mask is None else _flag(mask)

        online, warm = self._unroll(self.network_params, observations, stored, mask)
        with torch.no_grad():
            target, _ = self._unroll(self.target_network_params, observations, stored, mask)
        with torch.autocast(action.device.type, enabled=False):
            action_mask = tensordict.get(keys.action_mask, None)
            terms = self._terms(
                online[keys.quantiles],
                target[keys.quantiles],
                action[:, first:],
                _flat(tensordict[keys.reward])[:, first:].float(),
                _flag(tensordict[keys.terminated])[:, first:],
                _flag(tensordict[keys.truncated])[:, first:],
                mask[:, first:],
                None if action_mask is None else action_mask[:, first:],
                selection=self._selection(online) if self.selection_noise else None,
            )
            weight = tensordict.get(keys.priority_weight, None)
            weight = 1.0 if weight is None else weight.float().reshape(-1)
            out = {"loss_quantile": self._reduce(weight * self._over_steps(terms.loss)), **terms.logs}
            valid = mask[:, first:last]
            ahead = int(self.reconstruct_next)
            for name, (source, output, scale, factor) in self._reconstructions().items():
                difference = (
                    online[output][:, : last - first].float()
                    - observations[source][:, first + ahead : last + ahead] / scale
                )
                error = difference.square().flatten(2).mean(-1).masked_fill(~valid, 0.0)  # [B, U]
                out[f"loss_{name}"] = factor * self._reduce(weight * self._over_steps(error))
                out[f"{name}_error"] = masked_mean(error.detach(), valid)
            shown = tensordict.get(keys.demonstration, None)
            if shown is not None:
                value = online[keys.quantiles][:, : last - first].float().mean(-1)  # [B, U, A]
                unroll_mask = None if action_mask is None else action_mask[:, first:last]
                figures, margins = self._demonstrated(
                    terms, shown, value, action[:, first:last], unroll_mask, shown[:, first:last] & valid
                )
                out |= figures
                if self.margin_weight:
                    out["loss_margin"] = self.margin_weight * self._reduce(weight * self._over_steps(margins))
        if self.log_delta_q:
            # A demonstration has no state of the policy.
            own = mask if shown is None else mask & ~shown.any(-1, keepdim=True)
            out["delta_q"] = self._delta_q(tensordict, observations, online, warm, own)

        tensordict.set(keys.priority, terms.priority)
        steps = torch.zeros(action.shape, device=action.device)
        steps[:, first:last] = terms.td_error
        tensordict.set(keys.priority_steps, steps)
        return TensorDict(out)

    def _unroll(
        self,
        params: TensorDictParams,
        observations: TensorDictBase,
        stored: Mapping[Any, Tensor],
        mask: Tensor,
    ) -> tuple[TensorDictBase, dict[Any, Tensor]]:
        """Run a parameter set over burn-in (no gradient) and the steps behind it.

        Returns:
            tuple: outputs [B, L - burn_in, ...] and the state at the first unroll step.
        """
        # Without preserve_module_state=False, target tensors would turn into trainable parameters.
        with params.to_module(self.network, preserve_module_state=False):
            self.network.apply(reset_noise)
            state = dict(stored)
            if self.burn_in_steps and self.state_keys:
                with torch.no_grad():
                    burned_in = self._run(observations[:, : self.burn_in_steps], stored)
                is_real = mask[:, :1]  # padding has no transition, a real burn-in starts with one
                for key in self.state_keys:
                    state[key] = torch.where(is_real, burned_in[_next(key)], stored[key])
            return self._run(observations[:, self.burn_in_steps :], state), state

    def _run(self, steps: TensorDictBase, state: Mapping[Any, Tensor]) -> TensorDictBase:
        batch = TensorDict({**dict(steps.items(True, True)), **state}, batch_size=steps.batch_size[:1])
        out: TensorDictBase = self.network(batch)
        return out

    @torch.no_grad()
    def _selection(self, online: TensorDictBase) -> Tensor:
        """Return the values [B, R, A] of the online network under a fresh noise sample."""
        output = online[self.tensor_keys.core_output].float()  # [B, R, H]
        with self.network_params.to_module(self.network, preserve_module_state=False):
            head: Any = self.network.head
            values: Tensor = head.action_value(output.flatten(0, 1), head.sample_noise(1)).unflatten(
                0, output.shape[:2]
            )
        return values

    def _over_steps(self, loss: Tensor) -> Tensor:
        return loss.sum(-1) if self.step_reduction == "sum" else loss.mean(-1)

    def _reconstructions(self) -> dict[str, tuple[NestedKey, NestedKey, float, float]]:
        """Return source, prediction, unit of the source and weight of each auxiliary loss."""
        keys = self.tensor_keys
        candidates = {
            "reconstruction": (keys.context, keys.context_reconstruction, 1.0, self.reconstruction_weight),
            # The decoder predicts map values 0..3 in units of the largest.
            "map_reconstruction": (keys.map_memory, keys.map_reconstruction, 3.0, self.map_reconstruction_weight),
        }
        return {name: entry for name, entry in candidates.items() if entry[1] in self.network.out_keys}

    def _demonstrated(
        self,
        terms: SequenceTerms,
        shown: Tensor,
        value: Tensor,
        action: Tensor,
        action_mask: Tensor | None,
        steps: Tensor,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return figures of the demonstrations in a batch, and the margin losses [B, U] of their steps.

        Args:
            terms: Of the whole batch.
            shown: [B, L] bool, True at demonstrated steps.
            value: [B, U, A] online values.
            action: [B, U].
            action_mask: [B, U, A], or None.
            steps: [B, U] bool, the valid ones among the demonstrated.
        """
        rows = shown.any(-1)  # [B]
        taught = steps
        if action_mask is not None:
            taught = steps & action_mask.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        margins = large_margin_loss(value, action, action_mask, margin=self.margin).masked_fill(~taught, 0.0)
        agrees = double_q_action(value.detach().unsqueeze(-1), action_mask) == action

        def mean(values: Tensor, of: Tensor) -> Tensor:
            return values.detach().masked_fill(~of, 0.0).sum() / of.sum()

        figures = {
            "demonstration_share": rows.float().mean(),
            "demonstration_loss": mean(terms.loss, steps),
            "demonstration_td_error": mean(terms.td_error.abs(), steps),
            "demonstration_priority": mean(terms.priority, rows),
            "demonstration_agreement": mean(agrees.float(), steps),
        }
        return figures, margins

    @torch.no_grad()
    def _delta_q(
        self,
        tensordict: TensorDictBase,
        observations: TensorDictBase,
        online: TensorDictBase,
        warm: Mapping[Any, Tensor],
        mask: Tensor,
    ) -> Tensor:
        """Compare the values of the first unroll step from the burned-in state with those from the policy's state."""
        keys = self.tensor_keys
        acted = {key: tensordict[_nested(keys.unroll_state, key)].float() for key in warm}
        first = slice(self.burn_in_steps, self.burn_in_steps + 1)
        with self.network_params.to_module(self.network, preserve_module_state=False):
            expected = self._run(observations[:, first], acted)[keys.quantiles][:, 0].float().mean(-1)  # [B, A]
        value = online[keys.quantiles][:, 0].float().mean(-1)
        distance = (value - expected).norm(dim=-1) / value.amax(-1).abs().clamp(min=1e-6)
        return masked_mean(distance, mask[:, 0] & mask[:, self.burn_in_steps])

    def _reduce(self, loss: Tensor) -> Tensor:
        if self.reduction == "none":
            return loss
        return loss.mean() if self.reduction == "mean" else loss.sum()

    def make_value_estimator(self, value_type: Any = None, **hyperparams: Any) -> LossModule:
        """Raise: none of TorchRL's estimators computes rescaled double-Q targets of quantiles within a sequence.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "R2D2Loss has no value estimator: it computes n-step double-Q targets of rescaled quantiles itself; "
            "set gamma, n_step and rescale_eps in its constructor"
        )

    def _forward_value_estimator_keys(self, **kwargs: Any) -> None:
        """Do nothing: there is no value estimator."""


def _flat(value: Tensor) -> Tensor:
    """[B, L, 1] or [B, L] -> [B, L]."""
    return value.squeeze(-1) if value.ndim == 3 else value


def _flag(value: Tensor) -> Tensor:
    return _flat(value).bool()


def _next(key: NestedKey) -> tuple[str, ...]:
    return _nested("next", key)


def _nested(root: NestedKey, key: NestedKey) -> tuple[str, ...]:
    roots = (root,) if isinstance(root, str) else root
    return (*roots, key) if isinstance(key, str) else (*roots, *key)
