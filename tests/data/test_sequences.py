import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pokered_rl.data import SequenceBuilder, SequenceLayout
from pokered_rl.data.rollouts import compact_rollout
from pokered_rl.errors import ConfigError

KEYS = {"observation_keys": ("pixels", "action_mask"), "state_keys": ("recurrent_state_h", "recurrent_state_c")}


def slow_sequences(stream, e, n, steps, ended, layout):
    """The rows of every sequence of an episode of which `steps` steps are known, written with loops."""
    burn_in, unroll, n_step, period = (
        layout.burn_in_steps,
        layout.unroll_steps,
        layout.n_step,
        layout.period_steps,
    )
    result = {}
    s = 0
    while (s * period < steps) if ended else (s * period + unroll + n_step <= steps):
        start = s * period
        rows = []
        for r in range(burn_in + unroll + n_step):
            t = start - burn_in + r
            real = 0 <= t <= (steps if ended else steps - 1) and (start >= burn_in or t >= start)
            transition = real and t < steps
            final = transition and ended and t == steps - 1
            rows.append(
                {
                    "pixels": stream.observation(e, n, t) if real else torch.zeros(3),
                    "action_mask": stream.mask(t) if real else torch.zeros(3, dtype=torch.bool),
                    "action": t % 3 if transition else 0,
                    "reward": float(t + 1) if transition else 0.0,
                    "mask": transition,
                    "is_init": transition and t == 0,
                    "terminated": final and steps % 2 == 0,
                    "truncated": final and steps % 2 == 1,
                }
            )
        first = start - burn_in if start >= burn_in else start
        result[s] = (rows, stream.state(e, n, first))
        s += 1
    return result


def identity(sequence, layout):
    """(emulator, episode, number) of one stored sequence, read from its first loss row."""
    e, n, t = sequence["pixels"][layout.burn_in_steps].int().tolist()
    return e, n, t // layout.period_steps


def collect(stream, builder, batch_lengths):
    found = []
    for time in batch_lengths:
        found += list(builder.extend(stream.batch(time)).unbind(0))
    return found


layouts = st.builds(
    lambda burn_in, unroll, n_step, period: SequenceLayout(
        burn_in_steps=burn_in, unroll_steps=unroll, n_step=n_step, period_steps=min(period, unroll)
    ),
    st.integers(0, 7),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 6),
)
slow_settings = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class TestProperties:
    @slow_settings
    @given(
        layout=layouts,
        lengths=st.lists(st.lists(st.integers(1, 25), min_size=30, max_size=30), min_size=1, max_size=3),
        batch_lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    )
    def test_sequences_equal_the_slow_definition(self, rollout_stream, layout, lengths, batch_lengths):
        # 30 episodes of >= 1 step per emulator outlast 6 batches of 12 steps? No: 30 < 72, so the last one is long.
        lengths = [[*row, 1000] for row in lengths]
        stream = rollout_stream(lengths)
        builder = SequenceBuilder(layout=layout, **KEYS)
        found = {}
        for sequence in collect(stream, builder, batch_lengths):
            key = identity(sequence, layout)
            assert key not in found, "a sequence was sent twice"
            found[key] = sequence

        expected = {}
        for e, row in enumerate(lengths):
            n, t = stream.at[e]
            for episode in range(n):
                for s, value in slow_sequences(stream, e, episode, row[episode], True, layout).items():
                    expected[e, episode, s] = value
            for s, value in slow_sequences(stream, e, n, t, False, layout).items():
                expected[e, n, s] = value
        assert found.keys() == expected.keys()
        for key, (rows, state) in expected.items():
            sequence = found[key]
            for name in rows[0]:
                wanted = torch.stack([torch.as_tensor(row[name]) for row in rows])
                assert torch.equal(sequence[name].to(wanted.dtype), wanted), (key, name)
            assert torch.equal(sequence["recurrent_state_h"], state)
            assert torch.equal(sequence["recurrent_state_c"], -state)

    @slow_settings
    @given(
        unroll=st.integers(1, 7),
        burn_in=st.integers(0, 9),
        n_step=st.integers(1, 4),
        lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
        time=st.integers(1, 11),
    )
    def test_every_step_gets_a_loss_exactly_once_when_the_period_is_the_unroll(
        self, rollout_stream, unroll, burn_in, n_step, lengths, time
    ):
        layout = SequenceLayout(burn_in_steps=burn_in, unroll_steps=unroll, n_step=n_step)
        stream = rollout_stream([[*lengths, 1000]])
        builder = SequenceBuilder(layout=layout, **KEYS)
        batches = -(-sum(lengths) // time)
        losses: dict[tuple[int, int], int] = {}
        for sequence in collect(stream, builder, [time] * batches):
            rows = slice(burn_in, burn_in + unroll)
            for pixels, real in zip(sequence["pixels"][rows], sequence["mask"][rows], strict=True):
                if real:
                    step = (int(pixels[1]), int(pixels[2]))
                    losses[step] = losses.get(step, 0) + 1
        complete = {(n, t) for n, length in enumerate(lengths) for t in range(length)}
        assert {step for step in losses if step[0] < len(lengths)} == complete
        assert set(losses.values()) == {1}

    def test_open_episodes_of_a_version_that_kept_more_of_a_step_go_on(self, rollout_stream):
        layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=1)
        stream, builder = rollout_stream([[50]]), SequenceBuilder(layout=layout, **KEYS)
        builder.extend(stream.batch(9))
        state = builder.state_dict()
        state["open"]["steps"]["is_random"] = torch.zeros_like(state["open"]["steps"]["is_init"])
        continued = SequenceBuilder(layout=layout, **KEYS)
        continued.load_state_dict(state)
        batch = stream.batch(9)
        expected, found = builder.extend(batch.clone()), continued.extend(batch)
        assert len(found)
        assert set(found.keys(True, True)) == set(expected.keys(True, True))
        for key, value in expected.items(True, True):
            assert torch.equal(found[key], value)

    @slow_settings
    @given(
        layout=layouts,
        lengths=st.lists(st.integers(1, 25), min_size=3, max_size=3),
        before=st.integers(1, 40),
        after=st.integers(1, 40),
    )
    def test_saved_and_restored_builder_continues_identically(self, rollout_stream, layout, lengths, before, after):
        stream = rollout_stream([[*lengths, 1000], [*lengths[::-1], 1000]])
        builder = SequenceBuilder(layout=layout, **KEYS)
        builder.extend(stream.batch(before))
        saved = copy.deepcopy(builder.state_dict())
        following = stream.batch(after)
        expected = builder.extend(following)
        restored = SequenceBuilder(layout=layout, **KEYS)
        restored.load_state_dict(saved)
        found = restored.extend(following)
        assert found.batch_size == expected.batch_size
        assert (found == expected).all()
        assert restored.steps_lost == builder.steps_lost


class TestByHand:
    # burn_in 2, unroll 4, n_step 2: L = 8. An episode of 6 steps gives sequences with loss on 0..3 and on 4..5.
    layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)

    def build(self, rollout_stream, lengths, time, **options):
        stream = rollout_stream(lengths)
        return SequenceBuilder(layout=self.layout, **KEYS, **options).extend(stream.batch(time))

    def test_first_sequence_has_padded_burn_in_and_zero_state(self, rollout_stream):
        first, second = self.build(rollout_stream, [[6, 99]], 6)
        assert first["mask"].tolist() == [False, False, True, True, True, True, True, True]
        assert first["recurrent_state_h"].item() == 0
        # Second: burn-in steps 2, 3; loss steps 4, 5; row 4 is the final observation 6; padding behind it.
        assert second["pixels"][:, 2].tolist() == [2, 3, 4, 5, 6, 0, 0, 0]
        assert second["mask"].tolist() == [True] * 4 + [False] * 4
        assert second["terminated"].tolist() == [False] * 3 + [True] + [False] * 4
        assert second["recurrent_state_h"].item() == 2  # state before step 2, its first row

    def test_open_episode_is_sent_as_soon_as_its_successors_are_known(self, rollout_stream):
        stream = rollout_stream([[99]])
        builder = SequenceBuilder(layout=self.layout, **KEYS)
        assert builder.extend(stream.batch(5)).batch_size[0] == 0
        assert builder.extend(stream.batch(1)).batch_size[0] == 1  # steps 0..5 = 4 loss rows + 2 successors

    def test_final_observation_keeps_its_action_mask(self, rollout_stream):
        (sequence,) = self.build(rollout_stream, [[3, 99]], 3)
        # Row 5 (burn-in 2 + 3 steps) holds observation 3, whose mask is (3 even? no, True, 3 % 3 == 0).
        assert sequence["pixels"][5, 2] == 3
        assert sequence["action_mask"][5].tolist() == [False, True, True]
        assert not sequence["mask"][5]

    def test_priority_is_the_workers_own_n_step_error(self, rollout_stream):
        # Values at step t: [0.1 t, 0.2 t, 0.3 t] (n = e = 0), actions t % 3, rewards t + 1, gamma 0.5, no rescaling.
        # Episode of 3 steps, truncated. Greedy values under the masks: t=0 (T,T,T) 0; t=1 (F,T,F) 0.2; t=2 (T,T,F) 0.4.
        # n_step 2: target_0 = 1 + 0.5 * 2 + 0.25 * V(2) = 2.1; target_1 = 2 + 0.5 * 3 + 0.25 * V(3), V(3) stands in as
        # V(2) = 0.4: 3.6; target_2 = 3 + 0.5 * 0.4 = 3.2. Taken: Q0(0) = 0, Q1(1) = 0.2, Q2(2) = 0.6.
        # Errors 2.1, 3.4, 2.6: 0.9 * 3.4 + 0.1 * 2.7 = 3.33.
        (sequence,) = self.build(rollout_stream, [[3, 99]], 3, gamma=0.5, rescale_eps=None)
        assert sequence["td_error"].item() == pytest.approx(3.33, rel=1e-5)

    def test_terminated_episode_has_no_bootstrap_in_its_priority(self, rollout_stream):
        # 2 steps: target_0 = 1 + 0.5 * 2 = 2, target_1 = 2; taken 0 and 0.2; errors 2 and 1.8: 0.9 * 2 + 0.1 * 1.9.
        (sequence,) = self.build(rollout_stream, [[2, 99]], 2, gamma=0.5, rescale_eps=None)
        assert sequence["td_error"].item() == pytest.approx(1.99, rel=1e-5)

    def test_state_can_be_stored_in_half_precision(self, rollout_stream):
        sequences = self.build(rollout_stream, [[6, 99]], 6, state_dtype=torch.float16)
        assert sequences["recurrent_state_h"].dtype == torch.float16

    def test_is_init_inside_an_open_episode_raises(self, rollout_stream):
        stream = rollout_stream([[99]])
        builder = SequenceBuilder(layout=self.layout, **KEYS)
        batch = stream.batch(4)
        batch["is_init"][0, 2] = True
        with pytest.raises(ValueError, match="cross an episode"):
            builder.extend(batch)

    def test_is_init_at_the_first_row_of_a_following_batch_raises(self, rollout_stream):
        stream = rollout_stream([[99]])
        builder = SequenceBuilder(layout=self.layout, **KEYS)
        builder.extend(stream.batch(4))
        with pytest.raises(ValueError, match="episode is open"):
            builder.extend(rollout_stream([[99]]).batch(4))

    def test_lost_batch_is_noticed(self, rollout_stream):
        stream = rollout_stream([[99]])
        builder = SequenceBuilder(layout=self.layout, **KEYS)
        builder.extend(stream.batch(4))
        stream.batch(3)
        with pytest.raises(ValueError, match="begins at step 7 of its episode, step 4 was expected"):
            builder.extend(stream.batch(4))

    def test_missing_is_init_after_a_done_step_raises(self, rollout_stream):
        stream = rollout_stream([[2, 99]])
        batch = stream.batch(4)
        batch["is_init"][0, 2] = False
        with pytest.raises(ValueError, match="cross an episode"):
            SequenceBuilder(layout=self.layout, **KEYS).extend(batch)

    def test_done_without_its_final_observation_raises(self, rollout_stream):
        batch = rollout_stream([[2, 99]]).batch(4)
        del batch["next", "pixels"]
        with pytest.raises(ConfigError, match="final observation"):
            SequenceBuilder(layout=self.layout, **KEYS).extend(batch)

    def test_done_that_is_neither_terminated_nor_truncated_counts_as_truncated(self, rollout_stream):
        batch = rollout_stream([[2, 99]]).batch(2)
        batch["next", "terminated"][:] = False
        (sequence,) = SequenceBuilder(layout=self.layout, **KEYS).extend(batch)
        assert sequence["truncated"].nonzero().flatten().tolist() == [3]

    def test_network_without_memory_has_sequences_without_state(self, rollout_stream):
        stream = rollout_stream([[6, 99]])
        builder = SequenceBuilder(layout=self.layout, observation_keys=("pixels",), state_keys=())
        sequences = builder.extend(stream.batch(6))
        assert sequences.batch_size[0] == 2
        assert sequences.get("recurrent_state_h", None) is None

    def test_state_of_the_first_loss_row_can_be_kept_too(self, rollout_stream):
        layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2, unroll_state=True)
        stream = rollout_stream([[10, 99]])
        sequences = SequenceBuilder(layout=layout, **KEYS).extend(stream.batch(10))
        # Loss on 0..3 (burn-in padded), 4..7 (burn-in from 2) and 8..9 (from 6).
        assert sequences["recurrent_state_h"].flatten().tolist() == [0, 2, 6]
        assert sequences["unroll_state", "recurrent_state_h"].flatten().tolist() == [0, 4, 8]


class TestLostWorker:
    layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)

    @pytest.mark.parametrize(("period_steps", "unsent"), [(4, 9 - 4), (2, 9 - 6)])
    def test_steps_without_a_loss_in_a_returned_sequence_are_counted(self, rollout_stream, period_steps, unsent):
        layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2, period_steps=period_steps)
        builder = SequenceBuilder(layout=layout, **KEYS)
        assert builder.unsent == (0, 0)
        # Nine steps of emulator 0 are known: of period 4 the loss of 0..3 is complete, of period 2 that of 2..5, too.
        # Of emulator 1 only the episode that ended is returned, and step 0 of the next is known.
        builder.extend(rollout_stream([[99], [8, 99]]).batch(9))
        assert builder.unsent == (2, unsent + 1)

    def test_episode_in_progress_is_joined_at_its_next_stored_state(self, rollout_stream):
        stream = rollout_stream([[99]])
        stream.batch(3)  # steps 0..2 went to somebody else
        builder = SequenceBuilder(layout=self.layout, **KEYS)
        (sequence,) = builder.extend(stream.batch(11))  # steps 3..13
        # Sequence 1 would need its burn-in from step 2; sequence 2 has it from step 6, its loss is on 8..11.
        assert sequence["pixels"][:, 2].tolist() == list(range(6, 14))
        assert sequence["recurrent_state_h"].item() == 6
        assert builder.steps_lost == 5  # steps 3..7

    def test_joined_episode_that_ends_early_loses_only_what_it_had(self, rollout_stream):
        stream = rollout_stream([[6, 99]])
        stream.batch(3)
        builder = SequenceBuilder(layout=self.layout, **KEYS)
        assert builder.extend(stream.batch(3)).batch_size[0] == 0
        assert builder.steps_lost == 3


class TestSendEpisodes:
    layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)

    def test_sequences_wait_for_the_end_of_their_episode(self, rollout_stream):
        stream = rollout_stream([[9, 99]])
        builder = SequenceBuilder(layout=self.layout, send="episodes", **KEYS)
        assert builder.extend(stream.batch(8)).batch_size[0] == 0
        restored = SequenceBuilder(layout=self.layout, send="episodes", **KEYS)
        restored.load_state_dict(builder.state_dict())
        sequences = restored.extend(stream.batch(1))
        assert [identity(item, self.layout) for item in sequences.unbind(0)] == [(0, 0, 0), (0, 0, 1), (0, 0, 2)]

    def test_open_episodes_are_lost_whole(self, rollout_stream):
        builder = SequenceBuilder(layout=self.layout, send="episodes", **KEYS)
        builder.extend(rollout_stream([[99], [3, 99]]).batch(10))  # emulator 1: 3 steps done, 7 open
        assert builder.unsent == (2, 10 + 7)


class TestCompactRollout:
    layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)

    def test_states_are_kept_only_where_a_sequence_can_start(self, rollout_stream):
        batch = rollout_stream([[99]]).batch(12)
        compact = compact_rollout(batch, layout=self.layout, **KEYS)
        # Step 0 (padded burn-in), and burn-in starts 4 s - 2 = 2, 6, 10.
        assert compact["state_index"].tolist() == [0, 2, 6, 10]


class TestLayout:
    @pytest.mark.parametrize(
        ("field", "value"),
        [("burn_in_steps", -1), ("unroll_steps", 0), ("n_step", 0), ("period_steps", 0), ("period_steps", 5)],
    )
    def test_lengths_out_of_range_are_refused(self, field, value):
        lengths = {"burn_in_steps": 2, "unroll_steps": 4, "n_step": 1} | {field: value}
        with pytest.raises(ConfigError, match=field):
            SequenceLayout(**lengths)

    def test_defaults_of_the_mission_give_125_rows(self):
        assert SequenceLayout(burn_in_steps=40, unroll_steps=80, n_step=5).length == 125

    @given(st.integers(0, 9), st.integers(1, 8))
    def test_every_sequence_start_is_a_state_step(self, burn_in, period):
        layout = SequenceLayout(burn_in_steps=burn_in, unroll_steps=period, n_step=1)
        first = layout.first_real_step(torch.arange(10))
        assert layout.is_state_step(first).all()
        assert np.all(first.numpy() >= 0)
