"""PyTorch's values and gradients at NaN, the infinities, signed zeros, subnormals and the extremes of f32.

    python test/figures/make/specials.py

writes test/figures/specials.json: for each function, as the language spells it, its value and the gradient of its sum at
every special argument. Numbers are written as text where JSON has none ("NaN", "Infinity", "-Infinity", "-0").
"""
import json
import math
import struct
from pathlib import Path

import torch
import torch.nn.functional as F

NAN, INF = math.nan, math.inf
MAX, TINY = 3.4028234663852886e38, 1.1754943508222875e-38
ONE = [NAN, INF, -INF, 0.0, -0.0, 1e-40, -1e-40, TINY, -TINY, MAX, -MAX, 1.0, -1.0, 0.5, -0.5, 2.5, -3.0, 20.0, -100.0, 1e10]
FEW = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 3.6, -0.1, 7.0, 1e10, MAX]


class Remainder(torch.autograd.Function):
    """torch.remainder with C's fmod: PyTorch's vector code gives up on quotients beyond 2^24."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        out = []
        for a, b in zip(x.tolist(), y.tolist()):
            r = math.fmod(a, b) if math.isfinite(a) and b != 0 else NAN
            out.append(r + b if r != 0 and (r < 0) != (b < 0) else r)
        return torch.tensor(out, dtype=torch.float32)

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g, -g * torch.floor_divide(x, y)


remainder = Remainder.apply


class FMod(torch.autograd.Function):
    """torch.fmod with C's: PyTorch's vector code gives up on quotients beyond 2^24."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        pairs = zip(x.tolist(), y.tolist())
        return torch.tensor([math.fmod(a, b) if math.isfinite(a) and b != 0 else NAN for a, b in pairs], dtype=torch.float32)

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g, -g * torch.div(x, y, rounding_mode="trunc")


fmod = FMod.apply


class Hardswish(torch.autograd.Function):
    """x * hardsigmoid(x), with PyTorch's gradient: its own value overflows where this does not."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * F.hardsigmoid(x)

    @staticmethod
    def backward(ctx, g):
        x = ctx.saved_tensors[0].clone().requires_grad_(True)
        with torch.enable_grad():
            return torch.autograd.grad(F.hardswish(x), x, g)


hardswish = Hardswish.apply
UNARY = {
    "relu(x)": torch.relu, "tanh(x)": torch.tanh, "erf(x)": torch.erf, "sigmoid(x)": torch.sigmoid,
    "silu(x)": F.silu,
    # By the definition: PyTorch's own vector code overflows where the definition does not.
    "gelu(x)": lambda x: (0.5 * x.double() * (1 + torch.erf(x.double() / math.sqrt(2)))).float(), 'gelu(x, approximate = "tanh")': lambda x: F.gelu(x, approximate="tanh"),
    "softplus(x)": F.softplus, "leaky_relu(x, 0.2)": lambda x: F.leaky_relu(x, 0.2),
    "exp(x)": torch.exp, "expm1(x)": torch.expm1, "log(x)": torch.log, "log2(x)": torch.log2, "log1p(x)": torch.log1p,
    "sqrt(x)": torch.sqrt, "rsqrt(x)": torch.rsqrt, "reciprocal(x)": torch.reciprocal, "square(x)": torch.square,
    "asin(x)": torch.asin, "acos(x)": torch.acos,
    "atan(x)": torch.atan, "abs(x)": torch.abs, "sign(x)": torch.sign, "-x": torch.neg,
    "floor(x)": torch.floor, "ceil(x)": torch.ceil, "round(x)": torch.round, "trunc(x)": torch.trunc,
    "clamp(x, -1, 1)": lambda x: x.clamp(-1, 1), "clamp(x, min = 0)": lambda x: x.clamp(min=0),
    "clamp(x, max = 6)": lambda x: x.clamp(max=6),
    "x / 0": lambda x: x / 0, "x * inf": lambda x: x * INF, "x - inf": lambda x: x - INF, "x % 0": lambda x: x % 0,
    "max(x, 0)": lambda x: torch.maximum(x, torch.zeros(())), "min(x, 0)": lambda x: torch.minimum(x, torch.zeros(())),
    "max(x, -inf)": lambda x: torch.maximum(x, torch.tensor(-INF)),
    # By its own pow: PyTorch takes the root for an exponent of a half, which differs at -inf.
    **{f"x ** {p}": (lambda p: lambda x: torch.pow(x, torch.full_like(x, p)))(p) for p in (2, 0.5, 0, -1)},
    # Of arguments that a device's sine can reduce.
    "sin(clamp(x, -100, 100) + (x - x))": lambda x: torch.sin(x.clamp(-100, 100) + (x - x)),
    "cos(clamp(x, -100, 100) + (x - x))": lambda x: torch.cos(x.clamp(-100, 100) + (x - x)),
    "tan(clamp(x, -1, 1) + (x - x))": lambda x: torch.tan(x.clamp(-1, 1) + (x - x)),
    "x - x": lambda x: x - x, "x + -x": lambda x: x + -x, "x / x": lambda x: x / x, "0 * x": lambda x: 0 * x,
    "exp2(x)": torch.exp2, "log10(x)": torch.log10, "sinh(x)": torch.sinh, "cosh(x)": torch.cosh, "asinh(x)": torch.asinh,
    "acosh(x)": torch.acosh, "atanh(x)": torch.atanh, "erfc(x)": torch.special.erfc,
    "nan_to_num(x)": torch.nan_to_num, "nan_to_num(x, nan = 1, posinf = 2, neginf = -3)": lambda x: torch.nan_to_num(x, 1, 2, -3),
    "relu6(x)": F.relu6, "hardtanh(x)": F.hardtanh, "elu(x)": F.elu, "selu(x)": F.selu, "celu(x, alpha = 0.5)": lambda x: F.celu(x, 0.5),
    "mish(x)": F.mish, "softsign(x)": F.softsign, "logsigmoid(x)": F.logsigmoid, "hardsigmoid(x)": F.hardsigmoid,
    # By the definition: PyTorch's own multiplies by 6 before it divides.
    "hardswish(x)": hardswish, "hardshrink(x)": F.hardshrink, "softshrink(x)": F.softshrink, "tanhshrink(x)": F.tanhshrink,
    "2 ** x": lambda x: torch.pow(torch.tensor(2.0), x),
}
PREDICATES = {
    "is_nan(x)": torch.isnan, "is_inf(x)": torch.isinf, "is_finite(x)": torch.isfinite, "x == x": lambda x: x == x, "x != x": lambda x: x != x,
    "x > 0": lambda x: x > 0, "x >= 0": lambda x: x >= 0, "x < 0": lambda x: x < 0, "x <= 0": lambda x: x <= 0,
    "x == inf": lambda x: x == INF, "x != nan": lambda x: x != NAN, "x < inf": lambda x: x < INF,
}
BINARY = {
    "max(x, y)": torch.maximum, "min(x, y)": torch.minimum, "x % y": remainder, "x / y": torch.div,
    "floor_div(x, y)": torch.floor_divide, "x ** y": torch.pow, "x + y": torch.add, "x - y": torch.sub, "x * y": torch.mul,
    "where(x > y, x, y)": lambda x, y: torch.where(x > y, x, y), "logaddexp(x, y)": torch.logaddexp,
    "atan2(x, y)": torch.atan2, "hypot(x, y)": torch.hypot, "copysign(x, y)": torch.copysign, "xlogy(x, y)": torch.special.xlogy,
    "fmod(x, y)": fmod,
}
BINARY_PREDICATES = {
    "x == y": torch.eq, "x != y": torch.ne, "x < y": torch.lt, "x <= y": torch.le, "x > y": torch.gt, "x >= y": torch.ge,
}
ROWS = [
    [NAN, 1.0, 3.0, 2.0], [1.0, NAN, NAN, 0.0], [-INF, -INF, -INF, -INF], [INF, 0.0, 1.0, -INF], [INF, INF, 1.0, 2.0],
    [-INF, 0.0, 1.0, 2.0], [1000.0, 1001.0, 999.0, 1000.0], [INF, NAN, 1.0, -INF], [0.0, -0.0, 0.0, -0.0],
    [-1.0, -2.0, -3.0, NAN], [MAX, 1.0, 2.0, 3.0], [-INF, INF, 0.0, 0.0],
]
REDUCE = {
    "sum(x, axis = 1)": lambda x: x.sum(1), "mean(x, axis = 1)": lambda x: x.mean(1), "prod(x, axis = 1)": lambda x: x.prod(1),
    "max(x, axis = 1)": lambda x: x.amax(1), "min(x, axis = 1)": lambda x: x.amin(1),
    "logsumexp(x, axis = 1)": lambda x: x.logsumexp(1), "softmax(x, axis = 1)": lambda x: x.softmax(1),
    "log_softmax(x, axis = 1)": lambda x: x.log_softmax(1), "var(x, axis = 1)": lambda x: x.var(1),
    "cumsum(x, axis = 1)": lambda x: x.cumsum(1), "cumprod(x, axis = 1)": lambda x: x.cumprod(1),
    "cummax(x, axis = 1)[0]": lambda x: x.cummax(1)[0], "cummin(x, axis = 1)[0]": lambda x: x.cummin(1)[0],
    "sort(x, axis = 1)[0]": lambda x: x.sort(stable=True, dim=1)[0],
    "top_k(x, 2)[0]": lambda x: x.topk(2)[0],
    # Of what has a square: PyTorch takes it in double precision.
    "std(clamp(x, -10, 10) + (x - x), axis = 1)": lambda x: (x.clamp(-10, 10) + (x - x)).std(1),
    **{f"norm(x, axis = 1, p = {p})": (lambda p: lambda x: torch.linalg.vector_norm(x, float(p), dim=1))(p) for p in ("2", "1", "3", "inf", "-inf", "0")},
    "l2_normalize(x)": F.normalize, "glu(x)": F.glu,
}
INDICES = {
    "argmax(x, axis = 1)": lambda x: x.argmax(1), "argmin(x, axis = 1)": lambda x: x.argmin(1),
    "argsort(x, axis = 1)": lambda x: x.argsort(stable=True, dim=1),
    "argsort(x, axis = 1, descending = true)": lambda x: x.argsort(stable=True, dim=1, descending=True),
    "cummax(x, axis = 1)[1]": lambda x: x.cummax(1)[1], "cummin(x, axis = 1)[1]": lambda x: x.cummin(1)[1],
}


def number(v):
    v = float(v)
    if math.isnan(v):
        return "NaN"
    if math.isinf(v):
        return "Infinity" if v > 0 else "-Infinity"
    return "-0" if v == 0 and math.copysign(1, v) < 0 else v


def flat(t):
    return [number(v) for v in t.detach().float().flatten().tolist()]


def gradient(f, *xs):
    xs = [x.clone().requires_grad_(True) for x in xs]
    y = f(*xs)
    if not y.requires_grad:
        return [[0.0] * x.numel() for x in xs]
    gs = torch.autograd.grad(y.sum(), xs, allow_unused=True)
    return [[0.0] * x.numel() if g is None else flat(g) for g, x in zip(gs, xs)]


# The language refuses a gradient that is zero everywhere.
FLAT = ("sign", "floor", "ceil", "round", "trunc")
# That of a product divides by the element, which PyTorch's does not: NaN stays, but so it does where PyTorch has infinity.
FLAT += ("prod", "cumprod")
# Of equal ones PyTorch takes any.
FLAT += ("top_k",)


def one(table, x, grad=True):
    return [
        {"mdl": k, "y": flat(f(*x)), **({"g": gradient(f, *x)} if grad and not k.startswith(FLAT) else {})}
        for k, f in table.items()
    ]


one_x = torch.tensor(ONE, dtype=torch.float32)
pairs = [(a, b) for a in FEW for b in FEW]
px = torch.tensor([a for a, _ in pairs], dtype=torch.float32)
py = torch.tensor([b for _, b in pairs], dtype=torch.float32)
rows = torch.tensor(ROWS, dtype=torch.float32)
image = rows.reshape(3, 1, 4, 4)
POOLS = {
    "max_pool2d(p, 2)": lambda p: F.max_pool2d(p, 2),
    "max_pool2d(p, 3, stride = 1, padding = 1)": lambda p: F.max_pool2d(p, 3, 1, 1),
    "avg_pool2d(p, 2)": lambda p: F.avg_pool2d(p, 2),
    "max_pool2d(relu(p), 2)": lambda p: F.max_pool2d(F.relu(p), 2),
    "adaptive_max_pool2d(p, [3, 3])": lambda p: F.adaptive_max_pool2d(p, 3),
    'pad(p, low = [0, 0, 1, 2], mode = "reflect")': lambda p: F.pad(p, (2, 2, 1, 1), "reflect"),
}
# Integers: shifts by fewer than 0 and more than 31 places among them.
IA = [0, 1, -1, 5, -7, 2147483647, -2147483648, 123456789]
IB = [0, 1, -1, 3, 31, 32, 40, -2147483648]
ipairs = [(a, b) for a in IA for b in IB]
ix = torch.tensor([a for a, _ in ipairs], dtype=torch.int32)
iy = torch.tensor([b for _, b in ipairs], dtype=torch.int32)
BITS = {
    "bitwise_and(x, y)": torch.bitwise_and, "bitwise_or(x, y)": torch.bitwise_or, "bitwise_xor(x, y)": torch.bitwise_xor,
    "bitwise_not(x)": lambda x, y: torch.bitwise_not(x), "bitwise_left_shift(x, y)": torch.bitwise_left_shift,
    "bitwise_right_shift(x, y)": torch.bitwise_right_shift,
    "fmod(x, y)": lambda x, y: torch.where(y == 0, 0, torch.fmod(x, torch.where(y == 0, 1, y))),
    "x % y": lambda x, y: torch.where(y == 0, 0, torch.remainder(x, torch.where(y == 0, 1, y))),
}


def whole(table):
    return [{"mdl": k, "y": f(ix, iy).tolist()} for k, f in table.items()]


out = {
    "torch": torch.__version__,
    "x": flat(one_x), "a": flat(px), "b": flat(py), "rows": flat(rows),
    "unary": one(UNARY, [one_x]), "predicates": one(PREDICATES, [one_x], False),
    "binary": one(BINARY, [px, py]), "comparisons": one(BINARY_PREDICATES, [px, py], False),
    "reduce": one(REDUCE, [rows]), "indices": one(INDICES, [rows], False), "i": ix.tolist(), "j": iy.tolist(), "bits": whole(BITS), "pools": one(POOLS, [image]),
}
Path(__file__).parents[1].joinpath("specials.json").write_text(json.dumps(out) + "\n")
