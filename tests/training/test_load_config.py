import json
import sys
from pathlib import Path

import pytest

from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.training.config import Config, Resume, fixed_options, known_keys
from pokered_rl.training.load_config import LEGACY_KEYS, config_folder, expand, load_config, read_config
from pokered_rl.training.run_folder import RunFolder


def test_mission_defaults_are_the_defaults():
    config = load_config("r2d2")
    assert config.run.target_total_steps == 25_000_000
    assert config.replay.capacity_transitions == 5_000_000
    assert config.run.max_runtime_seconds == 13_500
    assert (config.replay.burn_in_steps, config.replay.unroll_steps, config.loss.n_step) == (40, 80, 5)
    assert config == Config(), "r2d2.yaml must not repeat or change a default"


@pytest.mark.parametrize("path", sorted(config_folder().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path):
    assert isinstance(load_config(path.stem), Config)


def test_overrides_win_over_the_file():
    config = load_config("quickstart", ["run.name=a", "collector.num_workers=8", "run.resume=must"])
    assert (config.run.name, config.collector.num_workers, config.run.resume) == ("a", 8, Resume.must)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("collector.num_worker=8", "collector.num_workers"),
        ("num_workers=8", "collector.num_workers"),
        ("+loss.gama=0.9", "loss.gamma"),
        ("replay.burn_in=3", "replay.burn_in_steps"),
    ],
)
def test_unknown_key_is_answered_with_the_nearest_name(override, nearest):
    with pytest.raises(ConfigError, match=nearest.replace(".", r"\.")):
        load_config("quickstart", [override])


def test_unknown_key_in_a_yaml_file_names_the_file_and_the_nearest_name(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("defaults: [pokered_rl_schema, _self_]\nlearner: {batch_sise: 3}\n")
    with pytest.raises(ConfigError, match=r"learner\.batch_sise.*mine\.yaml.*learner\.batch_size"):
        load_config("mine", folder=tmp_path)


def test_missing_config_is_answered_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"no config 'quikstart'.*quickstart"):
        load_config("quikstart")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("loss.gamma=1.5", ["loss.gamma", "1.5", "between 0 and 1"]),
        ("loss.n_step=0", ["loss.n_step", ">= 1", "got 0"]),
        ("env.hold_frames=30", ["env.frames_per_action", "env.hold_frames"]),
        ("env.actions=[a,a]", ["env.actions", "repetitions"]),
        ("env.helpers=[teach]", ["env.helpers", "skip_nicknaming", "use_field_moves"]),
        ("collector.num_workers=none", ["collector.num_workers", "auto"]),
        ("replay.sequence_period_steps=81", ["replay.sequence_period_steps", "<= replay.unroll_steps (80)"]),
        # 1,000 sequences of 80 steps are 80,000 transitions.
        ("replay.capacity_transitions=79999", ["replay.capacity_transitions", "80000"]),
        ("replay.min_fill_sequences=63", ["replay.min_fill_sequences", "learner.batch_size (64)"]),
        ("runtime.deterministic=true", ["collector.backend", "'inline'"]),
        ("collector.backend=ray", ["collector.num_workers", "'auto' counts the cores of this machine"]),
        ("run.name=a/b", ["run.name", "run.folder"]),
        ("run.resume=maybe", ["run.resume", "auto, must, never"]),
        ("run.target_total_steps=many", ["run.target_total_steps", "many"]),
    ],
)
def test_bad_value_is_refused_with_key_value_and_requirement(override, words):
    with pytest.raises(ConfigError) as caught:
        load_config("r2d2", [override])
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["1e3", "5e12345", "1_000", "true", "0x10", "3e-4", "1.0", "a b", "a$b", "ü", "it's", "007"]
)
def test_name_of_a_run_is_what_was_typed(name: str):
    assert load_config("quickstart", [f"run.name={name}"]).run.name == name


@pytest.mark.parametrize(
    "name",
    [
        "Pokemon - Red Version (USA, Europe) (SGB Enhanced).gb",
        "POKéMON RED [!].gb",
        "ポケットモンスター 赤.gb",
        "red=blue#1.gb",
        "{red}: $HOME.gb",
        'it\'s "red".gb',
        "back\\slash\\",
        " red ",
    ],
)
def test_file_name_is_what_was_typed(tmp_path: Path, name: str):
    config = load_config("quickstart", [f"env.cartridge={tmp_path / name}", f"env.start_states=[{tmp_path}/1e3]"])
    assert config.env.cartridge == str(tmp_path / name)
    assert config.env.start_states == [f"{tmp_path}/1e3"]


@pytest.mark.parametrize(
    ("value", "states"),
    [
        ("[a.state,b.state]", ["a.state", "b.state"]),
        ("{a.state: 2, b.state: 1.5}", {"a.state": 2, "b.state": 1.5}),
        ("{home: a.state, rival: [b.state, 3.0]}", {"home": "a.state", "rival": ["b.state", 3.0]}),
    ],
)
def test_start_states_have_names_and_weights_on_the_command_line(value: str, states):
    assert load_config("quickstart", [f"env.start_states={value}"]).env.start_states == states


def test_quoted_values_null_and_interpolations_are_those_of_hydra(monkeypatch):
    monkeypatch.setenv("SCRATCH", "/scratch")
    overrides = ["run.name='a b'", 'run.folder="c d"', "run.init_from=null", "replay.scratch_folder=${oc.env:SCRATCH}"]
    config = load_config("quickstart", overrides)
    assert (config.run.name, config.run.folder, config.run.init_from) == ("a b", "c d", None)
    assert config.replay.scratch_folder == "/scratch"


def test_commas_separate_the_values_of_a_sweep_unless_there_is_such_a_file(tmp_path: Path):
    assert expand(["run.name=1e3,b", "run.seed=0,1"], sweep=True) == ["run.name='1e3','b'", "run.seed=0,1"]
    assert expand(["run.name=choice(a,b)"], sweep=True) == ["run.name=choice(a,b)"]
    rom = tmp_path / "Red (USA, Europe).gb"
    rom.write_bytes(b"")
    assert expand([f"env.cartridge={rom}"], sweep=True) == [f"env.cartridge='{rom}'"]


def test_run_that_continues_keeps_what_was_typed(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("run: {name: a}\n")
    assert read_config(tmp_path / "config.yaml", ["run.name=1e3"]).run.name == "1e3"
    changes = ["env.cartridge=a: b #c.gb", "learner.batch_size=32", "run.init_from=null"]
    config = read_config(tmp_path / "config.yaml", changes)
    assert (config.env.cartridge, config.learner.batch_size, config.run.init_from) == ("a: b #c.gb", 32, None)


def test_legacy_json_is_translated_and_explicit_overrides_win(tmp_path: Path):
    path = tmp_path / "old.json"
    path.write_text(
        json.dumps(
            {
                "target_total_steps": 1_000_000,
                "replay_capacity_transitions": 200_000,
                "max_runtime_seconds": 600,
                "total_episodes": 7,
                "num_actors": 3,
                "frame_skip": 12,
                "unroll_length": 40,
                "burn_in": 20,
                "batch_size": 16,
                "gamma": 0.99,
                "n_step": 3,
                "learning_rate": 3e-4,
                "target_sync_interval": 100,
                "lstm_hidden_size": 128,
                "num_quantiles": 32,
                "occupancy_crop_radius": 6,
            }
        )
    )
    config = load_config("r2d2", ["loss.gamma=0.9", f"+legacy_config={path}"])
    assert config.run.target_total_steps == 1_000_000
    assert config.run.total_episodes == 7
    assert config.collector.num_workers == 3
    assert config.env.frames_per_action == 12
    assert config.env.map_memory_radius == 6
    assert (config.replay.unroll_steps, config.replay.sequence_period_steps) == (40, 40)
    assert config.learner.target_update_interval == 100
    assert config.network.hidden_size == 128
    assert config.loss.gamma == 0.9


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("target_total_steps", 1_000_000),
        ("max_runtime_seconds", 600.0),
        ("total_episodes", 7),
        ("run_name", "old"),
        ("seed", 11),
        ("num_actors", 3),
        ("epsilon_base", 0.3),
        ("epsilon_alpha", 5.0),
        ("rom_path", "roms/mine.gb"),
        ("frame_skip", 12),
        ("max_episode_steps", 500),
        ("occupancy_crop_radius", 6),
        ("replay_capacity_transitions", 200_000),
        ("burn_in", 20),
        ("unroll_length", 40),
        ("n_step", 3),
        ("gamma", 0.99),
        ("batch_size", 16),
        ("learning_rate", 3e-4),
        ("target_sync_interval", 100),
        ("lstm_hidden_size", 128),
        ("num_quantiles", 32),
    ],
)
def test_every_key_of_the_first_version_is_accepted_by_itself(tmp_path: Path, key: str, value):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({key: value}))
    section, _, name = LEGACY_KEYS[key].partition(".")
    default = getattr(getattr(Config(), section), name)
    assert value != default
    assert getattr(getattr(load_config("r2d2", [f"+legacy_config={path}"]), section), name) == value


def test_legacy_json_with_an_unknown_key_names_the_nearest(tmp_path: Path):
    path = tmp_path / "old.json"
    path.write_text('{"num_actor": 3}')
    with pytest.raises(ConfigError, match=r"'num_actor'.*num_actors"):
        load_config("r2d2", [f"+legacy_config={path}"])
    with pytest.raises(ConfigError, match="no file"):
        load_config("r2d2", [f"+legacy_config={tmp_path / 'gone.json'}"])


def test_legacy_keys_point_at_existing_keys():
    assert set(LEGACY_KEYS.values()) <= set(known_keys())


def test_fixed_options_say_what_a_change_would_invalidate():
    assert fixed_options()["loss.n_step"] == "the length of the stored sequences"
    assert "learner.learning_rate" not in fixed_options()


def test_messages_are_the_same_under_a_debugger():
    # OmegaConf keeps the cause of its errors when a trace function is set.
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        with pytest.raises(ConfigError, match="auto, must, never"):
            load_config("r2d2", ["run.resume=maybe"])
        with pytest.raises(ConfigError, match="'many'"):
            load_config("r2d2", ["run.target_total_steps=many"])
    finally:
        sys.settrace(before)


def test_config_of_a_run_that_was_begun_before_an_option_moved_is_read(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("run:\n  name: a\n  evaluation_epsilon: 0.05\n")
    assert read_config(file).evaluation.epsilon == 0.05


def test_unknown_option_of_a_run_is_told_with_its_file(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("learner:\n  batch_siez: 5\n")
    with pytest.raises(ConfigError, match=rf"'learner.batch_siez' \(in {file}\); did you mean learner.batch_size"):
        read_config(file)


def test_config_of_a_run_that_was_begun_before_an_option_went_is_read_where_it_was_not_used(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("curriculum:\n  tile_size: 5\n  novelty_epsilon: 0.0\n")
    assert read_config(file).curriculum.tile_size == 5
    file.write_text("curriculum:\n  novelty_epsilon: 1.0\n")
    with pytest.raises(
        ConfigError,
        match=r"config.yaml sets curriculum.novelty_epsilon=1.0, an option that is gone",
    ):
        read_config(file)


@pytest.mark.parametrize(
    "text",
    [
        "run:\n  name: ${oc.env:HOME}\n",
        "run:\n  ${oc.env:HOME}: a\n",
        "run: {name: '${run.name}'}\n",
        "run: &all {name: a}\n",
        "run: " + "[" * 3000 + "]" * 3000 + "\n",
        "run: [" + "a," * 30_000 + "]\n",
        "run:\n  name: !!python/object/apply:os.system ['true']\n",
        "run:\n  name: \ud800",
        "a" * 2**21,
    ],
)
def test_stored_config_that_is_more_than_a_run_writes_is_refused_in_a_line(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        read_config(path)
    assert str(path) in str(caught.value) or "run" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(Path.home()) not in str(caught.value).replace(str(tmp_path), "")


def test_run_whose_config_holds_an_interpolation_is_not_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cr3t")
    folder = RunFolder(tmp_path)
    folder.config.write_text("run:\n  id: ${oc.env:SECRET}\n")
    for read in (folder.identity, lambda: folder.check_config(Config())):
        with pytest.raises(CheckpointError, match="interpolation") as caught:
            read()
        assert "s3cr3t" not in str(caught.value)
