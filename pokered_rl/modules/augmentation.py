"""Augmentation of stored frames.

Letters: B batch, T time, H and W pixels.
"""

from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchvision.transforms import v2

from pokered_rl.errors import ConfigError
from pokered_rl.observations import pack_two_bits, unpack_shades

__all__ = ["RandomShift"]


class RandomShift(v2.Transform):
    """Shift each sequence's frames by up to ``padding`` pixels, edges repeated (DrQ, Kostrikov et al. 2021).

    All frames of a sequence move alike, so motion stays what it was. ``v2.RandomCrop`` would draw one shift a batch.

    Takes shades uint8 [B, ..., H, W], or a TensorDict [B, T] with packed frames uint8 [B, T, H, W/4] as in
    ``R2D2Loss(augmentation=RandomShift())``.

    Args:
        padding: Largest shift in pixels along each axis, >= 1.
        key: Entry of the frames.

    Raises:
        ConfigError: The padding is below 1.

    Example:
        >>> RandomShift(padding=2)(torch.zeros(3, 5, 72, 80, dtype=torch.uint8)).shape
        torch.Size([3, 5, 72, 80])
    """

    def __init__(self, padding: int = 4, *, key: str = "pixels") -> None:
        super().__init__()
        if padding < 1:
            raise ConfigError(f"padding must be >= 1, got {padding}")
        self.padding = padding
        self.key = key

    def forward(self, *inputs: Any) -> Any:
        """Shift a TensorDict's frames, or tensors of shades."""
        if len(inputs) == 1 and isinstance(inputs[0], TensorDictBase):
            shades = unpack_shades(inputs[0][self.key])
            return inputs[0].copy().set(self.key, pack_two_bits(super().forward(shades)))
        return super().forward(*inputs)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one shift a sequence: offsets [B] along both axes into the padded frame."""
        frames = flat_inputs[0]
        shift = torch.randint(0, 2 * self.padding + 1, (2, frames.shape[0]), device=frames.device)
        return {"down": shift[0], "right": shift[1]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        """Cut the shifted frames out of the padded ones."""
        batch, height, width = inpt.shape[0], inpt.shape[-2], inpt.shape[-1]
        frames = inpt.reshape(batch, -1, height, width)  # [B, T, H, W]
        # Edge padding by clamped indices, which works for integers too.
        lines = _source(height, params["down"] - self.padding)  # [B, H]
        columns = _source(width, params["right"] - self.padding)  # [B, W]
        frames = frames.gather(2, lines[:, None, :, None].expand_as(frames))
        frames = frames.gather(3, columns[:, None, None, :].expand_as(frames))
        return torch.as_tensor(frames.reshape(inpt.shape))


def _source(size: int, offset: Tensor) -> Tensor:
    """Return the source index of each of ``size`` targets, clamped to the frame, int64 [B, size]."""
    return (torch.arange(size, device=offset.device) + offset[:, None]).clamp(0, size - 1)
