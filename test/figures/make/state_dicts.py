"""The state dicts of PyTorch's layers that std/nn has too: test/figures/state_dicts.json.

For each layer, by mdl's text for it: every tensor's name, shape, and what it begins with (mean, standard deviation and
largest size of its elements, which the seed moves little at these sizes).

    /tmp/figures/bin/python test/figures/make/state_dicts.py
"""

import json
import os

import torch
from torch import nn

torch.manual_seed(1)

LAYERS = {
    "Linear(96, 64)": nn.Linear(96, 64),
    "Linear(96, 64, bias = false)": nn.Linear(96, 64, bias=False),
    "Conv2d(24, 48, 3, groups = 2)": nn.Conv2d(24, 48, 3, groups=2),
    "Conv1d(24, 48, 5, groups = 3)": nn.Conv1d(24, 48, 5, groups=3),
    "Conv3d(24, 16, 3, bias = false)": nn.Conv3d(24, 16, 3, bias=False),
    "ConvTranspose1d(24, 48, 4)": nn.ConvTranspose1d(24, 48, 4),
    "ConvTranspose2d(24, 48, 3, groups = 2)": nn.ConvTranspose2d(24, 48, 3, groups=2),
    "ConvTranspose3d(16, 24, 3)": nn.ConvTranspose3d(16, 24, 3),
    "BatchNorm3d(24)": nn.BatchNorm3d(24),
    "Embedding(96, 64)": nn.Embedding(96, 64),
    "BatchNorm2d(24)": nn.BatchNorm2d(24),
    "BatchNorm1d(24)": nn.BatchNorm1d(24),
    "LayerNorm(64)": nn.LayerNorm(64),
    "RMSNorm(64)": nn.RMSNorm(64),
    "MultiHeadAttention(64, 4)": nn.MultiheadAttention(64, 4, batch_first=True),
    "LSTM(48, 64)": nn.LSTM(48, 64, batch_first=True),
    "LSTM(48, 64, bias = false)": nn.LSTM(48, 64, batch_first=True, bias=False),
    "GRU(48, 64)": nn.GRU(48, 64, batch_first=True),
    "GRU(48, 64, bias = false)": nn.GRU(48, 64, batch_first=True, bias=False),
}


def tensor(t):
    t = t.detach().double()
    return {
        "shape": list(t.shape),
        "mean": float(t.mean()),
        "std": float(t.std(correction=0)),
        "largest": float(t.abs().max()),
    }


OUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "state_dicts.json")
rows = {k: {name: tensor(t) for name, t in m.state_dict().items()} for k, m in LAYERS.items()}
with open(OUT, "w") as out:
    json.dump({"made_by": f"PyTorch {torch.__version__}", "layers": rows}, out, indent=1)
    out.write("\n")
