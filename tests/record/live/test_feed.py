import time

import numpy as np
import pytest

from pokered_rl.errors import EpisodeLogError
from pokered_rl.record.live import feed
from pokered_rl.record.live.feed import FeedReader, FeedWriter, WatchFile, pack_record, unpack_record
from simulated_run import SimulatedRun


def parts(packed):
    _, head, body = feed._LENGTHS.unpack_from(packed)
    begin = feed._LENGTHS.size
    return packed[begin : begin + head], packed[begin + head : begin + head + body]


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = SimulatedRun(tmp_path).record(0, 3)
    found = unpack_record(*parts(pack_record(record | {"log": b"bytes"})))
    assert found.pop("log").tobytes() == b"bytes"
    assert found.keys() == record.keys()
    for key, value in record.items():
        assert np.array_equal(found[key], value) if isinstance(value, np.ndarray) else found[key] == value


@pytest.mark.parametrize(
    "head",
    [
        b"[]",
        b'{"plain":{},"arrays":[["a","|O",[1]]]}',  # objects would be pickles
        b'{"plain":{},"arrays":[["a","<f4",[1000]]]}',
        b'{"plain":{},"arrays":[["a","<f4",[-1]]]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_record_is_refused(head):
    with pytest.raises(EpisodeLogError, match="damaged"):
        unpack_record(head, b"12345678")


def test_a_reader_sees_each_record_once_and_only_when_it_is_complete(tmp_path):
    writer, reader = FeedWriter(tmp_path, {"run": "a"}), FeedReader(tmp_path)
    assert list(reader.read()) == []
    writer.append({"n": 1})
    assert list(reader.read()) == [{"facts": {"run": "a"}}, {"n": 1}]
    (path,) = (tmp_path / "live").glob("*.bin")
    packed = pack_record({"n": 2})
    with path.open("ab") as file:
        file.write(packed[:-1])
        file.flush()
        assert list(reader.read()) == []
        file.write(packed[-1:])
    assert list(reader.read()) == [{"n": 2}]


def test_only_the_last_two_files_are_kept_and_a_reader_follows_them(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "_MAX_FILE_BYTES", 200)
    writer, reader = FeedWriter(tmp_path, {}), FeedReader(tmp_path)
    seen = []
    for number in range(30):
        writer.append({"n": number})
        seen += [record["n"] for record in reader.read() if "n" in record]
    assert seen == list(range(30))
    assert len(list((tmp_path / "live").glob("*.bin"))) == 2


def test_a_request_counts_for_a_few_seconds(tmp_path, monkeypatch):
    asked, now = WatchFile(tmp_path), time.time()
    assert asked.read() is None
    asked.write(emulator=5, log_request=2)
    assert asked.read() == (5, 2)
    monkeypatch.setattr("time.time", lambda: now + WatchFile.SECONDS + 1)
    assert asked.read() is None


@pytest.mark.parametrize("content", ["", "[]", '{"until":1e99,"emulator":0,"log_request":0}', '{"until":"x"}'])
def test_a_request_that_makes_no_sense_asks_for_nothing(tmp_path, content):
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "watch.json").write_text(content)
    assert WatchFile(tmp_path).read() is None
