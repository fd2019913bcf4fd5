"""What importing the library does to a process: next to nothing, and in little time."""

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pokered_rl

#: What others do at import (TorchRL chooses a start method, PyBoy's bindings look for SDL) is done beforehand.
_REPORT = """
import json, multiprocessing, signal, sys, threading, time
import pyboy, torch, torchrl.data, torchrl.envs, torchrl.modules, torchrl.objectives

def look():
    return {
        "threads": threading.active_count(), "start method": multiprocessing.get_start_method(allow_none=True),
        "torch threads": torch.get_num_threads(), "seed": torch.initial_seed(),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "gpu": torch.cuda.is_initialized(),
    }

written, displays = [], {"av", "hydra", "matplotlib", "omegaconf", "rich", "tensorboard"}
sys.addaudithook(lambda event, what: written.append(str(what[0])) if event == "open" and "r" not in str(what[1]) else 0)
before, start = look(), time.process_time()
import pokered_rl
alone = time.process_time() - start
for name in pokered_rl.__all__:
    getattr(pokered_rl, name)
whole = time.process_time() - start
heavy = sorted({name.partition(".")[0] for name in sys.modules} & displays)
found = {"before": before, "after": look(), "written": written, "alone": alone, "whole": whole, "heavy": heavy}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def report() -> dict:
    done = subprocess.run([sys.executable, "-B", "-c", _REPORT], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_importing_starts_no_thread_writes_no_file_and_changes_no_setting(report):
    assert report["after"] == report["before"]
    assert report["written"] == []


def test_importing_takes_less_than_two_seconds_after_torch_torchrl_and_pyboy(report):
    # CPU time of this process, so that a busy machine does not count.
    assert report["whole"] < 2.0
    assert report["alone"] < 0.5


def test_importing_leaves_video_plots_configs_and_displays_alone(report):
    assert report["heavy"] == []


def _modules() -> list[str]:
    found = pkgutil.walk_packages(pokered_rl.__path__, "pokered_rl.")
    return ["pokered_rl", *(entry.name for entry in found if not entry.name.endswith("__main__"))]


@pytest.mark.parametrize("name", _modules())
def test_every_name_in_all_is_there_and_every_public_definition_is_in_all(name):
    module = importlib.import_module(name)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []
    tree = ast.parse(Path(module.__file__).read_text())
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}
    assert defined - set(module.__all__) == set()


def test_root_exports_what_its_rooms_export_under_the_same_names():
    for name in set(pokered_rl.__all__) - {"GYMNASIUM_ID"}:
        value = getattr(pokered_rl, name)
        room = importlib.import_module(".".join(value.__module__.split(".")[:2]))
        assert getattr(room, name) is value
    assert set(pokered_rl.__all__) <= set(dir(pokered_rl))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'PokemonBlueEnv'"):
        _ = pokered_rl.PokemonBlueEnv
