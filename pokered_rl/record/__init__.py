"""What the agent did, made visible from its episode logs. Nothing here runs during training.

* `render`, `grid`, `batch`: full-length videos of one episode, of many at once, of all of a run.
* `rescore`: old logs under another reward.
* `survey`: where the agent was; `maps`, `curves`: pictures of that and of learning (Matplotlib).
* `report`: one self-contained HTML page about a run.
* `video`, `h264`, `palettes`, `panel`, `font`: what the videos are made of.

Import the modules themselves: a renderer has no use for Matplotlib, nor a plot for the encoder.
"""

__all__: list[str] = []
