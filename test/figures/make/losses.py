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


def case(entry, inputs, f, wrt=()):
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
            "entry": entry,
            "inputs": {k: given(v) for k, v in inputs.items()},
            "expected": {k: flat(v) for k, v in results.items()},
        }
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
case("softplus", {"x": torch.tensor([0.0, 19, 21, -30, 1e8, -1e8])}, lambda x: {"y": F.softplus(x)}, ("x",))

with open(os.path.join(os.path.dirname(HERE), "losses.json"), "w") as out:
    out.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases")
