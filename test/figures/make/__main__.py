"""Makes test/figures/*.safetensors: what PyTorch computes for models and operators of dsl-examples and std/nn.

    python3 -m venv /tmp/figures && /tmp/figures/bin/pip install torch numpy
    /tmp/figures/bin/python test/figures/make [NAME ...]

The project and its tests never need Python: the files are committed, and test/support/figures.ts reads them. Weights and
inputs are hash-made (hashing.py), so that the files hold results only. Everything is computed in double precision from
float32 weights; the float32 run of the same beside it says, in "float32_error", how far PyTorch itself is from that.
"""

import json
import os
import sys

sys.dont_write_bytecode = True

import numpy as np
import torch
from torch.nn import functional as F

import hashing
import models
import operators
import store

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.dirname(HERE)


def parameters(model):
    """Named tensors that mdl knows: parameters, running statistics."""
    skip = ("num_batches_tracked",)
    return {k: v for k, v in model.state_dict(keep_vars=True).items() if not k.endswith(skip)}


def fill(model, dtype, salt=""):
    model.to(dtype)
    with torch.no_grad():
        for name, t in parameters(model).items():
            t.copy_(torch.tensor(hashing.parameter(salt + name, list(t.shape))))
    return model


def tensor(value, dtype):
    t = torch.tensor(value)
    return t.to(dtype) if t.is_floating_point() else t.long()


def numpy(t):
    return t.detach().double().numpy().copy()


def state(model):
    return {k: numpy(t) for k, t in parameters(model).items()}


def gradients(model):
    return {k: numpy(t.grad) for k, t in model.named_parameters()}


def shapes(model):
    return {k: list(t.shape) for k, t in parameters(model).items()}


def both(run):
    """`run(dtype)` gives tensors by name: those in double precision, and the largest differences of float32."""
    exact, single = run(torch.float64), run(torch.float32)
    off = {k: float(np.max(np.abs(exact[k] - single[k]), initial=0)) for k in exact}
    return exact, off


def worst(off):
    """The largest float32 error by the first part of a tensor's name."""
    groups = {}
    for k, v in off.items():
        g = k.split("/")[0]
        groups[g] = max(groups.get(g, 0.0), v)
    return groups


def summary(name, value):
    """A large tensor in a few numbers."""
    flat = value.reshape(-1)
    return {
        "shape": list(value.shape),
        "norm": float(np.linalg.norm(flat)),
        "sum": float(flat.sum()),
        "probe": hashing.probe(name, value),
        "first": flat[:8].tolist(),
    }


def loss_of(logits, y):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))


# ------------------------------------------------------------------------------------------- training

OPTIMIZERS = {
    "adam": ({"lr": 1e-3}, lambda p: torch.optim.Adam(p, lr=1e-3)),
    "adamw": ({"lr": 1e-3, "weight_decay": 0.01}, lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.01)),
    "sgd": ({"lr": 0.005, "momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.005, momentum=0.9)),
}
STEPS = 3


def training(make, salt, shape, classes, optimizers, dropout=None):
    """Three steps on three batches, each optimizer from the same start; then logits in eval mode on the first batch.

    `dropout(step)` (from 0) gives the mask of the model's dropout.
    """
    batch = lambda i: (hashing.signed(f"{salt}x.{i}", shape), hashing.integers(f"{salt}y.{i}", shape[:1], classes))

    def run(dtype):
        out = {}
        model = fill(make(), dtype, salt)
        x, y = (tensor(v, dtype) for v in batch(1))
        model.eval()
        out["logits"] = numpy(model(x))
        out["loss"] = numpy(loss_of(model(x), y))
        for which in optimizers:
            model = fill(make(), dtype, salt)
            model.train()
            optimizer = OPTIMIZERS[which][1](model.parameters())
            for step in range(1, STEPS + 1):
                x, y = (tensor(v, dtype) for v in batch(step))
                optimizer.zero_grad()
                if dropout is not None:
                    model.dropout.mask = torch.tensor(dropout(step - 1))
                loss = loss_of(model(x), y)
                loss.backward()
                out[f"{which}/{step}/loss"] = numpy(loss)
                out |= {f"{which}/{step}/grad/{k}": v for k, v in gradients(model).items()}
                optimizer.step()
                out |= {f"{which}/{step}/state/{k}": v for k, v in state(model).items()}
            model.eval()
            out[f"{which}/after/logits"] = numpy(model(tensor(batch(1)[0], dtype)))
        return out

    exact, off = both(run)
    settings = {k: OPTIMIZERS[k][0] for k in optimizers}
    info = {
        "salt": salt,
        "parameters": shapes(make()),
        "inputs": {"x": {"rule": "signed", "shape": shape}, "y": {"rule": "integers", "shape": shape[:1], "below": classes}},
        "optimizers": settings,
        "steps": STEPS,
        "float32_error": worst(off),
    }
    return info, exact


def convnet():
    make = lambda: models.ConvNet(p=0.0, width=4)
    info, out = training(make, "", [6, 1, 28, 28], 10, ["adam", "adamw", "sgd"])
    return {"source": "dsl-examples/convnet.mdl", "model": "ConvNet", "set": {"width": 4, "p": 0}} | info, out


def convnet_bn():
    make = lambda: models.ConvNet(p=0.0, width=4, block=models.ConvBlockBN)
    info, out = training(make, "", [6, 1, 28, 28], 10, ["adam", "sgd"])
    return {"source": "dsl-examples/convnet.mdl", "model": "ConvNetBN", "set": {"width": 4, "p": 0}} | info, out


SEED = 7


def with_dropout(model, block):
    """With dropout as mdl draws it: an element stays where its uniform is at least p."""
    p, site = 0.25, "/logits/0"
    mask = lambda step: hashing.draw(SEED, site, step, [6, 4 * 4 * 9]) >= p
    make = lambda: models.ConvNet(p=p, width=4, block=block)
    info, out = training(make, "", [6, 1, 28, 28], 10, ["adam"], mask)
    info |= {"source": "dsl-examples/convnet.mdl", "model": model, "set": {"width": 4, "p": p}}
    return info | {"dropout": {"seed": SEED, "site": site}}, out


def convnet_dropout():
    return with_dropout("ConvNet", models.ConvBlock)


def convnet_bn_dropout():
    return with_dropout("ConvNetBN", models.ConvBlockBN)


def convnet_full():
    """DESIGN's size: the big gradients as summaries."""
    shape = [8, 1, 28, 28]
    x, y = hashing.signed("x.1", shape), hashing.integers("y.1", shape[:1], 10)
    grads = {}

    def run(dtype):
        model = fill(models.ConvNet(p=0.0), dtype)
        logits = model(tensor(x, dtype))
        loss = loss_of(logits, tensor(y, dtype))
        loss.backward()
        if dtype == torch.float64:
            grads.update({k: summary(k, v) for k, v in gradients(model).items()})
        return {"logits": numpy(logits), "loss": numpy(loss)}

    exact, off = both(run)
    info = {
        "source": "dsl-examples/convnet.mdl",
        "model": "ConvNet",
        "set": {"p": 0},
        "salt": "",
        "parameters": shapes(models.ConvNet()),
        "inputs": {"x": {"rule": "signed", "shape": shape}, "y": {"rule": "integers", "shape": shape[:1], "below": 10}},
        "gradients": grads,
        "float32_error": worst(off),
    }
    return info, exact


# --------------------------------------------------------------------- forward and gradients of one call


def once(make, call, inputs, info, modes=("eval",), salt=""):
    """Outputs, and gradients of the outputs along hash-made directions (or of a scalar loss itself).

    `call(model, inputs)` gives results by name; gradients are those of their sum weighted by "direction.NAME".
    """
    made = {}
    for name, how in inputs.items():
        key = salt + name
        made[name] = hashing.signed(key, how["shape"]) if how["rule"] == "signed" else hashing.integers(key, how["shape"], how["below"])

    def run(dtype):
        out = {}
        for mode in modes:
            model = fill(make(), dtype, salt)
            model.train(mode == "train")
            xs = {k: tensor(v, dtype) for k, v in made.items()}
            for x in xs.values():
                x.requires_grad_(x.is_floating_point())
            results = call(model, xs)
            total = 0
            for name, y in results.items():
                out[f"{mode}/result/{name}"] = numpy(y)
                direction = hashing.signed(f"{salt}direction.{name}", list(y.shape)) if y.dim() > 0 else np.float32(1)
                if name != "logits" or "loss" not in results:
                    total = total + (y * torch.tensor(direction).to(dtype)).sum()
            total.backward()
            out |= {f"{mode}/grad/{k}": v for k, v in gradients(model).items()}
            out |= {f"{mode}/grad/{k}": numpy(x.grad) for k, x in xs.items() if x.requires_grad}
            if mode == "train":
                out |= {f"{mode}/state/{k}": numpy(t) for k, t in parameters(model).items() if "running" in k}
        return out

    exact, off = both(run)
    return info | {"salt": salt, "parameters": shapes(make()), "inputs": inputs, "modes": list(modes), "float32_error": worst(off)}, exact


def real(shape):
    return {"rule": "signed", "shape": shape}


def whole(shape, below):
    return {"rule": "integers", "shape": shape, "below": below}


def residual():
    return once(
        lambda: models.BasicBlock(6, 6),
        lambda m, i: {"forward": m(i["x"])},
        {"x": real([3, 6, 7, 7])},
        {"layer": "BasicBlock", "set": {"cin": 6, "cout": 6}},
        ("eval", "train"),
    )


def residual_projection():
    return once(
        lambda: models.BasicBlock(4, 8, 2),
        lambda m, i: {"forward": m(i["x"])},
        {"x": real([3, 4, 8, 8])},
        {"layer": "BasicBlock", "set": {"cin": 4, "cout": 8, "stride": 2}},
        ("eval", "train"),
    )


def encoder():
    return once(
        lambda: models.Encoder(16, 4, 32),
        lambda m, i: {"encode": m(i["x"])},
        {"x": real([2, 7, 16])},
        {"source": "dsl-examples/transformer.mdl", "model": "Encoder", "set": {"d": 16, "heads": 4, "hidden": 32}},
    )


def transformer_block():
    return once(
        lambda: models.TransformerBlock(12, 3, 20, causal=True),
        lambda m, i: {"forward": m(i["x"])},
        {"x": real([2, 5, 12])},
        {"layer": "TransformerBlock", "set": {"d": 12, "heads": 3, "hidden": 20, "causal": True}},
    )


def lstm():
    def call(m, i):
        y, (s, c) = m(i["x"])
        return {"y": y, "s": s[0], "c": c[0]}

    return once(lambda: torch.nn.LSTM(5, 6, batch_first=True), call, {"x": real([3, 5, 5])}, {"layer": "LSTM", "set": {"d": 5, "h": 6}})


def gru():
    def call(m, i):
        y, s = m(i["x"])
        return {"y": y, "s": s[0]}

    return once(lambda: torch.nn.GRU(5, 6, batch_first=True), call, {"x": real([3, 5, 5])}, {"layer": "GRU", "set": {"d": 5, "h": 6}})


def multi_head_attention():
    return once(
        lambda: models.MultiHeadAttention(12, 3),
        lambda m, i: {"forward": m(i["query"], i["key"], i["value"])},
        {"query": real([2, 4, 12]), "key": real([2, 5, 12]), "value": real([2, 5, 12])},
        {"layer": "MultiHeadAttention", "set": {"d": 12, "heads": 3}},
    )


def mlp():
    def call(m, i):
        logits = m(i["x"])
        return {"logits": logits, "loss": loss_of(logits, i["y"])}

    info = {"source": "dsl-examples/mlp.mdl", "model": "MLP", "set": {"inputs": 9, "hidden": 8, "depth": 2, "classes": 5}}
    return once(lambda: models.MLPModel(9, 8, 2, 5), call, {"x": real([7, 9]), "y": whole([7], 5)}, info)


def char_lstm():
    def call(m, i):
        logits = m(i["ids"])
        return {"logits": logits, "loss": loss_of(logits, i["next"])}

    inputs = {"ids": whole([3, 5], 11), "next": whole([3, 5], 11)}
    info = {"source": "dsl-examples/lstm.mdl", "model": "CharLSTM", "set": {"vocab": 11, "d": 5, "h": 6}}
    return once(lambda: models.CharLSTM(11, 5, 6), call, inputs, info)


def gpt():
    def call(m, i):
        logits = m(i["ids"])
        return {"logits": logits, "loss": loss_of(logits, i["next"])}

    inputs = {"ids": whole([2, 6], 13), "next": whole([2, 6], 13)}
    info = {
        "source": "dsl-examples/transformer.mdl",
        "model": "GPT",
        "set": {"vocab": 13, "d": 16, "heads": 2, "depth": 2, "context": 8, "p": 0},
    }
    return once(lambda: models.GPT(13, 16, 2, 2, 8), call, inputs, info)


def resnet18():
    """Full size, one image."""
    x = hashing.signed("x", [1, 3, 224, 224])

    def run(dtype):
        with torch.no_grad():
            return {"logits": numpy(fill(models.ResNet18(), dtype).eval()(tensor(x, dtype)))}

    exact, off = both(run)
    info = {
        "source": "dsl-examples/resnet18.mdl",
        "model": "ResNet18",
        "set": {},
        "salt": "",
        "parameters": shapes(models.ResNet18()),
        "inputs": {"x": real([1, 3, 224, 224])},
        "float32_error": worst(off),
    }
    return info, exact


FIGURES = [
    ("convnet", convnet),
    ("convnet_bn", convnet_bn),
    ("convnet_dropout", convnet_dropout),
    ("convnet_bn_dropout", convnet_bn_dropout),
    ("convnet_full", convnet_full),
    ("residual", residual),
    ("residual_projection", residual_projection),
    ("encoder", encoder),
    ("transformer_block", transformer_block),
    ("lstm", lstm),
    ("gru", gru),
    ("multi_head_attention", multi_head_attention),
    ("mlp", mlp),
    ("char_lstm", char_lstm),
    ("gpt", gpt),
    ("resnet18", resnet18),
    ("operators", operators.figure),
]

if __name__ == "__main__":
    hashing.check()
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or [name for name, _ in FIGURES]
    for name, make in FIGURES:
        if name not in wanted:
            continue
        info, tensors = make()
        path = os.path.join(OUT, f"{name}.safetensors")
        store.write(path, {"name": name, "made_by": f"PyTorch {torch.__version__}"} | info, tensors)
        print(f"{name}: {os.path.getsize(path)} bytes", json.dumps(info.get("float32_error", {})))
