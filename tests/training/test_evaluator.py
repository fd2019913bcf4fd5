"""Evaluations beside training: what is evaluated when, what is kept, when they end a run."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pokered_rl.emulator import Cartridge
from pokered_rl.errors import ConfigError, PokeredError
from pokered_rl.training import Callback, Config, StopReason, evaluator, load_policy
from pokered_rl.training.builders import choose_device, describe_learner, granted_gpu
from pokered_rl.training.evaluation import Evaluation
from pokered_rl.training.evaluator import EvaluationPlan, Evaluator
from pokered_rl.training.run_folder import RunFolder

_EVALUATED = (
    "runtime.deterministic=true",
    "run.target_total_steps=160",
    "run.evaluation_episodes=2",
    "evaluation.episodes=2",
    "evaluation.episode_steps=12",
    "logging.video_every_evaluations=2",
    "logging.tensorboard=true",
)


class Heard(Callback):
    """Keeps the evaluations, and the steps of the run when each arrived."""

    def __init__(self) -> None:
        self.results: list[dict[str, Evaluation]] = []

    def on_evaluation(self, trainer, results):
        self.results.append(dict(results))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, run_job):
    """A run of 160 steps with evaluations every 60, beside one without any; results and screen of the former."""
    runs = tmp_path_factory.mktemp("evaluated")
    heard = Heard()
    assert run_job(runs, *_EVALUATED, "run.name=with", "evaluation.every_steps=60", callbacks=[heard]) == 0
    assert run_job(runs, *_EVALUATED, "run.name=without", "evaluation.every_steps=0", "run.evaluation_episodes=0") == 0
    return runs, heard.results


def test_weights_are_evaluated_every_so_many_steps_and_at_the_end(evaluated):
    _, results = evaluated
    # Batches of 20 steps: 60 and 120 are crossed exactly; the last weights are those of step 160.
    assert [each["trained"].at_steps for each in results] == [60, 120, 160]
    assert [list(each) for each in results] == [["trained", "random"], ["trained"], ["trained", "random"]]
    assert {length for each in results for length in each["trained"].lengths} == {12}


def test_training_is_bit_identical_with_and_without_evaluations(evaluated):
    runs, _ = evaluated
    params = [torch.load(runs / name / "online_params.pt", weights_only=True)["params"] for name in ("with", "without")]
    assert all(torch.equal(params[0][name], params[1][name]) for name in params[0])


def test_evaluations_have_their_table_and_leave_no_weights_behind(evaluated):
    runs, results = evaluated
    with (runs / "with" / "metrics" / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["policy"], row["steps"]) for row in rows] == [
        ("trained", "60"),
        ("random", "60"),
        ("trained", "120"),
        ("trained", "160"),
        ("random", "160"),
    ]
    assert float(rows[0]["tiles"]) == pytest.approx(results[0]["trained"].mean_coverage)
    assert not list((runs / "with" / "evaluation").glob("*.pt"))


def test_best_weights_can_be_loaded_and_are_those_with_the_highest_score(evaluated):
    runs, results = evaluated
    scores = [(each["trained"].mean_milestones, each["trained"].mean_return) for each in results]
    best = results[scores.index(max(scores))]["trained"]
    assert load_policy(runs / "with" / "best").steps == best.at_steps
    assert json.loads((runs / "with" / "best" / "evaluation.json").read_text())["at_steps"] == best.at_steps


def test_every_second_evaluation_is_filmed_into_the_run_folder_and_tensorboard(evaluated):
    runs, _ = evaluated
    (video,) = (runs / "with" / "videos").iterdir()
    assert video.name == "evaluation_000000000120.mp4"
    with av.open(str(video)) as container:
        # 12 steps of at least 24 console frames, of which 59.7275 pass in a second: 4.82 s
        assert 4.8 <= container.duration / av.time_base <= 20.2
    board = EventAccumulator(str(runs / "with" / "metrics" / "tensorboard"))
    board.Reload()
    (picture,) = board.Images("evaluation/episode")
    assert picture.step == 120
    assert picture.encoded_image_string.startswith(b"GIF89a")
    gif = Image.open(io.BytesIO(picture.encoded_image_string))
    assert (gif.size, gif.is_animated) == ((picture.width, picture.height), True)


@dataclass
class _Finished:
    """An evaluation that is there when it is asked for."""

    weights: Path
    results: dict[str, Evaluation] | PokeredError
    closed: bool = False

    def poll(self):
        if isinstance(self.results, PokeredError):
            raise self.results
        return self.results

    def close(self):
        self.closed = True


class _Run:
    """An evaluator on a made-up run, whose evaluations return what ``scores`` says: tiles by step."""

    def __init__(self, folder: Path, monkeypatch, scores: dict[int, float | PokeredError], **options) -> None:
        self.said: list[str] = []
        self.folder = RunFolder(folder)
        self.network = torch.nn.Linear(1, 1)
        self.trainer = SimpleNamespace(
            steps=0,
            updates=0,
            network=self.network,
            workers=SimpleNamespace(close=lambda: None),
            callbacks=SimpleNamespace(call=lambda *a: None),
        )
        self.scores = scores
        plan = EvaluationPlan(None, Cartridge.find(), None, 2, 8, 0.0, 1)
        self.evaluator = Evaluator(
            plan,
            self.folder,
            every_steps=10,
            console=SimpleNamespace(print=lambda text, **style: self.said.append(text)),
            **options,
        )
        monkeypatch.setattr(evaluator, "_Process", self._process)
        monkeypatch.setattr(evaluator, "_POLL_SECONDS", 0.0)

    def _process(self, plan, weights: Path, policies, video):
        score = self.scores[int(weights.stem)]
        if isinstance(score, PokeredError):
            return _Finished(weights, score)
        found = Evaluation([int(score)] * 2, [score] * 2, [8] * 2, [{}, {"starter": 3}], at_steps=int(weights.stem))
        return _Finished(weights, dict.fromkeys(policies, found))

    def play(self, *steps: int) -> StopReason | None:
        if self.trainer.steps == 0:
            self.evaluator.on_start(self.trainer)
        for self.trainer.steps in steps:
            self.evaluator.on_batch(self.trainer, 10)
            self.evaluator.on_batch(self.trainer, 0)
        return self.evaluator.should_stop(self.trainer)


def test_run_without_progress_says_so_and_ends_if_it_may(tmp_path, monkeypatch):
    run = _Run(tmp_path, monkeypatch, {10: 5.0, 20: 4.0, 30: 5.0, 40: 3.0}, patience=2)
    assert run.play(10, 20) is None
    assert not any("not progressing" in line for line in run.said)
    assert run.play(30, 40) is None
    assert sum("not progressing: the last 2 evaluations" in line for line in run.said) == 1
    stopping = _Run(tmp_path / "b", monkeypatch, {10: 5.0, 20: 4.0}, patience=1, stop_without_progress=True)
    assert stopping.play(10) is None
    assert stopping.play(20) is StopReason.stuck


@pytest.mark.parametrize(("rate", "reason"), [(0.5, StopReason.learned), (0.6, None)])
def test_run_ends_when_the_milestone_is_reached_often_enough(tmp_path, monkeypatch, rate, reason):
    # One of the two episodes reaches it.
    run = _Run(tmp_path, monkeypatch, {10: 5.0}, stop_milestone="starter", stop_rate=rate)
    assert run.play(10) is reason
    again = _Run(tmp_path / "b", monkeypatch, {}, stop_milestone="starter", stop_rate=rate)
    again.evaluator.load_state_dict(run.evaluator.state_dict())
    assert again.evaluator.should_stop(again.trainer) is reason
    other = _Run(tmp_path / "c", monkeypatch, {}, stop_milestone="starter", stop_rate=0.7)
    other.evaluator.load_state_dict(run.evaluator.state_dict())
    assert other.evaluator.should_stop(other.trainer) is None, "its condition is another one"


def test_evaluation_that_fails_is_named_and_training_goes_on(tmp_path, monkeypatch):
    run = _Run(tmp_path, monkeypatch, {10: PokeredError("its process ended with status -9"), 20: 4.0})
    assert run.play(10, 20) is None
    assert "the evaluation of 000000000010.pt failed: its process ended with status -9" in run.said
    assert any(line.startswith("evaluation at 20 steps, trained: 4.0 tiles") for line in run.said)


def test_next_job_evaluates_what_the_last_one_left_and_nothing_from_beyond_its_checkpoint(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.evaluation.mkdir()
    for steps in (20, 40):
        (folder.evaluation / f"{steps:012d}.pt").write_bytes(b"")
    run = _Run(tmp_path, monkeypatch, {20: 7.0})
    run.trainer.steps = 30  # the checkpoint
    run.evaluator.on_start(run.trainer)
    run.evaluator.on_batch(run.trainer, 0)
    run.evaluator.on_batch(run.trainer, 0)
    assert [line.partition(",")[0] for line in run.said] == ["evaluation at 20 steps"] * 2
    assert not list(folder.evaluation.iterdir())


def test_weights_that_hardly_differ_from_the_last_ones_are_left_to_the_comparison(tmp_path, monkeypatch):
    run = _Run(tmp_path, monkeypatch, {10: 5.0, 20: 6.0}, final_episodes=2)
    monkeypatch.setattr(run.evaluator, "_compare", lambda trainer: run.said.append("compared"))
    monkeypatch.setattr(_Finished, "poll", lambda self: None)
    run.play(10, 20)  # the weights of 10 are played, those of 20 wait
    monkeypatch.undo()
    monkeypatch.setattr(run.evaluator, "_compare", lambda trainer: run.said.append("compared"))
    run.trainer.steps = 21
    run.evaluator.on_end(run.trainer, StopReason.target)
    shown = [line.partition(",")[0] for line in run.said]
    assert shown.count("evaluation at 10 steps") == 2
    assert "evaluation at 20 steps" not in shown
    assert shown[-1] == "compared"
    assert not list(run.folder.evaluation.iterdir())


def test_a_wrong_milestone_is_named_with_the_nearest(train, capsys):
    assert train("evaluation.stop_milestone=startr") == 1
    assert "evaluation.stop_milestone must be a milestone of SPROUT, got 'startr'; did you mean starter" in (
        capsys.readouterr().err
    )


def test_a_job_that_ends_early_compares_nothing_and_says_how_to_go_on(train, runs, capsys):
    class TimeIsUp(Callback):
        def should_stop(self, trainer):
            return StopReason.deadline if trainer.steps >= 40 else None

    assert train("run.evaluation_episodes=2", callbacks=[TimeIsUp()]) == 75
    shown = " ".join(capsys.readouterr().out.split())
    assert "stopped at 40 of 200 steps; run the same command to go on (time is up" in shown
    assert "comparing" not in shown
    assert not (runs / "a" / "evaluation.json").exists()


def test_run_says_what_learns_plays_and_is_played(train, capsys):
    assert train("run.target_total_steps=20") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "learner: CPU, 1 thread cartridge: SPROUT," in shown
    assert "workers: none, 2 emulators in the learner's process" in shown


def test_learner_on_a_gpu_is_named_with_memory_and_precision(monkeypatch):
    gpu = SimpleNamespace(name="NVIDIA H100", total_memory=80_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    config = Config()
    assert describe_learner(config, torch.device("cuda")) == "cuda:0 NVIDIA H100, 80 GB, bfloat16"
    config.runtime.autocast = False
    assert describe_learner(config, torch.device("cuda:1")) == "cuda:1 NVIDIA H100, 80 GB, float32"


@pytest.mark.parametrize(
    ("environment", "granted"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "-1", "SLURM_JOB_GPUS": "0"}, None),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, "CUDA_VISIBLE_DEVICES=0,1"),
        ({"SLURM_JOB_GPUS": "0"}, "SLURM_JOB_GPUS=0"),
        ({"SLURM_GPUS_ON_NODE": "0"}, None),
        ({"SLURM_GPUS_ON_NODE": "2"}, "SLURM_GPUS_ON_NODE=2"),
    ],
)
def test_granted_gpu_is_found_by_the_variables_of_schedulers(environment, granted):
    assert granted_gpu(environment) == granted


def test_granted_gpu_that_pytorch_cannot_use_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"SLURM_JOB_GPUS=0 grants a GPU .*built .*CUDA.*runtime\.device=cpu"):
        choose_device("auto", {"SLURM_JOB_GPUS": "0"})
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ConfigError, match="built without CUDA; install the wheel"):
        choose_device("auto", {"CUDA_VISIBLE_DEVICES": "0"})
    assert choose_device("cpu", {"SLURM_JOB_GPUS": "0"}).type == "cpu"
    assert choose_device("auto", {}).type == "cpu"
