import warnings

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictParams
from torch import nn
from torchrl.objectives import LossModule

from pokered_rl.errors import ConfigError
from pokered_rl.training import learner as learner_module
from pokered_rl.training.learner import Learner, LearnerError, make_target_updater, snapshot


class _MeanLoss(LossModule):
    """loss_mean = scale * mean(w . x); the target network plays no part in it."""

    value_network: TensorDictModule
    value_network_params: TensorDictParams
    target_value_network_params: TensorDictParams

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        net = TensorDictModule(nn.Linear(size, 1, bias=False), in_keys=["x"], out_keys=["y"])
        self.convert_to_functional(net, "value_network", create_target_params=True)
        self.scale = 1.0

    def forward(self, batch):
        with self.value_network_params.to_module(self.value_network):
            y = self.value_network(batch.select("x"))["y"]
        batch.set("td_error", y.detach().abs().squeeze(-1))
        return TensorDict({"loss_mean": self.scale * y.mean()}, batch_size=[])

    @property
    def weight(self):
        return self.value_network_params["module", "weight"]

    @property
    def target_weight(self):
        return self.target_value_network_params["module", "weight"]


class _FixedReplay:
    def __init__(self, size: int = 4) -> None:
        self.batch = TensorDict({"x": torch.ones(2, size), "index": torch.tensor([5, 9])}, batch_size=[2])
        self.written: list[tuple[list[int], torch.Tensor]] = []

    def sample(self, batch_size: int):
        assert batch_size == 2
        return self.batch.clone()

    def update_tensordict_priority(self, data):
        self.written.append((data["index"].tolist(), data["td_error"].clone()))


def _learner(
    *,
    hard_interval: int | None = 3,
    rate: float = 1.0,
    max_grad_norm: float = 1e9,
    momentum: float = 0.0,
    halve_rate_every: int | None = None,
    diagnose=None,
    read_late: bool = False,
) -> Learner:
    torch.manual_seed(0)
    loss = _MeanLoss()
    optimizer = torch.optim.SGD(loss.parameters(), lr=rate, momentum=momentum, fused=read_late)
    return Learner(
        loss=loss,
        optimizer=optimizer,
        schedule=None if halve_rate_every is None else lambda updates: rate * 0.5 ** (updates // halve_rate_every),
        target_updater=make_target_updater(loss, hard_interval=hard_interval, tau=0.25),
        replay=_FixedReplay(),
        batch_size=2,
        max_grad_norm=max_grad_norm,
        device=torch.device("cpu"),
        diagnose=diagnose,
        read_late=read_late,
    )


def test_gradient_is_clipped_after_it_was_computed():
    # d loss / d w = x = (1, 1, 1, 1), norm 2; clipped to norm 0.5 each entry is 0.25, and SGD with rate 1 takes it.
    learner = _learner(max_grad_norm=0.5)
    before = learner.loss.weight.detach().clone()
    learner.step()
    torch.testing.assert_close(before - learner.loss.weight, torch.full((1, 4), 0.25))
    assert learner.means()["grad_norm"] == pytest.approx(2.0)


def test_priorities_of_the_sampled_sequences_are_written():
    learner = _learner()
    before = learner.loss.weight.detach().sum().abs()
    learner.step()
    ((index, priority),) = learner._replay.written
    assert index == [5, 9]
    torch.testing.assert_close(priority, before.expand(2))


def test_diagnostics_are_computed_on_request_from_the_batch_of_the_last_update():
    seen = []
    learner = _learner(diagnose=lambda batch: seen.append(batch["x"]) or {"share": 0.5})
    assert learner.diagnostics() == {}
    learner.step()
    assert seen == []
    assert learner.diagnostics() == {"share": 0.5}
    assert torch.equal(seen[0], torch.ones(2, 4))


def test_means_leave_out_what_a_batch_does_not_have():
    learner = _learner(rate=0.0)
    figures = iter([2.0, float("nan"), 4.0])
    forward = learner.loss.forward
    learner.loss.forward = lambda batch: forward(batch).set("shown", torch.tensor(next(figures)))
    for _ in range(3):
        learner.step()
    assert learner.means()["shown"] == 3.0  # of two batches
    assert learner.means() == {}


def test_hard_target_copies_exactly_every_interval_updates():
    learner = _learner(hard_interval=3)
    copied = []
    for update in range(1, 8):
        learner.step()
        if torch.equal(learner.loss.weight.data, learner.loss.target_weight.data):
            copied.append(update)
    assert copied == [3, 6]


def test_soft_target_takes_its_share_after_each_update():
    learner = _learner(hard_interval=None)
    before = learner.loss.target_weight.clone()
    learner.step()
    torch.testing.assert_close(learner.loss.target_weight, 0.75 * before + 0.25 * learner.loss.weight.detach())


def test_gradient_that_is_not_finite_never_reaches_the_weights():
    learner = _learner()
    learner.step()
    before = learner.loss.weight.detach().clone()
    learner.loss.scale = float("nan")
    with pytest.raises(LearnerError, match="not finite in update 2"):
        learner.step()
    assert torch.equal(learner.loss.weight, before)
    assert learner.updates == 1
    assert len(learner._replay.written) == 1


def test_priorities_that_are_read_late_are_those_of_the_update_before():
    late, prompt = _learner(read_late=True), _learner()
    for updates in range(1, 4):
        late.step()
        prompt.step()
        assert torch.equal(late.loss.weight, prompt.loss.weight)
        assert len(late._replay.written) == updates - 1
    late.state_dict()  # a checkpoint holds the priorities of all its updates
    for (index, priority), (expected_index, expected) in zip(late._replay.written, prompt._replay.written, strict=True):
        assert index == expected_index
        assert torch.equal(priority, expected)


def test_gradient_that_is_found_late_not_to_be_finite_never_reaches_the_weights_either():
    learner = _learner(read_late=True, momentum=0.9)
    learner.step()
    learner.step()
    before = snapshot(learner.optimizer.state_dict()), learner.loss.weight.detach().clone()
    learner.loss.scale = float("nan")
    learner.step()
    assert torch.equal(learner.loss.weight, before[1])
    assert torch.equal(
        learner.state_dict()["optimizer"]["state"][0]["momentum_buffer"], before[0]["state"][0]["momentum_buffer"]
    )
    learner.loss.scale = 1.0
    with pytest.raises(LearnerError, match="not finite in update 3"):
        learner.step()
    assert torch.equal(learner.loss.weight, before[1])
    assert len(learner._replay.written) == 2


def test_reading_late_needs_an_optimizer_that_can_leave_an_update_out():
    loss = _MeanLoss()
    with pytest.raises(ConfigError, match="fused"):
        Learner(
            loss=loss,
            optimizer=torch.optim.SGD(loss.parameters(), lr=1.0),
            target_updater=make_target_updater(loss),
            replay=_FixedReplay(),
            batch_size=2,
            max_grad_norm=1.0,
            device=torch.device("cpu"),
            read_late=True,
        )


def test_a_loss_that_writes_no_priorities_is_named():
    learner = _learner()
    forward = learner.loss.forward
    learner.loss.forward = lambda batch: forward(batch.copy())
    with pytest.raises(LearnerError, match=r"_MeanLoss must write the priorities `td_error` \[B\]"):
        learner.step()


def test_running_out_of_memory_names_the_options_to_lower():
    learner = _learner()

    def explode(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    learner.loss.forward = explode
    with pytest.raises(LearnerError, match=r"learner\.batch_size \(2\)"):
        learner.step()


def test_saved_and_restored_learner_continues_identically():
    # Momentum is the optimizer's memory; the rate is halved after updates 3 and 6, on both sides of the restart.
    options = {"hard_interval": 3, "momentum": 0.9, "halve_rate_every": 3}
    straight = _learner(**options)
    for _ in range(7):
        straight.step()
    first = _learner(**options)
    for _ in range(4):
        first.step()
    state = first.state_dict()
    first.step()  # the snapshot must not move along
    second = _learner(**options)
    second.load_state_dict(state)
    for _ in range(3):
        second.step()
    assert second.updates == straight.updates == 7
    assert second.optimizer.param_groups[0]["lr"] == straight.optimizer.param_groups[0]["lr"] == 0.25
    assert torch.equal(second.loss.weight, straight.loss.weight)
    assert torch.equal(second.loss.target_weight, straight.loss.target_weight)


def test_settings_changed_between_two_jobs_take_effect():
    first = _learner(hard_interval=50, rate=1.0, momentum=0.9)
    for _ in range(30):
        first.step()
    second = _learner(hard_interval=10, rate=0.125, momentum=0.9)
    second.load_state_dict(first.state_dict())
    assert second.optimizer.param_groups[0]["lr"] == 0.125
    assert second.optimizer.state_dict()["state"], "the momentum is what was saved"
    copied = []
    for _ in range(25):
        second.step()
        if torch.equal(second.loss.weight.data, second.loss.target_weight.data):
            copied.append(second.updates)
    # The last copy is 30 updates old, so the first is due at once; from then on every ten.
    assert copied == [31, 41, 51]


def test_snapshot_shares_no_memory():
    tensor = torch.zeros(3)
    copy = snapshot({"a": [tensor, 1], "b": (tensor,)})
    tensor += 1
    assert copy["a"][0].sum() == 0
    assert copy["b"][0].sum() == 0


def test_update_that_cannot_be_recorded_is_launched_kernel_by_kernel_after_one_message(monkeypatch):
    def refuse(sampled):
        raise learner_module._NotRecordedError("it waits for the device")

    monkeypatch.setattr(learner_module, "_pinned", lambda sampled: sampled)  # there is no pinned memory here
    learner, plain = _learner(read_late=True), _learner(read_late=True)
    learner._graph = refuse
    plain.step()
    with pytest.warns(UserWarning, match=r"kernel by kernel \(it waits for the device\)"):
        learner.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.step()
    plain.step()
    assert torch.equal(learner.loss.weight, plain.loss.weight)
