"""Videos, maps, curves and reports from episode logs. Training imports none of it.

* ``render``, ``grid``, ``batch``: full-length videos of one episode, of many at once, of all of a run.
* ``rescore``: old logs under another reward; ``values``: a network's action values along a log.
* ``survey``: where the agent was; ``maps``, ``curves``: figures of that and of learning (Matplotlib).
* ``report``: one self-contained HTML page about a run.
* ``video``, ``sound``, ``palettes``, ``panel``, ``font``: the parts of a video.

Import from the modules: rendering then does without Matplotlib, and plotting without PyAV.
"""

__all__: list[str] = []
