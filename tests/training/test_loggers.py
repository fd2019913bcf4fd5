import csv
import json
import shutil
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchrl.record.loggers import WandbLogger

from pokered_rl.emulator import Cartridge
from pokered_rl.errors import ConfigError
from pokered_rl.record.maps import coverage_picture
from pokered_rl.training import StopReason
from pokered_rl.training.loggers import log_picture, log_video, make_loggers, takes_pictures
from pokered_rl.training.metrics import Metrics
from pokered_rl.training.run_folder import Progress


def _job(folder: Path, steps: range, *, resume_step: int = 0, **options) -> list[str]:
    said: list[str] = []
    trainer = SimpleNamespace(
        steps=resume_step,
        updates=0,
        episodes=0,
        replay=[],
        workers=SimpleNamespace(stats=dict),
        learner=SimpleNamespace(means=lambda: {"loss": float(trainer.steps)}, diagnostics=dict),
    )
    loggers = partial(make_loggers, folder, run_name="a", say=said.append, **options)
    metrics = Metrics(folder, Progress(run="a", jobs=1), every_seconds=0, open_loggers=loggers)
    metrics.on_start(trainer)
    *earlier, last = steps
    for trainer.steps in earlier:
        metrics.on_update(trainer)
    trainer.steps = last
    metrics.on_end(trainer, StopReason.target)
    return said


def test_tensorboard_hides_what_a_resumed_job_plays_again(tmp_path: Path):
    assert _job(tmp_path, range(0, 50, 10)) == []
    _job(tmp_path, range(30, 60, 10), resume_step=25)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    # The first job's 30 and 40 lie past the checkpoint at 25.
    assert [event.step for event in board.Scalars("train/loss")] == [0, 10, 20, 30, 40, 50]


def test_tensorboard_has_the_options_of_the_run_and_pictures_of_the_coverage(tmp_path: Path):
    (logger,) = make_loggers(tmp_path, run_name="a", hparams={"loss.gamma": 0.9, "env.actions": ["a"]}, say=print)
    assert takes_pictures(logger)
    log_picture(logger, "episode/coverage", np.full((4, 6, 3), 7, np.uint8), step=50)
    logger.experiment.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    (picture,) = board.Images("episode/coverage")
    assert (picture.step, picture.width, picture.height) == (50, 6, 4)
    assert b"loss.gamma" in board.summary_metadata["_hparams_/session_start_info"].plugin_data.content


def test_coverage_is_drawn_in_the_size_of_the_maps():
    maps = Cartridge.find().profile.maps
    home = next(game_map.id for game_map in maps if game_map.width_steps)
    picture = coverage_picture({home << 16 | 1 << 8 | 2: 3, home << 16 | 2 << 8 | 2: 1}, maps=maps)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3, "visited tiles have colours"


def test_nothing_leaves_the_machine_unless_asked(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it would fail
    assert _job(tmp_path, range(0, 20, 10), tensorboard=False) == []
    assert {path.name for path in tmp_path.iterdir()} == {"train.csv"}


def test_wandb_offline_writes_files_and_later_jobs_go_on_with_the_same_run(tmp_path: Path, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    for name in ("WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    ids = set()
    for job in range(2):
        said = _job(tmp_path, range(job * 20, 20 + job * 20, 10), tensorboard=False, wandb="offline")
        assert said == [
            "Weights & Biases offline: nothing is sent; "
            f"`wandb sync {tmp_path}/wandb/*` would send it to https://api.wandb.ai"
        ]
        ids.add((tmp_path / "wandb_id.txt").read_text())
    (number,) = ids
    files = list((tmp_path / "wandb").glob(f"offline-run-*-{number}/run-{number}.wandb"))
    assert len(files) == 2
    assert any(b"train/loss" in file.read_bytes() for file in files)


def test_wandb_gets_the_file_of_a_video(monkeypatch):
    fake, sent = ModuleType("wandb"), []
    fake.Video = lambda path, format: (path, format)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    logger = WandbLogger.__new__(WandbLogger)
    logger.experiment = SimpleNamespace(log=sent.append)
    log_video(logger, "evaluation/episode", Path("a.mp4"), step=7)
    assert sent == [{"evaluation/episode": ("a.mp4", "mp4")}]


class _RefusedError(Exception):
    pass


def test_wandb_says_where_it_sends_and_how_to_be_let_in(tmp_path: Path, monkeypatch):
    fake, errors = ModuleType("wandb"), ModuleType("wandb.errors")
    errors.Error = _RefusedError
    fake.errors = errors

    def init(**arguments):
        assert arguments["project"] == "pokered_rl"
        assert arguments["name"] == "a"
        raise _RefusedError("no API key configured")

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setitem(sys.modules, "wandb.errors", errors)
    monkeypatch.setattr("torchrl.record.loggers.wandb._has_wandb", True)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    said: list[str] = []
    with pytest.raises(ConfigError, match=r"no API key configured; run `wandb login` .*logging\.wandb=offline"):
        make_loggers(tmp_path, run_name="a", tensorboard=False, wandb="online", say=said.append)
    assert said == [
        "metrics and facts about this machine are sent to https://wandb.example.org (Weights & Biases, pokered_rl)"
    ]


def test_without_wandb_its_extra_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "wandb.errors", None)
    with pytest.raises(ConfigError, match=r"pip install 'pokered_rl\[wandb\]'"):
        make_loggers(tmp_path, run_name="a", wandb="offline", say=lambda text: None)


def test_further_loggers_of_torchrl_get_the_same_figures(tmp_path: Path, monkeypatch):
    kept: dict[str, list[int]] = {}
    hparams: list[dict] = []

    def get_logger(kind, folder, name, **options):
        steps = kept.setdefault(f"{kind} {folder} {name}", [])
        return SimpleNamespace(
            log_metrics=lambda metrics, step: steps.append(step),
            log_hparams=hparams.append,
            experiment=SimpleNamespace(),
        )

    monkeypatch.setattr("pokered_rl.training.loggers.get_logger", get_logger)
    _job(tmp_path, range(0, 30, 10), tensorboard=False, others=["mlflow", "trackio"], hparams={"loss.gamma": 0.9})
    assert hparams == [{"loss.gamma": 0.9}] * 2
    assert kept == {f"{kind} {tmp_path / kind} a": [0, 10, 20] for kind in ("mlflow", "trackio")}


def test_a_logger_that_is_unknown_or_not_installed_is_named(tmp_path: Path, monkeypatch):
    with pytest.raises(ConfigError, match=r"logging\.loggers must name mlflow or trackio, got 'mlfow'"):
        make_loggers(tmp_path, run_name="a", tensorboard=False, others=["mlfow"], say=print)
    monkeypatch.setattr("torchrl.record.loggers.mlflow._has_mlflow", False)
    with pytest.raises(ConfigError, match="pip install mlflow"):
        make_loggers(tmp_path, run_name="a", tensorboard=False, others=["mlflow"], say=print)


def test_a_run_logs_where_its_config_says(train, runs, capsys):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    assert train("run.target_total_steps=60", "logging.wandb=offline", "logging.tensorboard=true") == 0
    assert "Weights & Biases offline: nothing is sent" in " ".join(capsys.readouterr().out.split())
    metrics = runs / "a" / "metrics"
    assert list((metrics / "wandb").glob("offline-run-*"))
    assert list((metrics / "tensorboard").iterdir())


def _series(run: Path) -> tuple[list[int], list[dict[str, str]]]:
    """The steps at which TensorBoard has a row, and the rows of ``train.csv``."""
    board = EventAccumulator(str(run / "metrics" / "tensorboard"))
    board.Reload()
    with (run / "metrics" / "train.csv").open(newline="") as file:
        return [event.step for event in board.Scalars("train/wall_seconds")], list(csv.DictReader(file))


def test_two_jobs_of_a_run_write_one_series(runs: Path, train):
    for target in (100, 200):
        assert train(f"run.target_total_steps={target}", "logging.tensorboard=true") == 0
    shown, rows = _series(runs / "a")
    steps = {job: [int(row["steps"]) for row in rows if row["job"] == job] for job in ("1", "2")}
    assert steps["1"][-1] == 100
    assert 100 <= steps["2"][0] <= steps["2"][-1] == 200
    assert steps["1"] + steps["2"] == sorted(int(row["steps"]) for row in rows)
    assert shown == steps["1"] + steps["2"]
    seconds = [float(row["wall_seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    with (runs / "a" / "metrics" / "episodes.csv").open(newline="") as file:
        # 2 emulators, 100 steps of each: two episodes of 40 steps and a rest, whichever job they ended in.
        assert [row["length"] for row in csv.DictReader(file)] == ["40"] * 4


def test_steps_that_are_played_again_after_a_crash_stand_in_tensorboard_once(runs: Path, train):
    for target in (100, 160):
        assert train(f"run.target_total_steps={target}", "logging.tensorboard=true") == 0
    # As if job 2 had been killed before it saved: only the checkpoint at step 100 is there.
    newest = max((runs / "a" / "checkpoints").iterdir())
    assert newest.name.startswith(f"{160:012d}")
    shutil.rmtree(newest)
    assert train("run.target_total_steps=200", "logging.tensorboard=true") == 0
    shown, rows = _series(runs / "a")
    steps = {job: [int(row["steps"]) for row in rows if row["job"] == job] for job in ("1", "2", "3")}
    assert steps["3"][0] < 160, "job 3 plays again what job 2 had played"
    assert shown == steps["1"] + [step for step in steps["2"] if step <= 100] + steps["3"]
    # The tables mark the same rows, and agree with progress.json on what counts.
    assert [int(row["steps"]) for row in rows if row["abandoned"]] == [step for step in steps["2"] if step > 100]
    with (runs / "a" / "metrics" / "episodes.csv").open(newline="") as file:
        counted = [row for row in csv.DictReader(file) if not row["abandoned"]]
    assert len(counted) == json.loads((runs / "a" / "progress.json").read_text())["episodes"]
