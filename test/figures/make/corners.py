"""Makes test/figures/corners.golden.json: what PyTorch's layers and operators do at options that few programs give, with their
gradients, in double precision.

    /tmp/figures/bin/python test/figures/make/corners.py
"""

import json
import os

import torch
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
torch.set_default_dtype(torch.float64)
cases = []


def given(t):
    kind = "bool" if t.dtype == torch.bool else "f32" if t.is_floating_point() else "i32"
    numbers = [float(f"{v:.12g}") for v in t.detach().flatten().double().tolist()]
    return {"dtype": kind, "shape": list(t.shape), "data": [int(v) if v.is_integer() else v for v in numbers]}


def draw(*shape, seed=0):
    """Values that a float32 holds exactly, and a few digits say."""
    g = torch.Generator().manual_seed(len(cases) * 101 + seed)
    return (torch.randn(shape, generator=g) * 64).round() / 64


def case(name, body, inputs, f, params=None, state=None, mode="eval", wrt=(), after=()):
    """`body`: members and the fn `f` of the model. `f`: inputs and parameters by name -> results by name; gradients of the
    sum of the first, element by element times `direction`."""
    params = params or {}
    state = state or {}
    leaves = {k: v.clone().requires_grad_(k in wrt) for k, v in {**inputs, **params}.items()}
    results = f(**leaves)
    first = next(iter(results.values()))
    out = {"results": {k: given(v) for k, v in results.items()}}
    if wrt:
        direction = draw(*first.shape, seed=77)
        grads = torch.autograd.grad((first * direction).sum(), [leaves[k] for k in wrt])
        out |= {"direction": given(direction), "gradients": {k: given(g) for k, g in zip(wrt, grads)}}
    cases.append(
        {"name": name, "mode": mode, "body": body, "inputs": {k: given(v) for k, v in inputs.items()}}
        | {"params": {k: given(v) for k, v in params.items()}, "state": {k: given(v) for k, v in state.items()}}
        | out
    )


# Instance norm with running statistics: in training they move, in eval they are used.
for rank, shape in ((1, (3, 2, 5)), (2, (3, 2, 4, 3)), (3, (2, 2, 3, 2, 2))):
    make = getattr(nn, f"InstanceNorm{rank}d")
    axes = ", ".join(str(n) for n in shape[2:])
    body = f"""norm = InstanceNorm{rank}d(2, momentum = 0.3, affine = true, track_running_stats = true)
  fn f(x: f32[N, 2, {axes}]) {{ norm(x) }}"""

    def run(mode):
        def f(x, **params):
            layer = make(2, momentum=0.3, affine=True, track_running_stats=True)
            layer.running_mean.copy_(state["norm.running_mean"])
            layer.running_var.copy_(state["norm.running_var"])
            layer.train(mode == "train")
            y = torch.func.functional_call(layer, {k[5:]: v for k, v in params.items()}, (x,))
            return {"f": y} | ({f"norm.running_{k}": getattr(layer, f"running_{k}") for k in ("mean", "var")} if mode == "train" else {})

        return f

    params = {"norm.weight": draw(2, seed=1), "norm.bias": draw(2, seed=2)}
    state = {"norm.running_mean": draw(2, seed=3), "norm.running_var": draw(2, seed=4).abs() + 0.5}
    for mode in ("train", "eval"):
        case(f"InstanceNorm{rank}d {mode}", body, {"x": draw(*shape) + 0.5}, run(mode), params, state, mode, ("x", "norm.weight", "norm.bias"))

# The weights of attention, and the gradient of them.
for average in (True, False):
    layer = nn.MultiheadAttention(6, 2, batch_first=True)
    params = {f"attn.{k}": draw(*v.shape, seed=i) * 0.4 for i, (k, v) in enumerate(layer.named_parameters())}
    padding = torch.tensor([[False, False, False, True], [False, False, False, False]])
    hidden = torch.tensor([[False, True, False, False], [False, False, False, True], [False, False, False, False]])

    def f(q, k, v, p, m, **params):
        y, w = torch.func.functional_call(
            layer, {n[5:]: t for n, t in params.items()}, (q, k, v),
            {"key_padding_mask": p, "attn_mask": m, "average_attn_weights": average},
        )
        return {"weights": w, "output": y}

    body = f"""attn = MultiheadAttention(6, 2)
  fn f(q: f32[B, T, 6], k: f32[B, S, 6], v: f32[B, S, 6], p: bool[B, S], m: bool[T, S]) {{
    r = attn(q, k, v, p, m, need_weights = true, average_attn_weights = {str(average).lower()})
    (weights = r.weights, output = r.output)
  }}"""
    inputs = {"q": draw(2, 3, 6), "k": draw(2, 4, 6, seed=1), "v": draw(2, 4, 6, seed=2), "p": padding, "m": hidden}
    case(f"MultiheadAttention's weights, {'a mean' if average else 'by heads'}", body, inputs, f, params, wrt=("q", "k", "attn.in_proj_weight"))

# The row of the padding has no gradient.
for at in (2, -1):
    table = draw(5, 3)
    case(
        f"Embedding, padding {at}",
        f"""table = Embedding(5, 3, padding_idx = {at})
  fn f(ids: i32[N, K]) {{ table(ids) }}""",
        {"ids": torch.tensor([[0, 2, 4], [2, 4, 1]])},
        lambda ids, **p: {"f": F.embedding(ids, p["table.weight"], padding_idx=at)},
        {"table.weight": table},
        wrt=("table.weight",),
    )

# CTC by every score, with blanks, repeats, an empty target and one that does not fit.
scores = draw(6, 4, 5)
lengths = {"frames": torch.tensor([6, 5, 4, 2]), "lengths": torch.tensor([3, 2, 0, 3])}
targets = torch.tensor([[1, 1, 2], [3, 4, 1], [1, 2, 3], [1, 2, 2]])
for reduction in ("none", "mean", "sum"):
    case(
        f"ctc_loss {reduction}",
        f"""fn f(x: f32[T, N, C], y: i32[N, S], frames: i32[N], lengths: i32[N]) {{
    ctc_loss(log_softmax(x, axis = 2), y, frames, lengths, reduction = "{reduction}", zero_infinity = true)
  }}""",
        {"x": scores, "y": targets, **lengths},
        lambda x, y, frames, lengths: {
            "f": F.ctc_loss(x.log_softmax(2), y, frames, lengths, reduction=reduction, zero_infinity=True)
        },
        wrt=("x",),
    )

# Images at other sizes.
for mode, rank, size in (
    ("nearest-exact", 2, (3, 11)), ("nearest-exact", 1, (4,)), ("area", 2, (3, 4)), ("area", 3, (2, 3, 5)), ("nearest-exact", 3, (5, 3, 2)),
):
    shape = (2, 2, 7, 5, 4)[: 2 + rank]
    case(
        f"interpolate {mode} {rank}",
        f"""fn f(x: f32[N, C, {", ".join("HWD"[:rank])}]) {{ interpolate(x, size = {list(size)}, mode = "{mode}") }}""",
        {"x": draw(*shape)},
        lambda x: {"f": F.interpolate(x, size, mode=mode)},
        wrt=("x",),
    )
for mode in ("nearest-exact", "area"):
    case(
        f"interpolate {mode} by a scale",
        f"""fn f(x: f32[N, C, H, W]) {{ interpolate(x, scale = 1.5, mode = "{mode}") }}""",
        {"x": draw(1, 2, 6, 4)},
        lambda x: {"f": F.interpolate(x, scale_factor=1.5, mode=mode)},
        wrt=("x",),
    )

for padding in ("zeros", "border", "reflection"):
    for align in (False, True):
        case(
            f"grid_sample bicubic {padding}{', corners' if align else ''}",
            f"""fn f(x: f32[N, C, H, W], at: f32[N, A, B, 2]) {{
    grid_sample(x, at, mode = "bicubic", padding = "{padding}", align_corners = {str(align).lower()})
  }}""",
            {"x": draw(2, 2, 4, 5), "at": draw(2, 3, 3, 2, seed=1)},
            lambda x, at: {"f": F.grid_sample(x, at, mode="bicubic", padding_mode=padding, align_corners=align)},
            wrt=("x", "at"),
        )

# Running sums of exponentials: a large element first, and last.
for shape, axis, axes in (((3, 37), 1, "3, 37"), ((5, 4), 0, "N, M"), ((1, 1), 1, "1, 1")):
    x = draw(*shape) * 20
    case(
        f"logcumsumexp [{axes}] {axis}",
        f"""fn f(x: f32[{axes}]) {{ logcumsumexp(x, axis = {axis}) }}""",
        {"x": x},
        lambda x: {"f": torch.logcumsumexp(x, axis)},
        wrt=("x",),
    )

# Modules with whole state dicts, by their names: levels, directions, layers in layers.
def module(name, make, mdl, signature, call, inputs, run, wrt):
    layer = make()
    params = {f"it.{k}": draw(*v.shape, seed=i) * 0.5 for i, (k, v) in enumerate(layer.named_parameters())}

    def f(**given):
        at = {k: given[k] for k in inputs}
        return run(lambda *a, **k: torch.func.functional_call(layer.eval(), {n[3:]: given[n] for n in params}, a, k), **at)

    body = f"""it = {mdl}
  fn f({signature}) {{ {call} }}"""
    case(name, body, inputs, f, params, wrt=wrt)


def lstm(m, x):
    y, (s, c) = m(x)
    return {"y": y, "s": s, "c": c}


def gru(m, x):
    y, s = m(x)
    return {"y": y, "s": s}


def packed(m, x, l):
    p = nn.utils.rnn.pack_padded_sequence(x, l, batch_first=True, enforce_sorted=False)
    r, (s, c) = m(p)
    return {"y": nn.utils.rnn.pad_packed_sequence(r, batch_first=True, total_length=x.shape[1])[0], "s": s, "c": c}


SEQUENCE = "x: f32[N, T, 3]"
x = draw(2, 4, 3)
ends = ("x", "it.weight_hh_l0", "it.weight_ih_l1_reverse")
two = dict(num_layers=2, bidirectional=True, batch_first=True)
module("LSTM, two levels both ways", lambda: nn.LSTM(3, 4, **two), "LSTM(3, 4, num_layers = 2, bidirectional = true)",
       SEQUENCE, "it(x)", {"x": x}, lstm, ends)
module("LSTM, projected", lambda: nn.LSTM(3, 4, proj_size=2, **two), "LSTM(3, 4, num_layers = 2, bidirectional = true, proj_size = 2)",
       SEQUENCE, "it(x)", {"x": x}, lstm, (*ends, "it.weight_hr_l1"))
module("LSTM, packed", lambda: nn.LSTM(3, 4, **two), "LSTM(3, 4, num_layers = 2, bidirectional = true)",
       SEQUENCE + ", l: i32[N]", "it(x, lengths = l)", {"x": x, "l": torch.tensor([2, 4])}, packed, ends)
module("GRU, two levels both ways", lambda: nn.GRU(3, 4, **two), "GRU(3, 4, num_layers = 2, bidirectional = true)",
       SEQUENCE, "it(x)", {"x": x}, gru, ends)
module("RNN, two levels of relu", lambda: nn.RNN(3, 4, nonlinearity="relu", **two),
       'RNN(3, 4, num_layers = 2, bidirectional = true, nonlinearity = "relu")', SEQUENCE, "it(x)", {"x": x}, gru, ends)
q = draw(2, 3, 4)
src = draw(2, 5, 4, seed=1)
module("MultiheadAttention, keys and values of other widths", lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5, bias=False, batch_first=True),
       "MultiheadAttention(4, 2, kdim = 3, vdim = 5, bias = false)", "q: f32[N, T, 4], k: f32[N, S, 3], v: f32[N, S, 5]", "it(q, k, v)",
       {"q": q, "k": x, "v": draw(2, 4, 5, seed=2)}, lambda m, q, k, v: {"f": m(q, k, v)[0]}, ("q", "k", "it.v_proj_weight"))
encoder = lambda first: nn.TransformerEncoderLayer(4, 2, 6, activation="gelu", norm_first=first, batch_first=True)
module("TransformerEncoder of two", lambda: nn.TransformerEncoder(encoder(False), 2),
       "TransformerEncoder(4, 2, 2, hidden = 6, activation = gelu)", "q: f32[N, T, 4]", "it(q)", {"q": q},
       lambda m, q: {"f": m(q)}, ("q", "it.layers.0.self_attn.in_proj_weight"))
module("Transformer", lambda: nn.Transformer(4, 2, 2, 1, 6, batch_first=True),
       "Transformer(4, 2, 2, 1, hidden = 6)", "src: f32[N, S, 4], q: f32[N, T, 4], p: bool[N, S]",
       "it(src, q, src_key_padding_mask = p, memory_key_padding_mask = p, causal = true)",
       {"src": src, "q": q, "p": torch.tensor([[False] * 4 + [True], [False] * 5])},
       lambda m, src, q, p: {"f": m(src, q, src_key_padding_mask=p, memory_key_padding_mask=p, tgt_mask=torch.ones(3, 3).triu(1).bool())},
       ("src", "q", "it.encoder.layers.1.linear1.weight", "it.decoder.layers.0.multihead_attn.in_proj_weight"))

with open(os.path.join(HERE, "..", "corners.golden.json"), "w") as file:
    json.dump(cases, file, separators=(",", ":"))
    file.write("\n")
