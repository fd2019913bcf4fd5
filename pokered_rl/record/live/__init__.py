"""The live page: what a run sends it, what it makes of logs, and its server (extra ``live``)."""

from pokered_rl.record.live.feed import FeedReader, FeedWriter, WatchFile

__all__ = ["FeedReader", "FeedWriter", "WatchFile"]
