"""Where a worker stands, as bytes: emulators, recurrent states, transforms' memory, random generators.

TorchRL's own collector state holds transforms and counters only. Together with the learner's open sequences this is
what lets an episode go on in the next job at the step where it stood in this one.
"""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase

if TYPE_CHECKING:
    from torchrl.collectors import Collector
    from torchrl.envs import EnvBase

__all__ = ["capture_state", "restore_state"]


def capture_state(collector: "Collector") -> bytes:
    """Saves everything that the next rollout of a collector depends on, its weights apart.

    An environment takes part with a pair of methods `get_state() -> dict` and `set_state(dict)`, a policy with
    `get_exploration_state()` and `set_exploration_state(dict)`, transforms with `state_dict`; all of tensors and plain
    values, so that the bytes are read without pickle's dangers (`weights_only=True`).
    """
    base = _base_env(collector.env)
    policy = collector.policy
    state = {
        "carrier": _to_dict(collector._carrier),
        "transforms": dict(collector.env.state_dict()),
        "env": base.get_state() if hasattr(base, "get_state") else None,
        "policy": policy.get_exploration_state() if hasattr(policy, "get_exploration_state") else None,
        "torch": torch.get_rng_state(),
        "numpy": _numpy_state(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def restore_state(collector: "Collector", data: bytes) -> None:
    """Puts a collector where `capture_state` found it."""
    state = torch.load(io.BytesIO(data), weights_only=True)
    base = _base_env(collector.env)
    if state["env"] is not None and hasattr(base, "set_state"):
        base.set_state(state["env"])
        collector.env.load_state_dict(state["transforms"])
        carrier = _from_dict(state["carrier"], collector._carrier)
        collector._carrier = carrier
    if state["policy"] is not None:
        collector.policy.set_exploration_state(state["policy"])
    torch.set_rng_state(state["torch"])
    _set_numpy_state(state["numpy"])


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
