"""Makes test/figures/schedules.golden.json: learning rates of 24 steps by PyTorch's schedulers, a step at a time, and plateaus of a metric.

    /tmp/figures/bin/python test/figures/make/schedules.py
"""

import json
import os
import warnings

import torch
from torch.optim import lr_scheduler as S

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
N = 24


def rates(make, lr=0.5):
    p = torch.nn.Parameter(torch.zeros(1))
    o = torch.optim.SGD([p], lr=lr)
    s = make(o)
    out = []
    for _ in range(N):
        out.append(o.param_groups[0]["lr"])
        o.step()
        if len(out) < N:
            s.step()
    return out


def warmed(o, make, n, start):
    # LinearLR has the first rate at its step 0; mdl's rise has `start` before it.
    return S.SequentialLR(o, [S.LinearLR(o, start, 1.0, n - 1), make(o)], [n])


# As mdl says them; total_steps is 24.
SCHEDULES = {
    "constant(0.5)": lambda o: S.ConstantLR(o, 1.0, 1),
    "step_decay(0.5, every = 7, gamma = 0.3)": lambda o: S.StepLR(o, 7, 0.3),
    "multi_step(0.5, [3, 10, 11], gamma = 0.4)": lambda o: S.MultiStepLR(o, [3, 10, 11], 0.4),
    "exponential(0.5, 0.9)": lambda o: S.ExponentialLR(o, 0.9),
    "linear(0.5, final = 0.05)": lambda o: S.LinearLR(o, 1.0, 0.1, N),
    "cosine(0.5, final = 0.02)": lambda o: S.CosineAnnealingLR(o, N, 0.02),
    "cosine_restarts(0.5, 5, final = 0.01)": lambda o: S.CosineAnnealingWarmRestarts(o, 5, 1, 0.01),
    "cosine_restarts(0.5, 3, mult = 2)": lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2),
    "polynomial(0.5, power = 1.7)": lambda o: S.PolynomialLR(o, N, 1.7),
    "one_cycle(0.5)": lambda o: S.OneCycleLR(o, 0.5, N),
    "one_cycle(0.5, pct = 0.4, div = 10, final_div = 100)": lambda o: S.OneCycleLR(
        o, 0.5, N, pct_start=0.4, div_factor=10, final_div_factor=100
    ),
    "warm_up(exponential(0.5, 0.9), 5)": lambda o: warmed(o, lambda o: S.ExponentialLR(o, 0.9), 5, 0.2),
    "warm_up(cosine_restarts(0.5, 4, mult = 3), 4)": lambda o: warmed(
        o, lambda o: S.CosineAnnealingWarmRestarts(o, 4, 3), 4, 0.25
    ),
    "warm_up(polynomial(0.5), 10)": lambda o: warmed(o, lambda o: S.PolynomialLR(o, N - 10, 1.0), 10, 0.1),
}

METRICS = [1.0, 0.9, 0.9, 0.91, 0.89999, 0.92, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, float("nan"), 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]
PLATEAUS = [
    {},
    {"patience": 1},
    {"patience": 2, "cooldown": 3},
    {"patience": 1, "mode": "max"},
    {"patience": 0, "threshold": 0.3},
    {"patience": 1, "threshold": 0.05, "threshold_mode": "abs"},
]


def plateaus(options):
    p = torch.nn.Parameter(torch.zeros(1))
    o = torch.optim.SGD([p], lr=1.0)
    s = S.ReduceLROnPlateau(o, factor=0.5, eps=0, **options)
    out = []
    for m in METRICS:
        s.step(m)
        out.append(o.param_groups[0]["lr"])
    return out


with open(os.path.join(os.path.dirname(HERE), "schedules.golden.json"), "w") as out:
    json.dump(
        {
            "made_by": f"PyTorch {torch.__version__}",
            "total_steps": N,
            "schedules": {text: rates(make) for text, make in SCHEDULES.items()},
            "metrics": [None if m != m else m for m in METRICS],
            "plateaus": [{"options": p, "rates": plateaus(p)} for p in PLATEAUS],
        },
        out,
    )
    out.write("\n")
