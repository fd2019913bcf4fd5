"""The loop and its checkpoints, with a learner of four weights and workers that only count."""

import errno
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torchrl.checkpoint import GlobalRNGState

from pokered_rl.data import RateLimiter
from pokered_rl.errors import CheckpointError
from pokered_rl.training import Callback, StopReason
from pokered_rl.training.callbacks import CallbackList
from pokered_rl.training.checkpoint import CheckpointStore, load_tensors
from pokered_rl.training.checkpointing import Checkpointing
from pokered_rl.training.runtime import Target
from pokered_rl.training.trainer import Trainer


class _Learner:
    batch_size = 2

    def __init__(self) -> None:
        self.weights = torch.zeros(4)
        self.updates = 0

    def step(self) -> None:
        self.weights += torch.rand(4)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights.clone(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["weights"].shape != (4,):
            raise RuntimeError("size mismatch for weights")
        self.weights, self.updates = state["weights"], state["updates"]


class _Workers:
    """Each call brings 10 steps and one sequence."""

    def __init__(self, limiter: RateLimiter) -> None:
        self.limiter = limiter
        self.sink = SimpleNamespace(lock=threading.RLock())
        self.steps = self.episodes = 0
        self.pushes: list[tuple[int, int]] = []

    def collect(self) -> None:
        self.steps += 10
        self.limiter.inserted(1)

    def start(self) -> None:
        pass

    def check(self) -> None:
        pass

    def halt(self) -> None:
        pass

    def set_weights(self, network: nn.Module, *, version: int) -> None:
        self.pushes.append((self.steps, version))

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


class _Replay:
    def __init__(self) -> None:
        self.loaded: dict[str, Any] | None = None

    def __len__(self) -> int:
        return 0

    def save(self, path: Path) -> None:
        path.mkdir()
        (path / "cursor.json").write_text('{"cursor": 3}')

    def load(self, path: Path) -> int:
        self.loaded = json.loads((path / "cursor.json").read_text())
        return 0

    def flush(self) -> None:
        pass

    def reserve(self) -> None:
        pass

    def allocate(self, example: Any) -> None:
        pass


def _trainer(
    folder: Path, *, target_steps: int, sync_every: int = 2, publish_every: int = 1000, callbacks: tuple = ()
) -> tuple[Trainer, Checkpointing]:
    limiter = RateLimiter(samples_per_insert=4, min_fill_sequences=3)
    store = CheckpointStore(folder / "checkpoints")
    checkpointing = Checkpointing(
        store, folder / "online_params.pt", every_seconds=1e9, publish_every_updates=publish_every
    )
    trainer = Trainer(
        learner=_Learner(),
        network=nn.Linear(2, 2),
        workers=_Workers(limiter),
        replay=_Replay(),
        limiter=limiter,
        sync_every_updates=sync_every,
        folder=folder,
        example=None,
        callbacks=[Target(steps=target_steps), checkpointing, *callbacks],
        say=lambda text: None,
    )
    return trainer, checkpointing


def test_learner_waits_for_the_first_filling_and_then_keeps_the_ratio(tmp_path: Path):
    # 3 sequences fill the replay; each further one pays for 4 draws, that is 2 updates of 2 sequences. 8 calls bring
    # 8 sequences, but the loop stops as soon as the last one is there: (7 - 3) * 2 updates.
    trainer, _ = _trainer(tmp_path, target_steps=80)
    assert trainer.run() is StopReason.target
    assert trainer.workers.steps == 80
    assert trainer.learner.updates == 8


def test_weights_go_to_the_workers_at_the_start_and_every_few_updates(tmp_path: Path):
    trainer, _ = _trainer(tmp_path, target_steps=70, sync_every=4)
    trainer.run()
    # 6 updates were made: one push at the start, one after the fourth.
    assert trainer.learner.updates == 6
    assert trainer.workers.pushes == [(0, 0), (50, 4)]  # steps of the run, number of the weights


class _Count(Callback):
    """Counts updates, over all jobs."""

    def __init__(self) -> None:
        self.updates = 0

    def on_update(self, trainer):
        self.updates += 1

    def state_dict(self):
        return {"updates": self.updates}

    def load_state_dict(self, state):
        self.updates = state["updates"]


def test_interrupted_run_ends_like_one_that_was_not(tmp_path: Path):
    torch.manual_seed(5)
    straight, _ = _trainer(tmp_path / "straight", target_steps=200)
    straight.run()

    torch.manual_seed(5)
    first, _ = _trainer(tmp_path / "stopped", target_steps=90, callbacks=(_Count(),))
    first.run()
    torch.manual_seed(99)
    count = _Count()
    second, checkpointing = _trainer(tmp_path / "stopped", target_steps=200, callbacks=(count,))
    checkpoint = checkpointing.restore(second)
    assert checkpoint is not None
    assert checkpoint.steps == 90
    assert second.replay.loaded == {"cursor": 3}
    second.run()
    assert second.learner.updates == straight.learner.updates == count.updates
    assert torch.equal(second.learner.weights, straight.learner.weights)


def test_checkpoint_of_a_machine_with_other_devices_is_taken(tmp_path: Path, monkeypatch):
    first, checkpointing = _trainer(tmp_path, target_steps=50)
    with monkeypatch.context() as patch:
        more = [torch.zeros(16, dtype=torch.uint8)] * (torch.cuda.device_count() + 1)
        state = GlobalRNGState().state_dict() | {"torch_cuda": more}
        patch.setattr(GlobalRNGState, "state_dict", lambda self: state)
        checkpointing.save(first)
    torch.manual_seed(99)
    second, checkpointing = _trainer(tmp_path, target_steps=50)
    assert checkpointing.restore(second) is not None
    assert torch.equal(torch.get_rng_state(), state["torch_cpu"])


def test_checkpoint_of_another_network_is_refused(tmp_path: Path):
    trainer, checkpointing = _trainer(tmp_path, target_steps=50)
    trainer.learner.weights = torch.zeros(5)
    checkpointing.save(trainer)
    other, checkpointing = _trainer(tmp_path, target_steps=50)
    with pytest.raises(CheckpointError, match=r"does not fit this network: size mismatch"):
        checkpointing.restore(other)


def test_what_fails_at_the_end_of_a_failed_job_is_a_line_or_a_defect_with_its_place():
    class Fails(Callback):
        def __init__(self, error):
            self.error = error

        def on_end(self, trainer, stop):
            raise self.error

    Fails.__module__ = "pokered_rl.training.callbacks"  # errors of the library's own callbacks pass unchanged
    said: list[str] = []
    full = OSError(errno.ENOSPC, "No space left on device", "/a")
    callbacks = CallbackList([Fails(full), Fails(CheckpointError("no room")), Fails(ValueError("x"))], say=said.append)
    callbacks.end(None, CheckpointError("the first one"))
    assert [len(text.splitlines()) > 1 for text in said] == [False, False, True]
    assert said[1] == "Fails failed at the end, too: no room"
    # A full disk that ended the job stops the others, too: one line is enough.
    said.clear()
    stop = CheckpointError("the checkpoint could not be written")
    stop.__cause__ = full
    callbacks.end(None, stop)
    assert len(said) == 2
    assert "no room" in said[0]


def test_measured_saving_replaces_the_guess(tmp_path: Path):
    trainer, checkpointing = _trainer(tmp_path, target_steps=50)
    assert checkpointing.seconds_needed() == 20
    checkpointing.save(trainer)
    assert checkpointing.seconds_needed() < 1


def test_weights_are_published_every_few_updates(tmp_path: Path):
    published = []

    class Look(Callback):
        def on_update(self, trainer):
            if (tmp_path / "online_params.pt").is_file():
                weights = load_tensors(tmp_path / "online_params.pt")
                published.append((weights["updates"], weights["steps"]))

    trainer, _ = _trainer(tmp_path, target_steps=70, publish_every=4, callbacks=(Look(),))
    trainer.run()
    # 6 updates were made (see above): published after the fourth, when the run had 50 steps.
    assert published == [(4, 50)] * 3


def test_published_weights_load_without_running_code(tmp_path: Path):
    trainer, _ = _trainer(tmp_path, target_steps=50)
    trainer.run()
    published = load_tensors(tmp_path / "online_params.pt")
    assert published["steps"] == 50
    assert torch.equal(published["params"]["weight"], trainer.network.weight)
