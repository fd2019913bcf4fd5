import numpy as np
import pytest

from pokered_rl.emulator import ActionSet
from pokered_rl.episodes import EpisodeLog, ReachedMilestone, record_episode
from pokered_rl.game import CartridgeProfile
from pokered_rl.record.font import draw_text
from pokered_rl.record.panel import PANEL_HEIGHT, PANEL_WIDTH, Panel


@pytest.fixture(scope="module")
def busy_log(sprout, start, tmp_path_factory):
    """An episode with more reward terms and milestones than the panel has lines for."""
    path = record_episode(
        [ActionSet().names.index("right")] * 4,
        cartridge=sprout,
        start_state=start,
        folder=tmp_path_factory.mktemp("busy"),
        reward_terms=tuple(f"term_{index}" for index in range(12)),
        terms=lambda ram: [0.5] * 12,
    )
    log = EpisodeLog.load(path)
    return EpisodeLog(**(vars(log) | {"milestones": tuple(ReachedMilestone(1, f"milestone {n}") for n in range(9))}))


def test_panel_with_more_terms_and_milestones_than_lines_shows_the_latest_milestones(busy_log):
    panel = Panel(busy_log, maps=CartridgeProfile.get("sprout").maps)
    panel.draw(0, (38, 3, 6))
    before = panel.canvas.copy()
    panel.draw(1, (38, 3, 6))
    # The last two lines above the lower edge: both milestones that fit, none cut off.
    changed = np.flatnonzero((panel.canvas != before).any(axis=1))
    assert changed.max() < PANEL_HEIGHT - 7
    assert changed.max() > PANEL_HEIGHT - 20


@pytest.mark.parametrize("y", [0, 5, 9, 10, 14, 100])
def test_text_beyond_the_lower_edge_is_cut_off(y):
    canvas = np.zeros((10, PANEL_WIDTH), np.uint8)
    draw_text(canvas, 2, y, "ABC", 1)
    assert canvas.any() == (y < 10)
