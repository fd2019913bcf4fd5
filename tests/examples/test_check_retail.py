"""`examples/check_retail.py` on Sprout: it passes there, and it notices when the library and the game disagree."""

import io
import json
import os
from pathlib import Path

import av
import check_retail
import pytest
import retail_check.prober as prober
import retail_check.start as start_checks
import sprout_screens as screens
import sprout_walkthrough as walkthrough
import torch
from retail_check import ASKED
from sprout_walkthrough import Traveller

from pokered_rl.emulator import SaveState, start_states
from pokered_rl.game import FULL_LAYOUT, RAM_MAP, GameState

_ROOT = Path(__file__).parents[2]

_QUICK = ("--seconds", "1", "--speed-steps", "3", "--walk-presses", "12")


@pytest.fixture(scope="module")
def grass_state(tmp_path_factory):
    """A file with a PyBoy state in the tall grass of the first lane."""
    path = tmp_path_factory.mktemp("states") / "grass.state"
    path.write_bytes(walkthrough.grass_state())
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the script in a folder of its own; returns status, lines by name, and what was printed."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: str):
        status = check_retail.main([*_QUICK, "--json", "report.json", *arguments])
        report = json.loads((tmp_path / "report.json").read_text())
        return status, {line["name"]: line for line in report["checks"]}, report, capsys.readouterr()

    return check


#: What runs without a state of its own, and what Sprout has of the rest.
_ALWAYS = ("cartridge", "boot", "decoder", "walking", "same again", "START menu", "masks", "video", "speed")
_ON_SPROUT = (
    "shop", "pc", "yes_no", "naming", "pokedex", "pokedex_page", "trainer", "evolution", "hall_of_fame", "nickname",
    "full_bag",
)  # fmt: skip


@pytest.fixture(scope="module")
def asked_states(tmp_path_factory):
    """PyBoy states of Sprout for the screens and moments that it has, by name."""
    starts = start_states("sprout")
    folder = tmp_path_factory.mktemp("asked")

    def at(milestone: str | None) -> Traveller:
        player = Traveller()
        if milestone is None:
            player.tick(100)
        else:
            player.pyboy.load_state(io.BytesIO(SaveState.load(starts[milestone]).pyboy))
            player.tick(4)
        return player

    def shop(player: Traveller) -> None:
        player.leave("down", (4, 11))
        player.enter((5, 15))
        player.go((2, 4))
        player.look("up")
        screens.menu(player)
        player.choose(0)
        screens.menu(player)

    def pc(player: Traveller) -> None:
        player.enter((3, 4))
        player.enter((0, 1))
        player.go((7, 2))
        player.look("up")
        screens.menu(player)

    def yes_no(player: Traveller) -> None:
        screens.start_line(player, 4)
        screens.until(player, (8, 15, 1, 3))

    def naming(player: Traveller) -> None:
        player.press("start", 4, 8)
        screens.menu(player)
        player.choose(0)
        screens.until(player, (2, 1, 3, 1))
        player.choose(0)
        player.tick(20)

    def pokedex(player: Traveller) -> None:
        screens.start_line(player, 0)
        screens.menu(player)

    def pokedex_page(player: Traveller) -> None:
        screens.put(player, screens.OWNED, 0, 0)
        screens.throw_net(player)
        screens.until_text(player, "page in the book")
        player.press("a", 4, 60)

    def trainer(player: Traveller) -> None:
        player.settle = lambda: super(Traveller, player).settle()
        screens.put(player, 0xD0DB, 200)  # no wild battle on the way
        player.walk_to((15, 8))
        player.settle_any()

    def evolution(player: Traveller) -> None:
        screens.one_level_before_evolution(player)
        screens.fight_until_it_evolves(player)

    def hall_of_fame(player: Traveller) -> None:
        player.enter((5, 1))
        player.go((3, 2))
        player.face("up")

    def nickname(player: Traveller) -> None:
        pokedex_page(player)
        screens.until_text(player, "name of its own?")
        screens.menu(player)

    def full_bag(player: Traveller) -> None:
        pc(player)
        honey = walkthrough.world.ITEMS["HONEY_JAR"][0]
        screens.put(player, screens.BAG, 20, *([honey, 3] * 20), 0xFF)

    paths = {}
    for name, milestone, prepare in (
        ("shop", "badge_stone", shop),
        ("pc", "leave_home", pc),
        ("yes_no", "badge_stone", yes_no),
        ("naming", None, naming),
        ("pokedex", "badge_stone", pokedex),
        ("pokedex_page", "reed_path", pokedex_page),
        ("trainer", "reed_path", trainer),
        ("evolution", "reed_path", evolution),
        ("hall_of_fame", "champion", hall_of_fame),
        ("nickname", "reed_path", nickname),
        ("full_bag", "leave_home", full_bag),
    ):
        with at(milestone) as player:
            prepare(player)
            paths[name] = folder / f"{name}.state"
            with paths[name].open("wb") as file:
                player.pyboy.save_state(file)
    return paths


def test_everything_passes_on_sprout_and_the_table_can_be_pasted(run, tmp_path, grass_state):
    status, lines, report, printed = run(
        "--rom", str(_ROOT / "roms" / "sprout.gb"), "--battle-state", str(grass_state), "--walk-presses", "400"
    )
    assert {name: line["outcome"] for name, line in lines.items()} == {
        **dict.fromkeys((*_ALWAYS, "battle"), "pass"),
        **dict.fromkeys(ASKED, "not run"),
    }, report
    assert status == 0
    assert "now on HOME_1F" in lines["walking"]["seen"]  # by the stairs, which nobody had shown it
    assert all(line["expected"] and line["source"] for line in lines.values())
    assert "--state safari=FILE" in lines["safari"]["seen"]
    assert report["passed"]
    assert {"pokered_rl", "pyboy", "torch", "torchrl", "python"} <= set(report["versions"])
    table = [line for line in printed.out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(lines)  # no line is broken in two
    assert {line.count("|") for line in table} == {6}
    with av.open(str(tmp_path / "check_retail.mp4")) as video:
        assert 60 / 59.7275 <= video.duration / av.time_base + 0.02 <= (60 + 24 + 240) / 59.7275
    assert sorted(path.name for path in tmp_path.iterdir()) == ["check_retail.mp4", "report.json"]


def test_what_sprout_has_of_the_screens_asked_for_is_as_expected(run, asked_states):
    given = [word for name, path in asked_states.items() for word in ("--state", f"{name}={path}")]
    status, lines, report, _ = run(*given)
    assert tuple(asked_states) == _ON_SPROUT
    assert {name: lines[name]["outcome"] for name in asked_states} == dict.fromkeys(asked_states, "pass"), report
    assert status == 0
    assert "LIST, QUANTITY, YES_NO" in lines["shop"]["seen"]
    assert "battle_damage [0.0, 0.0, 0.0, 0.0]" in lines["trainer"]["seen"]
    assert "B stopped it" in lines["evolution"]["seen"]
    assert "1 team(s), was 0" in lines["hall_of_fame"]["seen"]
    assert lines["nickname"]["seen"].startswith("1 buttons, the last: b;")


def test_a_state_of_another_screen_is_a_failed_line(run, asked_states):
    given = {"safari": "yes_no", "spinner": "pc", "full_bag": "pc"}
    status, lines, _, _ = run(
        *(word for name, shown in given.items() for word in ("--state", f"{name}={asked_states[shown]}"))
    )
    assert status == 1
    assert [lines[name]["outcome"] for name in given] == ["FAIL"] * 3
    assert lines["safari"]["seen"].startswith("YES_NO, text")
    assert lines["safari"]["expected"] == ASKED["safari"].expected


@pytest.mark.parametrize("state", ["shop", "casino=a.state"])
def test_a_state_without_a_known_name_is_refused(state, capsys):
    with pytest.raises(SystemExit) as error:
        check_retail.main(["--state", state])
    assert error.value.code == 2
    assert "is not NAME=FILE" in capsys.readouterr().err


def test_what_the_states_have_to_show_is_listed(capsys):
    assert check_retail.main(["--list-states"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(ASKED)


def test_a_file_that_is_no_cartridge_is_a_failed_line(run, tmp_path):
    (tmp_path / "wrong.gb").write_bytes(bytes(32768))
    status, lines, _, printed = run("--rom", "wrong.gb")
    assert status == 1
    assert lines["cartridge"]["outcome"] == "FAIL"
    assert "not a cartridge this library knows" in lines["cartridge"]["seen"]
    assert "Traceback" not in printed.err
    assert list(lines) == ["cartridge"]


@pytest.fixture(scope="module")
def misled(tmp_path_factory):
    """Status and lines where the library is wrong about masks and directions, and the battle state is rubbish."""

    def without_a(*arguments, **options):
        reading = read_screen(*arguments, **options)
        usable = reading.usable.clone()
        usable[..., 0] = False
        return reading._replace(usable=usable)

    read_screen = prober.read_screen
    folder = tmp_path_factory.mktemp("misled")
    (folder / "nothing.state").write_bytes(b"\xff" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(prober, "read_screen", without_a)
        # What a decoder with x and y mixed up would look like.
        patch.setattr(start_checks, "DIRECTIONS", start_checks.DIRECTIONS | {"left": (1, 0, 3), "right": (-1, 0, 2)})
        status = check_retail.main([*_QUICK, "--json", "report.json", "--battle-state", "nothing.state"])
    lines = json.loads((folder / "report.json").read_text())["checks"]
    return status, {line["name"]: line for line in lines}


def test_a_mask_that_forbids_what_acts_is_noticed(misled):
    status, lines = misled
    assert status == 1
    assert lines["masks"]["outcome"] == "FAIL"
    assert "A on SAVE (YES_NO)" in lines["masks"]["seen"]


def test_coordinates_that_do_not_follow_the_presses_are_noticed(misled):
    _, lines = misled
    assert lines["walking"]["outcome"] == "FAIL"
    assert "made the player face" in lines["walking"]["seen"]


def test_a_battle_state_that_is_none_is_named(misled):
    _, lines = misled
    assert lines["battle"]["outcome"] == "FAIL"
    assert "nothing.state" in lines["battle"]["seen"]


def test_one_failure_does_not_stop_the_other_checks(misled):
    _, lines = misled
    assert {lines[name]["outcome"] for name in ("cartridge", "boot", "decoder", "START menu", "video", "speed")} == {
        "pass"
    }


def _faults(ram: torch.Tensor) -> list[str]:
    return start_checks.decoder_faults(ram, GameState.from_ram(ram))


@pytest.mark.skipif("POKERED_REAL_RAM" not in os.environ, reason="POKERED_REAL_RAM is not set: no real RAM images")
def test_decoder_finds_nothing_impossible_in_images_of_the_real_game():
    for path in Path(os.environ["POKERED_REAL_RAM"]).glob("*.bin"):
        if path.stem.startswith("title_"):  # no game has begun: party, bag and map are not initialised
            continue
        assert _faults(torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)) == [], path.stem


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [("wXCoord", 9, "x 9"), ("wPartyCount", 1, "1 in the party"), ("wCurMapWidth", 5, "5 x 4 blocks")],
)
def test_impossible_numbers_are_named(label, value, words):
    ram = torch.zeros(FULL_LAYOUT.size, dtype=torch.uint8)

    def write(name: str, number: int) -> None:
        ram[FULL_LAYOUT.column(RAM_MAP[name].address)] = number

    # A bedroom of 4 x 4 blocks; lists are ended by 0xFF.
    for name in ("wCurMapWidth", "wCurMapHeight"):
        write(name, 4)
    for name in ("wCurrentMapWidth2", "wCurrentMapHeight2"):
        write(name, 8)
    for name in ("wPartySpecies", "wBagItems"):
        write(name, 255)
    assert _faults(ram) == []
    write(label, value)
    assert any(words in fault for fault in _faults(ram))


@pytest.mark.parametrize("option", ["--json", "--video"])
def test_a_place_that_cannot_be_written_is_one_line_before_any_check(tmp_path, capsys, option):
    (tmp_path / "file").write_bytes(b"")
    place = tmp_path / "file" / "out"
    assert check_retail.main([option, str(place)]) == 1
    message = capsys.readouterr().err
    assert (len(message.splitlines()), str(place) in message, option in message) == (1, True, True)
