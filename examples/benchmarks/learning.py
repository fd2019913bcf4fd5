"""Rows of learning: bytes and times of the replay, and the learner's step against bare forward and backward."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tensordict import TensorDict, TensorDictBase

from pokered_rl.data import SequenceLayout, bytes_per_transition, make_replay
from pokered_rl.emulator import ActionSet
from pokered_rl.modules import R2D2Network
from pokered_rl.objectives import R2D2Loss
from pokered_rl.training.learner import Learner, make_target_updater

from .pairs import Row

#: Bytes of one half-size screen of four shades: what a transition cannot do without.
FRAME_BYTES = 72 * 80 // 4
CONTEXT_SIZE = 64
ACTIONS = len(ActionSet())


def random_sequences(count: int, layout: SequenceLayout, *, hidden_size: int, seed: int = 0) -> TensorDict:
    """Sequences [S] with the entries, types and shapes of real ones."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, layout.length)
    flags = torch.zeros(shape, dtype=torch.bool)
    return TensorDict(
        {
            "pixels": torch.randint(0, 256, (*shape, 72, 20), dtype=torch.uint8, generator=generator),
            "map_memory": torch.randint(0, 4, (*shape, 2, 21, 21), dtype=torch.uint8, generator=generator),
            "context": torch.rand((*shape, CONTEXT_SIZE), generator=generator),
            "last_action": torch.randint(0, ACTIONS, shape, generator=generator),
            "last_reward": torch.rand((*shape, 1), generator=generator),
            "action_mask": torch.ones((*shape, ACTIONS), dtype=torch.bool),
            "action": torch.randint(0, ACTIONS, shape, generator=generator),
            "reward": torch.rand(shape, generator=generator),
            "terminated": flags,
            "truncated": flags.clone(),
            "is_init": flags.clone(),
            "mask": torch.ones(shape, dtype=torch.bool),
            "recurrent_state_h": torch.rand((count, hidden_size), generator=generator),
            "recurrent_state_c": torch.rand((count, hidden_size), generator=generator),
            "td_error": torch.rand(count, generator=generator),
        },
        batch_size=[count],
    )


@contextmanager
def filled_replay(layout: SequenceLayout, *, sequences: int, batch_size: int, hidden_size: int, prefetch: int = 0):
    """A replay of the given capacity, filled once around."""
    with tempfile.TemporaryDirectory() as folder:
        replay = make_replay(
            scratch_dir=Path(folder) / "replay",
            capacity_transitions=sequences * layout.period_steps,
            layout=layout,
            batch_size=batch_size,
            two_bit_shapes={"map_memory": (2, 21, 21)},
            num_actions=ACTIONS,
            prefetch=prefetch,
            seed=0,
        )
        block = random_sequences(64, layout, hidden_size=hidden_size)
        while len(replay) < sequences:
            replay.extend(block.clone())
        yield replay


def _times(work, rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        yield time.perf_counter() - start


def replay(*, quick: bool) -> Row:
    """Bytes per unique transition at the default settings, against the packed frame alone."""
    layout = SequenceLayout(burn_in_steps=40, unroll_steps=80, n_step=5)
    example = random_sequences(16, layout, hidden_size=512)
    sequences = 256 if quick else 10_000
    with filled_replay(layout, sequences=sequences, batch_size=64, hidden_size=512) as buffer:
        size = bytes_per_transition(buffer.codec.inv(example.clone()), layout)
        row = Row([size], [float(FRAME_BYTES)], "bytes a transition", lower_is_better=True)
        rounds = 5 if quick else 15
        extend = sorted(_times(lambda: buffer.extend(example.clone()), rounds))
        sample = sorted(_times(lambda: buffer.sample(64), rounds))
        row.notes["sequences"] = sequences
        row.notes["extend_16_ms"] = round(1e3 * extend[rounds // 2], 2)
        row.notes["sample_64_ms"] = round(1e3 * sample[rounds // 2], 2)
    return row


def _step_bare(loss: R2D2Loss, optimizer: torch.optim.Optimizer, batch: TensorDictBase) -> None:
    losses = loss(batch)
    optimizer.zero_grad(set_to_none=True)
    sum(value for name, value in losses.items() if name.startswith("loss")).backward()
    optimizer.step()


def learner(*, quick: bool) -> Row:
    """One step from sampled batch to written priorities, against forward, backward and optimizer on one batch."""
    batch_size = 4 if quick else 8
    layout = SequenceLayout(burn_in_steps=40, unroll_steps=80, n_step=5)
    torch.manual_seed(0)
    network = R2D2Network(
        num_actions=ACTIONS, size="tiny", pixel_shape=(72, 20), map_shape=(2, 21, 21), context_size=CONTEXT_SIZE
    )
    loss = R2D2Loss(network, burn_in_steps=40, n_step=5)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-4, eps=1e-3)
    hidden = network.hidden_size
    resident = random_sequences(batch_size, layout, hidden_size=hidden)
    with filled_replay(layout, sequences=256, batch_size=batch_size, hidden_size=hidden, prefetch=2) as buffer:
        whole = Learner(
            loss=loss,
            optimizer=optimizer,
            target_updater=make_target_updater(loss, hard_interval=2_500),
            replay=buffer,
            batch_size=batch_size,
            max_grad_norm=40.0,
            device=torch.device("cpu"),
        )
        row = Row([], [], "updates/s", notes={"network": "tiny", "batch": f"{batch_size} x {layout.length} rows"})
        for index in range((4 if quick else 10) + 1):
            (ours,) = _times(whole.step, 1)
            (limit,) = _times(lambda: _step_bare(loss, optimizer, resident), 1)
            if index:
                row.ours.append(1 / ours)
                row.limit.append(1 / limit)
    return row
