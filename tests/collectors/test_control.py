import copy
import shutil
import threading

import pytest
import torch
from torch import nn

from pokered_rl.collectors import control as control_module
from pokered_rl.collectors.control import SharedControl, flatten_parameters, shared_bytes
from pokered_rl.collectors.worker import pack_error, unpack_message
from pokered_rl.collectors.worker_pool import WorkerError, error_of
from pokered_rl.errors import ConfigError


def make_module(value=0.0):
    module = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))  # parameters, float and integer buffers
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    return module


def test_flattened_module_has_the_weights_of_its_buffer():
    ours, theirs = make_module(1.0), make_module(2.0)
    inputs = torch.randn(4, 3)
    expected = theirs(inputs)
    theirs[1].num_batches_tracked.fill_(7)
    control = SharedControl(ours, num_workers=1)
    flat = flatten_parameters(ours)
    torch.testing.assert_close(ours.eval()(inputs), make_module(1.0).eval()(inputs))
    control.write_weights(theirs, number=40)
    assert control.read_weights(flat) == (1, 40)
    torch.testing.assert_close(ours.train()(inputs), expected)
    assert int(ours[1].num_batches_tracked) == 8  # 7, and the forward above


def test_reader_never_sees_half_written_weights():
    module = nn.Linear(300, 300)
    control = SharedControl(module, num_workers=1)
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            nn.init.constant_(module.weight, number)
            nn.init.constant_(module.bias, number)
            control.write_weights(module)

    reader = copy.deepcopy(module)
    flat = flatten_parameters(reader)
    control.write_weights(nn.Linear(300, 300))
    thread = threading.Thread(target=write)
    thread.start()
    try:
        while control.version < 5:
            pass
        for _ in range(200):
            control.read_weights(flat)
            assert reader.weight.min() == reader.weight.max() == reader.bias[0]
    finally:
        stop.set()
        thread.join()


def test_weights_of_another_module_are_refused():
    control = SharedControl(make_module(), num_workers=1)
    with pytest.raises(ValueError, match="other names"):
        control.write_weights(nn.Linear(3, 5))


def test_shared_memory_that_is_too_small_is_refused_before_it_is_written(tmp_path, monkeypatch):
    # Linear(300, 300) is 361,200 bytes, 89 pages; header and process ids take one page each.
    module = nn.Linear(300, 300)
    assert shared_bytes(module, num_workers=2) == 91 * 4096
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(control_module, "_SHARED_FOLDER", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=91 * 4096 - 1))
    with pytest.raises(ConfigError, match=r"share 0\.4 MB.*--shm-size.*collector\.backend=inline"):
        SharedControl(module, num_workers=2)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=91 * 4096))
    SharedControl(module, num_workers=2)


def test_full_disk_of_a_worker_is_told_in_one_line_and_a_defect_with_its_place():
    for error, lines in ((OSError(28, "No space left on device", "/a/b"), 1), (ValueError("wrong"), 4)):
        try:
            raise error
        except (OSError, ValueError) as raised:
            message = unpack_message(pack_error(3, raised))
        assert message.error is not None
        assert len(message.error[2].splitlines()) == lines
        # No other worker would find room: the run ends. A defect of one worker is left to supervision.
        assert isinstance(error_of(message.error), WorkerError) is (lines == 4)
