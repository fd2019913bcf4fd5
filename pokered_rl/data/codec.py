"""How sequences look on disk: every entry in as few bits as it has values."""

from collections.abc import Iterable, Mapping
from math import prod

import torch
from tensordict import TensorDictBase
from tensordict.utils import NestedKey
from torchrl.envs.transforms import Transform

from pokered_rl.data.rollouts import PACKED_SUFFIX
from pokered_rl.observations import pack_bits, pack_two_bits, unpack_bits, unpack_two_bits

__all__ = ["FLAG_KEYS", "SequenceCodec"]

#: Truth values of a row that share one byte, from the highest bit down.
FLAG_KEYS = ("mask", "is_init", "terminated", "truncated")
_ACTION_KEYS = ("action", "last_action")


class SequenceCodec(Transform):
    """Packs sequences on their way into a replay buffer and unpacks them on their way out.

    Reads (inverse, on `extend`) and writes (forward, on `sample`), [S, L, ...]:

    - two-bit entries uint8 [S, L, *shape], values 0..3 <-> `NAME_packed` uint8 [S, L, ceil(n / 4)];
    - `action_mask` bool [S, L, A] <-> `action_mask_packed` uint8 [S, L, ceil(A / 8)];
    - `mask`, `is_init`, `terminated`, `truncated` bool [S, L] <-> `flags` uint8 [S, L];
    - `action`, `last_action` int64 [S, L] <-> uint8;
    - the entries of `half_keys` float32 <-> float16, the only packing that loses anything (2^-11 of a value).

    Entries that are absent, or packed already by the worker, are left as they are.

    Args:
        two_bit_shapes: shape of a row of each two-bit entry, for example `{"map_memory": (2, 21, 21)}`.
        num_actions: A; at most 256, since `last_action` counts one more value, at most 255 when that is stored.
        half_keys: float entries stored in half precision.

    Example:
        >>> codec = SequenceCodec(two_bit_shapes={"map_memory": (2, 21, 21)}, num_actions=8)
        >>> stored = codec.inv(sequences)  # doctest: +SKIP
        >>> restored = codec(stored)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        two_bit_shapes: Mapping[str, tuple[int, ...]] | None = None,
        num_actions: int | None = None,
        half_keys: Iterable[NestedKey] = (),
    ) -> None:
        super().__init__()
        if num_actions is not None and not 1 <= num_actions <= 255:
            raise ValueError(f"num_actions must be in 1..255 to fit a byte, got {num_actions}")
        self.two_bit_shapes = dict(two_bit_shapes or {})
        self.num_actions = num_actions
        self.half_keys = tuple(half_keys)

    def _inv_call(self, tensordict: TensorDictBase) -> TensorDictBase:
        keys = set(tensordict.keys())
        for key in self.two_bit_shapes:
            if key in keys:
                cells = tensordict.pop(key)
                tensordict.set(key + PACKED_SUFFIX, pack_two_bits(cells.flatten(2)))
        if self.num_actions is not None:
            if "action_mask" in keys:
                tensordict.set("action_mask" + PACKED_SUFFIX, pack_bits(tensordict.pop("action_mask")))
            for key in _ACTION_KEYS:
                if key in keys:
                    tensordict.set(key, tensordict.get(key).to(torch.uint8))
        if keys.issuperset(FLAG_KEYS):
            flags = torch.stack([tensordict.pop(key) for key in FLAG_KEYS], -1)  # [S, L, 4]
            tensordict.set("flags", pack_bits(flags).squeeze(-1))
        for key in self.half_keys:
            if tensordict.get(key, None) is not None:
                tensordict.set(key, tensordict.get(key).half())
        return tensordict

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Unpacks a stored batch; works on any device."""
        keys = set(tensordict.keys())
        for key, shape in self.two_bit_shapes.items():
            if key + PACKED_SUFFIX in keys:
                packed = tensordict.pop(key + PACKED_SUFFIX)
                tensordict.set(key, unpack_two_bits(packed, prod(shape)).unflatten(-1, shape))
        if self.num_actions is not None:
            if "action_mask" + PACKED_SUFFIX in keys:
                packed = tensordict.pop("action_mask" + PACKED_SUFFIX)
                tensordict.set("action_mask", unpack_bits(packed, self.num_actions))
            for key in _ACTION_KEYS:
                if key in keys:
                    tensordict.set(key, tensordict.get(key).long())
        if "flags" in keys:
            flags = unpack_bits(tensordict.pop("flags").unsqueeze(-1), len(FLAG_KEYS))
            for index, key in enumerate(FLAG_KEYS):
                tensordict.set(key, flags[..., index])
        for key in self.half_keys:
            if tensordict.get(key, None) is not None:
                tensordict.set(key, tensordict.get(key).float())
        return tensordict
