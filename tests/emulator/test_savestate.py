import json
import struct
import zlib

import pytest

from pokered_rl.emulator import PYBOY_VERSION, STATE_VERSION, SaveState
from pokered_rl.emulator.savestate import MAGIC
from pokered_rl.errors import SaveStateError


def make_state(raw: bytes = b"\x1d" + bytes(5000)) -> SaveState:
    return SaveState(pyboy=raw, cartridge_sha1="ab" * 20, cartridge_title="SPROUT", pyboy_version="2.8.1")


def rebuild(state: SaveState, payload: bytes | None = None, **changes) -> bytes:
    """A file like the state's own with some header fields replaced."""
    data = state.to_bytes()
    (length,) = struct.unpack_from("<I", data, len(MAGIC) + 2)
    start = len(MAGIC) + 6
    header = json.loads(data[start : start + length]) | changes
    text = json.dumps(header).encode()
    body = data[start + length :] if payload is None else payload
    return MAGIC + struct.pack("<HI", 1, len(text)) + text + body


def test_bytes_round_trip():
    state = make_state()
    assert SaveState.from_bytes(state.to_bytes()) == state


def test_file_round_trip_replaces_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "deep" / "start.state"
    make_state(b"\x1dold").save(path)
    make_state().save(path)
    assert SaveState.load(path) == make_state()
    assert [entry.name for entry in path.parent.iterdir()] == ["start.state"]


def test_header_names_pyboy_and_cartridge(sprout, start):
    data = start.to_bytes()
    (length,) = struct.unpack_from("<I", data, len(MAGIC) + 2)
    header = json.loads(data[len(MAGIC) + 6 :][:length])
    assert header["pyboy_version"] == PYBOY_VERSION
    assert header["state_version"] == STATE_VERSION == start.state_version
    assert header["cartridge_sha1"] == sprout.sha1
    assert header["cartridge_title"] == "SPROUT"


def test_state_compresses_well(start):
    # A state of these cartridges has 178 KB raw.
    assert len(start.pyboy) > 170_000
    assert len(start.to_bytes()) < 20_000


@pytest.mark.parametrize("data", [b"", b"not a state", b"\x1d" + bytes(200)])
def test_foreign_bytes_are_refused_with_a_hint(data):
    with pytest.raises(SaveStateError, match=r"not a save state of this library.*load_raw"):
        SaveState.from_bytes(data, source="x.state")


def test_newer_format_is_refused():
    data = bytearray(make_state().to_bytes())
    data[len(MAGIC)] = 2
    with pytest.raises(SaveStateError, match=r"format 2.*update pokered_rl"):
        SaveState.from_bytes(bytes(data))


@pytest.mark.parametrize("keep", [len(MAGIC) + 3, len(MAGIC) + 20, -1, -10])
def test_file_cut_short_is_refused(keep):
    with pytest.raises(SaveStateError, match="is damaged"):
        SaveState.from_bytes(make_state().to_bytes()[:keep])


def test_flipped_payload_bit_is_refused():
    raw = bytearray(make_state().pyboy)
    raw[1000] ^= 1
    with pytest.raises(SaveStateError, match="checksum"):
        SaveState.from_bytes(rebuild(make_state(), payload=zlib.compress(bytes(raw))))


def test_claimed_size_bounds_what_is_inflated():
    bomb = zlib.compress(bytes(50_000_000))
    with pytest.raises(SaveStateError, match="is damaged"):
        SaveState.from_bytes(rebuild(make_state(), payload=bomb))
    with pytest.raises(SaveStateError, match="claims 99999999 bytes"):
        SaveState.from_bytes(rebuild(make_state(), payload=bomb, raw_bytes=99_999_999))


def test_missing_header_field_is_refused():
    state = make_state()
    data = state.to_bytes()
    text = b'{"raw_bytes": 5001}'
    (length,) = struct.unpack_from("<I", data, len(MAGIC) + 2)
    cut = MAGIC + struct.pack("<HI", 1, len(text)) + text + data[len(MAGIC) + 6 + length :]
    with pytest.raises(SaveStateError, match="damaged: 'cartridge_sha1'"):
        SaveState.from_bytes(cut)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SaveStateError, match=r"No save state at .*gone\.state"):
        SaveState.load(tmp_path / "gone.state")


def test_damaged_file_is_named(tmp_path):
    path = tmp_path / "cut.state"
    path.write_bytes(make_state().to_bytes()[:-4])
    with pytest.raises(SaveStateError, match=r"cut\.state is damaged"):
        SaveState.load(path)


def test_sha256_identifies_the_state():
    assert make_state().sha256 != make_state(b"\x1dother").sha256
    assert make_state().sha256 == SaveState.from_bytes(make_state().to_bytes()).sha256
