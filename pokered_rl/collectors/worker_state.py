"""The state of a worker as bytes: emulators, recurrent states, transforms' memory, open sequences, random generators.

TorchRL's own collector state holds transforms and counters only. With this state an episode goes on in the next job at
the step where this one ended.
"""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase

if TYPE_CHECKING:
    from torchrl.envs import EnvBase

    from pokered_rl.collectors.worker import WorkerCollector

__all__ = ["capture_state", "restore_state"]


def capture_state(collector: "WorkerCollector") -> bytes:
    """Save everything that the next message of a collector depends on, except its weights.

    The innermost environment takes part with ``episode_state() -> dict`` and ``load_episode_state(dict)``, as in
    :class:`PokemonRedEnv` (without them its episodes do not go on), transforms with ``state_dict``, the policy with its
    generator and noise. The bytes hold tensors and plain values only and are read with ``weights_only=True``.
    """
    base, policy = _base_env(collector.env), collector.policy
    state = {
        "carrier": _to_dict(collector._carrier),
        "transforms": dict(collector.env.state_dict()),
        "env": base.episode_state() if hasattr(base, "episode_state") else None,
        "experience": collector.experience.state_dict(),
        "policy": policy.exploration_state() if hasattr(policy, "exploration_state") else None,
        "torch": torch.get_rng_state(),
        "numpy": _numpy_state(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def restore_state(collector: "WorkerCollector", data: bytes) -> None:
    """Restore what :func:`capture_state` saved."""
    state = torch.load(io.BytesIO(data), weights_only=True)
    if state["env"] is not None:
        _base_env(collector.env).load_episode_state(state["env"])
        collector.env.load_state_dict(state["transforms"])
        collector._carrier = _from_dict(state["carrier"], collector._carrier)
        collector.experience.load_state_dict(state["experience"])
    torch.set_rng_state(state["torch"])
    _set_numpy_state(state["numpy"])
    if state["policy"] is not None and hasattr(collector.policy, "load_exploration_state"):
        collector.policy.load_exploration_state(state["policy"])


def _base_env(env: "EnvBase") -> Any:
    while hasattr(env, "base_env"):
        env = env.base_env
    return env


def _to_dict(data: TensorDictBase) -> dict[str, Any]:
    return {
        str(key): _to_dict(value) if isinstance(value, TensorDictBase) else value.clone()
        for key, value in data.items()
        if isinstance(value, TensorDictBase | torch.Tensor)
    }


def _from_dict(state: dict[str, Any], like: TensorDictBase) -> TensorDict:
    return TensorDict(
        {key: _from_dict(value, like) if isinstance(value, dict) else value for key, value in state.items()},
        batch_size=like.batch_size,
        device=like.device,
    )


def _numpy_state() -> dict[str, Any]:
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "name": name,
        "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "position": int(position),
        "has_gauss": int(has_gauss),
        "gauss": float(gauss),
    }


def _set_numpy_state(state: dict[str, Any]) -> None:
    keys = state["keys"].numpy().astype(np.uint32)
    np.random.set_state((state["name"], keys, state["position"], state["has_gauss"], state["gauss"]))  # noqa: NPY002
