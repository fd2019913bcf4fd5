"""Loss mathematics as pure functions, and the R2D2 loss module that routes keys to them."""

from pokered_rl.objectives.functional import (
    SequenceTerms,
    double_q_action,
    n_step_targets,
    quantile_huber_loss,
    quantile_td_error,
    rescaled_n_step_targets,
    sequence_priority,
    sequence_terms,
    value_rescale,
    value_rescale_inverse,
)
from pokered_rl.objectives.r2d2 import R2D2Loss

__all__ = [
    "R2D2Loss",
    "SequenceTerms",
    "double_q_action",
    "n_step_targets",
    "quantile_huber_loss",
    "quantile_td_error",
    "rescaled_n_step_targets",
    "sequence_priority",
    "sequence_terms",
    "value_rescale",
    "value_rescale_inverse",
]
