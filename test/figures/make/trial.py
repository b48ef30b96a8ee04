"""Makes test/figures/trial.json: the models of test/trial as PyTorch computes them, forward and one training step each.

    /tmp/figures/bin/python test/figures/make/trial.py [NAME ...]

Each is written here as one writes it in PyTorch, in modules whose parameters have the names that mdl gives them; weights
and inputs are hash-made (hashing.py). Everything is in double precision. Of each tensor a summary is kept (its norm, sum,
probe and first elements); of parameters and running statistics, of what the step added to them.
"""

import json
import math
import os
import sys

sys.dont_write_bytecode = True

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import hashing

OUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "trial.json")
D = torch.float64


# ------------------------------------------------------------------------------------------- the harness

SKIP = ("num_batches_tracked",)


def tensors(model):
    return {k: v for k, v in model.state_dict(keep_vars=True).items() if not k.endswith(SKIP)}


def fill(model, salt):
    model.to(D)
    with torch.no_grad():
        for name, t in tensors(model).items():
            if not name.startswith("_"):
                t.copy_(torch.tensor(hashing.parameter(salt + name, list(t.shape))))
    return model


def numpy(t):
    return t.detach().double().numpy().copy()


def summary(name, value):
    flat = value.reshape(-1)
    return {
        "shape": list(value.shape),
        "norm": float(np.linalg.norm(flat)),
        "sum": float(flat.sum()),
        "probe": hashing.probe(name, flat),
        "first": [float(f"{x:.9g}") for x in flat[:4]],
    }


def S(*shape):
    return {"rule": "signed", "shape": list(shape)}


def U(*shape):
    return {"rule": "unit", "shape": list(shape)}


def I(below, *shape):
    return {"rule": "integers", "shape": list(shape), "below": below}


def B(*shape):
    return {"rule": "bool", "shape": list(shape)}


def L(values):
    return {"rule": "literal", "shape": list(np.array(values).shape), "data": np.array(values).reshape(-1).tolist()}


def given(salt, name, how):
    key, shape = salt + name, how["shape"]
    if how["rule"] == "signed":
        return torch.tensor(hashing.signed(key, shape)).to(D)
    if how["rule"] == "unit":
        return torch.tensor(hashing.unit(key, shape).astype(np.float32)).to(D)
    if how["rule"] == "integers":
        return torch.tensor(hashing.integers(key, shape, how["below"])).long()
    if how["rule"] == "bool":
        return torch.tensor(hashing.integers(key, shape, 2)).bool()
    return torch.tensor(how["data"]).reshape(shape)


CASES = []


def case(name, source, model, make, inputs, entries, steps, set=None):
    CASES.append((name, source, model, make, inputs, entries, steps, set or {}))


class Step:
    """One step of SGD on a loss: what is updated, how gradients are clipped, momentum and decay as the block has them."""

    def __init__(self, loss, update=None, lr=0.1, clip_norm=None, clip_value=None, decay=0.0, inputs=None):
        self.loss, self.update, self.lr, self.inputs = loss, update, lr, inputs
        self.clip_norm, self.clip_value, self.decay = clip_norm, clip_value, decay


def run(name, source, model_name, make, inputs, entries, steps, set):
    salt = f"trial/{name}/"
    given_inputs = {k: given(salt, k, how) for k, how in inputs.items()}
    of = lambda f: [given_inputs[k] for k in f.__code__.co_varnames[1 : f.__code__.co_argcount]]
    args = lambda f: list(f.__code__.co_varnames[1 : f.__code__.co_argcount])
    out = {"source": f"test/trial/{source}.mdl", "model": model_name, "set": set, "salt": salt, "inputs": inputs}
    model = fill(make(), salt)
    out["parameters"] = {k: list(t.shape) for k, t in tensors(model).items() if not k.startswith("_")}
    out["entries"], out["steps"] = {}, {}
    for entry, f in entries.items():
        model = fill(make(), salt).eval()
        y = f(model, *of(f))
        y = y if isinstance(y, dict) else {entry: y}
        out["entries"][entry] = {"inputs": args(f), "results": {k: summary(k, numpy(v)) for k, v in y.items()}}
    for block, step in steps.items():
        model = fill(make(), salt).train()
        before = {k: numpy(t) for k, t in tensors(model).items()}
        trained = [
            p for k, p in model.named_parameters() if p.requires_grad and (step.update is None or k.startswith(step.update))
        ]
        loss = step.loss(model, *of(step.loss))
        model.zero_grad()
        loss.backward()
        if step.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(trained, step.clip_norm)
        if step.clip_value is not None:
            torch.nn.utils.clip_grad_value_(trained, step.clip_value)
        torch.optim.SGD(trained, lr=step.lr, weight_decay=step.decay).step()
        after = {k: numpy(t) for k, t in tensors(model).items() if not k.startswith("_")}
        out["steps"][block] = {
            "inputs": args(step.loss),
            "loss": loss.item(),
            "added": {k: summary(k, v - before[k]) for k, v in after.items()},
        }
    return out


def ce(logits, y):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))


def sequential(*layers):
    return nn.Sequential(*layers)


# ------------------------------------------------------------------------------------------------ U-Net


class DoubleConv(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class Up(nn.Module):
    def __init__(self, cin, cout, how):
        super().__init__()
        self.how = how
        self.up = nn.ConvTranspose2d(cin, cin // 2, 2, stride=2) if how == "transposed" else nn.Conv2d(cin, cin // 2, 1)
        self.conv = DoubleConv(cin, cout)

    def forward(self, x, skip):
        if self.how == "transposed":
            u = self.up(x)
        else:
            more = {"align_corners": False} if self.how == "bilinear" else {}
            u = self.up(F.interpolate(x, scale_factor=2, mode=self.how, **more))
        return self.conv(torch.cat([skip, u], 1))


class UNet(nn.Module):
    def __init__(self, how, w=4):
        super().__init__()
        self.inc = DoubleConv(3, w)
        self.down = nn.ModuleList([DoubleConv(w * 2**i, w * 2 ** (i + 1)) for i in range(2)])
        self.up = nn.ModuleList([Up(w * 2 ** (2 - i), w * 2 ** (1 - i), how) for i in range(2)])
        self.outc = nn.Conv2d(w, 2, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down[0](F.max_pool2d(x1, 2))
        x3 = self.down[1](F.max_pool2d(x2, 2))
        return self.outc(self.up[1](self.up[0](x3, x2), x1))


for how in ("transposed", "bilinear", "nearest"):
    case(
        f"unet_{how}", "unet", "UNet", lambda how=how: UNet(how),
        {"x": S(2, 3, 8, 12), "y": I(2, 2, 8, 12)},
        {"logits": lambda m, x: m(x)},
        {"fit": Step(lambda m, x, y: F.cross_entropy(m(x), y))},
        {"how": how},
    )


# --------------------------------------------------------------------------------------------- recurrent


class BiLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 12, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(24, 4)

    def forward(self, ids):
        lengths = (ids != 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.embed(ids), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.fc(torch.cat([h[2], h[3]], 1))


class GRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.gru = nn.GRU(16, 12, batch_first=True)
        self.fc = nn.Linear(12, 4)

    def forward(self, ids):
        m = (ids != 0).to(D)[:, :, None]
        y, _ = self.gru(self.embed(ids))
        return self.fc((y * m).sum(1) / m.sum(1).clamp(min=1))


padded = L([[7, 3, 49, 12, 5, 1], [4, 8, 8, 0, 0, 0], [21, 2, 30, 9, 0, 0]])
for name, model, make, clip in (("bilstm", "BiLSTMClassifier", BiLSTM, 1.0), ("gru", "GRUClassifier", GRU, None)):
    case(
        name, "recurrent", model, make, {"ids": padded, "y": I(4, 3)},
        {"logits": lambda m, ids: m(ids)},
        {"fit": Step(lambda m, ids, y: F.cross_entropy(m(ids), y), clip_norm=clip)},
    )


# ------------------------------------------------------------------------------------------- MobileNet, VGG


class InvertedResidual(nn.Module):
    def __init__(self, cin, cout, stride, t):
        super().__init__()
        hid = cin * t
        layers = [] if t == 1 else [nn.Sequential(nn.Conv2d(cin, hid, 1, bias=False), nn.BatchNorm2d(hid), nn.ReLU6())]
        layers += [
            nn.Sequential(
                nn.Conv2d(hid, hid, 3, stride=stride, padding=1, groups=hid, bias=False), nn.BatchNorm2d(hid), nn.ReLU6()
            ),
            nn.Conv2d(hid, cout, 1, bias=False),
            nn.BatchNorm2d(cout),
        ]
        self.conv = nn.Sequential(*layers)
        self.same = stride == 1 and cin == cout

    def forward(self, x):
        return x + self.conv(x) if self.same else self.conv(x)


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        f = [nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())]
        for t, cin, c, n, s in [(1, 8, 4, 1, 1), (2, 4, 6, 2, 2)]:
            f += [InvertedResidual(cin if i == 0 else c, c, s if i == 0 else 1, t) for i in range(n)]
        f += [nn.Sequential(nn.Conv2d(6, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())]
        self.features = nn.Sequential(*f)
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(16, 5))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class VGG(nn.Module):
    def __init__(self):
        super().__init__()
        f, cin = [], 3
        for c in [8, 8, 0, 16, 0]:
            if c == 0:
                f.append(nn.MaxPool2d(2))
            else:
                f += [nn.Conv2d(cin, c, 3, padding=1), nn.ReLU()]
                cin = c
        self.features = nn.Sequential(*f)
        self.classifier = nn.Sequential(nn.Linear(256, 12), nn.ReLU(), nn.Dropout(0.0), nn.Linear(12, 5))
        for k, p in self.named_parameters():
            if k.startswith(("features.", "classifier.0.")):
                p.requires_grad_(False)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


case(
    "mobilenet", "mobilenet", "MobileNetV2", MobileNet, {"x": S(3, 3, 16, 16), "y": I(5, 3)},
    {"logits": lambda m, x: m(x)}, {"fit": Step(lambda m, x, y: F.cross_entropy(m(x), y))},
)
case(
    "vgg", "vgg", "VGG", VGG, {"x": S(3, 3, 16, 16), "y": I(5, 3)},
    {"logits": lambda m, x: m(x)}, {"fit": Step(lambda m, x, y: F.cross_entropy(m(x), y), decay=0.1)},
)


# ------------------------------------------------------------------------------------------- VAE and DCGAN


class VAE(nn.Module):
    def __init__(self, d=64, hidden=32, z=4):
        super().__init__()
        self.fc1, self.mu, self.logvar = nn.Linear(d, hidden), nn.Linear(hidden, z), nn.Linear(hidden, z)
        self.fc3, self.fc4 = nn.Linear(z, hidden), nn.Linear(hidden, d)

    def encode(self, x):
        h = F.relu(self.fc1(x))
        return self.mu(h), self.logvar(h)

    def loss(self, x, eps):
        mu, logvar = self.encode(x)
        y = self.fc4(F.relu(self.fc3(mu + (0.5 * logvar).exp() * eps)))
        bce = F.binary_cross_entropy_with_logits(y, x, reduction="sum")
        return (bce - 0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()) / x.shape[0]


case(
    "vae", "vae", "VAE", VAE, {"x": U(3, 64), "eps": S(3, 4)},
    {"encode": lambda m, x: dict(zip(("mu", "logvar"), m.encode(x))), "loss_eps": lambda m, x, eps: m.loss(x, eps)},
    {"fit_eps": Step(lambda m, x, eps: m.loss(x, eps))},
)


class DCGAN(nn.Module):
    def __init__(self, nz=6, f=4, nc=3):
        super().__init__()
        self.G, self.D = nn.Module(), nn.Module()
        self.G.main = nn.Sequential(
            nn.ConvTranspose2d(nz, 2 * f, 4, bias=False), nn.BatchNorm2d(2 * f), nn.ReLU(),
            nn.ConvTranspose2d(2 * f, f, 4, 2, 1, bias=False), nn.BatchNorm2d(f), nn.ReLU(),
            nn.ConvTranspose2d(f, nc, 4, 2, 1, bias=False), nn.Tanh(),
        )
        self.D.main = nn.Sequential(
            nn.Conv2d(nc, f, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
            nn.Conv2d(f, 2 * f, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * f), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * f, 1, 4, bias=False),
        )

    def judge(self, x):
        return self.D.main(x).reshape(-1)

    def d_loss(self, x, z):
        real, fake = self.judge(x), self.judge(self.G.main(z).detach())
        bce = F.binary_cross_entropy_with_logits
        return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))

    def g_loss(self, z):
        y = self.judge(self.G.main(z))
        return F.binary_cross_entropy_with_logits(y, torch.ones_like(y))


case(
    "dcgan", "dcgan", "DCGAN", DCGAN, {"x": S(3, 3, 16, 16), "z": S(3, 6, 1, 1)},
    {"generate": lambda m, z: m.G.main(z), "judge": lambda m, x: m.judge(x)},
    {"d": Step(lambda m, x, z: m.d_loss(x, z), "D."), "g": Step(lambda m, z: m.g_loss(z), "G.")},
)


# ------------------------------------------------------------------------------------------------ ViT


class TimmAttention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))


class TimmBlock(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(d), TimmAttention(d, heads), nn.LayerNorm(d)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self, d=48, depth=2, heads=4):
        super().__init__()
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1, 17, d))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, d, 8, 8)
        self.blocks = nn.Sequential(*[TimmBlock(d, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x):
        h = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), h], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(h))[:, 0])


case(
    "vit", "vit", "ViT", ViT, {"x": S(2, 3, 32, 32), "y": I(10, 2)},
    {"logits": lambda m, x: m(x)}, {"fit": Step(lambda m, x, y: F.cross_entropy(m(x), y), clip_norm=1.0)},
)


# ------------------------------------------------------------------------------------------------ Llama


class RMSNorm(nn.Module):
    def __init__(self, d, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(d)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotary(x, pos):
    half = x.shape[-1] // 2
    freq = torch.exp(torch.arange(half, dtype=D) * (-math.log(10000.0) / half))
    a = pos.to(D)[:, None] * freq
    ang = torch.cat([a, a], -1)
    lo, hi = x.chunk(2, -1)
    return x * ang.cos() + torch.cat([-hi, lo], -1) * ang.sin()


class LlamaAttention(nn.Module):
    def __init__(self, d, heads, kv):
        super().__init__()
        self.heads, self.kv, self.hd = heads, kv, d // heads
        self.q_proj, self.o_proj = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.k_proj, self.v_proj = nn.Linear(d, kv * self.hd, bias=False), nn.Linear(d, kv * self.hd, bias=False)
        # The cache, which only decoding touches.
        self.register_buffer("keys", torch.zeros(1, kv, 32, self.hd))
        self.register_buffer("values", torch.zeros(1, kv, 32, self.hd))

    def forward(self, x):
        b, t, d = x.shape
        spread = lambda y, n: y.reshape(b, t, n, self.hd).transpose(1, 2)
        pos = torch.arange(t)
        q, k = rotary(spread(self.q_proj(x), self.heads), pos), rotary(spread(self.k_proj(x), self.kv), pos)
        y = F.scaled_dot_product_attention(q, k, spread(self.v_proj(x), self.kv), is_causal=True, enable_gqa=True)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, d))


class LlamaBlock(nn.Module):
    def __init__(self, d, heads, kv, hidden, eps):
        super().__init__()
        self.self_attn, self.mlp = LlamaAttention(d, heads, kv), nn.Module()
        self.mlp.gate_proj, self.mlp.up_proj = nn.Linear(d, hidden, bias=False), nn.Linear(d, hidden, bias=False)
        self.mlp.down_proj = nn.Linear(hidden, d, bias=False)
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(d, eps), RMSNorm(d, eps)

    def forward(self, x):
        h = x + self.self_attn(self.input_layernorm(x))
        y = self.post_attention_layernorm(h)
        return h + self.mlp.down_proj(F.silu(self.mlp.gate_proj(y)) * self.mlp.up_proj(y))


class Llama(nn.Module):
    def __init__(self, vocab=96, d=32, heads=4, kv=2, hidden=64, depth=2, eps=1e-6):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocab, d)
        self.model.layers = nn.Sequential(*[LlamaBlock(d, heads, kv, hidden, eps) for _ in range(depth)])
        self.model.norm = RMSNorm(d, eps)
        self.lm_head = nn.Linear(d, vocab, bias=False)

    def forward(self, ids):
        return self.lm_head(self.model.norm(self.model.layers(self.model.embed_tokens(ids))))


case(
    "llama", "llama", "Llama", Llama, {"ids": I(96, 2, 9), "next": I(96, 2, 9), "one": I(96, 1, 9)},
    {"logits": lambda m, ids: m(ids)},
    {"fit": Step(lambda m, ids, next: ce(m(ids), next), clip_norm=1.0)},
)


# ---------------------------------------------------------------------------------------------- Siamese


class Siamese(nn.Module):
    def __init__(self, d=6):
        super().__init__()
        self.net = nn.Module()
        self.net.conv1, self.net.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.net.conv2, self.net.fc = nn.Conv2d(4, 8, 3, 2, 1), nn.Linear(8, d)

    def forward(self, x):
        n = self.net
        return n.fc(F.relu(n.conv2(F.relu(n.norm(n.conv1(x))))).mean((2, 3)))


def distance(a, b):
    return ((a - b + 1e-6) ** 2).sum(1).sqrt()


def triplet(m, a, p, n):
    e = m(a)
    return F.relu(distance(e, m(p)) - distance(e, m(n)) + 1.0).mean()


def contrastive(m, a, b, same):
    t = distance(m(a), m(b))
    return (same * t**2 + (1 - same) * F.relu(1.0 - t) ** 2).mean()


def info_nce(m, a, b):
    s = F.normalize(m(a)) @ F.normalize(m(b)).T / 0.1
    y = torch.arange(s.shape[0])
    return (F.cross_entropy(s, y) + F.cross_entropy(s.T, y)) / 2


image = S(3, 1, 8, 8)
case(
    "siamese", "siamese", "Siamese", Siamese,
    {"x": image, "a": image, "b": image, "p": image, "n": image, "same": L([1.0, 0.0, 1.0])},
    {"embed": lambda m, x: m(x)},
    {"triplets": Step(triplet), "pairs": Step(contrastive), "clip": Step(info_nce)},
)


# ------------------------------------------------------------------------------- second derivatives, control


class Burgers(nn.Module):
    def __init__(self, h=20, depth=3, nu=0.01 / 3.14159265):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2 if i == 0 else h, h) for i in range(depth)])
        self.out, self.nu = nn.Linear(h, 1), nu

    def u(self, t, x):
        y = torch.stack([t, x], 1)
        for l in self.layers:
            y = torch.tanh(l(y))
        return self.out(y)[:, 0]

    def residual(self, t, x):
        t, x = t.clone().requires_grad_(), x.clone().requires_grad_()
        u = self.u(t, x)
        u_t, u_x = torch.autograd.grad(u.sum(), (t, x), create_graph=True)
        u_xx = torch.autograd.grad(u_x.sum(), x, create_graph=True)[0]
        return u_t + u * u_x - self.nu * u_xx


case(
    "pinn", "pinn", "Burgers", Burgers, {"t": U(5), "x": S(5), "tb": U(3), "xb": S(3), "ub": S(3)},
    {"u": lambda m, t, x: m.u(t, x), "residual": lambda m, t, x: m.residual(t, x)},
    {"fit": Step(lambda m, t, x, tb, xb, ub: (m.residual(t, x) ** 2).mean() + F.mse_loss(m.u(tb, xb), ub), lr=0.01)},
)


# The same derivatives, carried along by hand in the model.
case(
    "pinn_taylor", "pinn", "Taylor", Burgers, {"t": U(5), "x": S(5), "tb": U(3), "xb": S(3), "ub": S(3)},
    {"u": lambda m, t, x: m.u(t, x), "residual": lambda m, t, x: m.residual(t, x)},
    {"fit": Step(lambda m, t, x, tb, xb, ub: (m.residual(t, x) ** 2).mean() + F.mse_loss(m.u(tb, xb), ub), lr=0.01)},
)


class WGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.fc = nn.Linear(256, 1)

    def forward(self, x):
        return self.fc(F.leaky_relu(self.c2(F.leaky_relu(self.c1(x), 0.2)), 0.2).flatten(1))[:, 0]


def penalty(m, real, fake, eps):
    mix = (real + (fake - real) * eps).requires_grad_()
    g = torch.autograd.grad(m(mix).sum(), mix, create_graph=True)[0]
    n = ((g * g).sum((1, 2, 3)) + 1e-12).sqrt()
    return m(fake).mean() - m(real).mean() + 10 * ((n - 1) ** 2).mean()


case(
    "wgangp", "wgangp", "WGAN", WGAN, {"x": S(2, 1, 16, 16), "real": S(2, 1, 16, 16), "fake": S(2, 1, 16, 16), "eps": U(2, 1, 1, 1)},
    {"D": lambda m, x: m(x)}, {"fit": Step(penalty)},
)


class MAML(nn.Module):
    def __init__(self, h=16):
        super().__init__()
        self.a, self.b = nn.Linear(1, h), nn.Linear(h, 1)


def maml(m, x, y, qx, qy):
    net = lambda x, p: F.linear(F.relu(F.linear(x, p[0], p[1])), p[2], p[3])
    p = [m.a.weight, m.a.bias, m.b.weight, m.b.bias]
    g = torch.autograd.grad(F.mse_loss(net(x, p), y), p, create_graph=True)
    return F.mse_loss(net(qx, [w - 0.1 * d for w, d in zip(p, g)]), qy)


case(
    "maml", "maml", "MAML", MAML, {"x": S(5, 1), "y": S(5, 1), "qx": S(4, 1), "qy": S(4, 1)},
    {"loss": maml}, {"fit": Step(maml)},
)


class NODE(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 16), nn.Linear(16, 2)

    def flow(self, x, steps=5):
        f, dt = lambda x: self.b(torch.tanh(self.a(x))), 1.0 / steps
        for _ in range(steps):
            k1 = f(x)
            k2 = f(x + dt / 2 * k1)
            k3 = f(x + dt / 2 * k2)
            k4 = f(x + dt * k3)
            x = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x


case(
    "node", "node", "NODE", NODE, {"x": S(4, 2), "y": S(4, 2)},
    {"flow": lambda m, x: m.flow(x)}, {"fit": Step(lambda m, x, y: F.mse_loss(m.flow(x), y))},
)


class MoE(nn.Module):
    def __init__(self, d=8, h=16, n=4):
        super().__init__()
        self.gate = nn.Linear(d, n)
        self.up = nn.ModuleList([nn.Linear(d, h) for _ in range(n)])
        self.down = nn.ModuleList([nn.Linear(h, d) for _ in range(n)])

    def forward(self, x):
        g = F.softmax(self.gate(x), 1)
        w = torch.where(g >= g.topk(2, 1).values[:, 1:], g, torch.zeros_like(g))
        p = w / w.sum(1, keepdim=True)
        return sum(p[:, i : i + 1] * self.down[i](F.gelu(self.up[i](x))) for i in range(4))


case(
    "moe", "moe", "MoE", MoE, {"x": S(5, 8), "y": S(5, 8)},
    {"f": lambda m, x: m(x)}, {"fit": Step(lambda m, x, y: F.mse_loss(m(x), y))},
)


# ---------------------------------------------------------------------------------------------------- DQN


def copies(module):
    """A Linear whose tensors are buffers."""
    for l in module:
        for k in ("weight", "bias"):
            v = getattr(l, k).data
            delattr(l, k)
            l.register_buffer(k, v)
    return module


class DQN(nn.Module):
    def __init__(self, s=4, a=2, h=32):
        super().__init__()
        make = lambda: nn.ModuleList([nn.Linear(s, h), nn.Linear(h, h), nn.Linear(h, a)])
        self.online, self.target = make(), copies(make())

    @staticmethod
    def q(net, x):
        f = lambda l, x: F.linear(x, l.weight, l.bias)
        return f(net[2], F.relu(f(net[1], F.relu(f(net[0], x)))))

    def loss(self, x, action, r, x2, done):
        chosen = self.q(self.online, x).gather(1, action[:, None])[:, 0]
        goal = r + 0.99 * torch.where(done, 0.0, self.q(self.target, x2).max(1).values)
        return F.huber_loss(chosen, goal.detach())


transition = {"x": S(6, 4), "action": I(2, 6), "r": S(6), "x2": S(6, 4), "done": B(6)}
case(
    "dqn", "dqn", "DQN", DQN, transition,
    {"q": lambda m, x: m.q(m.online, x), "q_target": lambda m, x: m.q(m.target, x)},
    {"fit": Step(lambda m, x, action, r, x2, done: m.loss(x, action, r, x2, done), clip_value=0.1)},
)


# ---------------------------------------------------------------------------------------- a zoo of convolutions


class Audio(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(1, c, 40, 8, 19), nn.Conv1d(c, 2 * c, 3, padding=1)
        self.fc = nn.Linear(2 * c, 5)

    def forward(self, x):
        return self.fc(F.relu(self.conv2(F.max_pool1d(F.relu(self.conv1(x)), 4))).mean(-1))


class Wave(nn.Module):
    def __init__(self, c, d):
        super().__init__()
        self.d = d
        self.filter, self.gate = nn.Conv1d(c, c, 2, dilation=d), nn.Conv1d(c, c, 2, dilation=d)
        self.res, self.skip = nn.Conv1d(c, c, 1), nn.Conv1d(c, c, 1)

    def forward(self, x):
        p = F.pad(x, (self.d, 0))
        z = torch.tanh(self.filter(p)) * torch.sigmoid(self.gate(p))
        return x + self.res(z), self.skip(z)


class WaveNet(nn.Module):
    def __init__(self, c=8, q=16, depth=4):
        super().__init__()
        self.start, self.end = nn.Conv1d(1, c, 1), nn.Conv1d(c, q, 1)
        self.blocks = nn.ModuleList([Wave(c, 2**i) for i in range(depth)])

    def forward(self, x):
        h, s = self.start(x[:, None]), 0.0
        for b in self.blocks:
            h, k = b(h)
            s = s + k
        return self.end(F.relu(s))


class Shuffle(nn.Module):
    def __init__(self, c, groups):
        super().__init__()
        self.groups = groups
        self.conv1, self.bn1 = nn.Conv2d(c, c, 1, groups=groups, bias=False), nn.BatchNorm2d(c)
        self.dw, self.bn2 = nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn3 = nn.Conv2d(c, c, 1, groups=groups, bias=False), nn.BatchNorm2d(c)
        self.se = nn.Module()
        self.se.fc1, self.se.fc2 = nn.Linear(c, c // 4), nn.Linear(c // 4, c)

    def forward(self, x):
        y = F.channel_shuffle(F.relu(self.bn1(self.conv1(x))), self.groups)
        y = self.bn3(self.conv2(self.bn2(self.dw(y))))
        g = torch.sigmoid(self.se.fc2(F.relu(self.se.fc1(y.mean((2, 3))))))
        return F.relu(x + y * g[:, :, None, None])


class Shuffled(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.stem = nn.Parameter(torch.zeros(c, 3, 3, 5))
        self.block1, self.block2, self.fc = Shuffle(c, 4), Shuffle(c, 2), nn.Linear(c * 6, 5)

    def forward(self, x):
        h = F.conv2d(F.pad(x, (0, 3, 2, 1)), self.stem, stride=(2, 1))
        return self.fc(F.adaptive_avg_pool2d(self.block2(self.block1(h)), (2, 3)).flatten(1))


class Video(nn.Module):
    def __init__(self, c=6):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv3d(1, c, 3, padding=1), nn.Conv3d(c, c, 3), nn.Linear(c, 5)

    def forward(self, x):
        return self.fc(F.relu(self.conv2(F.relu(self.conv1(x)))).mean((2, 3, 4)))


def zoo(name, model, make, x, y, loss=F.cross_entropy):
    case(
        name, "convzoo", model, make, {"x": x, "y": y},
        {"logits": lambda m, x: m(x)}, {f"fit_{name}": Step(lambda m, x, y: loss(m(x), y))},
    )


zoo("audio", "Audio", Audio, S(2, 1, 200), I(5, 2))
zoo("wave", "WaveNet", WaveNet, S(2, 20), I(16, 2, 20))
zoo("shuffled", "Shuffled", Shuffled, S(2, 3, 9, 7), I(5, 2))
zoo("video", "Video", Video, S(2, 1, 4, 6, 5), I(5, 2))


# -------------------------------------------------------------------------------------------- embeddings


class SkipGram(nn.Module):
    def __init__(self):
        super().__init__()
        self.inputs, self.outputs = nn.Embedding(100, 16), nn.Embedding(100, 16)

    def forward(self, centre, context, negative):
        v = self.inputs(centre)
        pos = (v * self.outputs(context)).sum(-1)
        neg = (self.outputs(negative) @ v[:, :, None])[:, :, 0]
        return -(F.logsigmoid(pos) + F.logsigmoid(-neg).sum(-1)).mean()


class MF(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(30, 8), nn.Embedding(40, 8)
        self.user_bias, self.item_bias = nn.Embedding(30, 1), nn.Embedding(40, 1)
        self.mean_rating = nn.Parameter(torch.tensor(3.5))

    def rating(self, u, i):
        return (self.user(u) * self.item(i)).sum(1) + self.user_bias(u)[:, 0] + self.item_bias(i)[:, 0] + self.mean_rating

    def loss(self, u, i, r):
        l2 = (self.user.weight**2).sum() + (self.item.weight**2).sum()
        return F.mse_loss(self.rating(u, i), r) + 1e-3 * l2


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.fc = nn.Embedding(50, 16), nn.Linear(16, 6)
        self.register_buffer("class_weight", torch.ones(6))

    def forward(self, ids):
        return self.fc(torch.tanh(self.embed(ids)))


tags = L([[1, 5, -100, 2], [0, 0, 3, -100]])
case(
    "skipgram", "embeddings", "SkipGram", SkipGram,
    {"centre": I(100, 6), "context": I(100, 6), "negative": I(100, 6, 4)},
    {"loss": lambda m, centre, context, negative: m(centre, context, negative)},
    {"fit": Step(lambda m, centre, context, negative: m(centre, context, negative))},
)
case(
    "mf", "embeddings", "MF", MF, {"u": I(30, 7), "i": I(40, 7), "r": S(7)},
    {"rating": lambda m, u, i: m.rating(u, i)}, {"fit": Step(lambda m, u, i, r: m.loss(u, i, r))},
)
case(
    "tagger", "embeddings", "Tagger", Tagger, {"ids": I(50, 2, 4), "y": tags},
    {"logits": lambda m, ids: m(ids)},
    {"fit": Step(lambda m, ids, y: F.cross_entropy(
        m(ids).reshape(-1, 6), y.reshape(-1), weight=m.class_weight, label_smoothing=0.1))},
)


# ------------------------------------------------------------------------------------------------- custom


class Binarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return torch.where(x.abs() <= 1, g, torch.zeros_like(g))


class Custom(nn.Module):
    def __init__(self, d=8, h=16, classes=3):
        super().__init__()
        self.fc1, self.bin, self.fc2 = nn.Linear(d, h), nn.Linear(h, h, bias=False), nn.Linear(h, classes)
        self.average = copies(nn.ModuleList([nn.Linear(h, classes)]))[0]

    def trunk(self, x):
        x = F.mish(self.fc1(x))
        q = torch.round(x.clamp(-1, 1) * 8) / 8
        x = x + (q - x).detach()
        w = self.bin.weight
        return torch.tanh(x @ Binarize.apply(w).T * w.abs().mean(1))

    def forward(self, x):
        return self.fc2(self.trunk(x))


case(
    "custom", "custom", "Custom", Custom, {"x": S(5, 8), "y": I(3, 5)},
    {"logits": lambda m, x: m(x), "logits_ema": lambda m, x: F.linear(m.trunk(x), m.average.weight, m.average.bias)},
    {
        "fit": Step(lambda m, x, y: F.cross_entropy(m(x), y) + 1e-3 * m.fc1.weight.abs().sum(), clip_norm=0.5),
        "warm": Step(lambda m, x, y: F.cross_entropy(m(x), y)),
    },
)


# ------------------------------------------------------------------------------------ many tensors in one kernel


class CBR(nn.Module):
    def __init__(self, cin, cout, k):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(cin, cout, k, padding=(k - 1) // 2, bias=False), nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    def __init__(self, cin, a, b, c, d):
        super().__init__()
        self.b1, self.b4 = CBR(cin, a, 1), CBR(cin, d, 1)
        self.b2, self.b3 = sequential(CBR(cin, b, 1), CBR(b, b, 3)), sequential(CBR(cin, c, 1), CBR(c, c, 5))

    def forward(self, x):
        return torch.cat([self.b1(x), self.b2(x), self.b3(x), self.b4(F.max_pool2d(x, 3, 1, 1))], 1)


class GoogLeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = CBR(3, 16, 3)
        self.blocks = sequential(Inception(16, 8, 8, 8, 8), Inception(32, 8, 8, 8, 8))
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


class DenseLayer(nn.Module):
    def __init__(self, cin, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(cin), nn.Conv2d(cin, 2 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * growth)
        self.conv2 = nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class DenseNet(nn.Module):
    def __init__(self, growth=2, depth=8):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.layers = nn.ModuleList([DenseLayer(4 + growth * i, growth) for i in range(depth)])
        self.norm, self.classifier = nn.BatchNorm2d(4 + growth * depth), nn.Linear(4 + growth * depth, 4)

    def forward(self, x):
        every = [self.conv0(x)]
        for l in self.layers:
            every.append(l(torch.cat(every, 1)))
        return self.classifier(F.relu(self.norm(torch.cat(every, 1))).mean((2, 3)))


class NeRF(nn.Module):
    def __init__(self, h=16, n=6, samples=5):
        super().__init__()
        self.n, self.samples = n, samples
        e = 3 * (1 + 2 * n)
        self.first, self.second = nn.Linear(e, h), nn.Linear(h + e, h)
        self.sigma, self.color = nn.Linear(h, 1), nn.Linear(h + 15, 3)

    def encode(self, x, n):
        parts = [x]
        for i in range(n):
            parts += [torch.sin(x * 2.0**i), torch.cos(x * 2.0**i)]
        return torch.cat(parts, 1)

    def render(self, o, d):
        r, s = o.shape[0], self.samples
        z = (torch.arange(s, dtype=D) + 0.5) / s
        p = (o[:, None] + d[:, None] * z[:, None]).reshape(r * s, 3)
        e = self.encode(p, self.n)
        g = F.relu(self.second(torch.cat([F.relu(self.first(e)), e], 1)))
        dd = d[:, None].expand(r, s, 3).reshape(r * s, 3)
        rgb = torch.sigmoid(self.color(torch.cat([g, self.encode(dd, 2)], 1))).reshape(r, s, 3)
        tau = F.softplus(self.sigma(g))[:, 0].reshape(r, s) / s
        w = torch.exp(-(tau.cumsum(1) - tau)) * (1 - torch.exp(-tau))
        return (w[:, :, None] * rgb).sum(1)


class Tabular(nn.Module):
    def __init__(self, d=3, h=12):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(n, d) for n in (3, 4, 5, 6, 7, 8, 9, 10)])
        self.bottom, self.top1, self.top2 = nn.Linear(4, d), nn.Linear(9 * d, h), nn.Linear(h, 1)

    def forward(self, ids, x):
        parts = [t(ids[:, i]) for i, t in enumerate(self.tables)] + [F.relu(self.bottom(x))]
        every = torch.stack(parts, 1)
        pairs = 0.5 * (every.sum(1) ** 2 - (every**2).sum(1))
        return pairs.sum(1) + self.top2(F.relu(self.top1(torch.cat(parts, 1))))[:, 0]


images = {"x": S(2, 3, 6, 6), "y": I(4, 2)}
case(
    "inception", "inception", "GoogLeNet", GoogLeNet, images,
    {"logits": lambda m, x: m(x)}, {"fit": Step(lambda m, x, y: F.cross_entropy(m(x), y))},
)
case(
    "densenet", "densenet", "DenseNet", DenseNet, images,
    {"logits": lambda m, x: m(x)}, {"fit": Step(lambda m, x, y: F.cross_entropy(m(x), y))},
)
case(
    "nerf", "nerf", "NeRF", NeRF, {"o": S(3, 3), "d": S(3, 3), "rgb": U(3, 3)},
    {"render": lambda m, o, d: m.render(o, d)}, {"fit": Step(lambda m, o, d, rgb: F.mse_loss(m.render(o, d), rgb))},
)
case(
    "tabular", "tabular", "Tabular", Tabular, {"ids": I(3, 4, 8), "x": S(4, 4), "y": S(4)},
    {"logit": lambda m, ids, x: m(ids, x)}, {"fit": Step(lambda m, ids, x, y: F.mse_loss(m(ids, x), y), lr=0.01)},
)


# ----------------------------------------------------------------------------- BERT, translation, diffusion, graphs


class BertOutput(nn.Module):
    def __init__(self, cin, d):
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(cin, d), nn.LayerNorm(d, eps=1e-12)

    def forward(self, x, residual):
        return self.LayerNorm(self.dense(x) + residual)


class BertLayer(nn.Module):
    def __init__(self, d, heads, hidden):
        super().__init__()
        self.heads = heads
        self.attention_ = nn.Module()
        self.attention_.self_ = nn.Module()
        for k in ("query", "key", "value"):
            setattr(self.attention_.self_, k, nn.Linear(d, d))
        self.attention_.output, self.output = BertOutput(d, d), BertOutput(hidden, d)
        self.intermediate = nn.Module()
        self.intermediate.dense = nn.Linear(d, hidden)

    def forward(self, x, keep):
        b, t, d = x.shape
        spread = lambda l: l(x).reshape(b, t, self.heads, d // self.heads).transpose(1, 2)
        s = self.attention_.self_
        y = F.scaled_dot_product_attention(spread(s.query), spread(s.key), spread(s.value), attn_mask=keep[:, None, None])
        h = self.attention_.output(y.transpose(1, 2).reshape(b, t, d), x)
        return self.output(F.gelu(self.intermediate.dense(h)), h)


class Bert(nn.Module):
    def __init__(self, d=16, heads=4, hidden=24, depth=2):
        super().__init__()
        self.word_embeddings, self.position_embeddings = nn.Embedding(40, d), nn.Embedding(12, d)
        self.norm = nn.LayerNorm(d, eps=1e-12)
        self.layer_ = nn.ModuleList([BertLayer(d, heads, hidden) for _ in range(depth)])
        self.pooler, self.head = nn.Linear(d, d), nn.Linear(d, 3)

    def hidden(self, ids):
        h = self.norm(self.word_embeddings(ids) + self.position_embeddings(torch.arange(ids.shape[1])))
        for l in self.layer_:
            h = l(h, ids != 0)
        return h

    def forward(self, ids):
        return self.head(torch.tanh(self.pooler(self.hidden(ids)[:, 0])))


class Cell(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        p = lambda *s: nn.Parameter(torch.zeros(*s))
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = p(3 * h, d), p(3 * h, h), p(3 * h), p(3 * h)

    def forward(self, x, s):
        return torch._VF.gru_cell(x, s, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class Seq2Seq(nn.Module):
    def __init__(self, vocab=20, d=6, h=8):
        super().__init__()
        self.h = h
        self.source, self.target = nn.Embedding(vocab, d), nn.Embedding(vocab, d)
        self.encoder, self.decoder = Cell(d, h), Cell(d + h, h)
        self.additive = nn.Module()
        self.additive.wa, self.additive.ua = nn.Linear(h, h), nn.Linear(h, h, bias=False)
        self.additive.va = nn.Linear(h, 1)
        self.out = nn.Linear(h, vocab)

    def forward(self, ids, before):
        keep, x, y = ids != 0, self.source(ids), self.target(before)
        s, keys = torch.zeros(ids.shape[0], self.h, dtype=D), []
        for t in range(ids.shape[1]):
            s = self.encoder(x[:, t], s)
            keys.append(s)
        keys, out, a = torch.stack(keys, 1), [], self.additive
        for t in range(before.shape[1]):
            e = a.va(torch.tanh(a.wa(s)[:, None] + a.ua(keys)))[:, :, 0]
            w = F.softmax(torch.where(keep, e, -1e9), -1)
            s = self.decoder(torch.cat([y[:, t], (w[:, None] @ keys)[:, 0]], -1), s)
            out.append(self.out(s))
        return torch.stack(out, 1)


class DDPMBlock(nn.Module):
    def __init__(self, cin, cout, t):
        super().__init__()
        self.norm1, self.conv1, self.time = nn.GroupNorm(2, cin), nn.Conv2d(cin, cout, 3, padding=1), nn.Linear(t, cout)
        self.norm2, self.conv2 = nn.GroupNorm(2, cout), nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1)

    def forward(self, x, e):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(F.silu(e))[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class DDPMAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.qkv, self.proj = nn.GroupNorm(2, c), nn.Linear(c, 3 * c), nn.Linear(c, c)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, -1)
        return x + self.proj(F.scaled_dot_product_attention(q, k, v)).transpose(1, 2).reshape(x.shape)


class DDPM(nn.Module):
    def __init__(self, c=4, t=8):
        super().__init__()
        self.t = t
        self.time = sequential(nn.Linear(t, 2 * t), nn.SiLU(), nn.Linear(2 * t, t))
        self.inp, self.out = nn.Conv2d(1, c, 3, padding=1), nn.Conv2d(c, 1, 3, padding=1)
        self.down = nn.ModuleList([DDPMBlock(c, c, t), DDPMBlock(c, 2 * c, t)])
        self.mid = nn.ModuleList([DDPMBlock(2 * c, 2 * c, t), DDPMBlock(2 * c, 2 * c, t)])
        self.attend = DDPMAttention(2 * c)
        self.up = nn.ModuleList([DDPMBlock(4 * c, c, t), DDPMBlock(2 * c, c, t)])
        self.norm = nn.GroupNorm(2, c)

    def forward(self, x, step):
        half = self.t // 2
        a = step.to(D)[:, None] * torch.exp(torch.arange(half, dtype=D) * (-math.log(10000.0) / half))
        e = self.time(torch.cat([a.sin(), a.cos()], 1))
        h1 = self.down[0](self.inp(x), e)
        h2 = self.down[1](F.avg_pool2d(h1, 2), e)
        m = self.mid[1](self.attend(self.mid[0](h2, e)), e)
        u = self.up[0](torch.cat([m, h2], 1), e)
        u = self.up[1](torch.cat([F.interpolate(u, scale_factor=2), h1], 1), e)
        return self.out(F.silu(self.norm(u)))


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x, edges):
        a = torch.maximum((edges | edges.T).to(D), torch.eye(x.shape[0], dtype=D))
        s = a.sum(1).rsqrt()
        n = s[:, None] * a * s
        return n @ self.conv2(F.relu(n @ self.conv1(x)))


case(
    "bert", "bert", "Bert", Bert, {"ids": L([[7, 3, 39, 12, 5], [4, 8, 8, 0, 0]]), "y": I(3, 2)},
    {"logits": lambda m, ids: m(ids)}, {"fit": Step(lambda m, ids, y: F.cross_entropy(m(ids), y), clip_norm=1.0)},
)
case(
    "seq2seq", "seq2seq", "Seq2Seq", Seq2Seq,
    {"ids": L([[7, 3, 19, 12], [4, 8, 0, 0]]), "before": I(20, 2, 3), "y": I(20, 2, 3)},
    {"logits": lambda m, ids, before: m(ids, before)},
    {"fit": Step(lambda m, ids, before, y: ce(m(ids, before), y))},
)
case(
    "ddpm", "ddpm", "DDPM", DDPM, {"x": S(2, 1, 6, 4), "step": I(50, 2), "eps": S(2, 1, 6, 4)},
    {"noise": lambda m, x, step: m(x, step)}, {"fit": Step(lambda m, x, step, eps: F.mse_loss(m(x, step), eps))},
)
case(
    "gcn", "gcn", "GCN", GCN, {"x": S(6, 5), "edges": B(6, 6), "y": I(3, 6)},
    {"logits": lambda m, x, edges: m(x, edges)},
    {"fit": Step(lambda m, x, edges, y: F.cross_entropy(m(x, edges), y))},
)


# ------------------------------------------------------------------------------------- std's layers and losses


class Recurrent(nn.Module):
    def __init__(self, d=5, h=4):
        super().__init__()
        self.lstm = nn.LSTM(d, h, num_layers=2, bidirectional=True, batch_first=True)
        self.proj = nn.LSTM(d, h, proj_size=3, batch_first=True)
        self.gru = nn.GRU(d, h, num_layers=2, bidirectional=True, batch_first=True)
        self.rnn = nn.RNN(d, h, nonlinearity="relu", num_layers=2, batch_first=True)

    def pack(self, net, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, s = net(packed)
        return nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], s

    def packed(self, x, lengths):
        y, (s, c) = self.pack(self.lstm, x, lengths)
        return {"y": y, "s": s, "c": c}

    def masked(self, x, mask):
        y, s = self.pack(self.gru, x, mask.sum(1))
        return {"y": y, "s": s}

    def begun(self, x, s):
        y, n = self.rnn(x, s)
        return {"y": y, "s": n}

    def projected(self, x):
        y, (s, c) = self.proj(x)
        return {"y": y, "s": s[0], "c": c[0]}

    def loss(self, x, lengths, mask, s):
        p, q = self.packed(x, lengths), self.masked(x, mask)
        total = (p["y"] ** 2).sum() + (p["s"] * p["c"]).sum() + (q["y"] * q["s"][3][:, None, :1]).sum()
        return total + (self.begun(x, s)["y"] ** 2).sum() + (self.projected(x)["y"] ** 2).sum()


class Cells(nn.Module):
    def __init__(self, d=3, h=4):
        super().__init__()
        self.lstm, self.gru, self.rnn = nn.LSTMCell(d, h), nn.GRUCell(d, h), nn.RNNCell(d, h, bias=False)

    def step(self, x, s, c):
        n, m = self.lstm(x, (s, c))
        return {"s": n, "c": m, "g": self.gru(x, s), "r": self.rnn(x, s)}

    def loss(self, x, s, c):
        o = self.step(x, s, c)
        return (o["s"] * o["c"]).sum() + (o["g"] * o["r"]).sum()


class Transformers(nn.Module):
    def __init__(self, d=8, heads=2):
        super().__init__()
        layer = nn.TransformerEncoderLayer(d, heads, 12, 0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        layer = nn.TransformerDecoderLayer(d, heads, 12, 0.0, "gelu", norm_first=True, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 1)
        self.cross = nn.MultiheadAttention(d, heads, kdim=5, vdim=3, batch_first=True)

    def encode(self, x, padding):
        return self.encoder(x, src_key_padding_mask=padding)

    def decode(self, y, x, padding):
        t = y.shape[1]
        future = torch.ones(t, t, dtype=torch.bool).triu(1)
        return self.decoder(y, self.encode(x, padding), tgt_mask=future, memory_key_padding_mask=padding)

    def attend(self, y, k, v, mask, bias):
        of = lambda m: self.cross(y, k, v, attn_mask=m, need_weights=False)[0]
        return {"masked": of(mask), "biased": of(bias)}

    def loss(self, y, x, padding, k, v, mask, bias):
        a = self.attend(y, k, v, mask, bias)
        return (self.decode(y, x, padding) ** 2).mean() + (a["masked"] * a["biased"]).mean()


class VisionBlocks(nn.Module):
    def __init__(self):
        super().__init__()
        stem = [nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0), bias=False), nn.BatchNorm2d(4, affine=False), nn.PReLU(4)]
        for i, l in enumerate(stem):
            setattr(self, str(i), l)
        self.same = nn.Conv2d(4, 4, 4, padding="same", dilation=2, groups=2)
        self.norms = nn.Sequential(
            nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(2, 4), nn.LocalResponseNorm(3, alpha=0.5),
            nn.MaxPool2d((2, 1), ceil_mode=True),
        )
        self.mobile = InvertedResidual(4, 4, 1, 2)
        self.squeeze = nn.Module()
        self.squeeze.fc1, self.squeeze.fc2 = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        n = self.next = nn.Module()
        n.conv1, n.bn1 = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        n.conv2, n.bn2 = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(4)
        n.conv3, n.bn3 = nn.Conv2d(4, 16, 1, bias=False), nn.BatchNorm2d(16)
        n.downsample = nn.Sequential(nn.Conv2d(4, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.up = nn.ConvTranspose2d(16, 2, (2, 3), (2, 1), (0, 1))
        self.vgg = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        )
        self.scale, self.root = nn.LayerNorm([6, 2]), nn.RMSNorm(2, eps=1e-6)

    def features(self, x):
        for i in range(3):
            x = getattr(self, str(i))(x)
        x = self.mobile(self.norms(self.same(x)))
        s = self.squeeze
        x = x * torch.sigmoid(s.fc2(F.relu(s.fc1(x.mean((2, 3), keepdim=True)))))
        n = self.next
        y = F.relu(n.bn2(n.conv2(F.relu(n.bn1(n.conv1(x))))))
        x = F.relu(n.bn3(n.conv3(y)) + n.downsample(x))
        return self.vgg(self.up(x))

    def loss(self, x):
        y = self.features(x)
        z = self.root(self.scale(y.reshape(x.shape[0], 6, 2, -1)[:, :, :, 0]))
        return (y * y).mean() + (z**3).mean()


class Tables(nn.Module):
    def __init__(self, d=4):
        super().__init__()
        self.words, self.bag = nn.Embedding(9, d, padding_idx=0), nn.EmbeddingBag(9, d)
        self.conv, self.bn, self.pair = nn.Conv1d(d, d, 3, padding="same"), nn.BatchNorm1d(d), nn.Bilinear(d, d, 3)

    def scores(self, ids):
        return self.pair(self.bn(self.conv(self.words(ids).mT)).mean(2), self.bag(ids))


class Activations(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.net = nn.Sequential(nn.BatchNorm3d(2), nn.InstanceNorm3d(2), nn.Dropout3d(0.0), nn.Flatten(2, 3), DoubleConv(2, 2))
        self.edges = nn.Sequential(*[nn.Conv2d(2, 2, 3, padding=1, padding_mode=m) for m in ("reflect", "replicate", "circular")])
        self._sizes = [
            nn.AdaptiveMaxPool3d((2, 3, 4)), nn.AdaptiveAvgPool3d((1, 2, 4)), nn.Flatten(2, 3), nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.PixelUnshuffle(2), nn.AdaptiveMaxPool2d((2, 3)), nn.PixelShuffle(2), nn.Upsample(size=(5, 7)),
            nn.AdaptiveAvgPool2d((3, 2)), nn.Flatten(2), nn.AdaptiveAvgPool1d(4), nn.AdaptiveMaxPool1d(3),
        ]
        self._each = [
            nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.ELU(0.7), nn.SELU(), nn.CELU(1.5), nn.GELU(), nn.GELU("tanh"),
            nn.SiLU(), nn.Mish(), nn.Sigmoid(), nn.LogSigmoid(), nn.Tanh(), nn.Tanhshrink(), nn.Softplus(2.0), nn.Softsign(),
            nn.Softshrink(0.3), nn.Hardshrink(0.3), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardtanh(-0.4, 0.6), nn.Softmax(1),
            nn.LogSoftmax(-1), nn.Identity(),
        ]

    def all(self, x):
        return torch.stack([f(3 * x * self.scale) for f in self._each])

    def others(self, x, v):
        length = x.shape[2]
        i = torch.arange(math.ceil(length / 2), dtype=D)
        angle = torch.arange(4, dtype=D)[:, None] * 10000.0 ** (-2 * i / length)
        places = torch.stack([angle.sin(), angle.cos()], 2).reshape(4, -1)[:, :length]
        return {"a": F.glu(F.instance_norm(x + places), 1).flatten(1), "b": self.net(v)}

    def loss(self, x, y, v):
        o = self.others(y, v)
        total = (self.all(x) ** 2).mean() + (o["a"] ** 2).mean() + (o["b"] ** 2).mean()
        return total + self.resized(v).mean() + (self.edged(v) ** 2).mean()

    def resized(self, v):
        for f in self._sizes:
            v = f(v)
        return v

    def edged(self, v):
        return self.edges(v[:, :, 0])


class Losses(nn.Module):
    def __init__(self, n=5):
        super().__init__()
        self.w = nn.Parameter(torch.ones(n))

    def all(self, x, y, p, t, sign):
        a, w = x * self.w, self.w.detach().abs() + 0.5
        var = p - 0.1
        return {
            "l1": F.l1_loss(a, y, reduction="sum"),
            "smooth": F.smooth_l1_loss(a, y, beta=0.5),
            "huber": F.huber_loss(a, y, delta=0.7, reduction="none"),
            "bce": F.binary_cross_entropy(torch.sigmoid(a), p),
            "logits": F.binary_cross_entropy_with_logits(a, p, pos_weight=2 * self.w.detach()),
            "weighed": F.binary_cross_entropy_with_logits(a, p, weight=y, reduction="sum"),
            "nll": F.nll_loss(a.log_softmax(1), t, ignore_index=1, weight=w),
            "kl": F.kl_div(a.log_softmax(1), p, reduction="batchmean"),
            "kl_log": F.kl_div(a.log_softmax(1), y.log_softmax(1), log_target=True, reduction="mean"),
            "poisson": F.poisson_nll_loss(a, 4 * p, full=True),
            "gaussian": 0.5 * ((var.clamp(min=0.2)).log() + (a - y) ** 2 / var.clamp(min=0.2)).mean() + 0.5 * math.log(2 * math.pi),
            "hinge": F.hinge_embedding_loss(a[:, 0], sign),
            "soft": F.soft_margin_loss(a[:, 0], sign),
            "ranking": F.margin_ranking_loss(a[:, 0], y[:, 0], sign, margin=0.3),
            "margin": F.multi_margin_loss(a, t, margin=0.5),
            "multilabel": F.multilabel_soft_margin_loss(a, p, w),
            "cosine": F.cosine_similarity(a, y),
            "embedding": F.cosine_embedding_loss(a, y, sign, margin=0.1),
            "triplet": F.triplet_margin_loss(a, y, p, swap=True),
            "triplet1": F.triplet_margin_loss(a, y, p, p=1.0, reduction="sum"),
            "entropy": F.cross_entropy(a, t, weight=w, ignore_index=1, label_smoothing=0.1),
        }

    def total(self, x, y, p, t, sign):
        return sum(v.sum() for v in self.all(x, y, p, t, sign).values())


class CTC(nn.Module):
    def __init__(self, c=4):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(c))

    def each(self, x, y, frames, lengths, reduction="none"):
        return F.ctc_loss((x + self.bias).log_softmax(2), y, frames, lengths, reduction=reduction)


class Metrics(nn.Module):
    def all(self, x, y):
        n, c = x.shape
        p = x.argmax(1)
        one = lambda v: F.one_hot(v, c).to(D)
        hits, guessed, real = (one(p) * one(y)).sum(0), one(p).sum(0), one(y).sum(0)
        safe = lambda a, b: torch.where(b == 0, 0, a / torch.where(b == 0, 1, b))
        z = 2 * x + 0.1
        return {
            "right": (p == y).to(D).mean(),
            "top2": (x.topk(2, 1).indices == y[:, None]).any(1).to(D).mean(),
            "confusion": one(y).T @ one(p),
            "precise": safe(hits, guessed).mean(),
            "found": safe(hits, real),
            "f1": safe(2 * hits, guessed + real).mean(),
            "micro": safe(2 * hits.sum(), (guessed + real).sum()),
            "overlap": safe(hits, guessed + real - hits).mean(),
            "perplexed": F.cross_entropy(x, y).exp(),
            "r2": 1 - ((z - x) ** 2).sum() / ((z - z.mean()) ** 2).sum(),
        }


lengths = {"lengths": L([4, 2, 3]), "mask": L([[True] * 4, [True, True, False, False], [True, True, True, False]])}
case(
    "recurrent", "layers", "Recurrent", Recurrent, {"x": S(3, 4, 5), **lengths, "s": S(2, 3, 4)},
    {
        "packed": lambda m, x, lengths: m.packed(x, lengths),
        "masked": lambda m, x, mask: m.masked(x, mask),
        "begun": lambda m, x, s: m.begun(x, s),
        "projected": lambda m, x: m.projected(x),
    },
    {"fit": Step(lambda m, x, lengths, mask, s: m.loss(x, lengths, mask, s))},
)
case(
    "cells", "layers", "Cells", Cells, {"x": S(2, 3), "s": S(2, 4), "c": S(2, 4)},
    {"step": lambda m, x, s, c: m.step(x, s, c)}, {"fit": Step(lambda m, x, s, c: m.loss(x, s, c))},
)
case(
    "transformers", "layers", "Transformers", Transformers,
    {
        "y": S(2, 3, 8), "x": S(2, 4, 8), "padding": L([[False] * 4, [False, False, False, True]]), "k": S(2, 4, 5),
        "v": S(2, 4, 3), "mask": L([[False, True, False, True], [False] * 4, [True, False, False, False]]), "bias": S(3, 4),
    },
    {
        "encode": lambda m, x, padding: m.encode(x, padding),
        "decode": lambda m, y, x, padding: m.decode(y, x, padding),
        "attend": lambda m, y, k, v, mask, bias: m.attend(y, k, v, mask, bias),
    },
    {"fit": Step(lambda m, y, x, padding, k, v, mask, bias: m.loss(y, x, padding, k, v, mask, bias))},
)
case(
    "images", "layers", "Images", VisionBlocks, {"x": S(3, 3, 7, 5)},
    {"features": lambda m, x: m.features(x)}, {"fit": Step(lambda m, x: m.loss(x))},
)
case(
    "tables", "layers", "Tables", Tables, {"ids": L([[7, 3, 0, 0], [4, 8, 1, 0], [2, 2, 5, 6]]), "y": I(3, 3)},
    {"scores": lambda m, ids: m.scores(ids)}, {"fit": Step(lambda m, ids, y: F.cross_entropy(m.scores(ids), y))},
)
case(
    "activations", "layers", "Activations", Activations, {"x": S(3, 4), "y": S(2, 4, 5), "v": S(2, 2, 2, 3, 4)},
    {"all": lambda m, x: m.all(x), "others": lambda m, y, v: m.others(y, v), "resized": lambda m, v: m.resized(v), "edged": lambda m, v: m.edged(v)},
    {"fit": Step(lambda m, x, y, v: m.loss(x, y, v))},
)
case(
    "losses", "losses", "Losses", Losses,
    {"x": S(4, 5), "y": S(4, 5), "p": U(4, 5), "t": L([0, 1, 4, 2]), "sign": L([1.0, -1.0, -1.0, 1.0])},
    {"all": lambda m, x, y, p, t, sign: m.all(x, y, p, t, sign)},
    {"fit": Step(lambda m, x, y, p, t, sign: m.total(x, y, p, t, sign), lr=0.01)},
)
case(
    "ctc", "losses", "CTC", CTC,
    {
        "x": S(6, 4, 4), "y": L([[1, 1, 2], [3, 2, 0], [1, 0, 0], [2, 3, 1]]), "frames": L([6, 4, 5, 3]),
        "lengths": L([3, 2, 1, 3]),
    },
    {"each": lambda m, x, y, frames, lengths: m.each(x, y, frames, lengths)},
    {"fit": Step(lambda m, x, y, frames, lengths: m.each(x, y, frames, lengths, "mean"))},
)
case("metrics", "losses", "Metrics", Metrics, {"x": S(9, 4), "y": I(4, 9)}, {"all": lambda m, x, y: m.all(x, y)}, {})


if __name__ == "__main__":
    wanted = sys.argv[1:]
    figures = {}
    if wanted and os.path.exists(OUT):
        with open(OUT, encoding="utf-8") as f:
            figures = json.load(f)["figures"]
    for c in CASES:
        if not wanted or c[0] in wanted:
            figures[c[0]] = run(*c)
    with open(OUT, "w", encoding="utf-8") as f:
        json.dump({"made_by": f"PyTorch {torch.__version__.split('+')[0]}", "figures": figures}, f, separators=(",", ":"))
        f.write("\n")
    print(len(figures), "figures,", os.path.getsize(OUT), "bytes")
