"""What a GPU computes is what the CPU computes; POKERED_CUDA_TESTS=cpu tries these tests on the CPU.

pytest -m cuda
"""

import copy
import os
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from tensordict import TensorDict

from pokered_rl.modules import R2D2Network
from pokered_rl.objectives import R2D2Loss
from pokered_rl.training.learner import Learner, LearnerError, make_target_updater

TRIED_ON_CPU = os.environ.get("POKERED_CUDA_TESTS") == "cpu"
DEVICE = torch.device("cpu" if TRIED_ON_CPU else "cuda")
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not (TRIED_ON_CPU or torch.cuda.is_available()), reason="needs a GPU"),
]

BATCH, BURN_IN, UNROLL, N_STEP = 4, 4, 8, 2
LENGTH = BURN_IN + UNROLL + N_STEP
ACTIONS, CONTEXT, HIDDEN = 5, 7, 16


@pytest.fixture(autouse=True)
def _exact_products():
    # TF32 rounds to 10 bits of mantissa, which is not what is compared here.
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def make_network() -> R2D2Network:
    """A network without noise, which every device would draw in its own way."""
    torch.manual_seed(0)
    return R2D2Network(
        num_actions=ACTIONS, size="tiny", hidden_size=HIDDEN, num_quantiles=5, context_size=CONTEXT, noise_std=0.0
    )


def make_batch() -> TensorDict:
    g = torch.Generator().manual_seed(0)

    def values(*shape: int) -> torch.Tensor:
        return torch.randn(BATCH, *shape, generator=g)

    flags = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    state = {key: values(HIDDEN) for key in ("recurrent_state_h", "recurrent_state_c")}
    return TensorDict(
        {
            "pixels": torch.randint(0, 256, (BATCH, LENGTH, 72, 20), dtype=torch.uint8, generator=g),
            "map_memory": torch.randint(0, 4, (BATCH, LENGTH, 2, 21, 21), dtype=torch.uint8, generator=g),
            "context": values(LENGTH, CONTEXT),
            "last_action": torch.randint(0, ACTIONS + 1, (BATCH, LENGTH), generator=g),
            "last_reward": values(LENGTH, 1),
            "action": torch.randint(0, ACTIONS, (BATCH, LENGTH), generator=g),
            "reward": values(LENGTH),
            "terminated": flags,
            "truncated": flags.clone(),
            "mask": ~flags,
            "priority_weight": torch.ones(BATCH),
            **state,
            "unroll_state": TensorDict({key: value.clone() for key, value in state.items()}, [BATCH]),
        },
        batch_size=[BATCH],
    )


class Replay:
    """Draws the same batch each time."""

    def __init__(self) -> None:
        self.priorities: list[torch.Tensor] = []
        self.draws = 0

    def sample(self, batch_size: int) -> TensorDict:
        self.draws += 1
        return make_batch().set("index", torch.arange(batch_size))

    def update_tensordict_priority(self, data: TensorDict) -> None:
        self.priorities.append(data["td_error"].clone())


def make_loss(device: torch.device, **changes) -> R2D2Loss:
    return R2D2Loss(make_network(), burn_in_steps=BURN_IN, n_step=N_STEP, log_delta_q=True, **changes).to(device)


def make_learner(
    device: torch.device,
    *,
    autocast: bool = False,
    read_late: bool | None = None,
    cuda_graph: bool = False,
    replay: "Replay | None" = None,
    loss: torch.nn.Module | None = None,
    schedule: Callable[[int], float] | None = None,
) -> Learner:
    loss = make_loss(device) if loss is None else loss
    return Learner(
        loss=loss,
        # A large epsilon: where a gradient is nearly zero, Adam would otherwise enlarge differences of rounding.
        optimizer=torch.optim.Adam(loss.parameters(), lr=1e-3, eps=1e-3, fused=True, capturable=device.type == "cuda"),
        target_updater=make_target_updater(loss, hard_interval=3),
        replay=replay or Replay(),
        batch_size=BATCH,
        max_grad_norm=40.0,
        device=device,
        autocast=autocast,
        read_late=read_late,
        cuda_graph=cuda_graph,
        schedule=schedule,
    )


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu() for name, value in learner.loss.named_parameters()}


def assert_same_weights(first: Learner, second: Learner, **tolerance: float) -> None:
    expected = weights(second)
    for name, value in weights(first).items():
        torch.testing.assert_close(value, expected[name], **tolerance)


def test_forward_equals_that_of_the_cpu():
    network = make_network()
    with torch.no_grad():
        expected = network(make_batch())["quantiles"]
        found = copy.deepcopy(network).to(DEVICE)(make_batch().to(DEVICE))["quantiles"]
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)


def test_loss_gradient_and_priorities_equal_those_of_the_cpu():
    results = []
    for device in (DEVICE, torch.device("cpu")):
        loss, batch = make_loss(device), make_batch().to(device)
        make_target_updater(loss)
        losses = loss(batch)
        sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
        gradients = {
            f"gradient {name}": value.grad for name, value in loss.named_parameters() if value.grad is not None
        }
        results.append({**losses.to_dict(), **gradients, "priority": batch["td_error"]})
    for name, value in results[1].items():
        torch.testing.assert_close(
            results[0][name].cpu(), value, rtol=2e-3, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_updates_equal_those_of_the_cpu():
    here, there = make_learner(DEVICE), make_learner(torch.device("cpu"))
    for _ in range(4):  # across a copy of the target network
        here.step()
        there.step()
    assert_same_weights(here, there, rtol=1e-3, atol=2e-4)
    here.settle()
    torch.testing.assert_close(here._replay.priorities, there._replay.priorities, rtol=1e-2, atol=1e-3)


def test_resumed_learner_continues_as_if_nothing_had_happened():
    learner = make_learner(DEVICE)
    for _ in range(2):
        learner.step()
    resumed = make_learner(DEVICE)
    resumed.load_state_dict(learner.state_dict())
    for each in (learner, resumed):
        each.step()
        each.step()
    assert_same_weights(resumed, learner, rtol=1e-5, atol=1e-6)  # atomic additions have no order


def test_late_and_prompt_reading_take_the_same_updates():
    late, prompt = make_learner(DEVICE, read_late=True), make_learner(DEVICE, read_late=False)
    for _ in range(3):
        late.step()
        prompt.step()
    late.settle()
    assert_same_weights(late, prompt, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(late._replay.priorities, prompt._replay.priorities, rtol=1e-4, atol=1e-5)


def test_loss_under_autocast_is_near_that_of_single_precision():
    values = []
    for autocast in (True, False):
        loss, batch = make_loss(DEVICE), make_batch().to(DEVICE)
        make_target_updater(loss)
        with torch.no_grad(), torch.autocast(DEVICE.type, torch.bfloat16, enabled=autocast):
            values.append(float(loss(batch)["loss_quantile"]))
    assert values[0] == pytest.approx(values[1], rel=0.05)  # bfloat16 has 8 bits


needs_graphs = pytest.mark.skipif(DEVICE.type == "cpu", reason="there are no graphs on the CPU")


class DifferentBatches(Replay):
    """Draws another batch each time; the sixth is a shorter one, of another form."""

    def sample(self, batch_size: int) -> TensorDict:
        batch = super().sample(batch_size)
        batch["reward"] += self.draws
        return batch[:2].clone() if self.draws == 6 else batch


@needs_graphs
@pytest.mark.parametrize("schedule", [None, lambda updates: 1e-3 / (1 + updates)])
def test_update_as_a_cuda_graph_computes_the_same(schedule):
    graphed, eager = (
        make_learner(DEVICE, cuda_graph=graph, replay=DifferentBatches(), schedule=schedule) for graph in (True, False)
    )
    for _ in range(9):  # three to warm up, the recording, replays around a batch that does not fit
        graphed.step()
        eager.step()
    assert graphed._graph._recording is not None
    assert_same_weights(graphed, eager, rtol=1e-3, atol=3e-4)
    for each in (graphed, eager):
        each.settle()
    torch.testing.assert_close(graphed._replay.priorities, eager._replay.priorities, rtol=1e-2, atol=1e-3)
    means = graphed.means(), eager.means()
    assert means[0] == {name: pytest.approx(value, rel=1e-2, abs=1e-3) for name, value in means[1].items()}


@needs_graphs
def test_noise_of_a_cuda_graph_is_drawn_anew():
    torch.manual_seed(0)
    network = R2D2Network(num_actions=ACTIONS, size="tiny", hidden_size=HIDDEN, num_quantiles=5, context_size=CONTEXT)
    loss = R2D2Loss(network, burn_in_steps=BURN_IN, n_step=N_STEP).to(DEVICE)
    learner = make_learner(DEVICE, cuda_graph=True, loss=loss)
    learner.optimizer.param_groups[0]["lr"] = 0.0  # what differs between two updates is the noise
    for _ in range(8):
        learner.step()
    learner.settle()
    replayed = learner._replay.priorities[-4:]
    assert all(not torch.allclose(one, other) for one, other in pairwise(replayed))


@needs_graphs
def test_cuda_graph_resumes():
    learner = make_learner(DEVICE, cuda_graph=True)
    for _ in range(6):
        learner.step()
    resumed = make_learner(DEVICE, cuda_graph=True)
    resumed.load_state_dict(learner.state_dict())
    for each in (learner, resumed):
        for _ in range(6):
            each.step()
    assert_same_weights(resumed, learner, rtol=1e-3, atol=1e-4)


@needs_graphs
def test_gradient_that_is_not_finite_leaves_the_weights_in_a_cuda_graph():
    replay = Replay()
    learner = make_learner(DEVICE, cuda_graph=True, replay=replay)
    for _ in range(6):
        learner.step()
    learner.settle()
    before = weights(learner)
    sample = replay.sample
    replay.sample = lambda batch_size: sample(batch_size).apply(
        lambda value: value * float("nan") if value.is_floating_point() else value
    )
    learner.step()  # its report is read while the next one runs
    with pytest.raises(LearnerError, match="not finite in update 7"):
        learner.step()
    for name, value in weights(learner).items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@needs_graphs
def test_update_that_waits_for_the_device_falls_back_with_a_message():
    class Waits(R2D2Loss):
        def forward(self, tensordict):
            float(tensordict["reward"].sum())
            return super().forward(tensordict)

    loss = Waits(make_network(), burn_in_steps=BURN_IN, n_step=N_STEP).to(DEVICE)
    learner = make_learner(DEVICE, cuda_graph=True, loss=loss)
    for _ in range(3):
        learner.step()
    with pytest.warns(UserWarning, match="launched kernel by kernel"):
        learner.step()
    learner.step()
    learner.settle()
    assert len(learner._replay.priorities) == learner.updates == 5
    assert torch.rand(3, device=DEVICE).isfinite().all()  # the generator has left the recording


@needs_graphs
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_compiled_parts_compute_the_same(cuda_graph):
    loss = make_loss(DEVICE, compile_terms=True)
    loss.network.compile_parts()
    compiled, eager = make_learner(DEVICE, cuda_graph=cuda_graph, loss=loss), make_learner(DEVICE)
    for _ in range(6):
        compiled.step()
        eager.step()
    assert_same_weights(compiled, eager, rtol=1e-3, atol=2e-4)
