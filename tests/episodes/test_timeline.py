"""Steps that were played again after a crash count once."""

from dataclasses import replace

from pokered_rl.episodes.timeline import counted_steps, split_played_again


def _log(make_log, **header):
    log = make_log(steps=100)
    return replace(log, header=replace(log.header, **header))


def test_logs_behind_the_checkpoint_count_up_to_the_step_that_was_played_again(make_log):
    # Job 1 played 0..300 on an emulator; its checkpoint was taken at step 150. Job 2 went on from there.
    first = [_log(make_log, job=1, history=(1, 0), history_steps=at) for at in (0, 100, 200)]
    second = [_log(make_log, job=2, history=(1, 0), history_steps=at) for at in (150, 250)]
    assert counted_steps([*first, *second]) == [100, 50, 0, 100, 100]
    whole, again = split_played_again([*first, *second])
    assert (whole, again) == ([first[0], *second], first[1:])


def test_a_third_job_turns_the_second_back(make_log):
    logs = [
        _log(make_log, job=1, history=(1, 0), history_steps=0),
        _log(make_log, job=2, history=(1, 0), history_steps=100),
        _log(make_log, job=3, history=(1, 0), history_steps=50),
    ]
    assert counted_steps(logs) == [50, 0, 100]


def test_another_emulator_or_run_is_left_alone(make_log):
    logs = [
        _log(make_log, job=1, history=(1, 0), history_steps=100),
        _log(make_log, job=2, history=(1, 0), history_steps=0, emulator=9, job_global_step=9000),
        _log(make_log, job=2, history=(1, 0), history_steps=0, run_name="other"),
    ]
    assert counted_steps(logs) == [100, 100, 100]


def test_a_worker_that_was_replaced_within_a_job_takes_nothing_back(make_log):
    logs = [
        _log(make_log, job=1, history=(1, 0), history_steps=0),
        _log(make_log, job=1, attempt=1, history=(1, 1), history_steps=0),
    ]
    assert counted_steps(logs) == [100, 100]


def test_job_without_the_state_of_an_emulator_takes_back_what_began_after_its_checkpoint(make_log):
    # Job 2 has another number of workers and began at global step 1000.
    logs = [
        _log(make_log, job=1, history=(1, 0), global_step=500),
        _log(make_log, job=1, history=(1, 0), global_step=1500, history_steps=100),
        _log(make_log, job=2, worker=7, history=(2, 1), global_step=1000, job_global_step=1000),
    ]
    assert counted_steps(logs) == [100, 0, 100]


def test_logs_that_do_not_name_their_job_count(make_log):
    assert counted_steps([make_log(steps=100), make_log(steps=30)]) == [100, 30]
