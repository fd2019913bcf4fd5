"""Rows of learning: bytes and times of the replay, and the learner's step against bare forward and backward."""

import copy
import lzma
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.nn import functional

from pairs import Row
from pokered_rl.data import SequenceLayout, SequenceReplay, bytes_per_transition, make_replay
from pokered_rl.emulator import ActionSet
from pokered_rl.envs import make_env
from pokered_rl.modules import R2D2Network
from pokered_rl.objectives import R2D2Loss
from pokered_rl.training.config import Config
from pokered_rl.training.learner import Learner, make_target_updater

ACTIONS = len(ActionSet())
_CONFIG = Config()
LAYOUT = SequenceLayout(
    burn_in_steps=_CONFIG.replay.burn_in_steps,
    unroll_steps=_CONFIG.replay.unroll_steps,
    n_step=_CONFIG.loss.n_step,
    period_steps=_CONFIG.replay.sequence_period_steps,
    unroll_state=_CONFIG.loss.log_delta_q,
)
#: Of the episodes that bytes are counted for; their last sequence is partly padding.
EPISODE_STEPS = _CONFIG.env.max_episode_steps


def played_rows(emulators: int = 8, steps: int = 200) -> TensorDictBase:
    """Return observations of random play, [E, T, ...]."""
    env = make_env(num_emulators=emulators, max_episode_steps=2048, seed=0)
    try:
        rollout = env.rollout(steps, break_when_any_done=False)
    finally:
        env.close()
    return rollout.select(
        "pixels", "map_memory", "context", "last_action", "last_reward", "action_mask", "action"
    ).contiguous()


def sequences_of(
    rows: TensorDictBase, count: int, *, hidden_size: int, seed: int = 0, layout: SequenceLayout = LAYOUT
) -> TensorDict:
    """Sequences [S] cut out of played rows at random, with the other entries of stored ones."""
    generator = torch.Generator().manual_seed(seed)
    emulators, steps = rows.batch_size
    start = torch.randint(steps - layout.length, (count, 1), generator=generator)
    emulator = torch.randint(emulators, (count, 1), generator=generator)
    window = start + torch.arange(layout.length)
    flags = torch.zeros(count, layout.length, dtype=torch.bool)
    keys = ("recurrent_state_h", "recurrent_state_c")
    states, later = ({key: torch.rand((count, hidden_size), generator=generator) for key in keys} for _ in range(2))
    unroll_state = {"unroll_state": TensorDict(later, [count])} if layout.unroll_state else {}
    return TensorDict(
        {
            **{key: value[emulator, window] for key, value in rows.items()},
            "reward": torch.rand(count, layout.length, generator=generator),
            "terminated": flags,
            "truncated": flags.clone(),
            "is_init": flags.clone(),
            "mask": ~flags,
            **states,
            **unroll_state,
            "td_error": torch.rand(count, generator=generator),
        },
        batch_size=[count],
    )


@contextmanager
def filled_replay(
    block: TensorDict,
    *,
    sequences: int,
    batch_size: int,
    prefetch: int = 0,
    level: int | None = None,
    pin_memory: bool = False,
    layout: SequenceLayout = LAYOUT,
) -> Iterator[SequenceReplay]:
    """A replay of the given capacity, filled once around with a block [S] of sequences."""
    with tempfile.TemporaryDirectory() as folder:
        replay = make_replay(
            scratch_dir=Path(folder) / "replay",
            capacity_transitions=sequences * layout.period_steps,
            layout=layout,
            batch_size=batch_size,
            two_bit_shapes={"map_memory": tuple(block["map_memory"].shape[2:])},
            num_actions=ACTIONS,
            compression_level=_CONFIG.replay.compression_level if level is None else level,
            prefetch=prefetch,
            pin_memory=pin_memory,
            seed=0,
        )
        replay.allocate(block)
        while len(replay) < sequences:
            replay.extend(block.clone())
        try:
            yield replay
        finally:
            replay.shutdown()


def _seconds(work: Callable[[], Any], rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


class _Step:
    """Simulate an optimizer step on the CPU: work that takes a given number of seconds."""

    def __init__(self, seconds: float) -> None:
        self._products = 100
        self._products = max(1, round(self._products * seconds / statistics.median(_seconds(self, 5))))

    def __call__(self) -> None:
        a = torch.full((256, 256), 0.01)
        for _ in range(self._products):
            a = torch.tanh(a @ a)


def _drop_pages(folder: Path) -> None:
    """Take the files out of the page cache, as far as they are not mapped."""
    for file in folder.glob("*.memmap"):
        with file.open("rb") as open_file:
            os.fsync(open_file.fileno())
            os.posix_fadvise(open_file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _replay_at(sequences: int, block: TensorDict, *, rounds: int) -> tuple[dict[str, Any], Row]:
    """Times at one size, and a 200 ms learner step that draws its batch, against one that does not."""
    before = psutil.Process().memory_full_info().uss
    result: dict[str, Any] = {"sequences": sequences}
    with filled_replay(block, sequences=sequences, batch_size=64) as buffer:
        few = block[:16]
        result["extend_16_ms"] = round(1e3 * statistics.median(_seconds(lambda: buffer.extend(few.clone()), rounds)), 2)
        _drop_pages(buffer.scratch_dir)
        result["sample_64_ms_without_page_cache"] = round(1e3 * statistics.median(_seconds(buffer.sample, rounds)), 2)
        began, times = time.thread_time(), _seconds(buffer.sample, 3 * rounds)
        result["sample_64_thread_ms"] = round(1e3 * (time.thread_time() - began) / len(times), 2)
        result["sample_64_ms"] = round(1e3 * statistics.median(times), 2)
        result["sample_64_ms_worst"] = round(1e3 * max(times), 2)
        result["disk_mb"] = round(sum(512 * file.stat().st_blocks for file in buffer.scratch_dir.iterdir()) / 1e6)
        ahead = make_replay(
            scratch_dir=buffer.scratch_dir,
            capacity_transitions=sequences * LAYOUT.period_steps,
            layout=LAYOUT,
            batch_size=64,
            two_bit_shapes={"map_memory": tuple(block["map_memory"].shape[2:])},
            num_actions=ACTIONS,
            prefetch=_CONFIG.replay.prefetch_batches,
            seed=0,
        )
        with tempfile.TemporaryDirectory() as checkpoint:
            buffer.save(checkpoint)
            ahead.load(checkpoint)
        ahead.sample()
        row = Row([], [], "steps of 200 ms/s")
        waits, step = [], _Step(0.2)
        for _ in range(rounds):
            (alone,) = _seconds(step, 1)
            start = time.perf_counter()
            ahead.sample()
            waits.append(time.perf_counter() - start)
            step()
            row.ours.append(1 / (time.perf_counter() - start))
            row.limit.append(1 / alone)
        ahead.shutdown()
        result["prefetched_sample_64_ms"] = round(1e3 * statistics.median(waits), 2)
        result["private_mib"] = round((psutil.Process().memory_full_info().uss - before) / 2**20)
    return result, row


def _against_plain(block: TensorDict, *, rounds: int) -> Row:
    """CPU time of inserting and of drawing 64 sequences, compressed and not."""
    row = Row([], [], "batches of 64 inserted and drawn/s of CPU")
    with (
        filled_replay(block, sequences=500, batch_size=64) as ours,
        filled_replay(block, sequences=500, batch_size=64, level=0) as plain,
    ):
        for _ in range(rounds):
            for buffer, rates in ((ours, row.ours), (plain, row.limit)):
                sequences, began = block.clone(), time.process_time()
                buffer.extend(sequences)
                buffer.sample()
                rates.append(1 / (time.process_time() - began))
    return row


def _general_bytes(buffer: SequenceReplay, block: TensorDict) -> float:
    """Bytes a transition that LZMA, a slow compressor of high ratio, leaves of a sequence."""
    level, buffer.codec.compression_level = buffer.codec.compression_level, 0
    plain = buffer.codec.inv(block[:16].clone())
    buffer.codec.compression_level = level
    contents = [b"".join(value.contiguous().numpy().data for value in each.values(True, True)) for each in plain]
    sequences = -(-EPISODE_STEPS // LAYOUT.period_steps)
    return statistics.mean(len(lzma.compress(each)) for each in contents) * sequences / EPISODE_STEPS


def replay(*, quick: bool) -> Row:
    """Bytes per unique transition at the default settings, against what LZMA makes of the same sequences."""
    block = sequences_of(played_rows(), 64, hidden_size=_CONFIG.network.hidden_size)
    with filled_replay(block, sequences=64, batch_size=1) as buffer:
        stored = buffer.codec.inv(block.clone())
        limit = _general_bytes(buffer, block)
    size = bytes_per_transition(stored, LAYOUT, episode_steps=EPISODE_STEPS)
    sequences = 1_000 if quick else _CONFIG.replay.capacity_transitions // LAYOUT.period_steps
    rounds = 7 if quick else 20
    times, prefetched = _replay_at(sequences, block, rounds=rounds)
    row = Row([size], [limit], "bytes a transition", lower_is_better=True)
    row.extra["bytes_per_transition"] = round(size, 1)
    row.extra["bytes_per_transition_endless_episodes"] = round(bytes_per_transition(stored, LAYOUT), 1)
    row.notes |= times
    row.parts["200 ms step that draws 64, prefetched"] = prefetched
    row.parts["compressed against plain"] = _against_plain(block, rounds=rounds)
    return row


def bare_update(network: R2D2Network, batch: TensorDictBase, layout: SequenceLayout = LAYOUT) -> Callable[[], None]:
    """Return an update in plain PyTorch on a batch that is on the device: what R2D2 cannot do without, and no more.

    Both networks over burn-in and unroll, double Q-learning, the quantile Huber loss of n-step targets, backward,
    Adam. No noise is drawn, nothing is rescaled, masked, clipped, checked or reported. On CUDA it is one CUDA graph,
    which the CPU does not wait for.
    """
    online, first, n_step = copy.deepcopy(network), layout.burn_in_steps, layout.n_step
    target, device = copy.deepcopy(network).requires_grad_(False), batch.device or torch.device("cpu")
    cuda = device.type == "cuda"
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-4, eps=1e-3, fused=cuda, capturable=cuda)
    keys, states = network.observation_keys, network.state_keys
    burn_in, rest = ({key: batch[key][:, part] for key in keys} for part in (slice(first), slice(first, None)))
    stored = {key: batch[key] for key in states}
    action, steps = batch["action"][:, first:], layout.unroll_steps  # U
    discounts = 0.997 ** torch.arange(n_step, device=device)
    reward = (batch["reward"][:, first : first + steps + n_step - 1].unfold(1, n_step, 1) * discounts).sum(-1)  # [B, U]
    taus = (torch.arange(network.num_quantiles, device=device) + 0.5) / network.num_quantiles

    def unroll(module: R2D2Network) -> Tensor:
        with torch.no_grad():
            warm = module(TensorDict({**burn_in, **stored}, [len(action)]))
        state = {key: warm["next", key] for key in states}
        quantiles: Tensor = module(TensorDict({**rest, **state}, [len(action)]))["quantiles"]  # [B, U + n, A, N]
        return quantiles.float()

    def of_action(quantiles: Tensor, chosen: Tensor) -> Tensor:
        index = chosen[..., None, None].expand(*chosen.shape, 1, quantiles.shape[-1])
        return quantiles.gather(-2, index).squeeze(-2)  # [B, U, N]

    def update() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            quantiles = unroll(online)
            with torch.no_grad():
                ahead = unroll(target)[:, n_step:]
        best = quantiles[:, n_step:].detach().mean(-1).argmax(-1)
        goal = reward[..., None] + 0.997**n_step * of_action(ahead, best)[:, :steps]
        value = of_action(quantiles[:, :steps], action[:, :steps])
        difference = goal.unsqueeze(-2) - value.unsqueeze(-1)  # [B, U, N, N]
        huber = functional.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none")
        loss = ((taus[:, None] - (difference < 0).float()).abs() * huber).mean(-1).sum((-1, -2)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return _captured(update) if cuda else update


def _captured(update: Callable[[], None]) -> Callable[[], None]:
    """Return an update as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            update()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        update()

    return partial(_replay, graph, update)


def _replay(graph: torch.cuda.CUDAGraph, update: Callable[[], None]) -> None:
    """Replay an update; ``update`` owns the weights that the graph reads and writes."""
    graph.replay()


def calls_per_second(work: Callable[[], Any], count: int, device: torch.device) -> float:
    """Rate of so many calls in a row, the work of the last one finished."""
    start = time.perf_counter()
    for _ in range(count):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - start)


def learner_parts(
    size: str,
    block: TensorDict,
    buffer: SequenceReplay,
    *,
    batch_size: int,
    device: torch.device,
    layout: SequenceLayout = LAYOUT,
    cuda_graph: bool = True,
    compiles: bool = False,
) -> tuple[Learner, Callable[[], None]]:
    """The learner, and the limit of its steps."""
    torch.manual_seed(0)
    network = R2D2Network(
        num_actions=ACTIONS,
        size=size,
        map_shape=tuple(block["map_memory"].shape[2:]),
        context_size=block["context"].shape[-1],
        hidden_size=block["recurrent_state_h"].shape[-1],
    ).to(device)
    loss = R2D2Loss(
        network,
        burn_in_steps=layout.burn_in_steps,
        n_step=layout.n_step,
        log_delta_q=_CONFIG.loss.log_delta_q,
        compile_terms=compiles,
    )
    if compiles:
        network.compile_parts()
    cuda = device.type == "cuda"
    bare = bare_update(network, block[:batch_size].clone().to(device), layout)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-4, eps=1e-3, fused=cuda, capturable=cuda)
    whole = Learner(
        loss=loss,
        optimizer=optimizer,
        target_updater=make_target_updater(loss, hard_interval=2_500),
        replay=buffer,
        batch_size=batch_size,
        max_grad_norm=40.0,
        device=device,
        cuda_graph=cuda_graph,
    )
    return whole, bare


def learner_row(
    size: str, batch_size: int, device: torch.device, block: TensorDict, seconds: float, **parts: bool
) -> Row:
    row = Row([], [], "updates/s", notes={"network": size, "batch": f"{batch_size} x {LAYOUT.length} rows"})
    cuda = device.type == "cuda"
    in_a_row = 10 if cuda else 1  # on CUDA an update's end is not waited for
    with filled_replay(block, sequences=256, batch_size=batch_size, prefetch=2, pin_memory=cuda) as buffer:
        whole, bare = learner_parts(size, block, buffer, batch_size=batch_size, device=device, **parts)
        for each in (whole.step, bare):  # the first ones allocate, compile and capture
            calls_per_second(each, 5 if cuda else 2, device)
        end = time.perf_counter() + seconds
        while len(row.ours) < 3 or time.perf_counter() < end:
            row.ours.append(calls_per_second(whole.step, in_a_row, device))
            row.limit.append(calls_per_second(bare, in_a_row, device))
    row.extra["step_over_bare"] = round(1 / row.ratio, 4)
    if device.type == "cuda":
        resident = block[:batch_size].clone().to(device)
        row.notes["gpu"] = torch.cuda.get_device_name(device)
        row.notes["gpu_memory_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20)
        half, full = (_loss_value(whole.loss, resident, autocast=autocast) for autocast in (True, False))
        row.notes["bf16_over_fp32_loss"] = round(half / full, 4)
    return row


@torch.no_grad()
def _loss_value(loss: torch.nn.Module, batch: TensorDictBase, *, autocast: bool) -> float:
    torch.manual_seed(0)  # the same noise in both
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=autocast):
        losses = loss(batch.copy())
    return float(sum(value for name, value in losses.items() if name.startswith("loss_")))


def learner(*, quick: bool) -> Row:
    """One step from sampled batch to written priorities, against :func:`bare_update` on one batch; on the CPU."""
    rows, seconds = played_rows(), 12.0 if quick else 40.0
    cpu = torch.device("cpu")
    row = learner_row("base", 4 if quick else 8, cpu, sequences_of(rows, 64, hidden_size=512), seconds)
    row.parts["tiny"] = learner_row("tiny", 8, cpu, sequences_of(rows, 64, hidden_size=128), seconds / 2)
    return row
