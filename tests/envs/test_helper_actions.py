"""Helpers: on the cartridge where it has what they help with, on memory images made by hand otherwise."""

import io
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sprout_screens as screens
import torch
from sprout_walkthrough import Traveller
from sprout_walkthrough import world as sprout_world
from tensordict import TensorDict

from pokered_rl.emulator import ActionSet, SaveState, load_raw, start_states
from pokered_rl.envs import HelperActions, make_env
from pokered_rl.envs.assistance import HELPERS
from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.episodes import EpisodeFolder, EpisodeLog, EpisodePlayer
from pokered_rl.errors import ConfigError
from pokered_rl.game import FULL_LAYOUT, ITEMS, MOVES, RAM_MAP, ScreenKind
from pokered_rl.training.config import HELPER_NAMES

_ACTIONS = ActionSet()
_CUT, _SURF, _TACKLE, _GROWL = (MOVES.id(name) for name in ("CUT", "SURF", "TACKLE", "GROWL"))


def test_the_config_names_the_helpers_that_there_are():
    assert tuple(HELPERS) == HELPER_NAMES


def test_an_unknown_helper_is_refused():
    with pytest.raises(ConfigError, match=r"helpers must be out of skip_nicknaming.*'teach'"):
        HelperActions(helpers=["teach"])


@pytest.fixture
def on_sprout(sprout, tmp_path) -> Iterator[Callable]:
    """Make a log-writing environment with one helper that begins where ``prepare`` has brought the player."""
    made = []

    def make(helper: str, milestone: str, prepare: Callable[[Traveller], None]):
        with Traveller() as player:
            player.pyboy.load_state(io.BytesIO(SaveState.load(start_states(sprout)[milestone]).pyboy))
            player.tick(4)
            prepare(player)
            with (tmp_path / "start.state").open("wb") as file:
                player.pyboy.save_state(file)
        env = make_env(
            sprout,
            start_states=load_raw(tmp_path / "start.state", sprout),
            max_episode_steps=None,
            helpers=[helper],
            recorder={"folder": tmp_path / "logs", "ram_hash_every_steps": 1},
        )
        made.append(env)
        return env

    yield make
    for env in made:
        env.close(raise_if_closed=False)


def _forced(td: TensorDict) -> str | None:
    """The only action left to the first emulator, if there is but one."""
    left = td["action_mask"][0].nonzero().flatten().tolist()
    return _ACTIONS.names[left[0]] if len(left) == 1 else None


def _byte(env, label: str) -> int:
    return int(env.base_env.full_ram(0)[FULL_LAYOUT.column(RAM_MAP[label].address)])


def test_nicknaming_is_skipped_and_the_log_replays_without_the_helper(on_sprout, tmp_path):
    env = on_sprout("skip_nicknaming", "reed_path", screens.throw_net)
    members, pressed = 0, []
    td = env.reset()
    for _ in range(8):
        members = members or _byte(env, "wPartyCount")
        pressed.append(_forced(td))
        td["action"] = torch.tensor([_ACTIONS.index(pressed[-1] or "a")])
        td = env.step(td)["next"]
    assert [button for button in pressed if button] == ["b"]
    assert _byte(env, "wPartyCount") == members + 1
    env.close()
    (path,) = EpisodeFolder(tmp_path / "logs").logs()
    log = EpisodeLog.load(path)
    asked = pressed.index("b")
    assert log.header.helpers == ("skip_nicknaming",)
    assert log.acted == ((0, "unknown"), (asked, "helper:skip_nicknaming"), (asked + 1, "unknown"))
    with EpisodePlayer(log) as player:
        for _ in range(log.steps):
            player.play_step()
        assert player.hashes_checked == log.steps + 1


def _full_bag_before_the_pc(player: Traveller) -> None:
    player.enter((3, 4))
    player.enter((0, 1))
    player.go((7, 2))
    player.look("up")
    screens.menu(player)
    honey = sprout_world.ITEMS["HONEY_JAR"][0]
    lantern = sprout_world.ITEMS["LANTERN"][0]
    screens.put(player, screens.BAG, 20, *([honey, 3] * 19), lantern, 1, 0xFF)


def test_a_full_bag_is_deposited_until_a_quarter_is_free_and_key_items_stay(on_sprout):
    env = on_sprout("deposit_items", "leave_home", _full_bag_before_the_pc)
    td = env.reset()
    for _ in range(150):
        button = _forced(td)
        if button is None:
            break
        td = env.step(env.rand_action(td))["next"]  # the spec's mask leaves one action, too
    ram = env.base_env.full_ram(0)
    bag = FULL_LAYOUT.read(ram, "wBagItems")[:30:2].tolist()
    # One slot after the other goes: 20 to 15. They are of one kind, and Sprout takes the first slot of that kind.
    assert _byte(env, "wNumBagItems") == 15
    assert _byte(env, "wNumBoxItems") == 1
    assert sprout_world.ITEMS["LANTERN"][0] in bag


def test_a_bag_of_key_items_is_left_alone_and_that_is_said_once(on_sprout, caplog):
    def prepare(player: Traveller) -> None:
        _full_bag_before_the_pc(player)
        screens.put(player, screens.BAG, 20, *([sprout_world.ITEMS["LANTERN"][0], 1] * 20), 0xFF)

    env = on_sprout("deposit_items", "leave_home", prepare)
    td = env.reset()
    for _ in range(3):
        assert _forced(td) is None
        td["action"] = torch.tensor([_ACTIONS.index("down")])
        td = env.step(td)["next"]
    said = [each.getMessage() for each in caplog.records if "deposit_items" in each.getMessage()]
    assert said == ["The helper deposit_items cannot act: the bag has key items only. This is said once."]


def test_a_full_bag_far_from_a_pc_is_said_once_and_changes_nothing(on_sprout, caplog):
    def prepare(player: Traveller) -> None:
        honey = sprout_world.ITEMS["HONEY_JAR"][0]
        screens.put(player, screens.BAG, 20, *([honey, 3] * 20), 0xFF)

    env = on_sprout("deposit_items", "leave_home", prepare)
    td = env.reset()
    for button in ("down", "left", "down", "right"):
        assert _forced(td) is None
        td["action"] = torch.tensor([_ACTIONS.index(button)])
        td = env.step(td)["next"]
    said = [each.getMessage() for each in caplog.records if "deposit_items" in each.getMessage()]
    assert said == [
        "The helper deposit_items cannot act: the bag is full and no PC is open: it acts when the agent has opened one."
        " This is said once."
    ]


def test_a_helper_for_what_the_cartridge_has_not_says_so_and_does_nothing(sprout, caplog):
    caplog.set_level(logging.WARNING)
    HelperActions(helpers=["use_field_moves"], profile=sprout.profile)
    assert "use_field_moves cannot act: SPROUT has nothing for it to do" in caplog.text


def test_a_helper_without_its_buttons_says_so(caplog):
    HelperActions(helpers=["use_field_moves"], actions=ActionSet(("a", "b", "up", "down")))
    assert "use_field_moves cannot act: the actions lack start" in caplog.text


# Memory images of the retail game's screens, after the disassembly. Nobody has run these helpers on the game.


def _write(ram: torch.Tensor, text: str, x: int, y: int) -> None:
    codes = {"é": 0xBA, " ": 0x7F, "?": 0xE6, "’": 0xE0, ",": 0xF4}
    for i, letter in enumerate(text):
        code = codes.get(letter) or ord(letter) + (0x80 - ord("A") if letter.isupper() else 0xA0 - ord("a"))
        ram[FULL_LAYOUT.column(0xC3A0 + 20 * y + x + i)] = code


@pytest.fixture
def image(overworld, write) -> Callable[..., torch.Tensor]:
    """Images of a party of two, the second with CUT, and an HM in the bag; by default on the map, facing a tree."""
    records = bytearray(264)
    records[8:12] = bytes([_TACKLE, _GROWL, _SURF, _TACKLE])
    records[44 + 8 : 44 + 9] = bytes([_CUT])

    def make(
        *entries: str, top: tuple[int, int] = (0, 0), cursor: int = 0, last: int = 0, step: int = 2, **values
    ) -> torch.Tensor:
        ram = overworld(
            wPartyCount=2,
            wPartyMons=bytes(records),
            wObtainedBadges=0b10,
            wSpritePlayerStateData1FacingDirection=4,
            **values,
        )
        if not entries:
            return ram
        y, x = top
        at = 0xC3A0 + 20 * (y + 2 * cursor) + x
        write(
            ram,
            wFontLoaded=1,
            wTopMenuItemY=y,
            wTopMenuItemX=x,
            wCurrentMenuItem=cursor,
            wMaxMenuItem=last or len(entries) - 1,
            wMenuCursorLocation=[at & 255, at >> 8],
            **{"wMenuWatchedKeys": 3} | values,
        )
        for number, entry in enumerate(entries):
            _write(ram, entry, x + 1, y + step * number)
        for address, value in {at: 0xED, 0xDFFD: 0x99, 0xFFB0: 0}.items():
            ram[FULL_LAYOUT.column(address)] = value
        return ram

    return make


def _tree(ram: torch.Tensor) -> torch.Tensor:
    ram[FULL_LAYOUT.column(0xC3A0 + 7 * 20 + 8)] = 0x3D
    return ram


def _text(ram: torch.Tensor) -> torch.Tensor:
    for address, value in {0xC3A0 + 16 * 20 + 18: 0xEE, 0xDFFD: 0x99, 0xFFB0: 0}.items():
        ram[FULL_LAYOUT.column(address)] = value
    return ram


def _start_menu(image: Callable, cursor: int) -> torch.Tensor:
    return image(
        *("POKéDEX", "POKéMON", "ITEM", "RED", "SAVE", "OPTION", "EXIT"),
        top=(2, 11),
        cursor=cursor,
        wMenuWatchedKeys=0xCB,
    )


def _party(image: Callable, cursor: int, *below: str) -> torch.Tensor:
    ram = image("ONE", "TWO", top=(1, 0), cursor=cursor)
    for number, text in enumerate(below):
        _write(ram, text, 12, 2 * number + 1)
    return ram


def _follow(transform: HelperActions, *frames: torch.Tensor, obey: bool = True) -> list[str | None]:
    """Feed the images of one emulator, step after step, and return what was forced; obeyed by default."""
    out: list[str | None] = []
    for ram in frames:
        action = _ACTIONS.index(out[-1]) if out and out[-1] and obey else 0
        td = TensorDict({"ram": ram[None], "action_mask": torch.ones(1, 8, dtype=torch.bool)}, [1])
        td["action"] = torch.tensor([action])
        out.append(_forced(transform(td)))
    return out


def test_the_tile_in_front_is_the_one_that_the_retail_game_finds():
    folder = os.environ.get("POKERED_REAL_RAM")
    if folder is None:
        pytest.skip("POKERED_REAL_RAM is not set: no RAM images of the real game")
    paths = sorted(Path(folder).glob("*.bin"))
    ram = torch.stack([torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in paths])
    frame = RamFrame(ram, FULL_LAYOUT)
    # The game writes it at every step; 0 before the first.
    found = frame.u8("wTileInFrontOfPlayer")
    shown = (frame.screen_kind == ScreenKind.OVERWORLD) & (found > 0)
    assert shown.sum() >= 5
    assert frame.tile_in_front[shown].tolist() == found[shown].tolist()


def test_a_helper_gives_up_after_its_most_steps(image, caplog):
    frames = [_tree(image())] * (HELPERS["use_field_moves"].max_steps + 2)
    pressed = _follow(HelperActions(helpers=["use_field_moves"]), *frames)
    assert pressed == ["start"] * (len(frames) - 2) + [None, None]
    assert "use_field_moves cannot act: it was not done after 120 steps" in caplog.text


def test_cut_is_used_before_a_tree_by_the_member_that_knows_it(image):
    menu = ("CUT", "STATS", "SWITCH", "CANCEL")
    pressed = _follow(
        HelperActions(helpers=["use_field_moves"]),
        image(),
        _tree(image()),
        _start_menu(image, 0),
        _start_menu(image, 1),
        _party(image, 0),
        _party(image, 1),
        image(*menu, top=(10, 12)),
        _text(image()),
        image(),
        image(),
    )
    assert pressed == [None, "start", "down", "a", "down", "a", "a", "a", None, None]


@pytest.mark.parametrize("missing", ["badge", "move"])
def test_cut_is_left_alone_without_badge_or_move(image, missing):
    lacking = {"wObtainedBadges": 0b101} if missing == "badge" else {"wPartyCount": 1}
    ram = _tree(image())
    for label, value in lacking.items():
        ram[FULL_LAYOUT.column(RAM_MAP[label].address)] = value
    assert _follow(HelperActions(helpers=["use_field_moves"]), ram) == [None]


def test_a_helper_that_meets_another_screen_stops_there_and_does_not_begin_again_in_that_place(image, caplog):
    transform = HelperActions(helpers=["use_field_moves"])
    other = image("NORTH", "SOUTH", top=(5, 3))
    assert _follow(transform, _tree(image()), other, other, _tree(image())) == ["start", None, None, None]
    assert caplog.text.count("use_field_moves cannot act: it met the screen OTHER_MENU") == 1
    assert _follow(transform, _tree(image(wXCoord=9))) == ["start"]


def test_a_policy_that_ignores_the_mask_ends_what_the_helper_does(image):
    frames = _tree(image()), _start_menu(image, 0)
    assert _follow(HelperActions(helpers=["use_field_moves"]), *frames, obey=False) == ["start", None]


def test_a_restored_helper_goes_on(image):
    frames = [_tree(image()), _start_menu(image, 1), _party(image, 1)]
    whole = _follow(HelperActions(helpers=["use_field_moves"]), *frames)
    first, second = (HelperActions(helpers=["use_field_moves"]) for _ in range(2))
    _follow(first, *frames[:2])
    second.set_extra_state(first.get_extra_state())
    td = TensorDict({"ram": frames[2][None], "action_mask": torch.ones(1, 8, dtype=torch.bool)}, [1])
    td["action"] = torch.tensor([_ACTIONS.index("a")])
    assert whole == ["start", "a", "a"]
    assert _forced(second(td)) == "a"


def _with_hm(ram: torch.Tensor) -> torch.Tensor:
    """An HM that nobody knows, FLASH, in the second slot of the bag."""
    at = FULL_LAYOUT.column(RAM_MAP["wNumBagItems"].address)
    ram[at : at + 6] = torch.tensor([2, ITEMS.id("POTION"), 1, ITEMS.id("HM_FLASH"), 1, 255], dtype=torch.uint8)
    return ram


def test_an_hm_is_taught_to_a_member_that_can_learn_it_and_the_weakest_move_goes(image, write):
    bag = image("POTION", "HM", "CANCEL", top=(4, 5), cursor=1, wMenuWatchedKeys=7, wListMenuID=3)
    learned = _party(image, 0)
    write(learned, wPartyMons=bytes([0] * 8 + [_TACKLE, MOVES.id("FLASH"), _SURF, _TACKLE]))
    yes_no = image("YES", "NO", top=(8, 15), wTextBoxID=0x14)
    forget = [image("TACKLE", "GROWL", "SURF", "TACKLE", top=(8, 5), cursor=i, step=1, wTextBoxID=1) for i in (0, 1)]
    frames = [
        image(),
        _start_menu(image, 2),
        bag,
        image("USE", "TOSS", top=(11, 14)),
        _text(image()),
        yes_no,
        _party(image, 0, "ABLE", "NOT ABLE"),
        yes_no,
        *forget,
        learned,
    ]
    pressed = _follow(HelperActions(helpers=["teach_field_moves"]), *map(_with_hm, frames))
    # GROWL, without power, is the weakest; SURF would be refused.
    assert pressed == ["start", "a", "a", "a", "a", "a", "a", "a", "down", "a", None]


def test_an_hm_that_nobody_can_learn_is_tried_once_for_a_party(image, caplog):
    transform = HelperActions(helpers=["teach_field_moves"])
    bag = image("POTION", "HM", "CANCEL", top=(4, 5), cursor=1, wMenuWatchedKeys=7, wListMenuID=3)
    frames = [
        image(),
        _start_menu(image, 2),
        bag,
        image("USE", "TOSS", top=(11, 14)),
        _party(image, 0, "NOT ABLE", "NOT ABLE"),
        image(),
        image(wXCoord=9),
    ]
    assert _follow(transform, *map(_with_hm, frames)) == ["start", "a", "a", "a", None, None, None]
    assert "nobody in the party can learn FLASH" in caplog.text
