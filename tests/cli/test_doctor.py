"""Each check with the fault that it is there for, and the whole on this machine."""

from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from pokered_rl.cli import doctor
from pokered_rl.cli.doctor import Finding, Verdict
from pokered_rl.training.costs import ExpectedSpeed, measured_costs
from pokered_rl.training.load_config import load_config

GB = 10**9


def _by_name(findings) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def _versions(**changes):
    present = {"torch": "2.14.1+cu130", "torchrl": "0.14.1", "tensordict": "0.14.3", "pyboy": "2.8.1"}
    versions = present | {"gymnasium": "1.0.0"} | changes

    def installed(name: str) -> str:
        if versions[name] is None:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    return _by_name(doctor.check_versions(installed))


def test_versions_in_their_ranges_are_fine():
    assert {finding.verdict for finding in _versions().values()} == {Verdict.ok}


@pytest.mark.parametrize(
    ("library", "version"),
    [("torchrl", "0.13.2"), ("tensordict", "0.15.0"), ("pyboy", "2.7.1"), ("torch", None), ("torch", "2.9.0")],
)
def test_wrong_or_missing_libraries_come_with_the_command_that_installs_them(library, version):
    finding = _versions(**{library: version})[library]
    assert finding.verdict is Verdict.error
    assert finding.remedy.startswith(f"python -m pip install '{library}>=")


def test_supported_releases_are_those_of_the_package_metadata():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for name, first, end in doctor._SUPPORTED:
        assert f'"{name}>={first}{f",<{end}" if end else ""}"' in text


def test_more_processes_than_cores_are_noted():
    assert doctor.check_cpu(usable=8, host=8, workers=7).verdict is Verdict.ok
    finding = doctor.check_cpu(usable=2, host=64, workers=32)
    assert finding.verdict is Verdict.note
    assert "2 of the machine's 64 cores" in finding.text
    assert "collector.num_workers=auto" in finding.remedy
    assert doctor.check_cpu(usable=1, host=1, workers=1).verdict is Verdict.note


def test_gpu_that_is_asked_for_and_absent_is_an_error_and_a_hidden_one_is_noted():
    assert doctor.check_gpu(wanted="auto", name="H200", memory_bytes=140 * GB).text == "H200, 140 GB"
    assert doctor.check_gpu(wanted="auto", name=None).verdict is Verdict.ok
    assert doctor.check_gpu(wanted="cuda", name=None).verdict is Verdict.error
    assert "is not used" in doctor.check_gpu(wanted="cpu", name="H200").text
    assert doctor.check_gpu(wanted="auto", name=None, driver=True).verdict is Verdict.note


def test_disk_that_is_too_small_or_made_of_memory_is_told():
    def check(needed: int, filesystem: str = "ext4") -> Finding:
        return doctor.check_disk(folder=Path("runs/a"), needed_bytes=needed, free_bytes=20 * GB, filesystem=filesystem)

    assert check(19 * GB).verdict is Verdict.ok
    assert check(21 * GB).verdict is Verdict.error
    assert "replay.capacity_transitions" in check(21 * GB).remedy
    assert check(GB, "tmpfs").verdict is Verdict.note


def test_too_little_memory_is_an_error():
    assert doctor.check_memory(needed_bytes=4 * GB, available_bytes=8 * GB).verdict is Verdict.ok
    assert doctor.check_memory(needed_bytes=9 * GB, available_bytes=8 * GB).verdict is Verdict.error


def test_speed_names_the_slowest_part_and_the_time_to_the_target():
    # 500 steps/s in the learner, 50 to an update: 10 updates/s, and 3.6 million steps take two hours.
    parts = {"acting": 2000.0, "intake": 4000.0, "steps_per_update": 50.0, "cores": 3000.0}
    finding = doctor.describe_speed(ExpectedSpeed(**parts, learning=500.0), target_steps=3_600_000, scale="scaled by 2")
    for words in (
        "500 steps/s",
        "10 updates/s",
        "limited by learning",
        "acting 2,000",
        "taking in and drawing 4,000",
        "the cores 3,000",
        "Sprout",
        "2.0 hours",
        "scaled by 2",
    ):
        assert words in finding.text
    finding = doctor.describe_speed(ExpectedSpeed(**parts, learning=None), target_steps=3_600_000, scale="scaled by 2")
    for words in ("2,000 steps/s", "40 updates/s", "limited by acting", "not estimated", "in 30 minutes"):
        assert words in finding.text


def test_costs_are_scaled_by_what_a_frame_takes_here(monkeypatch):
    costs = replace(measured_costs(), frame_us=29.0)
    monkeypatch.setattr("pokered_rl.emulator.measure_frame_us", lambda *, processes: 2 * costs.frame_us)
    scaled, text = doctor._costs_here(costs, processes=16)
    assert scaled == costs.scaled(2)
    assert "a frame takes 58 us here with 16 cores busy, 29 where they were measured" in text


@pytest.mark.parametrize(
    ("error", "reason"), [(TimeoutError("not within 60 s"), "not within 60 s"), (EOFError(), "EOFError")]
)
def test_costs_are_those_of_the_benchmark_where_emulating_fails(monkeypatch, error, reason):
    def fail(*, processes):
        raise error

    monkeypatch.setattr("pokered_rl.emulator.measure_frame_us", fail)
    costs, text = doctor._costs_here(measured_costs(), processes=2)
    assert costs == measured_costs()
    assert text == f"not scaled to this machine: emulating failed ({reason})"


def test_shared_memory_is_judged_by_what_the_network_needs():
    finding = doctor.check_shared_memory(needed_bytes=65_000_000, free_bytes=64_000_000)
    assert finding.verdict is Verdict.error
    assert "--shm-size" in finding.remedy
    assert doctor.check_shared_memory(needed_bytes=63_000_000, free_bytes=64_000_000).verdict is Verdict.ok
    assert doctor.check_shared_memory(needed_bytes=65_000_000, free_bytes=None).verdict is Verdict.ok


def test_run_folder_that_cannot_be_written_is_an_error_and_a_good_one_stays_empty(tmp_path):
    finding = doctor.check_writing(tmp_path / "runs" / "a")
    assert (finding.verdict, "lock is made by hard link" in finding.text) == (Verdict.ok, True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    assert doctor.check_writing(tmp_path / "file").verdict is Verdict.error


def test_rom_that_is_not_one_is_an_error_with_the_reason(tmp_path):
    rom = tmp_path / "pokemon_red.gb"
    rom.write_bytes(bytes(32768))
    finding = doctor.check_cartridge(str(rom), allow_unknown=False)
    assert finding.verdict is Verdict.error
    assert str(rom) in finding.text
    assert doctor.check_emulator(str(rom), allow_unknown=False).verdict is Verdict.error


def test_file_system_is_that_of_the_longest_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nnone {tmp_path.resolve()} tmpfs rw 0 0\n")
    assert doctor._filesystem(tmp_path / "not" / "yet", mounts) == "tmpfs"
    assert doctor._filesystem(Path("/"), mounts) == "ext4"
    assert doctor._filesystem(Path("/"), tmp_path / "none") == ""


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.delenv("POKERED_ROM", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("pokered_rl.emulator.measure_frame_us", lambda *, processes: 30.0)  # saves seconds
    return ["--config-name", "quickstart", f"run.folder={tmp_path}", "replay.capacity_transitions=10000"]


def test_doctor_says_that_training_can_start_and_ends_with_0(small, tmp_path, capsys):
    assert doctor.main(small) == 0
    shown = capsys.readouterr().out
    assert "training can start" in shown
    for name in ("python", "torch", "cpu", "gpu", "cartridge", "emulator", "disk", "memory", "speed", "run folder"):
        assert f" {name} " in shown
    assert list(tmp_path.iterdir()) == []


def test_doctor_shows_errors_with_their_remedy_and_ends_with_1(small, capsys):
    assert doctor.main([*small, "replay.capacity_transitions=50000000000"]) == 1
    shown = capsys.readouterr().out
    assert "-> lower replay.capacity_transitions" in shown
    assert doctor.main([*small, "collector.num_worker=1"]) == 1
    assert "collector.num_workers" in capsys.readouterr().err


@pytest.mark.parametrize("level", [0, 1])
def test_needs_are_those_that_the_replay_reserves(small, tmp_path, level):
    # What `doctor` announces is what training then takes, file by file; of compressed sequences it takes less.
    from pokered_rl.training import Experiment
    from pokered_rl.training.resources import storage_needs

    config = load_config("quickstart", [*small[2:], "collector.backend=inline", f"replay.compression_level={level}"])
    config.run.folder = str(tmp_path)
    needs = storage_needs(config)
    with Experiment(config).build() as trainer:
        assert trainer.replay.capacity_sequences == needs.sequences
        reserved = trainer.replay.allocate(trainer.example)
        assert needs.replay_bytes == trainer.replay_bytes
    assert level or needs.replay_bytes == pytest.approx(reserved, rel=0.01)
