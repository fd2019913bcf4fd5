"""Whatever happens to a log file, reading it ends in the log that was written or in one `EpisodeLogError`."""

import json
import re
import struct
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pokered_rl.episodes import EpisodeLog
from pokered_rl.episodes.container import MAX_SECTION_BYTES, pack_container, unpack_container
from pokered_rl.errors import EpisodeLogError

NAME = "some/where.episode"


@pytest.fixture(scope="module")
def written(make_log):
    return make_log(steps=120).to_bytes()


@pytest.fixture(scope="module")
def sections(written):
    return unpack_container(written, name=NAME)


def _refusal(data):
    """The message with which the data is refused."""
    with pytest.raises(EpisodeLogError) as caught:
        EpisodeLog.from_bytes(data, name=NAME)
    message = str(caught.value)
    assert message.startswith(f"{NAME}: ")
    return message


def test_a_log_cut_off_anywhere_is_refused(written):
    for length in range(len(written)):
        _refusal(written[:length])
    assert f"cut off: {len(written) // 2} bytes, the header says {len(written)}" in _refusal(
        written[: len(written) // 2]
    )


def test_a_log_with_any_byte_changed_is_refused(written):
    for position in range(len(written)):
        for flip in (0x01, 0x80):
            damaged = bytearray(written)
            damaged[position] ^= flip
            _refusal(bytes(damaged))


def test_another_kind_of_file_is_named_as_such():
    for data in (b"", b"PK\x03\x04" + bytes(100), b"\x80\x04\x95pickle", b"#!/bin/sh\n"):
        message = _refusal(data)
        assert "not an episode log" in message or "empty" in message


def test_a_newer_format_asks_for_an_update(written):
    fields = bytearray(written[:16])
    struct.pack_into("<H", fields, 8, 3)
    newer = bytes(fields) + struct.pack("<I", zlib.crc32(bytes(fields))) + written[20:]
    assert "episode log format 3; this pokered_rl reads the formats 1 to 2" in _refusal(newer)


def test_a_missing_or_unknown_section_is_refused_and_an_optional_one_skipped(sections):
    for tag in sections:
        assert f"section {tag} is missing" in _refusal(
            pack_container({key: raw for key, raw in sections.items() if key != tag})
        )
    assert "unknown section XTRA" in _refusal(pack_container(sections | {"XTRA": b"1"}))
    assert EpisodeLog.from_bytes(pack_container(sections | {"xtra": b"1"})).steps == 120


def test_a_section_that_unpacks_to_too_much_is_refused():
    bomb = zlib.compress(bytes(MAX_SECTION_BYTES + 10), 9)
    for announced in (100, MAX_SECTION_BYTES + 10):
        fields = struct.pack("<4sBxxxII", b"ACTN", 1, len(bomb), announced)
        section = fields + struct.pack("<I", zlib.crc32(bomb, zlib.crc32(fields))) + bomb
        head = struct.pack("<8sHHI", b"\x89PRL\r\n\x1a\n", 1, 1, 20 + len(section))
        message = _refusal(head + struct.pack("<I", zlib.crc32(head)) + section)
        assert "ACTN" in message


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("worker", "one", "worker must be a whole number"),
        ("worker", -1, "worker must be between 0 and"),
        ("global_step", 10**12, "global_step must be between"),
        ("actions", [], "actions must name at least one"),
        ("actions", "abc", "actions must be a list of texts"),
        ("frames_per_action", 0, "frames_per_action must be between 1 and"),
        ("hold_frames", 25, "hold_frames must be between 1 and 24"),
        ("start_state_sha256", "../../etc/passwd", "start_state_sha256 must be 64 hexadecimal digits"),
        ("steps", 121, r"expected 363 for shape \[3, 121\]"),
        ("steps", -1, "steps must be between 0"),
        ("steps", 1e400, "steps must be a whole number"),
        ("outcome", "won", "outcome must be one of terminated, truncated, continued, shutdown"),
        ("milestones", [[1]], r"milestones must be a list of \[step, name\]"),
        ("milestones", [[121, "late"]], "late at step 121"),
        ("reward_terms", ["one"], "REWD: indices holds"),
        ("seeds", {"env": "x"}, "seeds must be an object of whole numbers"),
        ("wait_while_busy", 1, "wait_while_busy must be true or false"),
        ("run_name", None, "run_name must be a text"),
    ],
)
def test_a_wrong_field_is_named(sections, field, value, message):
    meta = json.loads(sections["META"]) | {field: value}
    assert re.search(message, _refusal(pack_container(sections | {"META": json.dumps(meta).encode()})))


def test_a_meta_section_that_is_no_json_object_is_refused(sections):
    for raw in (b"", b"\xff", b"[]", b"[" * 100_000, b"{", b"null"):
        assert "section META" in _refusal(pack_container(sections | {"META": raw}))


_EDIT = st.tuples(st.sampled_from(["flip", "cut", "insert", "swap"]), st.integers(0, 10**6), st.binary(max_size=40))


def _damage(data, edits):
    data = bytearray(data)
    for kind, position, extra in edits:
        at = position % (len(data) + 1)
        if kind == "flip":
            data[at : at + len(extra)] = bytes(a ^ b for a, b in zip(data[at:], extra, strict=False))
        elif kind == "cut":
            del data[at : at + len(extra) + 1]
        elif kind == "insert":
            data[at:at] = extra
        else:
            data[at:], data[:at] = bytes(data[:at]), bytes(data[at:])
    return bytes(data)


def _check_damaged_file(written, edits):
    damaged = _damage(written, edits)
    if damaged == written:
        assert EpisodeLog.from_bytes(damaged).steps == 120
    else:
        _refusal(damaged)


def _check_damaged_section(sections, tag, edits):
    """Damage below the checksums, as by a faulty writer: a log that makes sense, or a refusal."""
    data = pack_container(sections | {tag: _damage(sections[tag], edits)})
    try:
        log = EpisodeLog.from_bytes(data, name=NAME)
    except EpisodeLogError as error:
        assert str(error).startswith(f"{NAME}: ")  # noqa: PT017
    else:
        assert log.actions.shape == log.wait_frames.shape == log.rewards.shape
        EpisodeLog.from_bytes(log.to_bytes())


_QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=200, **_QUIET)
@given(edits=st.lists(_EDIT, min_size=1, max_size=4))
def test_damaged_files_are_refused(written, edits):
    _check_damaged_file(written, edits)


@settings(max_examples=200, **_QUIET)
@given(tag=st.sampled_from(["META", "ACTN", "WAIT", "REWD", "HASH"]), edits=st.lists(_EDIT, min_size=1, max_size=3))
def test_damaged_sections_are_refused_or_give_a_consistent_log(sections, tag, edits):
    _check_damaged_section(sections, tag, edits)


@pytest.mark.long
@settings(max_examples=2000, **_QUIET)
@given(edits=st.lists(_EDIT, min_size=1, max_size=4))
def test_two_thousand_damaged_files_are_refused(written, edits):
    _check_damaged_file(written, edits)


@pytest.mark.long
@settings(max_examples=2000, **_QUIET)
@given(tag=st.sampled_from(["META", "ACTN", "WAIT", "REWD", "HASH"]), edits=st.lists(_EDIT, min_size=1, max_size=3))
def test_two_thousand_damaged_sections_are_refused_or_give_a_consistent_log(sections, tag, edits):
    _check_damaged_section(sections, tag, edits)
