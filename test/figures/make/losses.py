"""Makes test/figures/losses.json: losses at large offsets, with classes that do not count, and lookups, by PyTorch.

    /tmp/figures/bin/python test/figures/make/losses.py

Inputs are float32 (float16 where the case says so); results and gradients are computed in double precision.
"""

import json
import math
import os

import torch
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = {"f32": torch.float32, "f16": torch.float16, "i32": torch.int32, "bool": torch.bool}
cases = []


def number(v):
    if isinstance(v, float) and not math.isfinite(v):
        return "NaN" if math.isnan(v) else "Infinity" if v > 0 else "-Infinity"
    return v


def flat(t):
    return [number(v) for v in t.detach().flatten().tolist()]


def given(t):
    dtype = next(k for k, v in DTYPES.items() if v == t.dtype)
    return {"dtype": dtype, "shape": list(t.shape), "data": flat(t)}


def case(entry, inputs, f, wrt=(), atol=None):
    """f: tensors by name -> results by name. Gradients of the sum of the first result, as `gNAME`."""
    wide = {
        k: v.double().requires_grad_(k in wrt) if v.is_floating_point() else v.long() if v.dtype == torch.int32 else v
        for k, v in inputs.items()
    }
    results = f(**wide)
    if wrt:
        first = next(iter(results.values()))
        grads = torch.autograd.grad(first.nan_to_num(0, 0, 0).sum() if first.dim() else first, [wide[k] for k in wrt])
        results.update({f"g{k}": g for k, g in zip(wrt, grads)})
    cases.append(
        {
            "group": "attention" if "q" in inputs else "losses",
            "entry": entry,
            "inputs": {k: given(v) for k, v in inputs.items()},
            "expected": {k: flat(v) for k, v in results.items()},
        }
        | ({} if atol is None else {"atol": atol})
    )


def row(dtype, offset):
    near = torch.tensor([[2.0, -1.0, 0.5], [1.0, 1.0, 1.0], [0.0, 3.0, -2.0]])
    return (near.double() + offset).to(dtype)


labels = torch.tensor([0, 1, 2], dtype=torch.int32)


def all_losses(x, y, reduction="sum"):
    return {
        "l": F.cross_entropy(x, y, reduction=reduction),
        "each": F.cross_entropy(x, y, reduction="none"),
        "ls": F.log_softmax(x, 1),
        "s": F.softmax(x, 1),
        "lse": torch.logsumexp(x, 1),
    }


for offset in (0, 1e4, 1e6, 1e8, -1e8):
    case("offsets", {"x": row(torch.float32, offset), "y": labels}, all_losses, ("x",))
for offset in (0, 20, 1024, 30000, -30000):
    case("offsets16", {"x": row(torch.float16, offset), "y": labels}, all_losses, ("x",))
case(
    "offsets16",
    {"x": torch.tensor([[60000, -60000, 0], [-60000, -60000, -59968], [60000, 60000, 59968.0]]).half(), "y": labels},
    all_losses,
    ("x",),
)

# logsumexp and what follows from it, differentiated along a direction; infinities.
inf = float("inf")
odd = torch.tensor([[-inf, 0, 1], [-inf, -inf, 2], [1e8, 1e8, -1e8], [0, 88, 89]])
case(
    "sums",
    {"x": odd},
    lambda x: {"y": torch.logsumexp(x, 1), "all": torch.logsumexp(x, (0, 1))},
    ("x",),
)
case("sums", {"x": torch.tensor([[-inf, -inf, -inf], [inf, 0, 1]])}, lambda x: {"y": torch.logsumexp(x, 1)})

# Classes that do not count.
scores = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9.5], [0.5, -1, 2]])
for target in ([0, -100, 2, 1], [-100, -100, 1, -100], [-100, -100, -100, -100]):
    y = torch.tensor(target, dtype=torch.int32)
    case(
        "ignored",
        {"x": scores, "y": y},
        lambda x, y: {
            "l": F.cross_entropy(x, y),
            "total": F.cross_entropy(x, y, reduction="sum"),
            "each": F.cross_entropy(x, y, reduction="none"),
            "nll": F.nll_loss(F.log_softmax(x, 1), y),
        },
        ("x",),
    )
case(
    "ignored1",
    {"x": scores, "y": torch.tensor([0, 1, 2, 1], dtype=torch.int32)},
    lambda x, y: {
        "l": F.cross_entropy(x, y, ignore_index=1),
        "nll": F.nll_loss(F.log_softmax(x, 1), y, ignore_index=1),
    },
    ("x",),
)
# Two further axes, classes in axis 1; a class that cannot be (-inf).
images = torch.tensor([[[[0.5, -1], [2, 1]], [[0, 1], [-inf, 3]], [[1, 1], [1, -2.0]]]]).expand(2, 3, 2, 2).contiguous()
case(
    "images",
    {"x": images, "y": torch.tensor([[[0, 1], [2, -100]], [[2, 2], [0, 1]]], dtype=torch.int32)},
    lambda x, y: {"l": F.cross_entropy(x, y)},
    ("x",),
)
case(
    "logits",
    {"x": torch.tensor([0.0, 0, 20, -20, 1e8, -1e8, 1.5]), "y": torch.tensor([0.0, 1, 1, 0, 1, 0, 0.25])},
    lambda x, y: {"l": F.binary_cross_entropy_with_logits(x, y)},
    ("x",),
)
case("plus_", {"x": torch.tensor([0.0, 19, 21, -30, 1e8, -1e8])}, lambda x: {"y": F.softplus(x)}, ("x",))


# Attention: masks, causal aligned at the end, rows without a key. q, k, v, mask and the gradients of sum(y * c).
def attention(entry, t, s, mask=None, causal=False, shift=0.0, dtype=torch.float32, scale=None, atol=None):
    torch.manual_seed(len(cases))
    query, key = (2, 2, t, 4), (2, 2, s, 4)
    draw = lambda shape: torch.randn(shape).to(dtype)
    q, k, v, c = draw(query), draw(key), draw(key), draw(query)
    if shift:
        # Whole numbers, so that the scores are exact; all are shift ** 2 and a little, or nothing, more.
        q, k = q.round(), k.round() * (16 if 256 < shift < 4096 else 0 if shift > 4096 else 1)
        q[..., 0], k[..., 0] = shift, shift
    inputs = {"q": q, "k": k, "v": v, "c": c} | ({} if mask is None else {"m": mask})
    leaves = ["q", "k", "v"] + ([] if mask is None or mask.dtype == torch.bool else ["m"])
    seen = torch.ones(t, s, dtype=torch.bool).tril(s - t) if causal else torch.ones(t, s, dtype=torch.bool)

    def f(q, k, v, c, m=None):
        if m is None:
            m = seen
        elif m.dtype == torch.bool:
            m = m & seen
        else:
            m = m.masked_fill(~seen, -inf)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=m, scale=scale)
        return {"s": (y * c).sum(), "y": y}

    case(entry, inputs, f, leaves, atol)


low = torch.finfo(torch.float32).min
T, S = True, False
some = torch.tensor([[T, S, T], [S, S, S], [T, T, S], [S, T, T]])
wide = torch.tensor([[T, S, T, T, S], [S, S, S, S, T], [T, T, T, T, T], [S, S, S, T, T]])
added = torch.tensor([[0.5, -inf, 0, 2, 1], [-inf, -inf, -inf, 2, 3], [-inf, 1, -2, 0, 1], [low, low, low, low, low]])
attention("causal", 4, 3, causal=True, scale=0.5)
attention("causal", 3, 4, causal=True, scale=0.5)
attention("causal", 4, 4, causal=True, shift=1024.0, scale=0.5, atol=5e-3)
attention("causal", 4, 4, causal=True, shift=16384.0, scale=0.5, atol=5e-2)
attention("masked_causal", 4, 3, some, causal=True)
attention("masked_causal", 4, 5, wide, causal=True)
attention("added_causal", 4, 3, added[:, :3].contiguous(), causal=True)
attention("added_causal", 4, 5, added, causal=True)
attention("padded", 3, 3, torch.tensor([[[[T, T, S]]], [[[S, S, S]]]]))
attention("masked_causal16", 4, 3, some, causal=True, dtype=torch.float16)
attention("added_causal16", 4, 3, added[:, :3].clamp(min=-1024).masked_fill(added[:, :3] == -inf, -inf).half(), causal=True, dtype=torch.float16)
attention("added_causal16", 4, 3, torch.zeros(4, 3).half(), shift=250.0, causal=True, dtype=torch.float16, atol=0.5)

with open(os.path.join(os.path.dirname(HERE), "losses.json"), "w") as out:
    out.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases")
