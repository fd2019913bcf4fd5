"""A run as small as it can be: two emulators, a network of a few thousand weights, nothing drawn or sent, no logs."""

__all__ = ["TINY"]

#: Overrides of the config `quickstart`.
TINY = (
    "run.evaluation_episodes=0",
    "env.max_episode_steps=40",
    "collector.emulators_per_worker=2",
    "collector.steps_per_batch=10",
    "network.hidden_size=16",
    "network.num_quantiles=5",
    "loss.n_step=2",
    "replay.capacity_transitions=3000",
    "replay.burn_in_steps=2",
    "replay.unroll_steps=6",
    "replay.sequence_period_steps=6",
    "replay.min_fill_sequences=8",
    "replay.samples_per_insert=2",
    "learner.batch_size=4",
    "demonstrations.logs=[]",
    "logging.tensorboard=false",
    "logging.every_seconds=0.2",
)
