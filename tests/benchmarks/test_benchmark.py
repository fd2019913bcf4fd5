"""How the benchmark turns samples into ratios, and what fails `.ci/bench`; the rows themselves in the long tests."""

import importlib.util
import json
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

import long_run
from pairs import Row
from pokered_rl.cli.measurement import provenance, write_json

ROOT = Path(__file__).parents[2]
ROWS = ["emulator", "env", "collector_tiny", "collector_base", "peer", "replay", "learner", "render"]


def load(path):
    loader = SourceFileLoader(path.stem, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(path.stem, loader))
    sys.modules[path.stem] = module
    loader.exec_module(module)
    return module


def test_a_ratio_is_the_median_over_pairs_not_the_ratio_of_medians():
    row = Row(ours=[9.0, 40.0, 80.0], limit=[10.0, 50.0, 400.0], unit="steps/s")
    assert row.ratio == pytest.approx(0.8)  # of 0.9, 0.8 and 0.2; the ratio of medians would be 40 / 50 as well
    assert Row(ours=[9.0, 10.0, 80.0], limit=[10.0, 50.0, 400.0], unit="").ratio == pytest.approx(0.2)
    assert (row.low, row.high) == pytest.approx((0.2, 0.9))


def test_costs_count_the_other_way_round():
    row = Row(ours=[3000.0], limit=[1500.0], unit="bytes", lower_is_better=True)
    assert row.ratio == pytest.approx(0.5)


def test_a_row_keeps_its_raw_samples_and_its_parts():
    row = Row(ours=[1.0], limit=[2.0], unit="steps/s", extra={"bytes_per_transition": 7.0})
    row.parts["two threads"] = Row(ours=[3.0], limit=[4.0], unit="steps/s")
    assert row.as_json()["ratio"] == 0.5
    assert row.as_json()["bytes_per_transition"] == 7.0
    assert row.as_json()["parts"]["two threads"]["ratio"] == 0.75
    assert row.samples() == {"ours": [1.0], "limit": [2.0], "parts": {"two threads": {"ours": [3.0], "limit": [4.0]}}}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_results_are_not_a_change_of_the_commit_that_they_were_measured_with(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    (result := tmp_path / "docs" / "benchmarks" / "results" / "a.json").parent.mkdir(parents=True)
    (code := tmp_path / "code.py").write_text("1")
    result.write_text("{}")
    git("init")
    git("add", ".")
    git("commit", "-m", "a")
    result.write_text("{1}")
    (tmp_path / "untracked").write_text("")
    assert not provenance(folder=tmp_path)["commit"].endswith("-dirty")
    code.write_text("2")
    assert provenance(folder=tmp_path)["commit"].endswith("-dirty")


def test_results_are_written_with_a_line_for_each_record_and_read_back_equal(tmp_path):
    content = {"name": "é", "none": [], "rates": [x / 7 for x in range(100)], "few": {"a": 1, "b": [1, 2]}}
    content["records"] = [{f"key {number}": number / 3 for number in range(20)} for _ in range(5)]
    write_json(tmp_path / "new" / "a.json", content)
    text = (tmp_path / "new" / "a.json").read_text()
    assert json.loads(text) == content
    records = text[text.index('"records"') :].splitlines()
    assert len(records) == 1 + 5 + 2  # the key, one line a record, and two closing brackets
    assert max(map(len, text[: text.index('"records"')].splitlines())) <= 120


def test_a_row_is_lost_under_three_quarters_of_its_committed_ratio():
    bench = load(ROOT / ".ci" / "bench")
    committed = {"env": 0.8, "emulator": 1.0}
    assert bench.lost(["env", "emulator"], committed, {"env": 0.61, "emulator": 0.74}) == ["emulator"]


def test_only_rows_that_failed_are_measured_again_and_three_failures_are_final(monkeypatch):
    bench = load(ROOT / ".ci" / "bench")
    rows = {"emulator": {"ratio": 1.0}, "env": {"ratio": 0.8}}
    monkeypatch.setattr(bench.Path, "read_text", lambda self: json.dumps({"rows": rows}))
    measured = []

    def measure(names):
        measured.append(list(names))
        return dict.fromkeys(names, 0.7)

    monkeypatch.setattr(bench, "measure", measure)
    assert bench.main([]) == 1
    assert measured == [["emulator", "env"], ["emulator"], ["emulator"]]
    assert bench.main(["env"]) == 0


def test_growth_compares_the_ends_of_the_time_after_warm_up():
    samples = [{"threads": 1}] * 4 + [{"threads": 100}] * 6 + [{"threads": 103}] * 6
    assert long_run.growth(samples, "threads") == pytest.approx(0.03)
    assert long_run.growth([{"threads": 1}] * 4 + [{"threads": 100}] * 12, "threads") == 0


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_row_runs_to_its_end(tmp_path):
    file = tmp_path / "benchmark.json"
    command = [sys.executable, "examples/benchmark.py", "--quick", "--json", str(file)]
    subprocess.run(command, cwd=ROOT, check=True)
    report = json.loads(file.read_text())
    assert list(report["rows"]) == ROWS
    assert all(row["ratio"] > 0 for row in report["rows"].values())
    assert set(report) >= {"machine", "command", "commit", "date", "samples"}


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_minutes_of_training_leave_memory_handles_and_threads_where_they_were(tmp_path):
    file = tmp_path / "long_run.json"
    command = [sys.executable, "docs/benchmarks/long_run.py", "--minutes", "10", "--json", str(file)]
    subprocess.run(command, cwd=ROOT, check=True)
    growth = json.loads(file.read_text())["growth_after_warm_up"]
    assert max(growth.values()) <= 0.02, growth
