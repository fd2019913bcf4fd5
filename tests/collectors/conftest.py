import pytest
import torch

from counting_world import CountingPolicy, make_counting_env


@pytest.fixture
def counting_policy():
    return CountingPolicy()


@pytest.fixture
def counting_env():
    return make_counting_env


@pytest.fixture(autouse=True)
def _few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)
