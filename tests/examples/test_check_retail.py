"""`examples/check_retail.py` on Sprout: it passes there, and it notices when the library and the game disagree."""

import json
import os
from pathlib import Path

import av
import check_retail
import pytest
import retail_check.prober as prober
import retail_check.start as start_checks
import torch

from pokered_rl.game import FULL_LAYOUT, RAM_MAP, GameState

_ROOT = Path(__file__).parents[2]

_QUICK = ("--seconds", "1", "--speed-steps", "3", "--walk-presses", "12")


@pytest.fixture(scope="module")
def grass_state(tmp_path_factory):
    """A file with a PyBoy state in the tall grass of the first lane."""
    from sprout_walkthrough import grass_state

    path = tmp_path_factory.mktemp("states") / "grass.state"
    path.write_bytes(grass_state())
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the script in a folder of its own; returns status, rows by name, and what was printed."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: str):
        status = check_retail.main([*_QUICK, "--json", "report.json", *arguments])
        report = json.loads((tmp_path / "report.json").read_text())
        return status, {row["name"]: row for row in report["checks"]}, report, capsys.readouterr()

    return check


def test_everything_passes_on_sprout_and_the_table_can_be_pasted(run, tmp_path, grass_state):
    status, rows, report, printed = run(
        "--rom", str(_ROOT / "roms" / "sprout.gb"), "--battle-state", str(grass_state), "--walk-presses", "400"
    )
    assert {name: row["outcome"] for name, row in rows.items()} == dict.fromkeys(
        ["cartridge", "boot", "decoder", "walking", "same again", "START menu", "battle", "masks", "video", "speed"],
        "pass",
    ), report
    assert status == 0
    assert "now on HOME_1F" in rows["walking"]["detail"]  # by the stairs, which nobody had shown it
    assert report["passed"]
    assert {"pokered_rl", "pyboy", "torch", "torchrl", "python"} <= set(report["versions"])
    table = [line for line in printed.out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(rows)  # no row is broken in two
    assert {line.count("|") for line in table} == {4}
    with av.open(str(tmp_path / "check_retail.mp4")) as video:
        assert 60 <= sum(1 for _ in video.decode(video=0)) <= 60 + 24 + 240
    assert sorted(path.name for path in tmp_path.iterdir()) == ["check_retail.mp4", "report.json"]


def test_a_file_that_is_no_cartridge_is_a_failed_row(run, tmp_path):
    (tmp_path / "wrong.gb").write_bytes(bytes(32768))
    status, rows, _, printed = run("--rom", "wrong.gb")
    assert status == 1
    assert rows["cartridge"]["outcome"] == "FAIL"
    assert "not a cartridge this library knows" in rows["cartridge"]["detail"]
    assert "Traceback" not in printed.err
    assert list(rows) == ["cartridge"]


@pytest.fixture(scope="module")
def misled(tmp_path_factory):
    """Status and rows where the library is wrong about masks and directions, and the battle state is rubbish."""

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
    rows = json.loads((folder / "report.json").read_text())["checks"]
    return status, {row["name"]: row for row in rows}


def test_a_mask_that_forbids_what_acts_is_noticed(misled):
    status, rows = misled
    assert status == 1
    assert rows["masks"]["outcome"] == "FAIL"
    assert "A on SAVE (YES_NO)" in rows["masks"]["detail"]


def test_coordinates_that_do_not_follow_the_presses_are_noticed(misled):
    _, rows = misled
    assert rows["walking"]["outcome"] == "FAIL"
    assert "made the player face" in rows["walking"]["detail"]


def test_a_battle_state_that_is_none_is_named(misled):
    _, rows = misled
    assert rows["battle"]["outcome"] == "FAIL"
    assert "nothing.state" in rows["battle"]["detail"]


def test_one_failure_does_not_stop_the_other_checks(misled):
    _, rows = misled
    assert {rows[name]["outcome"] for name in ("cartridge", "boot", "decoder", "START menu", "video", "speed")} == {
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
