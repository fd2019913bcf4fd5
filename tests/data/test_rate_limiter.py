import threading
import time

import pytest

from pokered_rl.data import RateLimiter
from pokered_rl.errors import ConfigError


def test_learner_waits_for_the_first_sequences_and_then_for_credit():
    limiter = RateLimiter(samples_per_insert=2.0, min_fill_sequences=10)
    limiter.inserted(10)
    assert not limiter.can_sample(4)  # filled, but nothing is paid for
    limiter.inserted(2)  # pays for 4 draws
    assert limiter.can_sample(4)
    limiter.sampled(4)
    assert not limiter.can_sample(1)
    assert limiter.ratio == 2.0


def test_workers_wait_only_when_the_learner_is_far_behind():
    limiter = RateLimiter(samples_per_insert=2.0, min_fill_sequences=1, slack_sequences=6.0)
    limiter.inserted(4)  # 3 pay: credit 6
    assert limiter.can_insert()
    limiter.inserted(1)  # credit 8
    assert not limiter.can_insert()
    limiter.sampled(2)
    assert limiter.can_insert()


def test_waiting_worker_is_woken_by_a_draw():
    limiter = RateLimiter(samples_per_insert=1.0, min_fill_sequences=1, slack_sequences=2.0)
    limiter.inserted(4)  # credit 3
    thread = threading.Timer(0.05, limiter.sampled, args=(1,))
    thread.start()
    start = time.monotonic()
    assert limiter.wait_until_can_insert(timeout_seconds=5)
    assert time.monotonic() - start < 2
    thread.join()
    limiter.inserted(1)
    assert not limiter.wait_until_can_insert(timeout_seconds=0.01)


def test_lost_buffer_is_refilled_before_the_next_draw_and_old_credit_is_gone():
    limiter = RateLimiter(samples_per_insert=1.0, min_fill_sequences=3, slack_sequences=2.0)
    limiter.inserted(100)
    limiter.require_refill()
    assert not limiter.can_sample(1)
    assert limiter.can_insert()
    limiter.inserted(3)
    assert limiter.can_sample(3)
    assert not limiter.can_sample(4)


def test_restored_limiter_continues():
    limiter = RateLimiter(samples_per_insert=2.0, min_fill_sequences=1)
    limiter.inserted(5)
    limiter.sampled(3)
    other = RateLimiter(samples_per_insert=2.0, min_fill_sequences=1)
    other.load_state_dict(limiter.state_dict())
    assert other.credit == limiter.credit == 5.0
    assert other.can_sample(5)


@pytest.mark.parametrize("samples_per_insert", [1.0, 8.0])
def test_another_ratio_counts_from_now_on(samples_per_insert):
    limiter = RateLimiter(samples_per_insert=4.0, min_fill_sequences=10)
    limiter.inserted(1010)
    limiter.sampled(3990)
    other = RateLimiter(samples_per_insert=samples_per_insert, min_fill_sequences=20, slack_sequences=100)
    other.load_state_dict(limiter.state_dict())
    assert other.credit == limiter.credit == 10.0
    other.inserted(2)
    assert other.credit == 10.0 + 2 * samples_per_insert


@pytest.mark.parametrize(
    "options",
    [
        {"samples_per_insert": 0.0, "min_fill_sequences": 1},
        {"samples_per_insert": 1.0, "min_fill_sequences": 0},
        {"samples_per_insert": 4.0, "min_fill_sequences": 1, "slack_sequences": 3.0},
    ],
)
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        RateLimiter(**options)
