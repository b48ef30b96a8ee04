"""Makes test/figures/loops.json: losses with loops in them, and their gradients, as PyTorch unrolls them.

    /tmp/figures/bin/python test/figures/make/loops.py

The models are those of test/gpu/loops.test.ts. Parameters and inputs are hash-made (hashing.py), in double precision.
"""

import json
import os
import sys

sys.dont_write_bytecode = True

import torch
from torch.nn import functional as F

import hashing

OUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "loops.json")
B, T, D, H = 2, 5, 3, 4


def leaf(name, shape):
    return torch.tensor(hashing.parameter(name, shape)).double().requires_grad_()


def given(name, shape):
    return torch.tensor(hashing.signed(name, shape)).double().requires_grad_()


def hoisted_rnn(p, x):
    """The input projection outside the loop; its gradient is emitted by the loop backwards, and read there."""
    projected = F.linear(x, p["ih.weight"], p["ih.bias"])
    s = torch.zeros(B, H, dtype=torch.double)
    for t in range(T):
        s = torch.tanh(projected[:, t] + F.linear(s, p["hh.weight"]))
    return (s**2).mean()


def leaky(p, x):
    """The language page's layer."""
    s, ys = torch.zeros(B, D, dtype=torch.double), []
    for t in range(T):
        s = 0.9 * s + 0.1 * torch.tanh(x[:, t] @ p["leak"])
        ys.append(s)
    return ((torch.stack(ys, 1) - 1) ** 2).mean()


def begun(p, x):
    """A parameter as the first carry, a layer in the body, two carries that change places."""
    a, b, es = p["start"].expand(B, H), p["start"].expand(B, H) * 0.5, []
    for t in range(T):
        score = F.linear(a, p["score.weight"], p["score.bias"])
        a, b = torch.tanh(F.linear(x[:, t], p["ih.weight"], p["ih.bias"]) + b), a * torch.sigmoid(score)
        es.append(a - b)
    return (torch.stack(es, 1) ** 2).mean() + a.sum() * 0.1 + (b**2).mean()


def looked_up(p, x):
    """Rows of a table by a running index, in the loop."""
    s = torch.zeros(B, D, dtype=torch.double)
    for t in range(T):
        s = torch.tanh(s + p["table"][(t * 2 + torch.arange(B)) % 4] * x[:, t])
    return (s**2).mean()


def nested(p, x):
    """For each slice, a loop over a sequence; the inner loop's emitted values leave the outer one."""
    s, ys = torch.zeros(B, D, dtype=torch.double), []
    for t in range(T):
        c, zs = s, []
        for u in range(T):
            c = torch.tanh(0.5 * c + x[:, u] @ p["leak"] + x[:, t])
            zs.append(c)
        s = 0.5 * s + c
        ys.append(torch.stack(zs, 1).sum(1))
    return (s**2).mean() + (torch.stack(ys, 1) ** 2).mean() * 0.01


def penalised(p, x):
    """A second derivative: the gradient of a loop's loss is part of the loss."""
    (g,) = torch.autograd.grad(leaky(p, x), x, create_graph=True)
    return leaky(p, x) + 100 * (g**2).sum()


def attention(p, x):
    """Additive attention over all slices in each step of a decoder, with what it saw emitted and carried."""
    keys, s, ys = x @ p["leak"], torch.zeros(B, D, dtype=torch.double), []
    for t in range(T):
        e = F.linear(torch.tanh(keys + s[:, None]), p["mix.weight"])[..., 0]
        s = (torch.softmax(e, 1)[..., None] * x).sum(1) + 0.5 * torch.tanh(x[:, t])
        ys.append(s)
    return (torch.stack(ys, 1) ** 2).mean()


def dropped(p, x):
    """Dropout in a loop draws a mask a step; drawn outside and captured, one for all steps (Gal and Ghahramani, 2016)."""
    s = torch.zeros(B, H, dtype=torch.double)
    one = mask("/dropped/0", [B, H])
    for t in range(T):
        s = torch.tanh(F.linear(x[:, t], p["ih.weight"]) + mask("/dropped/1", [B, H], t) * F.linear(s, p["hh.weight"])) * one
    return (s**2).sum()


def dropped_twice(p, x):
    """In a loop in a loop each pass of the inner one has a mask."""
    s = torch.zeros(B, D, dtype=torch.double)
    for t in range(T):
        c = s
        for u in range(T):
            c = torch.tanh(mask("/dropped_twice/0", [B, D], t * T + u) * (c + x[:, u] @ p["leak"]) + x[:, t])
        s = 0.5 * s + c
    return (s**2).mean()


SEED = 7


def mask(site, shape, turn=0):
    return torch.tensor((hashing.draw(SEED, site, 0, shape, turn) >= 0.5) * 2.0)


def counted_norm(x, run):
    """Batch norm in a loop: running statistics follow every pass."""
    for t in range(T):
        run(x[:, t])


def batch_norm():
    """One layer called on two batches in a step, and on each slice of a loop, with what it leaves."""
    bn = torch.nn.BatchNorm1d(D).double()
    with torch.no_grad():
        for name, t in bn.state_dict(keep_vars=True).items():
            if t.is_floating_point():
                t.copy_(torch.tensor(hashing.parameter(f"bn.{name}", [D])))
    real, fake = given("real", [6, D]), given("fake", [6, D])
    loss = (bn(real) ** 3).mean() + (bn(2 * fake + 1) ** 4).mean()
    loss.backward()
    numbers = lambda t: [float(f"{v:.9g}") for v in t.flatten().tolist()]
    twice = {"loss": loss.item(), "weight": numbers(bn.weight.grad), "bias": numbers(bn.bias.grad)}
    twice |= {"running_mean": numbers(bn.running_mean), "running_var": numbers(bn.running_var)}
    counted_norm(given("x", [B, T, D]), bn)
    return {"twice": twice, "then_looped": {"running_mean": numbers(bn.running_mean), "running_var": numbers(bn.running_var)}}


LOSSES = {f.__name__: f for f in (hoisted_rnn, leaky, begun, looked_up, nested, penalised, attention, dropped, dropped_twice)}
SHAPES = {
    "ih.weight": [H, D],
    "ih.bias": [H],
    "hh.weight": [H, H],
    "leak": [D, D],
    "start": [H],
    "score.weight": [1, H],
    "score.bias": [1],
    "table": [4, D],
    "mix.weight": [1, D],
}

if __name__ == "__main__":
    hashing.check()
    out = {"made_by": f"PyTorch {torch.__version__}", "sizes": {"B": B, "T": T, "d": D, "h": H}, "seed": SEED, "parameters": SHAPES, "losses": {}}
    for name, loss in LOSSES.items():
        p = {k: leaf(k, s) for k, s in SHAPES.items()}
        x = given("x", [B, T, D])
        value = loss(p, x)
        leaves = p | {"x": x}
        grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        out["losses"][name] = {
            "loss": value.item(),
            "gradients": {k: [float(f"{v:.9g}") for v in g.flatten().tolist()] for k, g in zip(leaves, grads) if g is not None},
        }
    out["batch_norm"] = batch_norm()
    with open(OUT, "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")
