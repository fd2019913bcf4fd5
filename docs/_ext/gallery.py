"""Make the pictures of the gallery: places and a battle of Sprout, tiles that an agent saw, the page of a report.

    python docs/_ext/gallery.py                     # places, battle, coverage
    python docs/_ext/gallery.py --report REPORT.html --chromium chromium    # a screenshot of a report, too

Everything comes from the bundled cartridge, its recorded walkthrough and the shipped agent of the quick start.
"""

import argparse
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchrl.envs.utils import ExplorationType, set_exploration_type, step_mdp

from pokered_rl.emulator import Cartridge, Emulator, SaveState, start_states
from pokered_rl.observations import unpack_shades
from pokered_rl.record.maps import coverage_picture
from pokered_rl.record.palettes import palette
from pokered_rl.training import load_policy
from pokered_rl.training.evaluation import RandomPolicy

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "_static" / "gallery"
AGENT = ROOT / "examples" / "assets" / "sprout"
_WALKTHROUGH = ROOT / "pokered_rl" / "emulator" / "data" / "sprout_walkthrough.json"
PLACES = ("leave_home", "starter", "pebble_lane", "tanglewood", "brindle", "parcel",
          "badge_stone", "reed_path", "gate", "cave", "highmere", "champion")  # fmt: skip
_COLUMNS, _GAP = 4, 6
#: The battle: a picture every so many console frames, shown for so many milliseconds.
_EVERY_FRAMES, _MILLISECONDS = 30, 120
_EPISODES, _STEPS = 8, 256


def _screen(emulator: Emulator) -> np.ndarray:
    return palette("pocket")[unpack_shades(emulator.pixels())]  # [144, 160, 3]


def places(target: Path) -> None:
    """Draw the places behind milestones of the story."""
    emulator, states = Emulator(Cartridge.bundled(), screen="full"), start_states("sprout")
    rows = -(-len(PLACES) // _COLUMNS)
    sheet = np.full((rows * (144 + _GAP) - _GAP, _COLUMNS * (160 + _GAP) - _GAP, 3), 255, np.uint8)
    for index, name in enumerate(PLACES):
        emulator.load_state(SaveState.load(states[name]))
        emulator.tick(1, True)
        y, x = index // _COLUMNS * (144 + _GAP), index % _COLUMNS * (160 + _GAP)
        sheet[y : y + 144, x : x + 160] = _screen(emulator)
    emulator.close()
    Image.fromarray(sheet).quantize(8).save(target, optimize=True)


def battle(target: Path) -> None:
    """Replay the walkthrough from power-on; show it from the first creature to the end of the first battle."""
    emulator, pictures = Emulator(Cartridge.bundled(), screen="full"), []
    keys = dict(zip("ABCSRLUD", ("a", "b", "select", "start", "right", "left", "up", "down"), strict=True))
    for part in json.loads(_WALKTHROUGH.read_text())["milestones"]:
        shown, wait = part["name"] == "rival_1", 0
        for frames, key in re.findall(r"(\d+)([A-Za-z.])", part["keys"]):
            for _ in range(int(frames)):
                wait += 1
                draw = shown and wait % _EVERY_FRAMES == 0
                emulator.tick(1, draw)
                if draw:
                    pictures.append(Image.fromarray(_screen(emulator)))
            if key != ".":
                (emulator.press if key.isupper() else emulator.release)(keys[key.upper()])
        if shown:
            break
    emulator.close()
    colours = pictures[0].quantize(4)
    frames = [picture.quantize(palette=colours, dither=Image.Dither.NONE) for picture in pictures]
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=_MILLISECONDS, loop=0, optimize=True)


def coverage(target: Path, *, trained: bool) -> None:
    """Draw how many of a few episodes came to each tile."""
    agent = load_policy(AGENT)
    env = agent.make_env(num_emulators=_EPISODES, epsilon=0.01 if trained else 1.0, seed=1, max_episode_steps=_STEPS,
                         game_fields=("map_id", "x", "y"))  # fmt: skip
    policy = agent.policy if trained else RandomPolicy(seed=1)
    seen: list[set[int]] = [set() for _ in range(_EPISODES)]
    torch.manual_seed(1)
    with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        tensordict = env.reset()
        for _ in range(_STEPS):
            game = tensordict["game"]
            place = game["map_id"].long() << 16 | game["x"].long() << 8 | game["y"].long()
            for emulator, key in enumerate(place.flatten().tolist()):
                seen[emulator].add(key)
            tensordict = step_mdp(env.step(policy(tensordict)))
    env.close()
    visits = {key: sum(key in each for each in seen) for key in set().union(*seen)}
    picture = coverage_picture(visits, maps=agent.cartridge.profile.maps)
    Image.fromarray(picture).quantize(64).save(target, optimize=True)


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, metavar="HTML", help="a report to take a picture of")
    parser.add_argument("--chromium", default="chromium", help="the browser for it (%(default)s)")
    arguments = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    places(TARGET / "places.png")
    battle(TARGET / "battle.gif")
    coverage(TARGET / "coverage_trained.png", trained=True)
    coverage(TARGET / "coverage_random.png", trained=False)
    if arguments.report is not None:
        shot = TARGET / "report.png"
        command = [arguments.chromium, "--headless", "--no-sandbox", "--hide-scrollbars", f"--screenshot={shot}"]
        subprocess.run([*command, "--window-size=1000,1500", arguments.report.resolve().as_uri()], check=True)
        Image.open(shot).convert("RGB").crop((0, 0, 1000, 1150)).quantize(48).save(shot, optimize=True)


if __name__ == "__main__":
    main()
