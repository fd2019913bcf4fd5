"""The configuration of a run: each option with its default, unit, reason, range, and whether it may change.

Options are declared here and nowhere else; the YAML files under ``configs/`` list differences. The comment above a
field is its documentation, from which the reference page of the docs is made. The dataclasses are Hydra structured
configs: every key can be set on the command line (``collector.num_workers=8``). :func:`validate` checks a whole tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pokered_rl.training.options import check_ranges, option, options_of, require

__all__ = [
    "Backend",
    "CollectorConfig",
    "Config",
    "CurriculumConfig",
    "DemonstrationsConfig",
    "EnvConfig",
    "EvaluationConfig",
    "Exploration",
    "Initialisation",
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
    "StepReduction",
    "TargetUpdate",
    "Wandb",
    "fixed_options",
    "known_keys",
    "validate",
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


class Exploration(StrEnum):
    """How long a random action lasts."""

    epsilon_greedy = "epsilon_greedy"
    epsilon_z = "epsilon_z"


class Send(StrEnum):
    """When a worker's experience reaches the replay."""

    segments = "segments"
    episodes = "episodes"


class NetworkSize(StrEnum):
    """Width and depth of the network's encoder."""

    tiny = "tiny"
    base = "base"
    large = "large"


class StepReduction(StrEnum):
    """How the losses of the steps of a sequence are combined."""

    sum = "sum"
    mean = "mean"


class Initialisation(StrEnum):
    """Initial weights of the encoder's layers."""

    pytorch = "pytorch"
    kaiming = "kaiming"
    orthogonal = "orthogonal"


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
    #: Identity of the run, made when it begins: its checkpoints, replay and episode logs carry it, and those of another
    #: run are refused. What is set here is replaced.
    id: str = ""
    #: Folder that holds the run folders.
    folder: str = "runs"
    #: Seed of the network, the replay's draws, the emulators' start states and the workers' exploration.
    seed: int = option(0, fixed="the random streams")
    #: `auto` continues an existing run or starts one, `must` refuses to start from nothing, `never` refuses to touch
    #: an existing run.
    resume: Resume = Resume.auto
    #: A run folder or an `online_params.pt` whose weights a new run starts from; counters and replay start empty.
    init_from: str | None = None
    #: Agent steps, summed over all emulators and all jobs, after which the run is complete.
    target_total_steps: int = option(25_000_000, ge=1)
    #: Finished episodes after which the run is complete; 0 means no limit.
    total_episodes: int = option(0, ge=0)
    #: Length of one job in seconds, saving included. 13,500 s fits into the four-hour limit common on clusters.
    max_runtime_seconds: float = option(13_500.0, gt=0)
    #: How often the SLURM script puts the job back into the queue on exit status 75.
    max_requeues: int = option(100, ge=0)
    #: Episodes of the trained agent, and of a random policy, played and compared when the run is complete; 0 skips.
    evaluation_episodes: int = option(0, ge=0)


#: Names of :data:`pokered_rl.envs.assistance.HELPERS`, whose import would load PyTorch.
HELPER_NAMES = ("skip_nicknaming", "deposit_items", "teach_field_moves", "use_field_moves")


@dataclass
class EnvConfig:
    """The game, its buttons and the length of an episode."""

    #: ROM file. Without one: `POKERED_ROM`, then `roms/pokemon_red.gb`, then the bundled cartridge Sprout.
    cartridge: str | None = None
    #: Accept a ROM that is not known by its checksum (a hack); it is read with Red's tables.
    allow_unknown: bool = False
    #: `half` observes every second pixel of every second row (72 x 80), `full` all of them (144 x 160).
    screen: Screen = option(Screen.half, fixed="the network's input")
    #: The actions the agent chooses from. SELECT is left out: it only reorders lists.
    actions: list[str] = option(
        factory=lambda: ["noop", "a", "b", "start", "right", "left", "up", "down"], fixed="the network's output"
    )
    #: Emulator frames of one action. A step over one tile takes 16 or 17 frames.
    frames_per_action: int = option(24, fixed="the meaning of a stored step")
    #: Emulator frames for which the button is held down within an action.
    hold_frames: int = option(8, ge=1, fixed="the meaning of a stored step")
    #: Agent steps after which an episode is truncated; 0 never ends one (continuous mode).
    max_episode_steps: int = option(2048, ge=0)
    #: End an episode when the game is finished; the game then restarts by itself.
    terminate_at_hall_of_fame: bool = True
    #: Save states that episodes start from, drawn at random: a list of files, a mapping of files to weights, or of
    #: names to files or to pairs of a file and a weight; empty boots to the playable start.
    start_states: Any = None
    #: Keep the emulator running while the game ignores its buttons, instead of spending decisions on it.
    wait_while_busy: bool = True
    #: Emulator frames after which such a wait is given up.
    max_wait_frames: int = option(240, ge=0)
    #: Let the agent choose only among buttons that can do something; off for the ablation.
    action_mask: bool = option(True, fixed="the meaning of the values")
    #: Helpers that press the buttons of a routine task: `skip_nicknaming`, `deposit_items`, `teach_field_moves`,
    #: `use_field_moves`. Off by default; they narrow the action mask.
    helpers: list[str] = option(factory=list, fixed="the meaning of the values")
    #: Keep what the mask has learned about menus over episodes and jobs, shared by the emulators of a worker.
    persistent_action_mask: bool = False
    #: Radius in tiles of the map-memory crop around the player; the crop is (2 r + 1) tiles wide.
    map_memory_radius: int = option(10, ge=1, fixed="the network's input")
    #: Keep each emulator's map memory over episodes and jobs; off, an episode begins with an empty one.
    persistent_map_memory: bool = False
    #: Each event of the story that the game cannot be finished without makes all tiles unvisited again, to the reward
    #: terms about tiles and to the map memory, so that the way onward pays although it was walked before.
    renew_visits: bool = option(False, fixed="the meaning of the values")
    #: Write an episode log for every N-th episode of each emulator; 1 logs all of them.
    log_every_episodes: int = option(1, ge=1)
    #: Agent steps in one log file where episodes do not end; a crash loses at most the file in progress.
    log_segment_steps: int = option(2048, ge=1)


@dataclass
class RewardConfig:
    """The reward: a preset out of `configs/reward/` (`reward=exploration`), and changes to it."""

    #: Weight of each reward term, by name (`reward.weights.badges=5`); a term that is not named keeps its own default.
    weights: dict[str, float] = field(default_factory=dict)
    #: Further options of terms, by name of the term.
    options: dict[str, Any] = field(default_factory=dict)
    #: Curriculum goals.
    goals: list[Any] = field(default_factory=list)
    #: Reward terms of your own: each is a `module:Class` that Python can import (`+reward.extra=[my_terms:Swims]`).
    extra: list[str] = field(default_factory=list)


@dataclass
class CurriculumConfig:
    """The archive of states that the agent has reached; episodes begin there, too (`curriculum=off` for none)."""

    #: Keep the archive and begin episodes in it.
    enabled: bool = True
    #: Share of each worker's emulators that always begin at power-on.
    power_on_share: float = option(0.25, ge=0, le=1)
    #: Share of the archive's draws that go where the next event is reached sometimes; the others go to cells from
    #: which few episodes have begun.
    bottleneck_share: float = option(0.7, ge=0, le=1)
    #: Agent steps without a new cell or event after which an archived episode is truncated.
    patience_steps: int = option(160, ge=1)
    #: The same for an episode from power-on; null plays it to `env.max_episode_steps`.
    power_on_patience_steps: int | None = option(None, ge=1)
    #: Agent steps of a worker, all its emulators together, for each captured state on average.
    capture_every_steps: int = option(2000, ge=1)
    #: Width and height in tiles of a cell's square.
    tile_size: int = option(3, ge=1, fixed="what a cell is")
    #: States kept for a cell.
    states_per_cell: int = option(3, ge=1)
    #: States kept in all; the least useful ones go first.
    max_states: int = option(8192, ge=1)
    #: Megabytes of states kept in all.
    max_megabytes: int = option(512, ge=1)
    #: Run whose archive a new run begins with.
    source: str | None = None
    #: Run folders, `episode_logs` folders, logs or patterns: states along these episodes are put into the archive of a
    #: new run, which says so wherever its results are shown.
    from_logs: list[str] = field(default_factory=list)


@dataclass
class DemonstrationsConfig:
    """Logged episodes to learn from beside the agent's own (R2D3, Paine et al. 2020); none by default."""

    #: Run folders, `episode_logs` folders, logs or patterns. A run says so wherever its results are shown. Without any,
    #: the other options here change nothing.
    logs: list[str] = field(default_factory=list)
    #: Share of each batch that is drawn from them, on average; R2D3 tried 1/256 to 1/8.
    ratio: float = option(1 / 32, ge=0, le=1)
    #: The share at last, when `fall_updates` is not 0.
    final_ratio: float = option(0.0, ge=0, le=1)
    #: Learner updates in which the share falls from `ratio` to `final_ratio` in a straight line; 0 keeps `ratio`.
    fall_updates: int = option(0, ge=0)
    #: Weight of the large-margin loss, which makes the demonstrated action the best one (Hester et al. 2018).
    margin_weight: float = option(0.0, ge=0)
    #: Its margin between the demonstrated action and the others, in rescaled values.
    margin: float = option(0.8, gt=0)
    #: Updates with demonstrations alone, before anything is played.
    pretrain_updates: int = option(0, ge=0)


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
    emulators_per_worker: int = option(32, ge=1)
    #: Threads that step the emulators of one worker. More than one helps only while cores are idle.
    threads_per_worker: int = option(1, ge=1)
    #: Agent steps of each emulator in one batch sent to the learner.
    steps_per_batch: int = option(40, ge=1)
    #: Exploration rate of the most exploring emulator (Horgan et al. 2018).
    epsilon_base: float = option(0.4, ge=0, le=1)
    #: Spread of the rates: emulator i of N explores with `epsilon_base ** (1 + epsilon_alpha i / (N - 1))`.
    epsilon_alpha: float = option(7.0, ge=0)
    #: `epsilon_greedy` draws single random actions, `epsilon_z` repeats each for a number of steps n with chances in
    #: proportion to n^-2 (Dabney et al. 2021), which leads further from where the policy stands.
    exploration: Exploration = Exploration.epsilon_greedy
    #: Longest repetition of a random action with `epsilon_z`.
    epsilon_z_max_steps: int = option(32, ge=2)
    #: Global steps during which all emulators act at random.
    warmup_steps: int = option(0, ge=0)
    #: `segments` sends experience as it comes, `episodes` only once its episode is over.
    send: Send = Send.segments
    #: Learner updates between two weight copies to the workers.
    sync_every_updates: int = option(25, ge=1)
    #: Seconds without a batch after which a worker counts as hung and is replaced.
    worker_timeout_seconds: float = option(300.0, gt=0)
    #: Replacements within an hour after which the run gives up: something is wrong that a restart does not cure.
    max_restarts_per_hour: int = option(20, ge=0)


@dataclass
class NetworkConfig:
    """The agent's network."""

    #: Width and depth of the encoder; see the page on the network for parameters and cost.
    size: NetworkSize = option(NetworkSize.base, fixed="the weights")
    #: Units of the LSTM (Kapturowski et al. 2019).
    hidden_size: int = option(512, ge=1, fixed="the weights")
    #: Quantiles of the return distribution (Dabney et al. 2018 use 200 without recurrence).
    num_quantiles: int = option(51, ge=1, fixed="the weights")
    #: An LSTM between encoder and heads; without it the agent reacts to what it sees now.
    recurrent: bool = option(True, fixed="the weights")
    #: Separate streams for value and advantage (Wang et al. 2016).
    dueling: bool = option(True, fixed="the weights")
    #: Self-attention over the picture's feature map.
    spatial_attention: bool = option(False, fixed="the weights")
    #: Initial weights of the encoder. PyTorch's own let the frame reach the LSTM at a thirtieth of its scale.
    initialisation: Initialisation = option(Initialisation.kaiming, fixed="the weights")
    #: LayerNorm on the features of each encoder branch, so that frame, map and context reach the LSTM at one scale.
    layer_norm: bool = option(True, fixed="the weights")
    #: Predict the crop of the map memory as a second auxiliary task.
    reconstruct_map: bool = option(False, fixed="the weights")
    #: Initial standard deviation of the noisy layers' weights (Fortunato et al. 2018); 0 turns noise off.
    noise_std: float = option(0.5, ge=0, fixed="the weights")


@dataclass
class LossConfig:
    """The R2D2 loss."""

    #: Discount of one agent step.
    gamma: float = option(0.997, ge=0, le=1)
    #: Agent steps between a state and the state that it bootstraps from.
    n_step: int = option(5, ge=1, fixed="the length of the stored sequences")
    #: Weight of the largest TD error of a sequence in its priority; the mean has the rest.
    eta: float = option(0.9, ge=0, le=1)
    #: Width of the quadratic part of the quantile Huber loss.
    kappa: float = option(1.0, gt=0)
    #: Epsilon of the value rescaling (Pohlen et al. 2018).
    rescale_epsilon: float = option(1e-3, gt=0)
    #: Losses of the steps of a sequence are added, as in R2D2, or averaged, which makes gradients `unroll_steps` times
    #: smaller and calls for a smaller `learner.adam_epsilon`.
    step_reduction: StepReduction = StepReduction.sum
    #: Select the actions of double Q-learning under a noise sample of their own (Fortunato et al. 2018).
    selection_noise: bool = True
    #: Auxiliary losses predict what comes after a step; off, they reconstruct what the network sees at that step.
    reconstruct_next: bool = True
    #: Weight of the auxiliary loss that reconstructs the context features; 0 leaves its head out of the network.
    reconstruction_weight: float = option(0.05, ge=0)
    #: Weight of the auxiliary loss that reconstructs the map crop; read with `network.reconstruct_map` only.
    map_reconstruction_weight: float = option(0.05, ge=0)
    #: Store the policy's LSTM state at the first learned step as well, and log `delta_q`: how far the state after
    #: burn-in leads from it (Kapturowski et al. 2019, section 3).
    log_delta_q: bool = True


@dataclass
class ReplayConfig:
    """The sequences and the buffer that keeps them."""

    #: Transitions that the replay holds; the number of sequences is this over `sequence_period_steps`.
    capacity_transitions: int = option(5_000_000, fixed="the size of the files")
    #: Steps at the head of a sequence that only warm up the LSTM.
    burn_in_steps: int = option(40, ge=0, fixed="the length of the stored sequences")
    #: Steps of a sequence that are learned from.
    unroll_steps: int = option(80, ge=1, fixed="the length of the stored sequences")
    #: Steps between the starts of two neighbouring sequences; equal to `unroll_steps`, every step is learned once.
    sequence_period_steps: int = option(80, ge=1, fixed="which steps the stored sequences hold")
    #: Exponent of the priorities when drawing.
    alpha: float = option(0.9, ge=0)
    #: Exponent of the importance weights.
    beta: float = option(0.6, ge=0)
    #: A new sequence enters with the TD error that the policy saw, or with the largest priority in the replay.
    new_priority: NewPriority = NewPriority.policy
    #: Sequences in the replay before the first update.
    min_fill_sequences: int = option(1_000, ge=1)
    #: Sequences drawn for each one inserted, on average: higher learns more from each step and overfits sooner.
    samples_per_insert: float = option(8.0, gt=0)
    #: How many batches the learner may fall behind that ratio before the workers are held back.
    samples_per_insert_slack_batches: float = option(200.0, ge=1)
    #: Store the LSTM state as 16-bit floats.
    half_precision_state: bool = option(False, fixed="the type of the stored states")
    #: Level of zstd that compresses the stored sequences, without loss; 0 stores them as they are. Level 3 leaves a
    #: fortieth of Sprout's observations, and costs less time than writing and reading them whole.
    compression_level: int = option(3, ge=0, le=19, fixed="the form of the stored sequences")
    #: Folder of the memory-mapped rows; without one `replay/` in the run folder. `$TMPDIR` is the node's scratch.
    scratch_folder: str | None = None
    #: Longest time in seconds that the end of a job may spend on copying the rows from `scratch_folder` back into the
    #: run folder; 0 leaves them there. Rows for which there is no time are lost with the node's disk.
    copy_back_max_seconds: float = option(600.0, ge=0)
    #: What a resumed run does when the rows are gone: stop with a message, or fill the replay anew.
    on_loss: OnReplayLoss = OnReplayLoss.refuse
    #: Batches drawn ahead by a thread. Not in deterministic mode.
    prefetch_batches: int = option(2, ge=0)


@dataclass
class LearnerConfig:
    """The optimizer and the target network."""

    #: Sequences in one update.
    batch_size: int = option(64, ge=1)
    #: Step size of Adam.
    learning_rate: float = option(1e-4, gt=0)
    #: Step size after `fall_updates` updates; it falls in a straight line until then and stays. Null: it never falls.
    #: Without a fall the best action changes from one save to the next where two are worth nearly the same.
    final_learning_rate: float | None = option(None, gt=0)
    #: Updates during which the step size falls, those of `demonstrations.pretrain_updates` among them.
    fall_updates: int = option(10_000, ge=1)
    #: Epsilon of Adam; 1e-3 as in R2D2 keeps rare gradients from taking full steps. It belongs to losses that are added
    #: over the unroll (`loss.step_reduction`); the column `lr_share_*` of the metrics says what it leaves.
    adam_epsilon: float = option(1e-3, gt=0)
    #: Norm that the gradient is clipped to. The usual 40 belongs to one value an action; the sum over 51 quantiles has
    #: norms of 140, and 800 in the first updates.
    max_grad_norm: float = option(400.0, gt=0)
    #: Largest random shift in pixels of each sequence's pictures (DrQ, Kostrikov et al. 2021); 0 shifts nothing.
    random_shift_pixels: int = option(0, ge=0)
    #: `hard` copies the online network now and then, `soft` mixes a little of it in after each update.
    target_update: TargetUpdate = TargetUpdate.hard
    #: Updates between two hard target copies. A copy carries values back by `loss.n_step` steps; R2D2's 2,500 belongs
    #: to millions of updates, while 25 M steps with the default replay ratio are 39,000.
    target_update_interval: int = option(200, ge=1)
    #: Share of the online network that a soft update mixes in.
    target_update_tau: float = option(0.005, ge=0, le=1)
    #: Updates between two writings of `online_params.pt` with soft target updates (hard ones write after each copy).
    publish_every_updates: int = option(2_500, ge=1)


@dataclass
class EvaluationConfig:
    """Evaluations beside training, with the weights of that moment, in a process of low priority."""

    #: Agent steps between two evaluations; 0 for none. Each plays `episodes` times `episode_steps` steps, on an idle
    #: core or on a quarter of a busy one.
    every_steps: int = option(1_000_000, ge=0)
    #: Episodes of one evaluation, with the same seeds each time.
    episodes: int = option(20, ge=1)
    #: Agent steps of an episode; 0 takes `env.max_episode_steps`, at most 8,192.
    episode_steps: int = option(0, ge=0)
    #: Exploration rate of the agent (Mnih et al. 2015 evaluate with a small epsilon, too).
    epsilon: float = option(0.01, ge=0, le=1)
    #: Evaluations without a better one after which the run says that it is not progressing; 0 never says so.
    patience: int = option(0, ge=0)
    #: End the run then.
    stop_without_progress: bool = False
    #: End the run when this milestone of the story is reached in the share `stop_rate` of an evaluation's episodes.
    stop_milestone: str | None = None
    #: That share.
    stop_rate: float = option(0.9, gt=0, le=1)


@dataclass
class LoggingConfig:
    """Metrics and the progress display."""

    #: Seconds between two rows of metrics.
    every_seconds: float = option(10.0, gt=0)
    #: Write TensorBoard event files beside the CSV files.
    tensorboard: bool = True
    #: Weights & Biases: `off`; `offline` writes its files into the run folder and sends nothing; `online` sends metrics
    #: and facts about the machine to its server (`WANDB_BASE_URL`, by default https://api.wandb.ai).
    wandb: Wandb = Wandb.off
    #: Seconds between two pictures of the coverage in TensorBoard and Weights & Biases; each takes a second to draw.
    coverage_every_seconds: float = option(900.0, gt=0)
    #: Every so many evaluations one episode of the agent is filmed: into `videos/` of the run folder, TensorBoard (as a
    #: GIF) and Weights & Biases; 0 for none. At most 20 s, sped up; rendering costs about what playing it did.
    video_every_evaluations: int = option(0, ge=0)
    #: Project of the run there.
    wandb_project: str = "pokered_rl"
    #: Further loggers of TorchRL, `mlflow` or `trackio`, whose packages you install; each job is a run there.
    loggers: list[str] = field(default_factory=list)
    #: Serve the live page of the run on this machine while the job lasts (extra `live`). Without it, `pokered_rl live`
    #: follows a run as well. On the command line `live=true` is enough.
    live: bool = False
    #: Its port.
    live_port: int = option(8721, ge=1, le=65535)
    #: Seconds between two refreshes of the display on a terminal.
    display_every_seconds: float = option(0.5, gt=0)
    #: Seconds between two plain lines where there is no terminal.
    line_every_seconds: float = option(30.0, gt=0)


@dataclass
class RuntimeConfig:
    """The machine: device, precision, checkpoints."""

    #: Device of the learner: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU if there is one.
    device: str = "auto"
    #: CPU threads of the learner; 0 leaves PyTorch's choice.
    learner_threads: int = option(1, ge=0)
    #: bfloat16 autocast on CUDA; targets, loss and priorities stay float32.
    autocast: bool = True
    #: Compile encoder, heads and loss mathematics; pays off on a GPU after a minute of warm-up.
    compile: bool = False
    #: On CUDA, launch an update as one CUDA graph in place of thousands of kernels.
    cuda_graphs: bool = True
    #: One in-process collector, no threads, no prefetch: two runs with one seed are bit-identical.
    deterministic: bool = option(False, fixed="what it means to repeat the run")
    #: Seconds between two checkpoints. What a crash costs at most.
    checkpoint_every_seconds: float = option(600.0, gt=0)
    #: Checkpoints kept.
    keep_checkpoints: int = option(3, ge=1)
    #: Seconds left free between the end of saving and the end of the allocation.
    deadline_margin_seconds: float = option(30.0, ge=0)
    #: Seconds between two heartbeats in the run folder's lock; six missed ones make it stale.
    heartbeat_seconds: float = option(10.0, gt=0)


@dataclass
class Config:
    """The whole tree."""

    run: RunConfig = field(default_factory=RunConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    demonstrations: DemonstrationsConfig = field(default_factory=DemonstrationsConfig)
    collector: CollectorConfig = field(default_factory=CollectorConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


def known_keys() -> list[str]:
    """Return every key of the tree, ``section.option``."""
    return [key for key, _, _ in options_of(Config())]


def fixed_options() -> dict[str, str]:
    """Return the keys that must not change between the jobs of a run, and what a change would invalidate."""
    fixed = {key: declared.metadata.get("fixed") for key, _, declared in options_of(Config())}
    return {key: reason for key, reason in fixed.items() if reason}


def validate(config: Config) -> Config:
    """Check a config and return it.

    Raises:
        ConfigError: A value is out of range or contradicts another; the message names key, value and remedy.
    """
    check_ranges(config)
    _check_combinations(config)
    return config


def _check_combinations(config: Config) -> None:
    run, env, collector, replay = config.run, config.env, config.collector, config.replay
    workers, batch_size = collector.num_workers, config.learner.batch_size
    fill, period = replay.min_fill_sequences, replay.sequence_period_steps
    require(
        bool(run.name) and not set(run.name) & set("/\\\0") and run.name not in {".", ".."},
        "run.name",
        run.name,
        "a plain folder name",
        "use run.folder for the folder above it",
    )
    require(
        env.frames_per_action >= env.hold_frames,
        "env.frames_per_action",
        env.frames_per_action,
        f">= env.hold_frames ({env.hold_frames})",
        "a button cannot be held for longer than its action lasts; lower env.hold_frames, too",
    )
    require(
        env.max_episode_steps != 1,
        "env.max_episode_steps",
        env.max_episode_steps,
        "0 or >= 2",
        "0 never ends an episode",
    )
    require(
        bool(env.max_episode_steps) or collector.send is not Send.episodes,
        "collector.send",
        collector.send,
        "'segments' with env.max_episode_steps=0",
        "an episode that never ends would never be sent",
    )
    require(len(env.actions) >= 2, "env.actions", env.actions, "a list of two or more actions", "name more buttons")
    require(
        len(set(env.actions)) == len(env.actions),
        "env.actions",
        env.actions,
        "free of repetitions",
        "name each one once",
    )
    require(
        set(env.helpers) <= set(HELPER_NAMES),
        "env.helpers",
        env.helpers,
        f"a list of names out of {', '.join(HELPER_NAMES)}",
        "leave out the others",
    )
    require(
        env.action_mask or not env.helpers,
        "env.helpers",
        env.helpers,
        "empty with env.action_mask=false",
        "helpers act through the mask",
    )
    require(
        workers == "auto" or (isinstance(workers, int) and workers >= 1),
        "collector.num_workers",
        workers,
        "'auto' or a whole number >= 1",
        "'auto' uses the CPU cores of this job",
    )
    require(
        collector.backend is not Backend.ray or workers != "auto",
        "collector.num_workers",
        workers,
        "a number with collector.backend=ray",
        "'auto' counts the cores of this machine, not those of the cluster",
    )
    require(
        period <= replay.unroll_steps,
        "replay.sequence_period_steps",
        period,
        f"<= replay.unroll_steps ({replay.unroll_steps})",
        "with a longer period some steps would never be learned from",
    )
    require(
        replay.capacity_transitions // period >= max(fill, batch_size),
        "replay.capacity_transitions",
        replay.capacity_transitions,
        f">= {max(fill, batch_size) * period}"
        " (replay.min_fill_sequences or learner.batch_size, times replay.sequence_period_steps)",
        "raise the capacity, or lower replay.min_fill_sequences",
    )
    require(
        fill >= batch_size,
        "replay.min_fill_sequences",
        fill,
        f">= learner.batch_size ({batch_size})",
        "a batch cannot hold more sequences than the replay",
    )
    require(
        not config.runtime.deterministic or collector.backend is Backend.inline,
        "collector.backend",
        collector.backend,
        "'inline' with runtime.deterministic=true",
        "processes deliver their batches in an order of their own",
    )
    require(
        re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.runtime.device) is not None,
        "runtime.device",
        config.runtime.device,
        "auto, cpu, cuda or cuda:N",
        "'auto' takes a GPU if there is one",
    )
    curriculum = config.curriculum
    require(
        not curriculum.from_logs or (curriculum.enabled and curriculum.source is None),
        "curriculum.from_logs",
        curriculum.from_logs,
        "empty with curriculum.enabled=false or curriculum.source",
        "an archive begins with states along logs or with those of another run",
    )
    require(run.init_from != "", "run.init_from", run.init_from, "a path", "give a run folder or an online_params.pt")
