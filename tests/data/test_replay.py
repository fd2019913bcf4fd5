import json
import logging
import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

from pokered_rl.data import (
    SequenceBuilder,
    SequenceCodec,
    SequenceLayout,
    SequenceReplay,
    bytes_per_sequence,
    bytes_per_transition,
    make_replay,
    matching_sequences,
)
from pokered_rl.data import replay as replay_module
from pokered_rl.errors import CheckpointError, ConfigError

LAYOUT = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)  # L = 8
SHAPES = {"map_memory": (2, 3, 3)}


def make_sequences(size, *, priority=1.0, length=8, actions=5, context=3, seed=0):
    g = torch.Generator().manual_seed(seed)

    def flags():
        return torch.rand(size, length, generator=g) > 0.5

    return TensorDict(
        {
            "pixels": torch.randint(0, 256, (size, length, 4, 2), dtype=torch.uint8, generator=g),
            "map_memory": torch.randint(0, 4, (size, length, 2, 3, 3), dtype=torch.uint8, generator=g),
            "context": torch.randn(size, length, context, generator=g),
            "last_action": torch.randint(0, actions + 1, (size, length), generator=g),
            "last_reward": torch.randn(size, length, 1, generator=g),
            "action_mask": torch.rand(size, length, actions, generator=g) > 0.5,
            "action": torch.randint(0, actions, (size, length), generator=g),
            "reward": torch.randn(size, length, generator=g),
            "mask": flags(),
            "is_init": flags(),
            "terminated": flags(),
            "truncated": flags(),
            "recurrent_state_h": torch.randn(size, 6, generator=g),
            "recurrent_state_c": torch.randn(size, 6, generator=g),
            "td_error": torch.as_tensor(priority, dtype=torch.float32).expand(size).clone(),
        },
        batch_size=[size],
    )


def replay_in(folder, *, sequences=8, **options) -> SequenceReplay:
    options = {
        "batch_size": 4,
        "two_bit_shapes": SHAPES,
        "num_actions": 5,
        "seed": 0,
        "half_observations": (),
    } | options
    return make_replay(scratch_dir=folder, capacity_transitions=sequences * 4, layout=LAYOUT, **options)


def test_sampled_sequences_equal_the_inserted_ones(tmp_path):
    replay = replay_in(tmp_path / "sequences")
    sequences = make_sequences(8)
    replay.extend(sequences)
    sample = replay.sample()
    for key in list(sequences.keys()):
        assert torch.equal(sample[key], sequences[key][sample["index"]]), key
        assert sample[key].dtype == sequences[key].dtype


def test_codec_accepts_entries_that_the_worker_packed_already():
    codec = SequenceCodec(two_bit_shapes=SHAPES, num_actions=5)
    sequences = make_sequences(3)
    packed = codec.inv(sequences.clone())
    assert (codec.inv(packed.clone()) == packed).all()
    assert (codec(packed.clone()) == sequences).all()


def test_half_precision_entries_come_back_as_float32_within_half_precision(tmp_path):
    replay = replay_in(tmp_path / "sequences", half_observations=("context",))
    sequences = make_sequences(8)
    replay.extend(sequences)
    sample = replay.sample()
    assert sample["context"].dtype == torch.float32
    torch.testing.assert_close(sample["context"], sequences["context"][sample["index"]], rtol=2**-11, atol=1e-7)


def test_draws_follow_priority_to_the_power_of_alpha(tmp_path):
    # Priorities 1 and 3, alpha 2: 1 / 10 and 9 / 10 of the draws. 4,000 draws: sigma = 0.0047; 5 sigma = 0.024.
    replay = replay_in(tmp_path / "sequences", sequences=2, alpha=2.0)
    replay.extend(make_sequences(2, priority=[1.0, 3.0]))
    index = torch.cat([replay.sample(400)["index"] for _ in range(10)])
    assert (index == 1).float().mean().item() == pytest.approx(0.9, abs=0.024)


def test_importance_weights_are_divided_by_the_maximum_of_the_batch(tmp_path):
    # p = 1, 4, 16 (alpha 1), beta 0.5: weights 1, 1/2, 1/4 relative to the rarest *in the batch*; a further item with
    # priority 1e-6 that is not drawn must not press them down.
    replay = replay_in(tmp_path / "sequences", sequences=4, alpha=1.0, beta=0.5)
    replay.extend(make_sequences(4, priority=[1.0, 4.0, 16.0, 1e-6]))
    sample = replay.sample(64)
    assert set(sample["index"].tolist()) == {0, 1, 2}
    expected = torch.tensor([1.0, 0.5, 0.25])[sample["index"]]
    torch.testing.assert_close(sample["priority_weight"], expected, rtol=1e-4, atol=0)


def test_new_sequences_enter_with_the_workers_error(tmp_path):
    replay = replay_in(tmp_path / "sequences", sequences=2, alpha=1.0)
    replay.extend(make_sequences(2, priority=[0.01, 0.03]))
    index = torch.cat([replay.sample(400)["index"] for _ in range(10)])
    assert (index == 1).float().mean().item() == pytest.approx(0.75, abs=0.035)  # 5 sigma = 0.034


def test_new_sequences_can_enter_with_the_current_maximum(tmp_path):
    # Without the option, the sampler's initial maximum of 1.0 would let the third take 98% of the draws.
    replay = replay_in(tmp_path / "sequences", sequences=3, alpha=1.0, new_priority="maximum")
    replay.extend(make_sequences(2))
    replay.update_priority(torch.tensor([0, 1]), torch.tensor([0.01, 0.01]))
    replay.extend(make_sequences(1, priority=123.0))
    index = torch.cat([replay.sample(400)["index"] for _ in range(10)])
    assert (index == 2).float().mean().item() == pytest.approx(1 / 3, abs=0.038)


def test_priority_of_an_overwritten_sequence_is_not_given_to_its_successor(tmp_path):
    replay = replay_in(tmp_path / "sequences", sequences=2, alpha=1.0)
    replay.extend(make_sequences(2, priority=[1.0, 1.0]))
    sample = replay.sample(8)
    replay.extend(make_sequences(1, priority=1.0))  # overwrites slot 0
    sample["td_error"] = torch.where(sample["index"] == 0, 1000.0, 1.0)
    replay.update_tensordict_priority(sample)
    index = torch.cat([replay.sample(400)["index"] for _ in range(5)])
    assert (index == 0).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert replay.stale_priorities == int((sample["index"] == 0).sum()) > 0


class TestCheckpoint:
    def test_restored_replay_draws_the_same_sequences(self, tmp_path):
        replay = replay_in(tmp_path / "sequences")
        replay.extend(make_sequences(5, priority=[0.1, 0.2, 0.3, 0.4, 0.5]))
        replay.save(tmp_path / "checkpoint")
        expected = [replay.sample() for _ in range(3)]
        replay.extend(make_sequences(1, seed=7))
        restored = replay_in(tmp_path / "sequences", seed=99)
        assert restored.load(tmp_path / "checkpoint") == 0  # sequence 5 lies beyond the saved length
        assert len(restored) == 5
        for sample in expected:
            assert (restored.sample() == sample).all()
        assert restored.extend(make_sequences(1)).tolist() == [5]  # the cursor goes on where it stood

    def test_sequences_written_after_the_checkpoint_are_out_of_use_until_overwritten(self, tmp_path):
        replay = replay_in(tmp_path / "sequences", sequences=4, alpha=1.0)
        replay.extend(make_sequences(4, priority=100.0))
        replay.save(tmp_path / "checkpoint")
        replay.extend(make_sequences(2, priority=1.0, seed=1))  # slots 0 and 1; then the process is killed
        restored = replay_in(tmp_path / "sequences", sequences=4, alpha=1.0)
        assert restored.load(tmp_path / "checkpoint") == 2
        index = torch.cat([restored.sample(100)["index"] for _ in range(10)])
        assert set(index.tolist()) == {2, 3}
        assert not restored[:2]["mask"].any()
        assert restored.extend(make_sequences(2, priority=100.0, seed=2)).tolist() == [0, 1]
        index = torch.cat([restored.sample(100)["index"] for _ in range(10)])
        assert set(index.tolist()) == {0, 1, 2, 3}

    def test_sequences_of_an_older_copy_are_out_of_use_where_the_checkpoint_has_others(self, tmp_path):
        replay = replay_in(tmp_path / "sequences", sequences=4, alpha=1.0)
        replay.extend(make_sequences(3, priority=100.0))
        shutil.copytree(tmp_path / "sequences", tmp_path / "copy")
        replay.extend(make_sequences(3, priority=100.0, seed=1))  # slots 3, 0, 1
        replay.save(tmp_path / "checkpoint")
        assert matching_sequences(tmp_path / "sequences", tmp_path / "checkpoint") == 4
        assert matching_sequences(tmp_path / "copy", tmp_path / "checkpoint") == 1  # slot 2
        assert matching_sequences(tmp_path / "nowhere", tmp_path / "checkpoint") == 0
        restored = replay_in(tmp_path / "copy", sequences=4, alpha=1.0)
        assert restored.load(tmp_path / "checkpoint") == 3
        assert set(restored.sample(100)["index"].tolist()) == {2}
        assert restored.extend(make_sequences(1)).tolist() == [2]  # the cursor is that of the checkpoint

    def test_empty_replay_can_be_saved_and_loaded(self, tmp_path):
        replay_in(tmp_path / "sequences").save(tmp_path / "checkpoint")
        restored = replay_in(tmp_path / "sequences")
        restored.load(tmp_path / "checkpoint")
        assert restored.extend(make_sequences(2)).tolist() == [0, 1]

    def test_no_pickle_is_written(self, tmp_path):
        replay = replay_in(tmp_path / "sequences", prefetch=2)
        replay.extend(make_sequences(5))
        replay.sample()
        replay.save(tmp_path / "checkpoint")
        suffixes = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
        assert suffixes == {".json", ".memmap"}
        replay.shutdown()

    @pytest.mark.parametrize(
        "damage", ["sequences", "short", "description", "metadata", "priorities", "capacity", "entries"]
    )
    def test_damage_is_told_and_not_loaded(self, tmp_path, damage):
        replay = replay_in(tmp_path / "sequences")
        replay.extend(make_sequences(5))
        replay.save(tmp_path / "checkpoint")
        options = {}
        if damage == "sequences":
            shutil.rmtree(tmp_path / "sequences")
        elif damage == "short":
            os.truncate(tmp_path / "sequences" / "block.memmap", 10)
        elif damage == "description":
            os.truncate(tmp_path / "sequences" / "meta.json", 20)
        elif damage == "metadata":
            (tmp_path / "checkpoint" / "replay.json").write_text('{"format": 1,')
        elif damage == "priorities":
            shutil.rmtree(tmp_path / "checkpoint" / "sampler")
        elif damage == "capacity":
            options["sequences"] = 9
        elif damage == "entries":
            metadata = json.loads((tmp_path / "checkpoint" / "replay.json").read_text())
            metadata["entries"]["flags"][1] = "torch.float16"
            (tmp_path / "checkpoint" / "replay.json").write_text(json.dumps(metadata))
        with pytest.raises(CheckpointError):
            replay_in(tmp_path / "sequences", **options).load(tmp_path / "checkpoint")


def _marks(path):
    """Return an object whose pickle creates ``path`` when it is loaded."""

    class Marking:
        def __reduce__(self):
            return Path.touch, (path,)

    return pickle.dumps(Marking())


class TestForeignFiles:
    """A replay folder that somebody else has prepared."""

    @pytest.fixture
    def saved(self, tmp_path):
        replay = replay_in(tmp_path / "sequences")
        replay.extend(make_sequences(5))
        replay.save(tmp_path / "checkpoint")
        return tmp_path

    def load(self, saved):
        replay_in(saved / "sequences").load(saved / "checkpoint")

    @pytest.mark.parametrize("kind", ["NonTensorData", "tensordict.tensorclass.NonTensorStack", "TensorDict"])
    @pytest.mark.parametrize("in_checkpoint", [False, True])
    def test_pickle_in_an_entry_is_not_loaded(self, saved, kind, in_checkpoint):
        folder, mark = saved / "sequences", saved / "ran"
        for where, names in ((folder, ("note",)), (folder / "note", ())):
            where.mkdir(exist_ok=True)
            meta = json.loads((where / "meta.json").read_text()) if names else {}
            meta |= {name: {"type": kind} for name in names} or {"_type": "<class 'tensordict.NonTensorData'>"}
            (where / "meta.json").write_text(json.dumps(meta))
        for name in ("other.pickle", "data.pickle", "note.pickle"):
            (folder / "note" / name).write_bytes(_marks(mark))
        if in_checkpoint:
            metadata = json.loads((saved / "checkpoint" / "replay.json").read_text())
            metadata["entries"]["note"] = [[5], "torch.uint8"]
            (saved / "checkpoint" / "replay.json").write_text(json.dumps(metadata))
        if kind == "TensorDict" and not in_checkpoint:
            self.load(saved)  # a folder without entries: ignored
        else:
            with pytest.raises(CheckpointError):
                self.load(saved)
        assert not mark.exists()

    def test_class_named_in_the_description_is_not_imported(self, saved):
        meta = json.loads((saved / "sequences" / "meta.json").read_text())
        meta["_type"] = "<class 'antigravity.Anything'>"
        (saved / "sequences" / "meta.json").write_text(json.dumps(meta))
        self.load(saved)
        assert "antigravity" not in sys.modules

    @pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", "", "."])
    def test_entry_whose_name_leaves_the_folder_is_refused(self, saved, name):
        meta = json.loads((saved / "sequences" / "meta.json").read_text())
        meta[name] = meta["flags"]
        (saved / "sequences" / "meta.json").write_text(json.dumps(meta))
        with pytest.raises(CheckpointError, match="no name of an entry"):
            self.load(saved)

    @pytest.mark.parametrize("name", ["block.memmap", "flags.memmap", "meta.json"])
    def test_link_to_a_file_outside_is_refused_and_the_file_kept(self, saved, name):
        outside = saved / "outside"
        (saved / "sequences" / name).rename(outside)
        (saved / "sequences" / name).symlink_to(outside)
        before = outside.read_bytes()
        with pytest.raises(CheckpointError, match="link"):
            self.load(saved)
        assert outside.read_bytes() == before

    @pytest.mark.parametrize(
        ("file", "change", "message"),
        [
            ("replay.json", {"length": 10**12}, "do not fit"),
            ("replay.json", {"length": "5"}, "length"),
            ("replay.json", {"length": True}, "length"),
            ("replay.json", {"write_count": -1}, "write_count"),
            ("replay.json", {"write_count": 1e300}, "write_count"),
            ("replay.json", {"capacity_sequences": 0}, "do not fit"),
            ("replay.json", {"stale_priorities": []}, "stale_priorities"),
            ("replay.json", {"rng": [1, 2, 999]}, "rng"),
            ("replay.json", {"rng": "x" * 100}, "rng"),
            ("replay.json", {"run": {"a": 1}}, "run"),
            ("replay.json", {"run": "another"}, "another run"),
            ("replay.json", {"compression_level": 10**9}, "compression_level"),
            ("replay.json", {"block": {"pixels": [[10**12], "torch.uint8"]}}, "blocks"),
            ("replay.json", {"entries": [1]}, "entries"),
            ("replay.json", {"entries": {"../x": [[8], "torch.uint8"]}}, "entries"),
            ("replay.json", {"entries": {"x": [[10**15], "torch.uint8"]}}, "entries"),
            ("replay.json", {"entries": {"x": [[8], "builtins.exec"]}}, "entries"),
            ("writer/metadata.json", {"cursor": 10**9}, "cursor"),
            ("writer/metadata.json", {"cursor": None}, "cursor"),
            ("writer/metadata.json", {"generation_shape": [10**12]}, "generation_shape"),
            ("writer/metadata.json", {"generation_dtype": "none"}, "priorities"),
            ("sampler/sampler_metadata.json", {"_max_capacity": 10**12}, "priorities"),
            ("sampler/sampler_metadata.json", {"_max_priority": 7}, "priorities"),
        ],
    )
    def test_what_describes_the_priorities_is_checked_value_by_value(self, tmp_path, file, change, message):
        replay = replay_in(tmp_path / "sequences", run_id="mine")
        replay.extend(make_sequences(5))
        replay.save(tmp_path / "checkpoint")
        described = json.loads((tmp_path / "checkpoint" / file).read_text())
        (tmp_path / "checkpoint" / file).write_text(json.dumps(described | change))
        with pytest.raises(CheckpointError, match=message):
            replay_in(tmp_path / "sequences", run_id="mine").load(tmp_path / "checkpoint")

    @pytest.mark.parametrize(
        "name", ["replay.json", "writer/metadata.json", "sampler/sampler_metadata.json", "sampler/sumtree.memmap"]
    )
    @pytest.mark.parametrize("what", ["link", "pipe", "large"])
    def test_file_of_the_priorities_that_is_no_plain_one_is_refused(self, saved, name, what):
        file, outside = saved / "checkpoint" / name, saved / "outside"
        file.rename(outside)
        if what == "link":
            file.symlink_to(outside)
        elif what == "pipe":
            os.mkfifo(file)
        elif name.endswith(".json"):
            file.write_text(" " * (2 << 20) + outside.read_text())
        else:
            file.write_bytes(b"")  # too short
        with pytest.raises(CheckpointError, match=re.escape(name)):
            self.load(saved)

    def test_description_of_another_shape_is_refused_by_name(self, saved):
        meta = json.loads((saved / "sequences" / "meta.json").read_text())
        meta["flags"]["shape"][1] *= 1000
        (saved / "sequences" / "meta.json").write_text(json.dumps(meta))
        with pytest.raises(CheckpointError, match="flags"):
            self.load(saved)


class TestDisk:
    @pytest.mark.parametrize("level", [0, 1])
    def test_memory_maps_have_all_their_blocks(self, tmp_path, level):
        replay = replay_in(tmp_path / "sequences", sequences=4_000, compression_level=level)
        sequences = make_sequences(2)
        reserved = replay.allocate(sequences)
        files = list((tmp_path / "sequences").glob("*.memmap"))
        assert sum(file.stat().st_blocks * 512 for file in files) >= reserved
        assert len(replay) == 0
        assert replay.extend(sequences).tolist() == [0, 1]
        assert replay.sample()["pixels"].shape == (4, 8, 4, 2)

    @pytest.mark.parametrize(("level", "free"), [(0, 1_000_000), (1, 500_000)])
    def test_too_large_a_buffer_is_refused_with_sizes(self, tmp_path, monkeypatch, level, free):
        # 1.4 MB, 0.5 MB where the observations count a quarter.
        replay = replay_in(tmp_path / "sequences", sequences=4_000, compression_level=level)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free, 0, free))
        with pytest.raises(ConfigError, match=r"needs .* GB at .* GB are free.*capacity_transitions"):
            replay.allocate(make_sequences(1))

    def test_bytes_per_transition_counts_every_entry_and_the_overlap(self):
        # Per step (L = 8): pixels 8, map 18 cells -> 5, context 12, last action 1, last reward 4, mask 1, action 1,
        # reward 4, flags 1 = 37; x 8 = 296. Per sequence: states 2 * 24, priority 4 = 52. Sum 348.
        stored = SequenceCodec(two_bit_shapes=SHAPES, num_actions=5).inv(make_sequences(2))
        assert bytes_per_sequence(stored) == 348
        # 4 new transitions a sequence; 24 bytes of trees and write counter.
        assert bytes_per_transition(stored, LAYOUT) == (348 + 24) / 4
        # An episode of 5 steps needs 2 sequences.
        assert bytes_per_transition(stored, LAYOUT, episode_steps=5) == (348 + 24) * 2 / 5

    def test_capacity_counts_transitions(self, tmp_path):
        replay = make_replay(scratch_dir=tmp_path, capacity_transitions=10, layout=LAYOUT)
        assert replay.capacity_sequences == 3  # 4 transitions each, rounded up


def test_example_of_the_builder_fits_what_it_sends(tmp_path, rollout_stream):
    layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2, unroll_state=True)  # a nested entry, too
    builder = SequenceBuilder(layout=layout, observation_keys=("pixels", "action_mask"))
    stream = rollout_stream([[6, 99]])
    example = builder.example(rollout_stream([[99]]).batch(1))
    replay = make_replay(
        scratch_dir=tmp_path / "sequences", capacity_transitions=40, layout=LAYOUT, batch_size=2, num_actions=3
    )
    replay.allocate(example)
    sequences = builder.extend(stream.batch(6))
    assert {key: value.shape[1:] for key, value in example.items()} == {
        key: value.shape[1:] for key, value in sequences.items()
    }
    replay.extend(sequences)
    replay.save(tmp_path / "checkpoint")
    restored = make_replay(
        scratch_dir=tmp_path / "sequences", capacity_transitions=40, layout=LAYOUT, batch_size=2, num_actions=3
    )
    restored.load(tmp_path / "checkpoint")
    assert restored.sample()["unroll_state", "recurrent_state_h"].shape == (2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity_transitions": 3}, "capacity_transitions"),
        ({"alpha": -1.0}, "alpha"),
        ({"new_priority": "best"}, "new_priority"),
        ({"compression_level": 20}, "compression_level"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        make_replay(**({"scratch_dir": tmp_path, "capacity_transitions": 40, "layout": LAYOUT} | options))


# A sequence with a page that never reached the disk is found and left out, whichever page it is.
ENTRIES = ("pixels", "action", "reward", "flags", "recurrent_state_h", "context", "checksum", "serial")
COMPRESSED_ENTRIES = ("block", "block_bytes", "flags", "recurrent_state_h", "checksum", "serial")
CASES = [*((0, entry) for entry in ENTRIES), *((1, entry) for entry in COMPRESSED_ENTRIES)]


def _save_eight(folder: Path, level: int = 1) -> None:
    replay = replay_in(folder / "sequences", run_id="a", compression_level=level)
    sequences = make_sequences(8)
    replay.allocate(sequences)
    replay.extend(sequences)
    replay.flush()
    replay.save(folder / "saved")


def _lose(folder: Path, entry: str, slot: int) -> None:
    """Put zeros, which a fresh file holds, in the place of what a slot holds of an entry."""
    path = folder / "sequences" / f"{entry}.memmap"
    content = bytearray(path.read_bytes())
    size = len(content) // 8
    content[slot * size : (slot + 1) * size] = bytes(size)
    path.write_bytes(content)


@pytest.mark.parametrize(("level", "entry"), CASES)
def test_lost_page_of_any_entry_is_found_when_the_files_are_opened(tmp_path: Path, level: int, entry: str):
    _save_eight(tmp_path, level)
    _lose(tmp_path, entry, slot=3)
    replay = replay_in(tmp_path / "sequences", run_id="a")
    assert replay.load(tmp_path / "saved") == 1
    drawn = replay.sample(400)
    assert 3 not in drawn["index"].tolist() or not bool(drawn["mask"][drawn["index"] == 3].any())


@pytest.mark.parametrize(("level", "entry"), [case for case in CASES if case[1] != "serial"])
def test_lost_page_is_found_when_its_sequence_is_drawn(tmp_path: Path, monkeypatch, caplog, level: int, entry: str):
    _save_eight(tmp_path, level)
    for slot in range(8):
        _lose(tmp_path, entry, slot)
    monkeypatch.setattr(replay_module.SequenceReplay, "_check_newest", lambda self, length: 0)  # no time for it
    replay = replay_in(tmp_path / "sequences", run_id="a")
    assert replay.load(tmp_path / "saved") == 0
    with caplog.at_level(logging.WARNING):
        drawn = replay.sample(64)
    assert not bool(drawn["mask"].any())
    assert replay.damaged == len(drawn["index"].unique())
    assert "left out" in caplog.text
    assert bool(torch.isfinite(drawn["priority_weight"]).all())


def test_intact_sequences_are_drawn_as_before_and_checked_once(tmp_path: Path):
    _save_eight(tmp_path)
    replay = replay_in(tmp_path / "sequences", run_id="a")
    assert replay.load(tmp_path / "saved") == 0
    drawn = replay.sample(64)
    assert torch.equal(drawn["reward"], make_sequences(8)["reward"][drawn["index"]])
    assert replay.damaged == 0


def test_replay_of_which_no_sequence_is_the_checkpoints_is_opened(tmp_path: Path):
    _save_eight(tmp_path)
    replay = replay_in(tmp_path / "sequences", run_id="a")
    replay.load(tmp_path / "saved")
    # A long job went on and was killed before its first checkpoint: every slot was written again.
    replay.extend(make_sequences(8, seed=1))
    again = replay_in(tmp_path / "sequences", run_id="a")
    assert again.load(tmp_path / "saved") == 8


def test_overwritten_sequence_is_not_checked_against_what_it_was(tmp_path: Path):
    _save_eight(tmp_path)
    replay = replay_in(tmp_path / "sequences", run_id="a")
    replay.load(tmp_path / "saved")
    replay.extend(make_sequences(8, seed=1))
    drawn = replay.sample(64)
    assert torch.equal(drawn["reward"], make_sequences(8, seed=1)["reward"][drawn["index"]])


def test_sequences_of_another_run_are_refused_by_its_id(tmp_path: Path):
    _save_eight(tmp_path)
    assert json.loads((tmp_path / "sequences" / "run.json").read_text()) == {"run": "a"}
    with pytest.raises(CheckpointError, match=r"another run \(id a, this run has b\)"):
        replay_in(tmp_path / "sequences", run_id="b").load(tmp_path / "saved")


def test_the_last_sequences_may_be_checked_by_two_threads_at_once(tmp_path: Path):
    """As threads that draw ahead do after a job was continued."""
    _save_eight(tmp_path)
    replay = replay_in(tmp_path / "sequences", run_id="a")
    replay.load(tmp_path / "saved")
    drawn = replay.sample(64)
    assert replay._unchecked is None, "the other thread was first"
    replay._leave_damaged_out(drawn)
    assert replay.damaged == 0
