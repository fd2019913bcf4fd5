import time

import pytest

from pokered_rl.emulator import measure_frame_us


def test_a_frame_takes_some_microseconds():
    # CPU time, so that a busy machine disturbs little: 20 to 100 on the machines that were seen.
    assert 2 < measure_frame_us(processes=1, seconds=0.1, clock=time.thread_time) < 2_000


def test_processes_that_are_not_done_in_time_are_an_error():
    with pytest.raises(TimeoutError, match="3 processes did not emulate within"):
        measure_frame_us(processes=3, timeout_seconds=0.01)


def test_a_process_that_fails_is_an_error_at_once():
    with pytest.raises(EOFError):
        measure_frame_us(processes=0)
