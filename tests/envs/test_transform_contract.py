"""The contract of every transform, tested on all of them."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torchrl.data import Bounded, Categorical, Composite
from torchrl.envs import Compose, TransformedEnv

from pokered_rl.envs import (
    AffordanceMask,
    ContextFeatures,
    GameStateReader,
    LastActionReward,
    MapMemory,
    PokemonRedEnv,
    RewardTerms,
    required_layout,
)
from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.rewards import REWARD_TERMS, make_terms
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.game import FULL_LAYOUT

#: All but novelty, which counts the visits of all emulators together.
_ALL_TERMS = dict.fromkeys(REWARD_TERMS, 1.0) | {"novelty": 0.0}
_GOALS = [{"name": "far", "region": ["PALLET_TOWN", 8, 0, 20, 20]}]

MAKERS: dict[str, Callable[..., torch.nn.Module]] = {
    "GameStateReader": GameStateReader,
    "AffordanceMask": AffordanceMask,
    "MapMemory": MapMemory,
    "ContextFeatures": ContextFeatures,
    "RewardTerms": lambda **k: RewardTerms(terms=make_terms(weights=_ALL_TERMS, goals=_GOALS), **k),
    "LastActionReward": LastActionReward,
}


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Callable[..., torch.nn.Module]:
    return MAKERS[request.param]


@pytest.fixture
def walk(overworld, start_menu) -> Callable[[int], list[torch.Tensor]]:
    """A walk of eight steps from column ``x`` on, with the START menu opened twice in it."""

    def images(x: int) -> list[torch.Tensor]:
        steps = [overworld(wXCoord=x + k, wObtainedBadges=(1 << k) - 1 if k > 5 else 0) for k in range(8)]
        steps[3] = start_menu(wXCoord=x + 2)
        steps[4] = start_menu(wXCoord=x + 2)
        return steps

    return images


def _run(transform, frames: list[list[torch.Tensor]], first: int = 0) -> list[TensorDict]:
    """Feeds step after step of several emulators; the action cycles through the set."""
    out = []
    for k, images in enumerate(frames):
        n = len(images)
        td = TensorDict(
            {
                "ram": torch.stack(images),
                "action": torch.full((n,), (first + k) % 8),
                "reward": torch.full((n, 1), 0.25 * (first + k)),
            },
            batch_size=[n],
        )
        out.append(transform(td).clone())
    return out


def _outputs(td: TensorDict) -> dict[str, torch.Tensor]:
    flat = td.exclude("ram", "action", "is_init").flatten_keys(".")
    return dict(flat.items())


def _assert_same(left: TensorDict, right: TensorDict) -> None:
    assert _outputs(left).keys() == _outputs(right).keys()
    for key, value in _outputs(left).items():
        torch.testing.assert_close(_outputs(right)[key], value, rtol=0, atol=0, msg=key)


def test_outputs_lie_in_the_declared_specs(make, walk):
    transform = make()
    spec = Composite(ram=Bounded(0, 255, shape=(2, FULL_LAYOUT.size), dtype=torch.uint8), shape=(2,))
    spec = transform.transform_observation_spec(spec)
    del spec["ram"]
    for td in _run(transform, [[a, b] for a, b in zip(walk(1), walk(7), strict=True)]):
        assert spec.is_in(td.select(*spec.keys(True, True))), transform
        assert set(spec.keys(True, True)) == set(td.select(*spec.keys(True, True)).keys(True, True))


def test_a_batch_of_64_gives_what_64_batches_of_one_give(make, walk):
    walks = [walk(index % 12) for index in range(64)]
    together = _run(make(), [[images[k] for images in walks] for k in range(8)])
    for index in (0, 11, 63):
        alone = _run(make(), [[image] for image in walks[index]])
        for k in range(8):
            _assert_same(together[k][index : index + 1], alone[k])


def test_works_without_a_batch_dimension(make, walk):
    transform, reference = make(), make()
    expected = _run(reference, [[image] for image in walk(3)])
    for k, image in enumerate(walk(3)):
        td = TensorDict({"ram": image, "action": torch.tensor(k % 8), "reward": torch.tensor([0.25 * k])}, [])
        _assert_same(transform(td).unsqueeze(0), expected[k])


def test_reset_of_one_emulator_leaves_the_other_undisturbed(make, walk):
    left, right = walk(1), walk(6)
    frames = [[a, b] for a, b in zip(left, right, strict=True)]
    undisturbed = _run(make(), frames)
    transform = make()
    _run(transform, frames[:5])
    mask = torch.tensor([[False], [True]])
    reset = TensorDict({"ram": torch.stack([left[4], right[0]])}, [2])
    out = transform._reset(TensorDict({"_reset": mask}, [2]), reset)
    fresh = _run(make(), [[right[0]]])[0]
    for key, value in _outputs(out).items():
        if key in _outputs(fresh) and key not in ("reward", "last_reward", "last_action"):
            torch.testing.assert_close(value[1:], _outputs(fresh)[key], rtol=0, atol=0, msg=key)
    after = _run(transform, [[a, right[0]] for a in left[5:]], first=5)
    for k in range(3):
        _assert_same(after[k][:1], undisturbed[5 + k][:1])


def test_reads_and_writes_the_keys_it_is_given(make, walk):
    """Each default key is replaced by a nested one, by position."""
    plain = make()
    renamed = make(
        in_keys=[("console", key) for key in plain.IN_KEYS], out_keys=[("agent", key) for key in plain.OUT_KEYS]
    )
    assert renamed.in_keys == [("console", key) for key in plain.IN_KEYS]
    assert renamed.out_keys == [("agent", key) for key in plain.OUT_KEYS]
    for k, image in enumerate(walk(2)):
        entries = {"ram": image[None], "action": torch.tensor([k % 8]), "reward": torch.tensor([[0.5]])}
        td = plain(TensorDict(entries, [1]))
        nested = renamed(TensorDict({"console": entries}, [1]))
        for key in plain.OUT_KEYS:
            expected = TensorDict({"out": td[key]}, [1])
            _assert_same(TensorDict({"out": nested["agent", key]}, [1]), expected)


@pytest.mark.parametrize("keys", ["in_keys", "out_keys"])
def test_keys_in_another_number_than_the_default_are_refused(make, keys):
    with pytest.raises(ConfigError, match=f"{keys} must replace"):
        make(**{keys: ["one", "two", "three", "four", "five"]})


def test_state_dict_restores_and_continues_identically(make, walk):
    frames = [[a, b] for a, b in zip(walk(1), walk(6), strict=True)]
    expected = _run(make(), frames)
    first = make()
    _run(first, frames[:4])
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second = make()
    second.load_state_dict(torch.load(buffer, weights_only=True))
    for k, td in enumerate(_run(second, frames[4:], first=4)):
        _assert_same(td, expected[4 + k])


def test_the_memory_of_one_emulator_continues_in_another_environment(make, walk):
    """As an archive of states does it: the episode begins in the same state, with the memory of its first part."""
    transform = make()
    if isinstance(transform, LastActionReward):
        pytest.skip("has no memory")
    expected = _run(make(), [[image] for image in walk(1)])
    _run(transform, [[image] for image in walk(1)[:5]])
    buffer = io.BytesIO()
    torch.save(transform.emulator_state(0), buffer)
    buffer.seek(0)
    other = make()
    _run(other, [[a, b] for a, b in zip(walk(6)[:3], walk(9)[:3], strict=True)])
    td = TensorDict({"ram": torch.stack([walk(6)[3], walk(1)[4]]), "action": torch.tensor([3, 4])}, [2])
    other(td.set("is_init", torch.tensor([[False], [True]])))
    other.load_emulator_state(1, torch.load(buffer, weights_only=True))
    after = _run(other, [[a, b] for a, b in zip(walk(6)[4:7], walk(1)[5:], strict=True)], first=5)
    for k in range(3):
        _assert_same(after[k][1:], expected[5 + k])


def test_inputs_are_not_written_to(make, walk):
    image = walk(2)[0][None]
    before = image.clone()
    make()(TensorDict({"ram": image, "action": torch.tensor([0]), "reward": torch.zeros(1, 1)}, [1]))
    assert torch.equal(image, before)


def test_outputs_of_one_step_are_not_changed_by_the_next(make, walk):
    transform = make()
    frames = [[a, b] for a, b in zip(walk(1), walk(6), strict=True)]
    kept = []
    for k, images in enumerate(frames):
        td = TensorDict(
            {"ram": torch.stack(images), "action": torch.full((2,), k % 8), "reward": torch.zeros(2, 1)}, [2]
        )
        out = transform(td)
        kept.append((out, out.clone()))
    for out, copy in kept:
        _assert_same(out, copy)


def test_a_declared_layout_gives_what_the_full_image_gives(make, walk):
    full = make()
    layout = required_layout([full])
    if not layout.ranges:
        pytest.skip("reads no memory")
    columns = torch.cat([torch.arange(FULL_LAYOUT.column(a), FULL_LAYOUT.column(a) + b - a) for a, b in layout.ranges])
    narrow = make(ram_layout=layout)
    frames = [[a, b] for a, b in zip(walk(1), walk(6), strict=True)]
    expected = _run(full, frames)
    small = _run(narrow, [[image[columns] for image in images] for images in frames])
    for left, right in zip(expected, small, strict=True):
        _assert_same(left, right)


def test_missing_memory_is_named(make):
    transform = make()
    if isinstance(transform, LastActionReward):
        pytest.skip("reads no memory")
    with pytest.raises(KeyError, match="ram"):
        transform(TensorDict({"reward": torch.zeros(1, 1)}, [1]))


def test_attached_to_an_environment_it_passes_its_check(make, sprout, start):
    from torchrl.envs.utils import check_env_specs

    env = TransformedEnv(PokemonRedEnv(sprout, num_emulators=2, start_states=start), Compose(make()))
    try:
        check_env_specs(env)
        assert isinstance(env.action_spec, Categorical)
    finally:
        env.close()


def test_memory_that_another_version_saved_is_refused_by_name():
    class Memory(EmulatorMemory):
        def __init__(self) -> None:
            self.steps = np.zeros(2, np.int64)

    memory = Memory()
    with pytest.raises(CheckpointError, match=r"has no 'steps': another version of pokered_rl wrote it; go on with"):
        memory.load_state_dict({})
