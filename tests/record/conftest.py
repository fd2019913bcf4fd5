"""Two short episodes on Sprout, in a run folder as training leaves it, and a reader of videos."""

import shutil
from bisect import bisect_right

import av
import numpy as np
import pytest

from pokered_rl.episodes import EpisodeFolder, EpisodeLog, record_episode
from pokered_rl.record.video import CONSOLE_FRAME_RATE

STEPS = 40


def _coverage():
    seen = set()

    def terms(ram):
        place = tuple(ram[address - 0xC000] for address in (0xD35E, 0xD361, 0xD362))
        is_new = place not in seen
        seen.add(place)
        return 0.25 * is_new, -0.001

    return terms


@pytest.fixture(scope="session")
def recorded_run(sprout, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "run"
    for number in range(2):
        generator = np.random.default_rng(number)
        actions = generator.choice(8, STEPS, p=(0.0, 0.05, 0.1, 0.05, 0.2, 0.2, 0.2, 0.2))
        record_episode(
            actions.tolist(),
            cartridge=sprout,
            start_state=start,
            folder=folder / "episode_logs",
            emulator=number,
            global_step=1000 * number,
            ram_hash_every_steps=10,
            run_name="recorded run",
            reward_terms=("coverage", "time"),
            terms=_coverage(),
        )
    return folder


@pytest.fixture
def run_folder(recorded_run, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(recorded_run, tmp_path / "run")


@pytest.fixture(scope="session")
def recorded_logs(recorded_run):
    return [EpisodeLog.load(path) for path in EpisodeFolder(recorded_run / "episode_logs").logs()]


class Video:
    """What a video file shows and when; times are exact seconds."""

    def __init__(self, path):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = list(container.decode(stream))
            self.seconds = stream.duration * stream.time_base
        self.begins = [frame.pts * frame.time_base for frame in frames]
        self.key_begins = [frame.pts * frame.time_base for frame in frames if frame.key_frame]
        self.pictures = [frame.to_ndarray(format="yuv420p") for frame in frames]

    def at_frame(self, number, *, frame_rate=CONSOLE_FRAME_RATE):
        """The planes that are shown when so many emulator frames have passed."""
        assert 0 <= number / frame_rate < self.seconds
        return self.pictures[bisect_right(self.begins, number / frame_rate) - 1]


@pytest.fixture(scope="session")
def read_video():
    return Video
