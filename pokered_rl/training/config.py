"""The configuration of a run: every option, its default, its unit and its reason.

Defaults live here and nowhere else; the YAML files under ``configs/`` list differences. The comment above a field is
its documentation: the reference page in the docs is made from it. The dataclasses are Hydra structured configs, so
every key can be set on the command line (``collector.num_workers=8``), and
:func:`pokered_rl.training.validation.validate` checks the whole tree before anything is started. Only
:mod:`pokered_rl.training.build` reads a config; every component takes keyword arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = [
    "Backend",
    "CollectorConfig",
    "Config",
    "EnvConfig",
    "LearnerConfig",
    "LoggingConfig",
    "LossConfig",
    "NetworkConfig",
    "NetworkSize",
    "NewPriority",
    "OnReplayLoss",
    "ReplayConfig",
    "Resume",
    "RewardConfig",
    "RunConfig",
    "RuntimeConfig",
    "Screen",
    "Send",
    "TargetUpdate",
    "Wandb",
    "reference_markdown",
]


class Resume(StrEnum):
    """What a job does with a run folder that already exists."""

    auto = "auto"
    must = "must"
    never = "never"


class Screen(StrEnum):
    """Size of the observed picture."""

    half = "half"
    full = "full"


class Backend(StrEnum):
    """Where the workers run."""

    processes = "processes"
    inline = "inline"
    ray = "ray"


class Send(StrEnum):
    """When a worker's experience reaches the replay."""

    segments = "segments"
    episodes = "episodes"


class NetworkSize(StrEnum):
    """Width and depth of the network's encoder."""

    tiny = "tiny"
    base = "base"
    large = "large"


class TargetUpdate(StrEnum):
    """How the target network follows the online network."""

    hard = "hard"
    soft = "soft"


class NewPriority(StrEnum):
    """The priority of a sequence that enters the replay."""

    policy = "policy"
    maximum = "maximum"


class Wandb(StrEnum):
    """Whether Weights & Biases gets the metrics."""

    off = "off"
    offline = "offline"
    online = "online"


class OnReplayLoss(StrEnum):
    """What a resumed run does when its replay is gone."""

    refuse = "refuse"
    refill = "refill"


@dataclass
class RunConfig:
    """What the run is called, where it lies, and when it ends."""

    #: Name of the run; its folder is `<folder>/<name>`. The same name again continues the run.
    name: str = "r2d2"
    #: Folder that holds the run folders.
    folder: str = "runs"
    #: Seed of the network, the replay's draws, the emulators' start states and the workers' exploration.
    seed: int = 0
    #: `auto` continues an existing run or starts one, `must` refuses to start from nothing, `never` refuses to touch
    #: an existing run.
    resume: Resume = Resume.auto
    #: A run folder or an `online_params.pt` whose weights a new run starts from; counters and replay start empty.
    init_from: str | None = None
    #: Agent decisions, summed over all emulators and all jobs, after which the run is complete.
    target_total_steps: int = 25_000_000
    #: Finished episodes after which the run is complete; 0 means no limit.
    total_episodes: int = 0
    #: Length of one job in seconds, saving included. 13,500 s fits into the four-hour limit common on clusters.
    max_runtime_seconds: float = 13_500.0
    #: How often the SLURM script puts the job back into the queue on exit status 75.
    max_requeues: int = 100
    #: Episodes of the trained agent, and of a random policy, played and compared when the target is reached, or the
    #: time is up and no scheduler ends the job; 0 skips.
    evaluation_episodes: int = 0
    #: Exploration rate of the trained agent in that comparison (Mnih et al. 2015 evaluate with a small epsilon, too).
    evaluation_epsilon: float = 0.01


@dataclass
class EnvConfig:
    """The game, its buttons and the length of an episode."""

    #: ROM file. Without one: `POKERED_ROM`, then `roms/pokemon_red.gb`, then the bundled cartridge Sprout.
    cartridge: str | None = None
    #: Accept a ROM that is not known by its checksum (a hack); it is read with Red's tables.
    allow_unknown: bool = False
    #: `half` observes every second pixel of every second row (72 x 80), `full` all of them (144 x 160).
    screen: Screen = Screen.half
    #: The actions the agent chooses from. SELECT is left out: it only reorders lists.
    actions: list[str] = field(default_factory=lambda: ["noop", "a", "b", "start", "right", "left", "up", "down"])
    #: Emulator frames of one action. A step over one tile takes 16 or 17 frames.
    frames_per_action: int = 24
    #: Emulator frames for which the button is held down within an action.
    hold_frames: int = 8
    #: Agent decisions after which an episode is truncated; 0 never ends one (continuous mode).
    max_episode_steps: int = 2048
    #: Save states that episodes start from, drawn at random; empty boots to the playable start.
    start_states: list[str] = field(default_factory=list)
    #: Keep the emulator running while the game ignores its buttons, instead of spending decisions on it.
    wait_while_busy: bool = True
    #: Emulator frames after which such a wait is given up.
    max_wait_frames: int = 240
    #: Let the agent choose only among buttons that can do something; off for the ablation.
    action_mask: bool = True
    #: Keep what the mask has learned about menus over episodes and jobs, shared by the emulators of a worker.
    persistent_action_mask: bool = False
    #: Radius in tiles of the map-memory crop around the player; the crop is (2 r + 1) tiles wide.
    map_memory_radius: int = 10
    #: Keep each emulator's map memory over episodes and jobs; off, an episode begins with an empty one.
    persistent_map_memory: bool = False
    #: Write an episode log for every N-th episode of each emulator; 1 logs all of them.
    log_every_episodes: int = 1
    #: Agent decisions in one log file where episodes do not end; a crash loses at most the file in progress.
    log_segment_steps: int = 2048


@dataclass
class RewardConfig:
    """The reward: a preset out of `configs/reward/` (`reward=exploration`), and changes to it."""

    #: Weight of each reward term, by name (`reward.weights.badges=5`); a term that is not named keeps its own default.
    weights: dict[str, float] = field(default_factory=dict)
    #: Further options of terms, by name of the term.
    options: dict[str, Any] = field(default_factory=dict)
    #: Curriculum goals.
    goals: list[Any] = field(default_factory=list)


@dataclass
class CollectorConfig:
    """The workers: how many, how they explore, what happens when one dies."""

    #: `processes` starts workers on this machine, `inline` plays in the learner's process (deterministic), `ray`
    #: spreads the workers over a Ray cluster.
    backend: Backend = Backend.processes
    #: Worker processes; `auto` is one less than the CPU cores that this job may use, at least one.
    num_workers: int | str = "auto"
    #: Address of the Ray cluster (`auto` joins the one that this node belongs to); null starts one on this machine.
    ray_address: str | None = None
    #: Emulators in each worker, stepped as one batch: what a step costs beside emulation hardly grows with them, so
    #: more emulators lose less of the emulator's speed; `examples/benchmark.py --sweep` measures it.
    emulators_per_worker: int = 32
    #: Threads that step the emulators of one worker. More than one helps only while cores are idle.
    threads_per_worker: int = 1
    #: Decisions of each emulator in one batch sent to the learner.
    steps_per_batch: int = 40
    #: Exploration rate of the most exploring emulator (Horgan et al. 2018).
    epsilon_base: float = 0.4
    #: Spread of the rates: emulator i of N explores with `epsilon_base ** (1 + epsilon_alpha i / (N - 1))`.
    epsilon_alpha: float = 7.0
    #: Global steps during which all emulators act at random.
    warmup_steps: int = 0
    #: `segments` sends experience as it comes, `episodes` only once its episode is over.
    send: Send = Send.segments
    #: Learner updates between two weight copies to the workers.
    sync_every_updates: int = 25
    #: Seconds without a batch after which a worker counts as hung and is replaced.
    worker_timeout_seconds: float = 300.0
    #: Replacements within an hour after which the run gives up: something is wrong that a restart does not cure.
    max_restarts_per_hour: int = 20


@dataclass
class NetworkConfig:
    """The agent's network."""

    #: Width and depth of the encoder; see the page on the network for parameters and cost.
    size: NetworkSize = NetworkSize.base
    #: Units of the LSTM (Kapturowski et al. 2019).
    hidden_size: int = 512
    #: Quantiles of the return distribution (Dabney et al. 2018 use 200 without recurrence).
    num_quantiles: int = 51
    #: An LSTM between encoder and heads; without it the agent reacts to what it sees now.
    recurrent: bool = True
    #: Separate streams for value and advantage (Wang et al. 2016).
    dueling: bool = True
    #: Self-attention over the picture's feature map.
    spatial_attention: bool = False
    #: Predict the crop of the map memory as a second auxiliary task.
    reconstruct_map: bool = False
    #: Initial standard deviation of the noisy layers' weights (Fortunato et al. 2018); 0 turns noise off.
    noise_std: float = 0.5


@dataclass
class LossConfig:
    """The R2D2 loss."""

    #: Discount of one decision.
    gamma: float = 0.997
    #: Decisions between a state and the state that it bootstraps from.
    n_step: int = 5
    #: Weight of the largest TD error of a sequence in its priority; the mean has the rest.
    eta: float = 0.9
    #: Width of the quadratic part of the quantile Huber loss.
    kappa: float = 1.0
    #: Epsilon of the value rescaling (Pohlen et al. 2018).
    rescale_epsilon: float = 1e-3
    #: Weight of the auxiliary loss that reconstructs the context features; 0 leaves its head out of the network.
    reconstruction_weight: float = 0.05
    #: Weight of the auxiliary loss that reconstructs the map crop; read with `network.reconstruct_map` only.
    map_reconstruction_weight: float = 0.05
    #: Store the policy's LSTM state at the first learned step as well, and log `delta_q`: how far the state after
    #: burn-in leads from it (Kapturowski et al. 2019, section 3).
    log_delta_q: bool = True


@dataclass
class ReplayConfig:
    """The sequences and the buffer that keeps them."""

    #: Transitions that the replay holds; the number of sequences is this over `sequence_period_steps`.
    capacity_transitions: int = 5_000_000
    #: Steps at the head of a sequence that only warm up the LSTM.
    burn_in_steps: int = 40
    #: Steps of a sequence that are learned from.
    unroll_steps: int = 80
    #: Steps between the starts of two neighbouring sequences; equal to `unroll_steps`, every step is learned once.
    sequence_period_steps: int = 80
    #: Exponent of the priorities when drawing.
    alpha: float = 0.9
    #: Exponent of the importance weights.
    beta: float = 0.6
    #: A new sequence enters with the TD error that the policy saw, or with the largest priority in the replay.
    new_priority: NewPriority = NewPriority.policy
    #: Sequences in the replay before the first update.
    min_fill_sequences: int = 1_000
    #: Sequences drawn for each one inserted, on average: higher learns more from each step and overfits sooner.
    samples_per_insert: float = 8.0
    #: How many batches the learner may fall behind that ratio before the workers are held back.
    samples_per_insert_slack_batches: float = 200.0
    #: Store the LSTM state as 16-bit floats.
    half_precision_state: bool = False
    #: Folder of the memory-mapped rows; without one `replay/` in the run folder. `$TMPDIR` is the node's scratch.
    scratch_folder: str | None = None
    #: Longest time in seconds that the end of a job may spend on copying the rows from `scratch_folder` back into the
    #: run folder; 0 leaves them there. Rows for which there is no time are lost with the node's disk.
    copy_back_max_seconds: float = 600.0
    #: What a resumed run does when the rows are gone: stop with a message, or fill the replay anew.
    on_loss: OnReplayLoss = OnReplayLoss.refuse
    #: Batches drawn ahead by a thread. Not in deterministic mode.
    prefetch_batches: int = 2


@dataclass
class LearnerConfig:
    """The optimizer and the target network."""

    #: Sequences in one update.
    batch_size: int = 64
    #: Step size of Adam.
    learning_rate: float = 1e-4
    #: Epsilon of Adam; 1e-3 as in R2D2 keeps rare gradients from taking full steps.
    adam_epsilon: float = 1e-3
    #: Norm that the gradient is clipped to.
    max_grad_norm: float = 40.0
    #: Largest random shift in pixels of each sequence's pictures (DrQ, Kostrikov et al. 2021); 0 shifts nothing.
    random_shift_pixels: int = 0
    #: `hard` copies the online network now and then, `soft` mixes a little of it in after each update.
    target_update: TargetUpdate = TargetUpdate.hard
    #: Updates between two hard target copies.
    target_update_interval: int = 2_500
    #: Share of the online network that a soft update mixes in.
    target_update_tau: float = 0.005
    #: Updates between two writings of `online_params.pt` with soft target updates (hard ones write after each copy).
    publish_every_updates: int = 2_500


@dataclass
class LoggingConfig:
    """Metrics and the progress display."""

    #: Seconds between two rows of metrics.
    every_seconds: float = 10.0
    #: Write TensorBoard event files beside the CSV files.
    tensorboard: bool = True
    #: Weights & Biases: `off`; `offline` writes its files into the run folder and sends nothing; `online` sends metrics
    #: and facts about the machine to its server (`WANDB_BASE_URL`, by default https://api.wandb.ai).
    wandb: Wandb = Wandb.off
    #: Project of the run there.
    wandb_project: str = "pokered_rl"
    #: Seconds between two refreshes of the display on a terminal.
    display_every_seconds: float = 0.5
    #: Seconds between two plain lines where there is no terminal.
    line_every_seconds: float = 30.0


@dataclass
class RuntimeConfig:
    """The machine: device, precision, checkpoints."""

    #: Device of the learner: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU if there is one.
    device: str = "auto"
    #: CPU threads of the learner; 0 leaves PyTorch's choice.
    learner_threads: int = 1
    #: bfloat16 autocast on CUDA; targets, loss and priorities stay float32.
    autocast: bool = True
    #: Compile encoder, heads and loss mathematics; pays off on a GPU after a minute of warm-up.
    compile: bool = False
    #: One in-process collector, no threads, no prefetch: two runs with one seed are bit-identical.
    deterministic: bool = False
    #: Seconds between two checkpoints. What a crash costs at most.
    checkpoint_every_seconds: float = 600.0
    #: Checkpoints kept.
    keep_checkpoints: int = 3
    #: Seconds left free between the end of saving and the end of the allocation.
    deadline_margin_seconds: float = 30.0
    #: Seconds between two signs of life in the run folder's lock; six missed ones make it stale.
    heartbeat_seconds: float = 10.0


@dataclass
class Config:
    """The whole tree."""

    run: RunConfig = field(default_factory=RunConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    collector: CollectorConfig = field(default_factory=CollectorConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


def reference_markdown() -> str:
    """The configuration reference as Markdown, made from the dataclasses above."""
    from pokered_rl.training.config_reference import markdown

    return markdown(Config)
