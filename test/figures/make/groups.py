"""Makes test/figures/groups.json: three train blocks over one model, each with other parameters trained and decayed, by PyTorch.

    /tmp/figures/bin/python test/figures/make/groups.py

As PyTorch has it: an optimiser of two parameter groups a block (with and without decay), gradients of what the block trains
alone; a parameter that no gradient reaches is left alone. In double precision.
"""

import json
import os

import torch
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = {"a": (6, 5), "b": (5, 5), "c": (5, 5), "e": (5, 3), "idle": (2, 2)}


class M(nn.Module):
    def __init__(self):
        super().__init__()
        for name, (n, m) in SIZES.items():
            setattr(self, name, nn.Linear(n, m))

    def forward(self, x):
        return self.e(torch.tanh(self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))))


torch.manual_seed(1)
net = M().double()
begin = {name: p.detach().float().double() for name, p in net.named_parameters()}
net.load_state_dict(begin)
x = torch.randn(4, 6).float().double()
y = torch.tensor([0, 2, 1, 2])

BLOCKS = {
    # As mdl says them: what is trained, and the optimiser.
    "one": (("a", "b", "idle"), lambda g: torch.optim.SGD(g, lr=0.1, momentum=0.9), 0.05),
    "two": (("b", "c"), lambda g: torch.optim.AdamW(g, lr=0.02), 0.3),
    "three": (("a", "e"), lambda g: torch.optim.Adam(g, lr=0.01), 0.2),
    "all": (tuple(SIZES), lambda g: torch.optim.AdamW(g, lr=0.005), 0.5),
}
optimizers = {}
for block, (layers, make, decay) in BLOCKS.items():
    named = [(n, p) for n, p in net.named_parameters() if n.split(".")[0] in layers]
    optimizers[block] = make(
        [
            {"params": [p for n, p in named if not n.endswith("bias")], "weight_decay": decay},
            {"params": [p for n, p in named if n.endswith("bias")], "weight_decay": 0.0},
        ]
    )

steps = []
for block in ["one", "two", "three", "all", "one", "two", "three", "all"]:
    net.zero_grad(set_to_none=True)
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizers[block].step()
    steps.append(
        {
            "block": block,
            "loss": loss.item(),
            "after": {n: p.detach().flatten().tolist() for n, p in net.named_parameters()},
        }
    )

with open(os.path.join(os.path.dirname(HERE), "groups.json"), "w") as out:
    json.dump(
        {
            "made_by": f"PyTorch {torch.__version__}",
            "begin": {n: {"shape": list(v.shape), "data": v.flatten().tolist()} for n, v in begin.items()},
            "x": x.flatten().tolist(),
            "y": y.tolist(),
            "steps": steps,
        },
        out,
    )
    out.write("\n")
