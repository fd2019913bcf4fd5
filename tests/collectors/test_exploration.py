import pytest
import torch

from pokered_rl.collectors import Exploration, emulator_epsilons
from pokered_rl.errors import ConfigError


def test_rates_follow_the_formula():
    # N = 3: exponents 1, 4.5, 8: 0.4, 0.4^4.5 = 0.016191..., 0.4^8 = 0.00065536.
    expected = torch.tensor([0.4, 0.4**4.5, 0.4**8])
    torch.testing.assert_close(emulator_epsilons(3), expected)


def test_single_emulator_explores_with_the_base():
    assert emulator_epsilons(1).item() == pytest.approx(0.4)


def test_every_action_is_random_during_the_warmup_of_the_whole_run():
    steps = [0]
    exploration = Exploration(torch.tensor([0.4, 0.1]), warmup_steps=100, global_steps=lambda: steps[0])
    assert exploration().tolist() == [[1.0], [1.0]]
    steps[0] = 100
    torch.testing.assert_close(exploration(), torch.tensor([[0.4], [0.1]]))


@pytest.mark.parametrize(
    "options", [{"num_emulators": 0}, {"num_emulators": 2, "base": 0.0}, {"num_emulators": 2, "alpha": -1.0}]
)
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        emulator_epsilons(**options)
