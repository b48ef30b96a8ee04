"""Makes test/figures/examples.json: the models of dsl-examples at full size, as PyTorch and torchvision compute them.

    /tmp/figures/bin/pip install torch torchvision pillow numpy
    /tmp/figures/bin/python test/figures/make/examples.py [NAME ...]

The form is that of trial.json (trial.py): hash-made weights and inputs, double precision, summaries. `parameters` are the names
and shapes of the module's own state dict, torchvision's where there is one; of a step only what is trained is kept.
"""

import json
import os
import sys

sys.dont_write_bytecode = True

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import hashing
import models
from trial import D, S, U, I, L, DoubleConv, given, numpy, sequential, summary, tensors

OUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples.json")


def fill(model, salt):
    model.to(D)
    with torch.no_grad():
        for name, t in tensors(model).items():
            t.copy_(torch.tensor(hashing.parameter(salt + name, list(t.shape))))
    return model


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c3, self.c5 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.Conv2d(16, 120, 5)
        self.f6, self.f7 = nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        h = F.avg_pool2d(torch.tanh(self.c1(x)), 2)
        h = F.avg_pool2d(torch.tanh(self.c3(h)), 2)
        return self.f7(torch.tanh(self.f6(torch.tanh(self.c5(h)).flatten(1))))


class Head(nn.Module):
    """torchvision's VGG-16 with its last layer taken off and a new one behind it; the rest is frozen."""

    def __init__(self, classes):
        super().__init__()
        vgg = torchvision.models.vgg16(dropout=0.0)
        self.features, self.avgpool, self.classifier = vgg.features, vgg.avgpool, vgg.classifier[:-1]
        self.requires_grad_(False)
        self.head = nn.Linear(4096, classes)

    def forward(self, x):
        return self.head(self.classifier(self.avgpool(self.features(x)).flatten(1)))


class Up(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.conv = DoubleConv(2 * c, c)

    def forward(self, x, skip):
        return self.conv(torch.cat([skip, self.up(x)], 1))


class UNet(nn.Module):
    def __init__(self, channels=3, classes=2, width=64, depth=4):
        super().__init__()
        self.inc = DoubleConv(channels, width)
        self.down = nn.ModuleList(DoubleConv(width * 2**i, width * 2 ** (i + 1)) for i in range(depth))
        self.up = nn.ModuleList(Up(width * 2 ** (depth - 1 - i)) for i in range(depth))
        self.outc = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        h = self.inc(x)
        skips = []
        for d in self.down:
            skips.append(h)
            h = d(F.max_pool2d(h, 2))
        for u in self.up:
            h = u(h, skips.pop())
        return self.outc(h)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 32))
        self.decoder = sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 784), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x))


class VAE(nn.Module):
    """pytorch/examples."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.fc3, self.fc4 = nn.Linear(20, 400), nn.Linear(400, 784)

    def encode(self, x):
        h = F.relu(self.fc1(x))
        return {"mu": self.fc21(h), "logvar": self.fc22(h)}

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))


class DCGAN(nn.Module):
    """PyTorch's tutorial; the discriminator's last sigmoid is in the loss."""

    def __init__(self, nz=100, f=64, nc=3):
        super().__init__()
        g = [nn.ConvTranspose2d(nz, 8 * f, 4, bias=False), nn.BatchNorm2d(8 * f), nn.ReLU()]
        d = [nn.Conv2d(nc, f, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for i in range(3):
            c = f * 2 ** (2 - i)
            g += [nn.ConvTranspose2d(2 * c, c, 4, 2, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
            c = f * 2 ** (i + 1)
            d += [nn.Conv2d(c // 2, c, 4, 2, 1, bias=False), nn.BatchNorm2d(c), nn.LeakyReLU(0.2)]
        g += [nn.ConvTranspose2d(f, nc, 4, 2, 1, bias=False), nn.Tanh()]
        d += [nn.Conv2d(8 * f, 1, 4, bias=False)]
        self.G, self.D = nn.Module(), nn.Module()
        self.G.main, self.D.main = sequential(*g), sequential(*d)


class TextClassifier(nn.Module):
    def __init__(self, vocab=10000, classes=2, d=128, heads=4, depth=4, hidden=512, context=256):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab, d, padding_idx=0), nn.Embedding(context, d)
        layer = nn.TransformerEncoderLayer(d, heads, hidden, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(d), enable_nested_tensor=False)
        self.head = nn.Linear(d, classes)

    def forward(self, ids):
        h = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        real = (ids != 0)[:, :, None].to(h.dtype)
        h = self.encoder(h, src_key_padding_mask=ids == 0)
        return self.head((h * real).sum(1) / real.sum(1).clamp(min=1))


def turned(x):
    """Meta's rotary embedding: features 2 i and 2 i + 1 are a complex number."""
    t, size = x.shape[-2:]
    angle = torch.arange(t, dtype=D)[:, None] * 10000.0 ** (-torch.arange(0, size, 2, dtype=D) / size)
    z = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous()) * torch.polar(torch.ones_like(angle), angle)
    return torch.view_as_real(z).flatten(-2)


class LlamaAttention(nn.Module):
    def __init__(self, d, heads, kv):
        super().__init__()
        self.heads, self.kv = heads, kv
        self.wq, self.wk = nn.Linear(d, d, bias=False), nn.Linear(d, kv * d // heads, bias=False)
        self.wv, self.wo = nn.Linear(d, kv * d // heads, bias=False), nn.Linear(d, d, bias=False)

    def forward(self, x):
        b, t, d = x.shape
        spread = lambda x, n: x.reshape(b, t, n, -1).transpose(1, 2)
        q, k, v = turned(spread(self.wq(x), self.heads)), turned(spread(self.wk(x), self.kv)), spread(self.wv(x), self.kv)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.wo(y.transpose(1, 2).reshape(b, t, d))


class SwiGLU(nn.Module):
    def __init__(self, d, hidden):
        super().__init__()
        self.w1, self.w2, self.w3 = nn.Linear(d, hidden, bias=False), nn.Linear(hidden, d, bias=False), nn.Linear(d, hidden, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class LlamaBlock(nn.Module):
    def __init__(self, d, heads, kv, hidden):
        super().__init__()
        self.attention, self.feed_forward = LlamaAttention(d, heads, kv), SwiGLU(d, hidden)
        self.attention_norm, self.ffn_norm = nn.RMSNorm(d, 1e-5), nn.RMSNorm(d, 1e-5)

    def forward(self, x):
        h = x + self.attention(self.attention_norm(x))
        return h + self.feed_forward(self.ffn_norm(h))


class Llama(nn.Module):
    def __init__(self, vocab=512, d=64, heads=8, kv=4, hidden=172, depth=5):
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocab, d)
        self.layers = nn.ModuleList(LlamaBlock(d, heads, kv, hidden) for _ in range(depth))
        self.norm = nn.RMSNorm(d, 1e-5)

    def forward(self, ids):
        h = self.tok_embeddings(ids)
        for layer in self.layers:
            h = layer(h)
        return self.norm(h) @ self.tok_embeddings.weight.T


class ResNet20Block(nn.Module):
    """Of Y. Idelbayev's ResNet-20, with the paper's shortcut A."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.stride, self.more = stride, (cout - cin) // 2

    def forward(self, x):
        short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + short)


class ResNet20(nn.Module):
    def __init__(self, classes, frozen=False):
        super().__init__()
        stage = lambda cin, cout, s: nn.Sequential(*(ResNet20Block(cout if i else cin, cout, 1 if i else s) for i in range(3)))
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2)
        self.requires_grad_(not frozen)
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        h = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(h.mean((2, 3)))


CASES = {}


def case(name, file, model, make, inputs, entries, steps=None, set=None):
    CASES[name] = (file, model, make, inputs, entries, steps or {}, set or {})


def run(name, file, model_name, make, inputs, entries, steps, set):
    salt = f"examples/{name}/"
    values = {k: given(salt, k, how) for k, how in inputs.items()}
    args = lambda f: list(f.__code__.co_varnames[1 : f.__code__.co_argcount])
    of = lambda f: [values[k] for k in args(f)]
    model = fill(make(), salt)
    out = {"source": f"dsl-examples/{file}.mdl", "model": model_name, "set": set, "salt": salt, "inputs": inputs}
    out["parameters"] = {k: list(t.shape) for k, t in tensors(model).items()}
    out["entries"], out["steps"] = {}, {}
    model.eval()
    with torch.no_grad():
        for entry, f in entries.items():
            y = f(model, *of(f))
            y = y if isinstance(y, dict) else {entry: y}
            out["entries"][entry] = {"inputs": args(f), "results": {k: summary(k, numpy(v)) for k, v in y.items()}}
    for block, f in steps.items():
        # In eval mode, unless a loss asks for batch norms to follow their batches.
        trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
        before = {k: numpy(p) for k, p in trained.items()}
        loss = f(model, *of(f))
        loss.backward()
        if name == "llama":
            nn.utils.clip_grad_norm_(trained.values(), 1.0)
        torch.optim.SGD(trained.values(), lr=0.1).step()
        added = {k: summary(k, numpy(p) - before[k]) for k, p in trained.items()}
        out["steps"][block] = {"inputs": args(f), "loss": loss.item(), "added": added}
    return out


ce = F.cross_entropy
image = lambda *shape: {"x": S(*shape)}
classify = {"logits": lambda m, x: m(x)}

case("linear", "linear", "LinearRegression", lambda: Named(linear=nn.Linear(13, 1)), {"x": S(50, 13), "y": S(50, 1)},
     {"predict": lambda m, x: m.linear(x)}, {"fit": lambda m, x, y: F.mse_loss(m.linear(x), y)}, {"features": 13})
case("mlp", "mlp", "MLP", lambda: models.MLPModel(784, 128, 2, 10), {"x": U(16, 784), "y": I(10, 16)},
     classify, {"fit": lambda m, x, y: ce(m(x), y)})
case("lenet5", "lenet5", "LeNet5", LeNet5, {"x": S(4, 1, 32, 32), "y": I(10, 4)}, classify, {"fit": lambda m, x, y: ce(m(x), y)})
case("vgg16", "vgg16", "VGG16", torchvision.models.vgg16, image(1, 3, 224, 224), classify)
case("vgg16_head", "vgg16", "VGG16Head", lambda: Head(5), {"x": S(2, 3, 64, 64), "y": I(5, 2)}, classify,
     {"fit": lambda m, x, y: ce(m(x), y)}, {"p": 0})
case("resnet18", "resnet18", "ResNet18", torchvision.models.resnet18, image(1, 3, 224, 224), classify)
case("resnet20", "resnet20", "ResNet20", lambda: ResNet20(10), {"x": S(4, 3, 32, 32), "y": I(10, 4)}, classify,
     {"fit": lambda m, x, y: ce(m.train()(x), y)})
case("resnet20_head", "resnet20-head", "ResNet20Head", lambda: ResNet20(4, frozen=True),
     {"x": S(4, 3, 32, 32), "y": I(4, 4)}, classify, {"fit": lambda m, x, y: ce(m(x), y)})
case("resnet50", "resnet50", "ResNet50", torchvision.models.resnet50, image(1, 3, 224, 224), classify)
case("mobilenetv2", "mobilenetv2", "MobileNetV2", torchvision.models.mobilenet_v2, image(1, 3, 224, 224), classify)
case("unet", "unet", "UNet", UNet, image(1, 3, 64, 96), classify)
case("autoencoder", "autoencoder", "Autoencoder", Autoencoder, {"x": U(16, 784)},
     {"reconstruct": lambda m, x: m(x)}, {"fit": lambda m, x: F.mse_loss(m(x), x)})
case("vae", "autoencoder", "VAE", VAE, {"x": U(16, 784), "z": S(4, 20)},
     {"encode": lambda m, x: m.encode(x), "decode": lambda m, z: m.decode(z)})
case("dcgan", "dcgan", "DCGAN", DCGAN, {"z": S(2, 100, 1, 1), "x": S(2, 3, 64, 64)},
     {"generate": lambda m, z: m.G.main(z), "judge": lambda m, x: torch.sigmoid(m.D.main(x).reshape(-1))})
case("char_lstm", "lstm", "CharLSTM", lambda: models.CharLSTM(65, 64, 128), {"ids": I(65, 4, 32)}, {"logits": lambda m, ids: m(ids)})
case("encoder", "encoder", "TextClassifier", TextClassifier,
     {"ids": L([[(37 * i * (b + 3)) % 9999 + 1 if i < 40 - 15 * b else 0 for i in range(40)] for b in range(3)])},
     {"logits": lambda m, ids: m(ids)})
case("gpt", "transformer", "GPT", lambda: models.GPT(65, 128, 4, 4, 128), {"ids": I(65, 2, 64)}, {"logits": lambda m, ids: m(ids)})
case("llama", "llama", "Llama", Llama, {"ids": I(512, 2, 48), "next": I(512, 2, 48)},
     {"logits": lambda m, ids: m(ids)},
     {"fit": lambda m, ids, next: ce(m(ids).flatten(0, 1), next.flatten())})
case("vit", "vit", "ViT", torchvision.models.vit_b_16, image(1, 3, 224, 224), classify)


class Named(nn.Module):
    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)


if __name__ == "__main__":
    wanted = sys.argv[1:]
    figures = {}
    if wanted and os.path.exists(OUT):
        with open(OUT, encoding="utf-8") as f:
            figures = json.load(f)["figures"]
    for name, c in CASES.items():
        if not wanted or name in wanted:
            figures[name] = run(name, *c)
            print(name, flush=True)
    made_by = f"PyTorch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}"
    with open(OUT, "w", encoding="utf-8") as f:
        json.dump({"made_by": made_by, "figures": figures}, f, separators=(",", ":"))
        f.write("\n")
    print(len(figures), "figures,", os.path.getsize(OUT), "bytes")
