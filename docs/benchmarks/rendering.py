"""Row `render`: video frames a second against bare emulation of the same frames, every one of them drawn."""

import tempfile
import time
from pathlib import Path

from bare import playable_state, scripted_actions
from pairs import Row
from pokered_rl.emulator import ActionSet, ActionTiming, Cartridge, Emulator, SaveState
from pokered_rl.episodes import EpisodeLog, record_episode
from pokered_rl.record.render import RenderOptions, render_episode


def _bare_seconds(emulator: Emulator, state: SaveState, log: EpisodeLog) -> float:
    """Return the seconds of the logged presses and frames, every frame drawn."""
    emulator.load_state(state)
    buttons, hold_frames = ActionSet().button_indices, ActionTiming().hold_frames
    start = time.perf_counter()
    for action, frames in zip(log.actions.tolist(), log.step_frames.tolist(), strict=True):
        button = buttons[action]
        if button >= 0:
            emulator.press(button)
        for frame in range(frames):
            if frame == hold_frames and button >= 0:
                emulator.release(button)
            emulator.tick(1, render=True)
    return time.perf_counter() - start


def render(*, quick: bool) -> Row:
    """H.264 at twice the console's size with the side panel, one core; hashes checked on the way."""
    cartridge = Cartridge.find()
    state = playable_state(cartridge)
    actions = scripted_actions(60 if quick else 300, 1, num_actions=len(ActionSet()))[:, 0]
    row = Row([], [], "frames/s")
    with tempfile.TemporaryDirectory() as folder, Emulator(cartridge) as emulator:
        log = EpisodeLog.load(
            record_episode(actions.tolist(), cartridge=cartridge, start_state=state, folder=Path(folder) / "logs")
        )
        for index in range(4 if quick else 8):
            out = Path(folder) / f"{index}.mp4"
            start = time.perf_counter()
            rendered = render_episode(log, out, cartridge=cartridge, options=RenderOptions())
            ours = rendered.frames / (time.perf_counter() - start)
            limit = rendered.frames / _bare_seconds(emulator, state, log)
            if index:
                row.ours.append(ours)
                row.limit.append(limit)
    return row
