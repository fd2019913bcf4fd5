import torch
from torch import nn

from pokered_rl.modules import LSTMCore, MemorylessCore


def state(batch_size, hidden):
    return torch.randn(batch_size, hidden), torch.randn(batch_size, hidden)


def test_sequence_equals_torch_lstm_with_the_same_weights():
    core = LSTMCore(5, 7)
    x, (h, c) = torch.randn(3, 6, 5), state(3, 7)
    out, (h1, c1) = core(x, (h, c))
    expected, (h2, c2) = core.lstm(x, (h.unsqueeze(0), c.unsqueeze(0)))
    assert isinstance(core.lstm, nn.LSTM)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(h1, h2[0])
    torch.testing.assert_close(c1, c2[0])


def test_steps_one_by_one_equal_the_sequence():
    core = LSTMCore(5, 7)
    x, carried = torch.randn(3, 6, 5), state(3, 7)
    out, last = core(x, carried)
    steps = []
    for t in range(6):
        step, carried = core.step(x[:, t], carried)
        steps.append(step)
    torch.testing.assert_close(torch.stack(steps, 1), out, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(carried[1], last[1], rtol=1e-5, atol=1e-6)


def test_sequence_is_computed_in_the_weights_type_under_autocast():
    core = LSTMCore(5, 7)
    x, carried = torch.randn(3, 2, 5), state(3, 7)
    expected, _ = core(x, carried)
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = core(x, carried)
    assert torch.equal(out, expected)


def test_half_precision_states_are_taken():
    core = LSTMCore(5, 7)
    h, c = (part.half() for part in state(3, 7))
    out, _ = core(torch.randn(3, 2, 5), (h, c))
    assert out.dtype == torch.float32


def test_memoryless_core_ignores_the_past():
    core = MemorylessCore(5, 7)
    x = torch.randn(3, 6, 5)
    out, after = core(x, ())
    assert after == ()
    changed = x.clone()
    changed[:, :-1] = 0
    assert torch.equal(core(changed, ())[0][:, -1], out[:, -1])
    torch.testing.assert_close(core.step(x[:, 2], ())[0], out[:, 2])


def test_forget_gates_start_open():
    core = LSTMCore(5, 7)
    bias = core.lstm.bias_ih_l0 + core.lstm.bias_hh_l0  # gates in the order input, forget, cell, output
    assert torch.equal(bias[7:14], torch.ones(7))
    assert not torch.equal(bias[:7], torch.ones(7))
