"""Makes test/figures/optimizers.golden.json: three steps with each optimiser of std/optim, by PyTorch.

    /tmp/figures/bin/python test/figures/make/optimizers.py

Those that PyTorch has are its own. Lion is that of its authors (google/automl, lion_pytorch.py), LAMB is Algorithm 2 of its paper
with phi the identity; Muon is torch.optim.Muon, whose products are done in double precision here. All of it in double precision.
"""

import json
import os

import torch
import torch.optim._muon as muon
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"])
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = m * beta1 + p.grad * (1 - beta1)
                p.add_(torch.sign(update), alpha=-group["lr"])
                m.mul_(beta2).add_(p.grad, alpha=1 - beta2)


class Lamb(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=1e-2):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                s = self.state[p]
                t = s["t"] = s.get("t", 0) + 1
                m = s.setdefault("m", torch.zeros_like(p))
                v = s.setdefault("v", torch.zeros_like(p))
                m.mul_(beta1).add_(p.grad, alpha=1 - beta1)
                v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                r = (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + group["eps"]) + group["weight_decay"] * p
                size, length = p.norm(), r.norm()
                trust = size / length if size > 0 and length > 0 else 1.0
                p.add_(r, alpha=-(group["lr"] * float(trust)))


def zeropower(grad, coefficients, steps, eps):
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if grad.size(0) > grad.size(1) else x


muon._zeropower_via_newtonschulz = zeropower

O = torch.optim
# As mdl says it, and as PyTorch does. `STEPS` more for those that change their formula on the way.
RUNS = {
    "sgd(lr = 0.1)": lambda p: O.SGD(p, lr=0.1),
    "sgd()": lambda p: O.SGD(p),
    "sgd(lr = 0.1, momentum = 0.9, dampening = 0.3, weight_decay = 0.1)": lambda p: O.SGD(
        p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1
    ),
    "sgd(lr = 0.1, momentum = 0.9, nesterov = true)": lambda p: O.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "sgd(lr = 0.1, maximize = true)": lambda p: O.SGD(p, lr=0.1, maximize=True),
    "adam()": lambda p: O.Adam(p),
    "adam(lr = 0.05, betas = (0.8, 0.9), amsgrad = true, weight_decay = 0.1)": lambda p: O.Adam(
        p, lr=0.05, betas=(0.8, 0.9), amsgrad=True, weight_decay=0.1
    ),
    "adamw()": lambda p: O.AdamW(p),
    "adamw(lr = 0.05, amsgrad = true, maximize = true, eps = 1e-4)": lambda p: O.AdamW(
        p, lr=0.05, amsgrad=True, maximize=True, eps=1e-4
    ),
    "adamax()": lambda p: O.Adamax(p),
    "adamax(lr = 0.05, weight_decay = 0.1)": lambda p: O.Adamax(p, lr=0.05, weight_decay=0.1),
    "nadam()": lambda p: O.NAdam(p),
    "nadam(lr = 0.05, weight_decay = 0.1)": lambda p: O.NAdam(p, lr=0.05, weight_decay=0.1),
    "nadam(lr = 0.05, weight_decay = 0.1, decoupled_weight_decay = true)": lambda p: O.NAdam(
        p, lr=0.05, weight_decay=0.1, decoupled_weight_decay=True
    ),
    "radam()": lambda p: O.RAdam(p),
    "radam(lr = 0.05, betas = (0.9, 0.99), weight_decay = 0.1, decoupled_weight_decay = true)": lambda p: O.RAdam(
        p, lr=0.05, betas=(0.9, 0.99), weight_decay=0.1, decoupled_weight_decay=True
    ),
    "rmsprop()": lambda p: O.RMSprop(p),
    "rmsprop(lr = 0.05, momentum = 0.9, centered = true, weight_decay = 0.1)": lambda p: O.RMSprop(
        p, lr=0.05, momentum=0.9, centered=True, weight_decay=0.1
    ),
    "adagrad()": lambda p: O.Adagrad(p),
    "adagrad(lr = 0.1, lr_decay = 0.1, weight_decay = 0.1, initial_accumulator_value = 0.2)": lambda p: O.Adagrad(
        p, lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2
    ),
    "adadelta()": lambda p: O.Adadelta(p),
    "adadelta(lr = 2, rho = 0.8, weight_decay = 0.1)": lambda p: O.Adadelta(p, lr=2, rho=0.8, weight_decay=0.1),
    "lion()": lambda p: Lion(p),
    "lion(lr = 0.01, weight_decay = 0.1)": lambda p: Lion(p, lr=0.01, weight_decay=0.1),
    "lamb()": lambda p: Lamb(p),
    "lamb(lr = 0.05, weight_decay = 0)": lambda p: Lamb(p, lr=0.05, weight_decay=0.0),
}
# Matrices alone.
MATRICES = {
    "muon()": lambda p: O.Muon(p),
    'muon(lr = 0.05, nesterov = false, weight_decay = 0, adjust_lr = "match_rms_adamw")': lambda p: O.Muon(
        p, lr=0.05, nesterov=False, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
    ),
}
STEPS = {"radam()": 8}
SIZES = {"a": (5, 4), "b": (4, 6), "c": (6, 3)}


class M(nn.Module):
    def __init__(self):
        super().__init__()
        for name, (n, m) in SIZES.items():
            setattr(self, name, nn.Linear(n, m))

    def forward(self, x):
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


torch.manual_seed(3)
net = M().double()
begin = {name: p.detach().float().double() for name, p in net.named_parameters()}
x = torch.randn(7, 5).float().double()
y = torch.tensor([0, 2, 1, 2, 0, 1, 1])


def run(makers, steps):
    net.load_state_dict(begin)
    optimizers = makers(dict(net.named_parameters()))
    losses = []
    for _ in range(steps):
        net.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return {
        "losses": losses,
        "after": {n: p.detach().flatten().tolist() for n, p in net.named_parameters()},
    }


runs = {
    f"with {text}": run(lambda p: [make(list(p.values()))], STEPS.get(text, 3)) for text, make in RUNS.items()
}
for text, make in MATRICES.items():
    runs[f'with {text} for "*.weight"; with adamw(lr = 0.01)'] = run(
        lambda p: [
            make([v for n, v in p.items() if n.endswith("weight")]),
            O.AdamW([v for n, v in p.items() if n.endswith("bias")], lr=0.01),
        ],
        3,
    )

# Groups: other rates and decays by name, in one optimiser and in two.
runs["with adamw(lr = 0.1 * lr, weight_decay = 0.5) for a.*; with adamw(lr = 0.02) for b.weight; with adamw(lr = 0.05)"] = run(
    lambda p: [
        O.AdamW(
            [
                {"params": [p["a.weight"], p["a.bias"]], "lr": 0.005, "weight_decay": 0.5},
                {"params": [p["b.weight"]], "lr": 0.02},
                {"params": [p["b.bias"], p["c.weight"], p["c.bias"]], "lr": 0.05},
            ]
        )
    ],
    3,
)
runs['with sgd(lr = 0.1, momentum = 0.9) for a.*, c.*; with adam(lr = 0.02, weight_decay = 0.2, no_decay = ["*.bias"])'] = run(
    lambda p: [
        O.SGD([p["a.weight"], p["a.bias"], p["c.weight"], p["c.bias"]], lr=0.1, momentum=0.9),
        O.Adam([{"params": [p["b.weight"]], "weight_decay": 0.2}, {"params": [p["b.bias"]]}], lr=0.02),
    ],
    3,
)

with open(os.path.join(os.path.dirname(HERE), "optimizers.golden.json"), "w") as out:
    json.dump(
        {
            "made_by": f"PyTorch {torch.__version__}",
            "begin": {n: {"shape": list(v.shape), "data": v.flatten().tolist()} for n, v in begin.items()},
            "x": x.flatten().tolist(),
            "y": y.tolist(),
            "runs": runs,
        },
        out,
    )
    out.write("\n")
