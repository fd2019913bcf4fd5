from itertools import pairwise

import av
import numpy as np
import pytest

from pokered_rl.record.h264 import PictureRepeater, StreamParameters, _with_frame_num
from pokered_rl.record.video import CONSOLE_FRAME_RATE, KEY_DISTANCE, VideoWriter


def _scene(number):
    """A picture that changes in every 7th number only, and then as a whole, in a corner, or not at all."""
    generator = np.random.default_rng(number // 7 % 5 if number // 7 % 3 else 99)
    picture = generator.integers(0, 4, (18, 20)).repeat(8, 0).repeat(8, 1) * 73 + 16
    if number // 7 % 3 == 1:
        picture[:16, :16] = 16 + number // 7 % 200
    return picture.astype(np.uint8)


@pytest.mark.parametrize("preset", ["ultrafast", "medium"])
def test_repeated_pictures_decode_to_the_picture_before(tmp_path, preset):
    count = KEY_DISTANCE + 100  # beyond a second key frame, and frame_num wraps often
    with VideoWriter(tmp_path / "a.mp4", width=160, height=144, rate=CONSOLE_FRAME_RATE, preset=preset) as video:
        for number in range(count):
            video.luma[:] = _scene(number)
            video.write(unchanged=number > 0 and np.array_equal(_scene(number), _scene(number - 1)))
    with av.open(str(tmp_path / "a.mp4"), options={"err_detect": "explode"}) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"err_detect": "explode"}
        decoded = [(frame.to_ndarray(format="yuv420p")[:144], frame.key_frame) for frame in container.decode(stream)]
    assert len(decoded) == count
    for number, (luma, is_key) in enumerate(decoded):
        assert np.abs(luma.astype(int) - _scene(number)).mean() < 3, number
        assert is_key == (number in (0, KEY_DISTANCE))
    for number, (one, other) in enumerate(pairwise(decoded), start=1):
        if np.array_equal(_scene(number), _scene(number - 1)) and number != KEY_DISTANCE:
            assert np.array_equal(one[0], other[0])  # to the bit


def test_a_repetition_costs_a_dozen_bytes(tmp_path):
    sizes = []
    for repetitions in (100, 500):
        with VideoWriter(tmp_path / "a.mp4", width=320, height=288, rate=CONSOLE_FRAME_RATE) as video:
            video.luma[:] = np.random.default_rng(0).integers(16, 235, video.luma.shape)
            for number in range(repetitions):
                video.write(unchanged=number > 0)
        sizes.append((tmp_path / "a.mp4").stat().st_size)
    assert sizes[1] - sizes[0] < 400 * 24


def test_the_number_of_a_picture_is_replaced_in_place():
    # P slice (nal type 1): first_mb ue(0) = 1, slice_type ue(5) = 00110, parameter set ue(0) = 1, then frame_num in
    # four bits: 1 00110 1|0 011 0000 with frame_num 3 = 0011.
    unit = bytes([0x61, 0b10011010, 0b01100000, 0xAB])
    assert _with_frame_num(unit, 3, 4) == unit
    assert _with_frame_num(unit, 12, 4) == bytes([0x61, 0b10011011, 0b10000000, 0xAB])
    # Zeros that arise are escaped, escaped ones found.
    zeros = bytes([0x61, 0b10011010, 0b00100000, 0x00, 0x01])
    escaped = _with_frame_num(zeros, 0, 4)
    assert escaped == bytes([0x61, 0b10011010, 0x00, 0x00, 0x03, 0x01])
    assert _with_frame_num(escaped, 1, 4) == zeros


def _parameters(*, frame_num="011", order="011", cabac="0", references="1", weighted="0", deblocking="1"):
    """Annex B: Baseline (66), level 3, then the given codes; ue(0) is 1, ue(1) 010, ue(2) 011."""
    sequence = "1" + frame_num + order + "1" * 12
    picture = "11" + cabac + "0" + "1" + references + "1" + weighted + "00" + "111" + deblocking + "00" + "1"
    sets = [(bytes([0x67, 66, 0, 30]), sequence), (bytes([0x68]), picture)]
    return b"".join(b"\0\0\0\1" + head + int(bits.ljust(32, "0"), 2).to_bytes(4, "big") for head, bits in sets)


def test_the_parameter_sets_are_read():
    assert StreamParameters.parse(_parameters()) == StreamParameters(
        frame_num_bits=6, default_references=1, deblocking_control=True
    )
    other = StreamParameters.parse(_parameters(frame_num="1", references="011", deblocking="0"))
    assert other == StreamParameters(frame_num_bits=4, default_references=3, deblocking_control=False)


@pytest.mark.parametrize("changes", [{"order": "1"}, {"cabac": "1"}, {"weighted": "1"}])
def test_streams_in_which_pictures_cannot_be_repeated_are_left_alone(changes):
    assert StreamParameters.parse(_parameters(**changes)) is None
    assert StreamParameters.parse(b"") is None


def test_a_repetition_is_a_slice_of_skipped_macroblocks():
    parameters = StreamParameters(frame_num_bits=4, default_references=1, deblocking_control=True)
    repeater = PictureRepeater(parameters, macroblocks=90)
    key = b"\0\0\0\1\x65\x88\x84\x01"
    assert repeater.number(key) == key
    # 1 00110 1 | frame_num 0001 | 0 0 0 | qp 1 | deblocking 010 | skip run ue(90) = 0000001011011 | 1, filled up:
    # 10011010 00100010 10000000 10110111 after cutting into bytes.
    bits = "1001101" + "0001" + "000" + "1" + "010" + "0000001011011" + "1"
    expected = int(bits.ljust(32, "0"), 2).to_bytes(4, "big")
    assert repeater.repeat() == b"\0\0\0\1\x41" + expected
    # The next picture of the encoder, its number 1, becomes number 2; after 15 comes 0.
    slice_one = b"\0\0\0\1\x41" + bytes([0b10011010, 0b00100000, 0xAB])
    assert repeater.number(slice_one) == b"\0\0\0\1\x41" + bytes([0b10011010, 0b01000000, 0xAB])
    numbers = [int.from_bytes(repeater.repeat()[5:7], "big") >> 5 & 15 for _ in range(15)]
    assert numbers == [*range(3, 16), 0, 1]
