import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

from file_limits import file_size_limit
from pokered_rl.data import SequenceCodec, SequenceLayout, SequenceReplay, make_replay
from pokered_rl.disk import disk_message
from pokered_rl.errors import CheckpointError, ConfigError

LAYOUT = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)  # L = 8
#: Bytes of a block that is stored as it is: pixels 8 x 480, reward 8 x 4, action 8.
PLAIN_BYTES = 8 * 480 + 8 * 4 + 8


def make_sequences(size, *, noise=0.0, seed=0) -> TensorDict:
    """Sequences of one color each, with noise over a part of every picture."""
    g = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (size, 1, 1, 1), dtype=torch.uint8, generator=g).expand(size, 8, 24, 20).clone()
    noisy = torch.rand(pixels.shape, generator=g) < noise
    pixels[noisy] = torch.randint(0, 256, (int(noisy.sum()),), dtype=torch.uint8, generator=g)
    flags = {key: torch.rand(size, 8, generator=g) > 0.5 for key in ("mask", "is_init", "terminated", "truncated")}
    return TensorDict(
        {
            "pixels": pixels,
            "action": torch.randint(0, 5, (size, 8), generator=g),
            "reward": torch.randn(size, 8, generator=g),
            "recurrent_state_h": torch.randn(size, 6, generator=g),
            "td_error": torch.ones(size),
            **flags,
        },
        batch_size=[size],
    )


def replay_in(folder: Path, *, sequences=4, level=1, **options) -> SequenceReplay:
    return make_replay(
        scratch_dir=folder / "sequences",
        capacity_transitions=sequences * 4,
        layout=LAYOUT,
        batch_size=64,
        num_actions=5,
        compression_level=level,
        seed=0,
        **options,
    )


def assert_holds(replay: SequenceReplay, slots, expected: TensorDict) -> None:
    found = replay[torch.as_tensor(slots)]
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
        assert found[key].dtype == value.dtype


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_sequences_come_back_bit_for_bit_whatever_zstd_makes_of_them(tmp_path, noise):
    replay = replay_in(tmp_path)
    sequences = make_sequences(4, noise=noise)
    replay.extend(sequences)
    assert_holds(replay, range(4), sequences)
    sample = replay.sample()
    assert torch.equal(sample["pixels"], sequences["pixels"][sample["index"]])
    assert not {"block", "block_bytes"} & set(sample.keys())
    assert replay[2]["pixels"].shape == (8, 24, 20)


@pytest.mark.parametrize("level", [0, 1])
def test_what_a_worker_has_packed_is_stored_as_if_the_replay_had_packed_it(tmp_path, level):
    sequences, stored = make_sequences(4, noise=0.1), []
    for name in ("plain", "packed"):
        replay = replay_in(tmp_path / name, level=level)
        replay.allocate(sequences)
        replay.extend(sequences if name == "plain" else replay.codec.clone().inv(sequences))
        stored.append(replay._storage.get(torch.arange(4)))
    plain, packed = (dict(each.items(True, True)) for each in stored)
    assert plain.keys() == packed.keys()
    assert [key for key, value in plain.items() if not torch.equal(value, packed[key])] == []


def test_compressed_sequences_are_refused_by_a_replay_that_does_not_know_what_they_hold(tmp_path):
    replay = replay_in(tmp_path)
    with pytest.raises(ConfigError, match="must be allocated"):
        replay.extend(replay.codec.clone().inv(make_sequences(1)))


def test_block_is_never_larger_than_what_it_holds(tmp_path):
    codec = SequenceCodec(num_actions=5, compression_level=1)
    plain, noisy = codec.inv(make_sequences(2)), codec.inv(make_sequences(2, noise=1.0))
    assert codec.block_capacity == PLAIN_BYTES
    assert (plain["block_bytes"] < PLAIN_BYTES / 10).all()
    assert (noisy["block_bytes"] == PLAIN_BYTES).all()


def test_blocks_of_any_length_take_each_others_slots_as_the_ring_wraps(tmp_path):
    replay = replay_in(tmp_path)
    rounds = [make_sequences(3, noise=noise, seed=seed) for seed, noise in enumerate((1.0, 0.0, 0.1, 1.0, 0.0))]
    for sequences in rounds:
        replay.extend(sequences)
    newest = torch.cat(rounds)[-4:]
    assert_holds(replay, (torch.arange(4) + 3 * len(rounds)) % 4, newest)


def test_file_of_blocks_takes_only_the_pages_that_blocks_have_reached(tmp_path):
    replay = replay_in(tmp_path, sequences=1000)
    replay.allocate(make_sequences(1))
    replay.extend(make_sequences(100))
    status = (tmp_path / "sequences" / "block.memmap").stat()
    assert status.st_size == 1000 * 4096  # 3,880 bytes, in whole pages
    assert status.st_blocks * 512 <= 100 * 4096


def test_needed_disk_counts_a_quarter_of_what_is_compressed(tmp_path):
    # Beside blocks: flags 8, state 24, priority 4, length of the block 4.
    assert replay_in(tmp_path, sequences=10).bytes_needed(make_sequences(1)) == 10 * (PLAIN_BYTES // 4 + 40)


def _saved(folder: Path, **options) -> TensorDict:
    replay = replay_in(folder, **options)
    sequences = make_sequences(4)
    replay.allocate(sequences)
    replay.extend(sequences)
    replay.flush()
    replay.save(folder / "saved")
    return sequences


def test_reopened_replay_holds_and_takes_the_same(tmp_path):
    sequences = _saved(tmp_path)
    replay = replay_in(tmp_path)
    assert replay.load(tmp_path / "saved") == 0
    assert_holds(replay, range(4), sequences)
    newer = make_sequences(2, noise=0.5, seed=1)
    assert replay.extend(newer).tolist() == [0, 1]
    assert_holds(replay, [0, 1], newer)


def test_killed_between_two_blocks_it_keeps_the_others_and_learns_from_no_half_one(tmp_path, monkeypatch):
    sequences = _saved(tmp_path)
    replay = replay_in(tmp_path)
    replay.load(tmp_path / "saved")
    write, written = os.pwrite, []

    def killed(*arguments):
        if written:
            raise KeyboardInterrupt
        written.append(write(*arguments))
        return written[-1]

    monkeypatch.setattr(os, "pwrite", killed)
    with pytest.raises(KeyboardInterrupt):
        replay.extend(make_sequences(2, seed=1))  # slot 0 is complete, slot 1 has another block than its entries say
    monkeypatch.undo()
    again = replay_in(tmp_path)
    assert again.load(tmp_path / "saved") == 2
    assert_holds(again, [2, 3], sequences[2:])
    assert not again[:2]["mask"].any()
    assert set(again.sample()["index"].tolist()) == {2, 3}


def test_full_disk_is_one_error_with_the_name_of_the_file(tmp_path):
    replay = replay_in(tmp_path)
    replay.allocate(make_sequences(1))
    replay.extend(make_sequences(2))
    with file_size_limit(4096 * 2), pytest.raises(OSError, match=r"block\.memmap") as raised:
        replay.extend(make_sequences(1, seed=1))
    assert raised.value.errno == errno.EFBIG
    assert "block.memmap" in str(disk_message(raised.value))
    assert_holds(replay, [0, 1], make_sequences(2))


def test_part_of_a_block_is_written_on(tmp_path, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, position: write(file, data[:7], position))
    replay = replay_in(tmp_path)
    sequences = make_sequences(2, noise=0.1)
    replay.extend(sequences)
    assert_holds(replay, [0, 1], sequences)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_changed_byte_of_a_block_is_found(tmp_path, noise):
    replay = replay_in(tmp_path)
    replay.extend(make_sequences(4, noise=noise))
    replay.save(tmp_path / "saved")
    with (tmp_path / "sequences" / "block.memmap").open("r+b") as file:
        file.seek(2 * 4096 + 20)
        byte = file.read(1)[0]
        file.seek(2 * 4096 + 20)
        file.write(bytes([byte ^ 1]))
    again = replay_in(tmp_path)
    assert again.load(tmp_path / "saved") == 1
    assert set(again.sample()["index"].tolist()) == {0, 1, 3}


@pytest.mark.parametrize("length", [0, 5, 2**31 - 1, -1])
def test_length_of_a_block_that_is_not_true_leaves_the_sequence_out(tmp_path, length):
    replay = replay_in(tmp_path)
    replay.extend(make_sequences(4))
    replay.save(tmp_path / "saved")
    lengths = torch.from_file(
        str(tmp_path / "sequences" / "block_bytes.memmap"), shared=True, size=4, dtype=torch.int32
    )
    lengths[1] = length
    again = replay_in(tmp_path)
    assert again.load(tmp_path / "saved") == 1
    assert not again[1]["mask"].any()


def test_block_that_cannot_be_unpacked_is_a_sequence_without_transitions(caplog):
    codec = SequenceCodec(num_actions=5, compression_level=1)
    stored = codec.inv(make_sequences(3))
    stored["block"][1, 4:] ^= 255
    restored = codec(stored)
    assert not restored["mask"][1].any()
    assert not restored["pixels"][1].any()
    assert torch.equal(restored["pixels"][2], make_sequences(3)["pixels"][2])
    assert "cannot be unpacked" in caplog.text


@pytest.mark.parametrize("before", [0, 1])
def test_replay_is_continued_in_the_form_in_which_it_began(tmp_path, before):
    sequences = _saved(tmp_path, level=before)
    replay = replay_in(tmp_path, level=1 - before)
    replay.load(tmp_path / "saved")
    replay.extend(make_sequences(1, seed=1))
    assert_holds(replay, [1, 2, 3], sequences[1:])
    assert_holds(replay, [0], make_sequences(1, seed=1))
    assert (tmp_path / "sequences" / "pixels.memmap").exists() is (before == 0)


def test_replay_of_the_format_before_is_read(tmp_path):
    sequences = _saved(tmp_path, level=0)
    file = tmp_path / "saved" / "replay.json"
    metadata = json.loads(file.read_text())
    del metadata["compression_level"], metadata["block"]
    file.write_text(json.dumps(metadata | {"format": 2}))
    replay = replay_in(tmp_path)
    assert replay.load(tmp_path / "saved") == 0
    assert_holds(replay, range(4), sequences)
    file.write_text(json.dumps(metadata | {"format": 1}))
    with pytest.raises(CheckpointError, match="format 1"):
        replay_in(tmp_path).load(tmp_path / "saved")


@pytest.mark.parametrize("block", [3, {"pixels": 3}, {"pixels": [[8, -1], "torch.uint8"]}, {"pixels": [[8], "object"]}])
def test_blocks_of_anything_but_numbers_are_refused(tmp_path, block):
    _saved(tmp_path)
    file = tmp_path / "saved" / "replay.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"block": block}))
    with pytest.raises(CheckpointError, match="blocks"):
        replay_in(tmp_path).load(tmp_path / "saved")


def test_blocks_that_are_gone_are_told(tmp_path):
    _saved(tmp_path)
    shutil.move(tmp_path / "sequences" / "block.memmap", tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"block\.memmap is missing"):
        replay_in(tmp_path).load(tmp_path / "saved")
