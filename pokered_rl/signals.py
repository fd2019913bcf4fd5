"""The signals that ask a job to end."""

import signal
import threading

__all__ = ["STOP_SIGNALS", "raise_on_ctrl_c"]

#: Ctrl-C, schedulers (some announce the end with SIGUSR1), and a terminal or ssh connection that closes.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def raise_on_ctrl_c() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, which programs turn off while they import."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
