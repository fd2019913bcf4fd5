"""Videos with sound, of cartridges of a few instructions that are assembled here."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from pokered_rl.emulator import SOUND_RATE, Cartridge, Emulator
from pokered_rl.episodes import EpisodeLog, EpisodePlayer, ReplayDivergedError, record_episode
from pokered_rl.errors import ConfigError
from pokered_rl.record.grid import render_grid
from pokered_rl.record.render import RenderOptions, render_episode, render_episodes
from pokered_rl.record.sound import SoundTrack
from pokered_rl.record.video import CONSOLE_FRAME_RATE

_SCRIPT = Path(__file__).parents[2] / "examples" / "render_episodes.py"
_SMALL = RenderOptions(scale=1, panel=False, sound=True)
_AAC_FRAME = 1024 / SOUND_RATE
_PERIOD = 131
_PITCH = 131_072 / _PERIOD  # Hz

# Registers 0xFF00 + n set to values: LDH (n), A.
_SOUND_ON = {0x26: 0x80, 0x24: 0x77, 0x25: 0xFF}
# Channel 2: duty 1/2, full volume, until it is stopped.
_NOTE = {0x16: 0x80, 0x17: 0xF0, 0x18: -_PERIOD & 0xFF, 0x19: 0x87}
_BLINK = {0x40: 0x11}  # the screen goes off ...
_UNBLINK = {0x40: 0x91}  # ... and on: that frame is cut short


def _stores(registers):
    return b"".join(bytes([0x3E, value, 0xE0, register]) for register, value in registers.items())


def _cartridge(path, *, once=b"", every_frame=b""):
    """A game that counts frames at 0xC000 and does ``once`` whenever the count is a multiple of 64."""
    begin = bytes([0xF3, 0x3E, 0x01, 0xE0, 0xFF, 0xAF, 0xEA, 0x00, 0xC0])  # only VBLANK; count = 0
    begin += _stores(_SOUND_ON)  # once at power-on, as games do
    loop = bytes([0x76, 0x00, 0xAF, 0xE0, 0x0F]) + every_frame  # HALT; no interrupt is pending
    loop += bytes([0xFA, 0x00, 0xC0, 0x3C, 0xEA, 0x00, 0xC0, 0xE6, 0x3F])  # count += 1; count % 64
    loop += bytes([0x20, len(once)]) + once  # JR NZ
    loop += bytes([0x18, -(len(loop) + 2) & 0xFF])  # JR to the HALT
    rom = bytearray(0x8000)
    rom[0x100:0x104] = bytes([0x00, 0xC3, 0x50, 0x01])  # JP 0x150
    rom[0x134:0x138] = b"TONE"
    rom[0x150 : 0x150 + len(begin + loop)] = begin + loop
    rom[0x14D] = -sum(byte + 1 for byte in rom[0x134:0x14D]) & 0xFF
    path.write_bytes(rom)
    return Cartridge.find(path, allow_unknown=True)


def _episode(folder, *, steps=13, **program):
    cartridge = _cartridge(folder / "tone.gb", **program)
    with Emulator(cartridge) as emulator:
        count = 0
        while count != 40:  # during the first note of a game that plays one
            emulator.tick(1, True)
            count = emulator.memory[0xC000]
        state = emulator.save_state()
    path = record_episode(
        [0] * steps,
        cartridge=cartridge,
        start_state=state,
        folder=folder / "episode_logs",
        wait_while_busy=False,
        ram_hash_every_steps=5,
    )
    return EpisodeLog.load(path), cartridge


def _tracks(path):
    """Samples float32 [n, 2], when they begin and when the pictures end, in seconds."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert audio.codec_context.name == "aac"
        assert audio.rate == SOUND_RATE
        video_seconds = float((video.start_time + video.duration) * video.time_base)
        frames = list(container.decode(audio))
    samples = np.concatenate([frame.to_ndarray().T for frame in frames])
    return samples, float(frames[0].pts * frames[0].time_base), video_seconds


def _onset(samples):
    """Seconds to the first loud sample."""
    return float(np.argmax(np.abs(samples[:, 0]) > 0.03)) / SOUND_RATE


def _pitch(samples):
    heard = samples[:, 0] - samples[:, 0].mean()
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    return float(np.argmax(spectrum)) * SOUND_RATE / len(heard)


@pytest.fixture(scope="module")
def tone(tmp_path_factory):
    return _episode(tmp_path_factory.mktemp("tone"), once=_stores(_NOTE))


@pytest.mark.parametrize("fps", [None, 30])
def test_the_games_sound_is_heard_at_its_pitch_and_in_time_with_the_pictures(tone, tmp_path, fps):
    log, cartridge = tone
    options = replace(_SMALL, fps=fps)
    result = render_episode(log, tmp_path / "a.mp4", cartridge=cartridge, options=options)
    assert result.hashes_checked == 4  # at 0, 5, 10 and 13
    samples, begin, video_seconds = _tracks(tmp_path / "a.mp4")
    assert video_seconds == pytest.approx(log.frames / CONSOLE_FRAME_RATE)
    assert begin == pytest.approx(0, abs=1e-3)
    assert len(samples) / SOUND_RATE == pytest.approx(video_seconds, abs=_AAC_FRAME + 1 / CONSOLE_FRAME_RATE)
    # The start state holds no sound: the note that was under way is not heard, the next one, 24 frames later, is.
    assert _onset(samples) == pytest.approx(24 / CONSOLE_FRAME_RATE, abs=_AAC_FRAME)
    assert _pitch(samples[SOUND_RATE:]) == pytest.approx(_PITCH, rel=0.02)
    assert np.abs(samples[SOUND_RATE:]).max() > 0.05


def test_a_part_begins_with_the_sound_of_its_first_picture(tone, tmp_path):
    log, cartridge = tone
    options = replace(_SMALL, first_step=3, last_step=7, panel=True)
    render_episode(log, tmp_path / "a.mp4", cartridge=cartridge, options=options)
    samples, _, video_seconds = _tracks(tmp_path / "a.mp4")
    assert video_seconds == pytest.approx(96 / CONSOLE_FRAME_RATE)
    assert len(samples) / SOUND_RATE == pytest.approx(video_seconds, abs=_AAC_FRAME + 1 / CONSOLE_FRAME_RATE)
    assert _onset(samples) < _AAC_FRAME
    assert _pitch(samples) == pytest.approx(_PITCH, rel=0.02)


def test_joined_episodes_are_heard_one_after_the_other(tone, tmp_path):
    log, cartridge = tone
    options = replace(_SMALL, fps=8.6, last_step=2)  # each 7th frame: the last picture stands for 48 - 6 * 7 = 6
    render_episodes([log, log, log], tmp_path / "a.mp4", cartridge=cartridge, options=options)
    samples, _, video_seconds = _tracks(tmp_path / "a.mp4")
    assert video_seconds == pytest.approx(3 * 48 / CONSOLE_FRAME_RATE)
    assert len(samples) / SOUND_RATE == pytest.approx(video_seconds, abs=_AAC_FRAME)
    for number in range(3):
        begin = round(48 * number * SOUND_RATE / CONSOLE_FRAME_RATE)
        quiet = samples[begin + 4 * 804 : begin + 22 * 804]
        loud = samples[begin + 26 * 804 : begin + 46 * 804]
        assert np.ptp(quiet[:, 0]) < 0.02 < 0.05 < np.ptp(loud[:, 0])


def test_frames_that_the_game_cuts_short_leave_the_sound_in_time(tmp_path):
    log, cartridge = _episode(
        tmp_path, steps=24, once=_stores(_NOTE), every_frame=_stores(_BLINK | {0x47: 0xE4}) + _stores(_UNBLINK)
    )
    lengths = []
    with EpisodePlayer(log, cartridge=cartridge, on_sound=lambda samples: lengths.append(len(samples))) as player:
        player.play_to(log.steps)
    assert sum(lengths) / SOUND_RATE < 0.9 * log.frames / CONSOLE_FRAME_RATE  # as given out it would run ahead
    render_episode(log, tmp_path / "a.mp4", cartridge=cartridge, options=_SMALL)
    samples, _, video_seconds = _tracks(tmp_path / "a.mp4")
    assert len(samples) / SOUND_RATE == pytest.approx(video_seconds, abs=_AAC_FRAME + 1 / CONSOLE_FRAME_RATE)


@pytest.mark.parametrize("every_other", [0, 400, 805])
def test_a_track_follows_the_frames_whatever_their_length(tmp_path, every_other):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        track = SoundTrack(container, frame_rate=CONSOLE_FRAME_RATE)
        for frame in range(300):
            samples = np.zeros((every_other if frame % 2 else 804, 2), np.int8)
            samples[::48] = 60 * (frame >= 200)
            track.add_frame(samples)
        track.finish()
    with av.open(str(tmp_path / "a.mp4")) as container:
        samples = np.concatenate([frame.to_ndarray().T for frame in container.decode(audio=0)])
    assert len(samples) / SOUND_RATE == pytest.approx(300 / CONSOLE_FRAME_RATE, abs=_AAC_FRAME)
    assert _onset(samples) == pytest.approx(200 / CONSOLE_FRAME_RATE, abs=_AAC_FRAME)


def test_a_silent_game_gives_a_silent_track(recorded_logs, tmp_path, sprout):
    options = replace(_SMALL, last_step=6)
    render_episode(recorded_logs[0], tmp_path / "a.mp4", cartridge=sprout, options=options)
    samples, _, video_seconds = _tracks(tmp_path / "a.mp4")
    assert len(samples) / SOUND_RATE == pytest.approx(video_seconds, abs=_AAC_FRAME + 1 / CONSOLE_FRAME_RATE)
    assert np.abs(samples).max() < 1e-3


def test_a_video_has_no_sound_unless_asked(recorded_logs, tmp_path, sprout):
    render_episode(recorded_logs[0], tmp_path / "a.mp4", cartridge=sprout, options=RenderOptions(last_step=1))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert not container.streams.audio


def test_a_game_that_depends_on_sound_emulation_is_refused(tmp_path):
    reads_nr52 = bytes([0xF0, 0x26, 0xEA, 0x01, 0xC0])  # LDH A, (0x26); LD (0xC001), A
    log, cartridge = _episode(tmp_path, every_frame=reads_nr52)
    with pytest.raises(ReplayDivergedError, match=r"depends on sound emulation.*leave --sound away"):
        render_episode(log, tmp_path / "a.mp4", cartridge=cartridge, options=_SMALL)
    assert not list(tmp_path.glob("*a.mp4*"))
    assert not list(tmp_path.glob(".*"))
    render_episode(log, tmp_path / "a.mp4", cartridge=cartridge, options=replace(_SMALL, sound=False))


def test_sound_at_another_speed_or_in_a_grid_is_refused(recorded_logs, tmp_path, monkeypatch, capsys):
    with pytest.raises(ConfigError, match="pitch only at speed 1, got speed 2"):
        RenderOptions(sound=True, speed=2)
    with pytest.raises(ConfigError, match="a grid has no sound"):
        render_grid(recorded_logs, tmp_path / "a.mp4", options=_SMALL)
    for arguments, message in ((["--grid"], "heard all at once"), (["--speed", "4"], "pitch only at speed 1")):
        monkeypatch.setattr(sys, "argv", ["render", str(tmp_path), "--sound", *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(_SCRIPT), run_name="__main__")
        assert ended.value.code not in (0, None)
        assert message in " ".join(capsys.readouterr().err.split())


def test_the_script_renders_with_sound(tone, tmp_path, monkeypatch):
    log, cartridge = tone
    arguments = [str(log.path), "--out", str(tmp_path), "--rom", str(cartridge.path), "--sound", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["render", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(_SCRIPT), run_name="__main__")
    assert ended.value.code == 0
    samples, _, _ = _tracks(tmp_path / f"{log.path.stem}.mp4")
    assert _pitch(samples[SOUND_RATE:]) == pytest.approx(_PITCH, rel=0.02)
