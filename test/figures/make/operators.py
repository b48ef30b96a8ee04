"""Single operators where PyTorch's conventions matter: values, and gradients along a hash-made direction.

A case is (name, operator as mdl spells it, operands, attributes, what PyTorch computes). An operand is a shape (made by
the rule "signed"), a ("ints", shape, below), a ("literal_ints", list), a ("bools", list) or a list of literal numbers. Of
several results the first is compared, and the others beside it; what has no gradient is compared by value alone.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F

import hashing

ints = lambda shape, below: ("ints", shape, below)
literal = lambda values: ("literal_ints", values)
bools = lambda values: ("bools", values)
nan, inf = float("nan"), float("inf")


def unpool(x, i, kernel, **more):
    return getattr(F, f"max_unpool{x.dim() - 2}d")(x, i.long(), kernel, **more)


def rotated(x, base=10000.0, interleaved=False, positions=None):
    """Llama's rotary embedding, as Hugging Face has it (halves) or as Meta has it (pairs)."""
    d = x.shape[-1]
    rate = base ** (-torch.arange(0, d, 2, dtype=x.dtype) / d)
    positions = torch.arange(x.shape[-2], dtype=x.dtype) if positions is None else positions.to(x.dtype)
    angle = positions[..., None] * rate
    if interleaved:
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], d // 2, 2)) * torch.polar(torch.ones_like(angle), angle)
        return torch.view_as_real(pairs).reshape(x.shape)
    c, s = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
    half = torch.cat([-x[..., d // 2 :], x[..., : d // 2]], -1)
    return x * c + half * s


def gqa(q, k, v, **more):
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **more)

CASES = [
    ("relu_at_zero", "relu", [[-1.0, -0.0, 0.0, 2.0]], {}, F.relu),
    ("abs_at_zero", "abs", [[-1.0, 0.0, 2.0]], {}, torch.abs),
    ("max_of_equals", "max", [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]], {}, torch.maximum),
    ("min_of_equals", "min", [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]], {}, torch.minimum),
    ("clamp_at_bounds", "clamp", [[-2.0, -1.0, 0.0, 1.0, 2.0]], {"min": -1.0, "max": 1.0}, lambda x: x.clamp(-1, 1)),
    ("round_half_even", "round", [[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997]], {}, torch.round),
    ("gelu", "gelu", [[3, 7]], {}, F.gelu),
    ("gelu_tanh", "gelu", [[3, 7]], {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh")),
    ("gelu_tails", "gelu", [[-12.0, -6.0, -3.0, 3.0, 6.0, 12.0]], {}, F.gelu),
    ("silu", "silu", [[3, 7]], {}, F.silu),
    ("softplus_tails", "softplus", [[-40.0, -5.0, 0.0, 5.0, 19.0, 21.0, 60.0]], {}, F.softplus),
    ("sigmoid_tails", "sigmoid", [[-100.0, -20.0, 0.0, 20.0, 100.0]], {}, torch.sigmoid),
    ("logaddexp", "logaddexp", [[3, 7], [3, 7]], {}, torch.logaddexp),
    ("logaddexp_tails", "logaddexp", [[0.0, 1000.0, -1000.0, 88.0, -3.0, 5.0], [0.0, 1000.0, -1001.0, -88.0, 40.0, 5.0]], {}, torch.logaddexp),
    ("lerp", "lerp", [[4], [4]], {"t": 0.1}, lambda x, y: torch.lerp(x, y, 0.1)),
    ("var", "var", [[4, 5]], {"axis": -1}, lambda x: x.var(-1)),
    ("var_biased", "var", [[4, 5]], {"axis": -1, "correction": 0}, lambda x: x.var(-1, correction=0)),
    ("logsumexp_large", "logsumexp", [[[1000.0, 1001.0, 999.0], [-1000.0, -1001.0, -999.0]]], {"axis": -1}, lambda x: x.logsumexp(-1)),
    ("softmax_axis", "softmax", [[2, 5, 3]], {"axis": 1}, lambda x: x.softmax(1)),
    ("log_softmax", "log_softmax", [[4, 6]], {"axis": -1}, lambda x: x.log_softmax(-1)),
    ("prod_with_zeros", "prod", [[[2.0, 0.0, 3.0], [0.0, 0.0, 4.0], [1.0, 2.0, 3.0]]], {"axis": -1}, lambda x: x.prod(-1)),
    ("cross_entropy", "cross_entropy", [[5, 7], ints([5], 7)], {}, lambda x, y: F.cross_entropy(x, y.long())),
    ("cross_entropy_sequence", "cross_entropy", [[2, 3, 5], ints([2, 3], 5)], {},
     lambda x, y: F.cross_entropy(x.reshape(-1, x.shape[-1]), y.long().reshape(-1))),
    ("cross_entropy_confident", "cross_entropy", [[[100.0, 0.0, -100.0], [0.0, 80.0, 80.0]], ("literal_ints", [2, 1])], {},
     lambda x, y: F.cross_entropy(x, y.long())),
    ("mse_loss", "mse_loss", [[3, 4], [3, 4]], {}, F.mse_loss),
    ("layer_norm", "layer_norm", [[3, 8], [8], [8]], {"eps": 1e-5}, lambda x, w, b: F.layer_norm(x, [8], w, b, 1e-5)),
    ("max_pool2d_padding", "max_pool2d", [[2, 3, 7, 6]], {"kernel": 3, "stride": 2, "padding": 1}, lambda x: F.max_pool2d(x, 3, 2, 1)),
    ("max_pool2d_overlap", "max_pool2d", [[1, 2, 6, 6]], {"kernel": 3, "stride": 1}, lambda x: F.max_pool2d(x, 3, 1)),
    ("max_pool2d_rest", "max_pool2d", [[1, 2, 7, 5]], {"kernel": 2}, lambda x: F.max_pool2d(x, 2)),
    ("max_pool2d_ceil", "max_pool2d", [[1, 2, 8, 7]], {"kernel": 3, "stride": 2, "ceil_mode": True},
     lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)),
    ("max_pool2d_dilation", "max_pool2d", [[1, 2, 8, 7]], {"kernel": 3, "stride": 2, "padding": 1, "dilation": 2},
     lambda x: F.max_pool2d(x, 3, 2, 1, dilation=2)),
    ("max_pool2d_tie", "max_pool2d", [[[[[1.0, 1.0], [1.0, 1.0]]]]], {"kernel": 2}, lambda x: F.max_pool2d(x, 2)),
    ("max_pool2d_negative_padding", "max_pool2d", [[[[[-5.0, -6.0], [-7.0, -8.0]]]]], {"kernel": 3, "stride": 1, "padding": 1},
     lambda x: F.max_pool2d(x, 3, 1, 1)),
    ("avg_pool2d_counts_padding", "avg_pool2d", [[2, 3, 7, 6]], {"kernel": 3, "stride": 2, "padding": 1}, lambda x: F.avg_pool2d(x, 3, 2, 1)),
    ("avg_pool2d_without_padding", "avg_pool2d", [[2, 3, 7, 6]], {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False},
     lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    ("avg_pool2d_ceil", "avg_pool2d", [[1, 2, 8, 7]], {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
     lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)),
    ("avg_pool2d", "avg_pool2d", [[1, 2, 6, 4]], {"kernel": 2}, lambda x: F.avg_pool2d(x, 2)),
    ("conv2d_same", "conv2d", [[2, 3, 6, 5], [4, 3, 3, 3], [4]], {"padding": 1}, lambda x, w, b: F.conv2d(x, w, b, padding=1)),
    ("conv2d_stride", "conv2d", [[2, 3, 8, 7], [4, 3, 3, 3], [4]], {"stride": 2, "padding": 1},
     lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1)),
    ("conv2d_stride_rest", "conv2d", [[1, 2, 9, 8], [3, 2, 2, 2], [3]], {"stride": 3}, lambda x, w, b: F.conv2d(x, w, b, stride=3)),
    ("conv2d_dilation", "conv2d", [[1, 2, 9, 9], [3, 2, 3, 3], [3]], {"dilation": 2, "padding": 2},
     lambda x, w, b: F.conv2d(x, w, b, dilation=2, padding=2)),
    ("conv2d_groups", "conv2d", [[2, 4, 5, 5], [6, 2, 3, 3], [6]], {"groups": 2, "padding": 1},
     lambda x, w, b: F.conv2d(x, w, b, groups=2, padding=1)),
    ("conv2d_depthwise", "conv2d", [[1, 4, 6, 6], [4, 1, 3, 3], [4]], {"groups": 4, "padding": 1, "stride": 2},
     lambda x, w, b: F.conv2d(x, w, b, groups=4, padding=1, stride=2)),
    ("conv2d_pairs", "conv2d", [[1, 2, 7, 9], [3, 2, 1, 3], [3]], {"stride": [2, 1], "padding": [0, 1]},
     lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(0, 1))),
    ("conv2d_pointwise", "conv2d", [[2, 5, 3, 4], [4, 5, 1, 1], [4]], {}, F.conv2d),
    ("conv1d_stride", "conv1d", [[2, 3, 11], [4, 3, 4], [4]], {"stride": 2, "padding": 1},
     lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1)),
    ("conv1d_dilation_groups", "conv1d", [[1, 4, 9], [6, 2, 3], [6]], {"stride": 2, "padding": 2, "dilation": 2, "groups": 2},
     lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=2, dilation=2, groups=2)),
    ("conv1d_depthwise", "conv1d", [[2, 3, 8], [3, 1, 3], [3]], {"padding": 1, "groups": 3},
     lambda x, w, b: F.conv1d(x, w, b, padding=1, groups=3)),
    ("conv3d_same", "conv3d", [[2, 2, 3, 4, 5], [3, 2, 3, 3, 3], [3]], {"padding": 1},
     lambda x, w, b: F.conv3d(x, w, b, padding=1)),
    ("conv3d_stride", "conv3d", [[1, 2, 5, 6, 4], [3, 2, 2, 3, 2], [3]], {"stride": [2, 1, 3], "padding": [0, 1, 1]},
     lambda x, w, b: F.conv3d(x, w, b, stride=(2, 1, 3), padding=(0, 1, 1))),
    ("conv3d_dilation_groups", "conv3d", [[1, 4, 4, 5, 6], [2, 2, 2, 2, 3], [2]], {"stride": [1, 2, 1], "padding": [0, 1, 2], "dilation": [2, 3, 1], "groups": 2},
     lambda x, w, b: F.conv3d(x, w, b, stride=(1, 2, 1), padding=(0, 1, 2), dilation=(2, 3, 1), groups=2)),
    ("conv_transpose1d", "conv_transpose1d", [[2, 4, 5], [4, 3, 3], [3]], {"stride": 2, "padding": 1, "output_padding": 1},
     lambda x, w, b: F.conv_transpose1d(x, w, b, stride=2, padding=1, output_padding=1)),
    ("conv_transpose2d", "conv_transpose2d", [[2, 3, 4, 3], [3, 2, 2, 2], [2]], {"stride": 2},
     lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2)),
    ("conv_transpose2d_rest", "conv_transpose2d", [[1, 4, 4, 3], [4, 3, 3, 4], [6]],
     {"stride": [3, 2], "padding": [2, 1], "output_padding": [2, 0], "dilation": [1, 2], "groups": 2},
     lambda x, w, b: F.conv_transpose2d(x, w, b, stride=(3, 2), padding=(2, 1), output_padding=(2, 0), dilation=(1, 2), groups=2)),
    ("conv_transpose2d_padding_beyond", "conv_transpose2d", [[1, 2, 4, 4], [2, 2, 2, 2], [2]], {"padding": 2},
     lambda x, w, b: F.conv_transpose2d(x, w, b, padding=2)),
    ("conv_transpose3d", "conv_transpose3d", [[1, 2, 2, 3, 2], [2, 3, 2, 3, 2], [3]], {"stride": [2, 1, 2], "padding": [0, 1, 1], "output_padding": [1, 0, 0]},
     lambda x, w, b: F.conv_transpose3d(x, w, b, stride=(2, 1, 2), padding=(0, 1, 1), output_padding=(1, 0, 0))),
    ("max_pool1d", "max_pool1d", [[2, 3, 11]], {"kernel": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True},
     lambda x: F.max_pool1d(x, 3, 2, 1, 2, ceil_mode=True)),
    ("max_pool1d_tie", "max_pool1d", [[[[1.0, 1.0, 0.0, 0.0, 2.0]]]], {"kernel": 2, "stride": 1}, lambda x: F.max_pool1d(x, 2, 1)),
    ("max_pool3d", "max_pool3d", [[1, 2, 5, 6, 4]], {"kernel": [2, 3, 2], "stride": [2, 1, 3], "padding": [1, 1, 0], "dilation": [1, 2, 1]},
     lambda x: F.max_pool3d(x, (2, 3, 2), (2, 1, 3), (1, 1, 0), (1, 2, 1))),
    ("max_pool3d_ceil", "max_pool3d", [[2, 1, 5, 4, 6]], {"kernel": 2, "stride": 3, "ceil_mode": True},
     lambda x: F.max_pool3d(x, 2, 3, ceil_mode=True)),
    ("avg_pool1d", "avg_pool1d", [[2, 3, 8]], {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
     lambda x: F.avg_pool1d(x, 3, 2, 1, ceil_mode=True)),
    ("avg_pool1d_without_padding", "avg_pool1d", [[2, 3, 8]], {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False},
     lambda x: F.avg_pool1d(x, 3, 2, 1, count_include_pad=False)),
    ("avg_pool3d", "avg_pool3d", [[1, 2, 5, 4, 6]], {"kernel": [3, 2, 2], "stride": 2, "padding": [1, 0, 1], "ceil_mode": True},
     lambda x: F.avg_pool3d(x, (3, 2, 2), 2, (1, 0, 1), ceil_mode=True)),
    ("avg_pool3d_without_padding", "avg_pool3d", [[1, 2, 4, 4, 5]], {"kernel": 3, "stride": [1, 2, 2], "padding": 1, "count_include_pad": False},
     lambda x: F.avg_pool3d(x, 3, (1, 2, 2), 1, count_include_pad=False)),
    ("embedding_repeated", "embedding", [("literal_ints", [[1, 1, 4], [0, 1, 4]]), [6, 3]], {}, lambda i, w: F.embedding(i.long(), w)),
    ("attention", "attention", [[2, 2, 5, 4], [2, 2, 6, 4], [2, 2, 6, 4]], {}, F.scaled_dot_product_attention),
    ("attention_causal", "attention", [[2, 2, 6, 4], [2, 2, 6, 4], [2, 2, 6, 4]], {"causal": True},
     lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
    # Element-wise: quadrants, zeros, both sides of bounds.
    ("atan2", "atan2", [[1.0, 1.0, -1.0, -1.0, 0.0, 0.3, 2.0], [1.0, -1.0, 1.0, -1.0, -2.0, 4.0, 0.0]], {}, torch.atan2),
    ("hypot", "hypot", [[3.0, -5.0, 0.0, 1e-3], [4.0, 12.0, -2.0, 1e3]], {}, torch.hypot),
    ("copysign", "copysign", [[1.5, -2.0, 3.0, -0.5], [-1.0, 1.0, 2.0, -3.0]], {}, torch.copysign),
    ("xlogy", "xlogy", [[0.0, 0.0, 0.7, -2.0], [0.4, 3.0, 0.2, 5.0]], {}, torch.special.xlogy),
    ("fmod", "fmod", [[7.0, -7.0, 5.5, -5.5, 0.3], [2.0, 2.0, -2.0, -2.5, 0.7]], {}, torch.fmod),
    ("exp2", "exp2", [[3, 7]], {}, torch.exp2),
    ("log10", "log10", [[0.1, 1.0, 10.0, 1e5, 3.0]], {}, torch.log10),
    ("sinh", "sinh", [[-20.0, -1.0, -1e-4, 0.0, 0.5, 30.0]], {}, torch.sinh),
    ("cosh", "cosh", [[-20.0, -1.0, -1e-4, 0.0, 0.5, 30.0]], {}, torch.cosh),
    ("asinh", "asinh", [[-2e10, -1.0, -1e-4, 0.0, 0.5, 3e5]], {}, torch.asinh),
    ("acosh", "acosh", [[1.001, 1.5, 20.0, 3e5]], {}, torch.acosh),
    ("atanh", "atanh", [[-0.999, -0.5, 1e-4, 0.9]], {}, torch.atanh),
    ("erfc", "erfc", [[-3.0, -0.5, 0.0, 1.0, 3.0, 6.0]], {}, torch.special.erfc),
    ("nan_to_num", "nan_to_num", [[3, 4]], {}, torch.nan_to_num),
    # Activations.
    *[(f"{name}_{k}", name, [[-9.0, -3.0, -2.0, -1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0, 2.0, 3.0, 6.0, 9.0]], attrs, compute)
      for name, k, attrs, compute in [
        ("relu6", "bounds", {}, F.relu6), ("hardtanh", "bounds", {}, F.hardtanh),
        ("hardtanh", "given", {"min_val": -2.0, "max_val": 3.0}, lambda x: F.hardtanh(x, -2, 3)),
        ("elu", "all", {}, F.elu), ("elu", "alpha", {"alpha": 0.7}, lambda x: F.elu(x, 0.7)), ("selu", "all", {}, F.selu),
        ("celu", "all", {}, F.celu), ("celu", "alpha", {"alpha": 0.7}, lambda x: F.celu(x, 0.7)), ("mish", "all", {}, F.mish),
        ("softsign", "all", {}, F.softsign), ("logsigmoid", "all", {}, F.logsigmoid), ("hardsigmoid", "bounds", {}, F.hardsigmoid),
        ("hardswish", "bounds", {}, F.hardswish), ("hardshrink", "bounds", {}, F.hardshrink), ("softshrink", "bounds", {}, F.softshrink),
        ("hardshrink", "given", {"lambda": 1.0}, lambda x: F.hardshrink(x, 1.0)), ("softshrink", "given", {"lambda": 1.0}, lambda x: F.softshrink(x, 1.0)),
        ("tanhshrink", "all", {}, F.tanhshrink),
      ]],
    ("prelu_one", "prelu", [[3, 4], [1]], {}, F.prelu),
    ("prelu_channels", "prelu", [[2, 3, 4], [3]], {}, F.prelu),
    ("glu", "glu", [[3, 8]], {}, F.glu),
    ("glu_axis", "glu", [[2, 4, 3]], {"axis": 1}, lambda x: F.glu(x, 1)),
    # Reductions.
    ("std", "std", [[4, 5]], {"axis": -1}, lambda x: x.std(-1)),
    ("std_biased_axes", "std", [[3, 4, 5]], {"axes": [0, 2], "correction": 0, "keepdims": True}, lambda x: x.std((0, 2), correction=0, keepdim=True)),
    ("std_of_equals", "std", [[[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]]], {"axis": -1}, lambda x: x.std(-1)),
    ("var_axes", "var", [[3, 4, 5]], {"axes": [0, 2], "correction": 2}, lambda x: x.var((0, 2), correction=2)),
    ("norm", "norm", [[3, 4, 5]], {"axes": [0, 2]}, lambda x: torch.linalg.vector_norm(x, dim=(0, 2))),
    ("norm_of_zeros", "norm", [[[0.0, 0.0], [3.0, 4.0]]], {"axis": -1}, lambda x: torch.linalg.vector_norm(x, dim=-1)),
    *[(f"norm_{k}", "norm", [[[0.5, -2.0, 0.0, 2.0], [-1.0, 0.1, 0.1, 3.0]]], {"axis": -1, "p": p}, (lambda p: lambda x: torch.linalg.vector_norm(x, p, dim=-1))(p))
      for k, p in [("1", 1.0), ("3", 3.0), ("inf", math.inf), ("minus_inf", -math.inf)]],
    ("norm_half", "norm", [[[0.5, -2.0, 0.2, 2.0], [-1.0, 0.1, 0.1, 3.0]]], {"axis": -1, "p": 0.5}, lambda x: torch.linalg.vector_norm(x, 0.5, dim=-1)),
    ("norm_minus_1", "norm", [[[0.5, -2.0, 0.2, 2.0], [-1.0, 0.1, 0.1, 3.0]]], {"axis": -1, "p": -1.0}, lambda x: torch.linalg.vector_norm(x, -1, dim=-1)),
    ("vecdot", "vecdot", [[2, 3, 4], [3, 4]], {}, torch.linalg.vecdot),
    ("vecdot_axis", "vecdot", [[2, 3, 4], [2, 3, 4]], {"axis": 1}, lambda x, y: torch.linalg.vecdot(x, y, dim=1)),
    # Norms.
    ("group_norm", "group_norm", [[2, 6, 3, 2], [6], [6]], {"groups": 3}, lambda x, w, b: F.group_norm(x, 3, w, b)),
    ("group_norm_plain", "group_norm", [[3, 4]], {"groups": 2, "eps": 1e-3}, lambda x: F.group_norm(x, 2, eps=1e-3)),
    ("instance_norm", "instance_norm", [[2, 3, 4, 3], [3], [3]], {}, lambda x, w, b: F.instance_norm(x, weight=w, bias=b)),
    ("instance_norm_1d", "instance_norm", [[2, 3, 7]], {}, F.instance_norm),
    ("rms_norm", "rms_norm", [[3, 8], [8]], {}, lambda x, w: F.rms_norm(x, [8], w, 2 ** -23)),
    ("rms_norm_axes", "rms_norm", [[2, 3, 4], [3, 4]], {"eps": 1e-5}, lambda x, w: F.rms_norm(x, [3, 4], w, 1e-5)),
    ("batch_norm", "batch_norm", [[3, 2, 2, 3], [2], [0.5, 2.0], [2], [2]], {}, lambda x, m, v, w, b: batch_norm(x, m, v, w, b)),
    ("local_response_norm", "local_response_norm", [[2, 7, 3, 2]], {"size": 5, "alpha": 0.3}, lambda x: F.local_response_norm(x, 5, alpha=0.3)),
    ("local_response_norm_even", "local_response_norm", [[2, 5, 3]], {"size": 2, "alpha": 0.5, "beta": 0.5, "k": 2.0},
     lambda x: F.local_response_norm(x, 2, alpha=0.5, beta=0.5, k=2.0)),
    ("l2_normalize", "l2_normalize", [[3, 5]], {}, F.normalize),
    ("l2_normalize_zeros", "l2_normalize", [[[0.0, 0.0], [3.0, -4.0]]], {"axis": -1}, lambda x: F.normalize(x, dim=-1)),
    # Arranging.
    ("roll", "roll", [[3, 4]], {"shifts": [1, -2], "axes": [0, 1]}, lambda x: x.roll((1, -2), (0, 1))),
    ("roll_flat", "roll", [[3, 4]], {"shifts": [-5]}, lambda x: x.roll(-5)),
    ("tile", "tile", [[2, 3]], {"times": [2]}, lambda x: x.tile(2)),
    ("tile_more", "tile", [[2, 3]], {"times": [2, 1, 3]}, lambda x: x.tile(2, 1, 3)),
    ("repeat", "repeat", [[2, 3]], {"times": [2, 3, 1]}, lambda x: x.repeat(2, 3, 1)),
    ("repeat_interleave", "repeat_interleave", [[2, 3]], {"repeats": 2, "axis": 1}, lambda x: x.repeat_interleave(2, 1)),
    ("repeat_interleave_flat", "repeat_interleave", [[2, 3]], {"repeats": 3}, lambda x: x.repeat_interleave(3)),
    ("outer", "outer", [[3], [4]], {}, torch.outer),
    ("diagonal", "diagonal", [[2, 3, 4]], {"offset": 1}, lambda x: x.diagonal(1, -2, -1)),
    ("diagonal_below", "diagonal", [[4, 3]], {"offset": -2}, lambda x: x.diagonal(-2)),
    # Losses.
    ("cross_entropy_weight", "cross_entropy", [[6, 4], ints([6], 4), [0.5, 1.0, 2.0, 0.1]], {}, lambda x, y, w: F.cross_entropy(x, y.long(), w.detach())),
    *[(f"cross_entropy_all_{r}", "cross_entropy", [[2, 4, 5], ints([2, 5], 4), [0.5, 1.0, 2.0, 0.1]],
       {"reduction": r, "label_smoothing": 0.1, "ignore_index": 2},
       (lambda r: lambda x, y, w: F.cross_entropy(x, y.long(), w.detach(), reduction=r, label_smoothing=0.1, ignore_index=2))(r)) for r in ["none", "mean", "sum"]],
    ("cross_entropy_smoothing", "cross_entropy", [[5, 7], ints([5], 7)], {"label_smoothing": 0.2}, lambda x, y: F.cross_entropy(x, y.long(), label_smoothing=0.2)),
    *[(f"cross_entropy_probabilities_{r}", "cross_entropy", [[2, 3, 2], [[[0.2, 0.1], [0.5, 0.6], [0.3, 0.3]], [[1.0, 0.0], [0.0, 0.25], [0.0, 0.75]]], [0.5, 1.0, 2.0]],
       {"reduction": r, "label_smoothing": s},
       (lambda r, s: lambda x, y, w: F.cross_entropy(x, y, w.detach(), reduction=r, label_smoothing=s))(r, s)) for r, s in [("none", 0.1), ("mean", 0.0), ("sum", 0.3)]],
    # Order.
    ("sort", "sort", [[3, 9]], {}, lambda x: x.sort(stable=True, dim=-1)),
    ("sort_falling_axis", "sort", [[7, 2, 3]], {"axis": 0, "descending": True}, lambda x: x.sort(stable=True, dim=0, descending=True)),
    ("sort_specials", "sort", [[[nan, 1.0, -inf, inf, -0.0, 0.0, 1.0, nan, -1.0]]], {}, lambda x: x.sort(stable=True, dim=-1)),
    ("sort_specials_falling", "sort", [[[nan, 1.0, -inf, inf, -0.0, 0.0, 1.0, nan, -1.0]]], {"descending": True}, lambda x: x.sort(stable=True, dim=-1, descending=True)),
    ("argsort_ints", "argsort", [ints([2, 12], 5)], {"descending": True}, lambda x: x.argsort(stable=True, dim=-1, descending=True)),
    ("top_k", "top_k", [[3, 11]], {"k": 4}, lambda x: x.topk(4)),
    ("top_k_smallest_axis", "top_k", [[8, 3]], {"k": 3, "axis": 0, "largest": False}, lambda x: x.topk(3, 0, largest=False)),
    ("top_k_nan", "top_k", [[[1.0, nan, 5.0, -2.0, inf]]], {"k": 3}, lambda x: x.topk(3)),
    # Running.
    ("cumsum", "cumsum", [[3, 5]], {"axis": 1}, lambda x: x.cumsum(1)),
    ("cumprod", "cumprod", [[3, 6]], {"axis": 1}, lambda x: x.cumprod(1)),
    ("cumprod_zeros", "cumprod", [[[2.0, 3.0, 0.0, 4.0, 5.0], [0.0, 2.0, 0.0, 1.0, 3.0], [2.0, -1.0, 0.5, 4.0, 3.0], [1.0, 2.0, 3.0, 4.0, 0.0]]], {"axis": 1},
     lambda x: x.cumprod(1)),
    ("cummax", "cummax", [[[1.0, 3.0, 2.0, 3.0, nan, 5.0], [2.0, 1.0, 2.0, -inf, inf, inf]]], {"axis": 1}, lambda x: x.cummax(1)),
    ("cummin", "cummin", [[4, 3]], {"axis": 0}, lambda x: x.cummin(0)),
    # Scatters.
    ("scatter", "scatter", [[3, 6], literal([[0, 5, 2], [1, 0, 3], [4, 3, 2]]), [3, 3]], {"axis": 1}, lambda x, i, s: x.scatter(1, i.long(), s)),
    ("scatter_add", "scatter_add", [[6, 3], ints([8, 3], 6), [8, 3]], {"axis": 0}, lambda x, i, s: x.scatter_add(0, i.long(), s)),
    *[(f"scatter_reduce_{r}{'' if own else '_source'}", "scatter_reduce", [[6, 3], ints([8, 3], 5), [8, 3]], {"axis": 0, "reduce": r, "include_self": own},
       (lambda r, own: lambda x, i, s: x.scatter_reduce(0, i.long(), s, r, include_self=own))(r, own))
      for r in ["sum", "prod", "mean", "amax", "amin"] for own in [True, False]],
    # Zeros in a product: none, one and two at a place, the first of them x's own. Ties of a largest, x's own among them (not
    # amax without it: there PyTorch counts an equal x, which has no part in it, and its shares do not add up).
    *[(f"scatter_reduce_{r}_equal{'' if own else '_source'}", "scatter_reduce",
       [[0.0, 2.0, 3.0, 0.0, 5.0, 1.0], literal([0, 1, 1, 2, 2, 3, 4, 4]), [2.0, 0.0, 4.0, 0.0, 0.0, 7.0, 5.0, 5.0]], {"axis": 0, "reduce": r, "include_self": own},
       (lambda r, own: lambda x, i, s: x.scatter_reduce(0, i.long(), s, r, include_self=own))(r, own))
      for r, own in [("prod", True), ("prod", False), ("amax", True)]],
    ("scatter_reduce_nan", "scatter_reduce", [[0.0, nan, 3.0], literal([0, 0, 1, 2]), [1.0, nan, inf, -inf]], {"axis": 0, "reduce": "amin"},
     lambda x, i, s: x.scatter_reduce(0, i.long(), s, "amin")),
    ("scatter_reduce_ints", "scatter_reduce", [ints([2, 4], 9), ints([2, 7], 4), ints([2, 7], 9)], {"axis": 1, "reduce": "prod"},
     lambda x, i, s: x.scatter_reduce(1, i.long(), s, "prod")),
    ("index_add", "index_add", [[2, 5, 3], ints([7], 5), [2, 7, 3]], {"axis": 1}, lambda x, i, s: x.index_add(1, i.long(), s)),
    ("segment_sum", "segment_sum", [[9, 2], ints([9], 4)], {"segments": 4}, lambda x, i: torch.zeros(4, 2, dtype=x.dtype).index_add(0, i.long(), x)),
    ("gather", "gather", [[3, 6], ints([3, 8], 6)], {"axis": 1}, lambda x, i: x.gather(1, i.long())),
    # Borders.
    ("pad_reflect", "pad", [[1, 2, 4, 5]], {"low": [0, 0, 1, 3], "high": [0, 0, 3, 2], "mode": "reflect"}, lambda x: F.pad(x, (3, 2, 1, 3), "reflect")),
    ("pad_replicate", "pad", [[2, 1, 3, 2]], {"low": [0, 0, 4, 1], "high": [0, 0, 0, 3], "mode": "replicate"}, lambda x: F.pad(x, (1, 3, 4, 0), "replicate")),
    ("pad_circular", "pad", [[1, 2, 4, 3]], {"low": [0, 0, 1, 3], "high": [0, 0, 4, 0], "mode": "circular"}, lambda x: F.pad(x, (3, 0, 1, 4), "circular")),
    ("pad_reflect_1d", "pad", [[2, 2, 5]], {"low": [0, 0, 4], "high": [0, 0, 4], "mode": "reflect"}, lambda x: F.pad(x, (4, 4), "reflect")),
    # Windows.
    ("conv2d_padding_same", "conv2d", [[1, 2, 5, 6], [3, 2, 4, 3], [3]], {"padding": "same", "dilation": [1, 2]},
     lambda x, w, b: F.conv2d(x, w, b, padding="same", dilation=(1, 2))),
    ("conv1d_padding_valid", "conv1d", [[1, 2, 9], [3, 2, 4], [3]], {"padding": "valid", "stride": 2}, lambda x, w, b: F.conv1d(x, w, b, stride=2, padding="valid")),
    ("lp_pool1d", "lp_pool1d", [[[[0.5, 1.0, 2.0, 0.25, 3.0, 0.75, 1.5]]]], {"norm_type": 3, "kernel": 3, "stride": 2}, lambda x: F.lp_pool1d(x, 3, 3, 2)),
    ("lp_pool2d", "lp_pool2d", [[2, 2, 6, 7]], {"norm_type": 2, "kernel": [2, 3]}, lambda x: F.lp_pool2d(x, 2, (2, 3))),
    ("lp_pool2d_ceil", "lp_pool2d", [[1, 2, 5, 7]], {"norm_type": 2, "kernel": 3, "stride": 2, "ceil_mode": True}, lambda x: F.lp_pool2d(x, 2, 3, 2, ceil_mode=True)),
    ("adaptive_avg_pool1d", "adaptive_avg_pool1d", [[2, 3, 11]], {"size": 4}, lambda x: F.adaptive_avg_pool1d(x, 4)),
    ("adaptive_avg_pool2d", "adaptive_avg_pool2d", [[2, 2, 7, 10]], {"size": [3, 4]}, lambda x: F.adaptive_avg_pool2d(x, (3, 4))),
    ("adaptive_avg_pool2d_even", "adaptive_avg_pool2d", [[1, 2, 6, 4]], {"size": [3, 1]}, lambda x: F.adaptive_avg_pool2d(x, (3, 1))),
    ("adaptive_avg_pool2d_larger", "adaptive_avg_pool2d", [[1, 2, 2, 3]], {"size": [6, 5]}, lambda x: F.adaptive_avg_pool2d(x, (6, 5))),
    ("adaptive_avg_pool3d", "adaptive_avg_pool3d", [[1, 2, 3, 5, 4]], {"size": [2, 3, 3]}, lambda x: F.adaptive_avg_pool3d(x, (2, 3, 3))),
    ("adaptive_max_pool1d", "adaptive_max_pool1d", [[2, 3, 11]], {"size": 4}, lambda x: F.adaptive_max_pool1d(x, 4)),
    ("adaptive_max_pool2d", "adaptive_max_pool2d", [[2, 2, 7, 5]], {"size": [3, 2]}, lambda x: F.adaptive_max_pool2d(x, (3, 2))),
    ("adaptive_max_pool2d_tie", "adaptive_max_pool2d", [[[[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]]]], {"size": 2}, lambda x: F.adaptive_max_pool2d(x, 2)),
    ("adaptive_max_pool3d", "adaptive_max_pool3d", [[1, 2, 3, 4, 5]], {"size": 2}, lambda x: F.adaptive_max_pool3d(x, 2)),
    ("max_pool1d_with_indices", "max_pool1d_with_indices", [[2, 2, 9]], {"kernel": 3, "stride": 2, "padding": 1}, lambda x: F.max_pool1d(x, 3, 2, 1, return_indices=True)),
    ("max_pool2d_with_indices", "max_pool2d_with_indices", [[2, 2, 7, 6]], {"kernel": 3, "stride": 2, "padding": 1, "dilation": [1, 2]},
     lambda x: F.max_pool2d(x, 3, 2, 1, (1, 2), return_indices=True)),
    ("max_pool3d_with_indices", "max_pool3d_with_indices", [[1, 2, 4, 5, 4]], {"kernel": 2}, lambda x: F.max_pool3d(x, 2, return_indices=True)),
    ("max_unpool2d", "max_unpool2d", [[1, 1, 2, 2], literal([[[[5, 2], [8, 15]]]])], {"kernel": 2}, lambda x, i: unpool(x, i, 2)),
    ("max_unpool2d_size", "max_unpool2d", [[1, 2, 2, 2], literal([[[[5, 2], [10, 19]], [[0, 3], [16, 24]]]])], {"kernel": 2, "size": [5, 5]}, lambda x, i: unpool(x, i, 2, output_size=(5, 5))),
    ("max_unpool1d", "max_unpool1d", [[1, 2, 3], literal([[[1, 2, 5], [0, 3, 4]]])], {"kernel": 2}, lambda x, i: unpool(x, i, 2)),
    ("max_unpool3d", "max_unpool3d", [[1, 1, 1, 1, 2], literal([[[[[5, 10]]]]])], {"kernel": 2}, lambda x, i: unpool(x, i, 2)),
    ("unfold", "unfold", [[2, 3, 6, 5]], {"kernel": [2, 3], "stride": [1, 2], "padding": 1}, lambda x: F.unfold(x, (2, 3), padding=1, stride=(1, 2))),
    ("unfold_dilation", "unfold", [[1, 2, 7, 8]], {"kernel": 3, "dilation": [2, 3], "padding": [2, 3]}, lambda x: F.unfold(x, 3, dilation=(2, 3), padding=(2, 3))),
    ("fold", "fold", [[2, 12, 12]], {"size": [4, 5], "kernel": 2}, lambda x: F.fold(x, (4, 5), 2)),
    ("fold_rest", "fold", [[1, 18, 9]], {"size": [6, 7], "kernel": 3, "stride": 2, "padding": [1, 0]}, lambda x: F.fold(x, (6, 7), 3, stride=2, padding=(1, 0))),
    # Other sizes.
    ("interpolate_nearest", "interpolate", [[1, 2, 5, 7]], {"size": [3, 11]}, lambda x: F.interpolate(x, (3, 11))),
    ("interpolate_nearest_scale", "interpolate", [[1, 2, 3, 5]], {"scale": 2}, lambda x: F.interpolate(x, scale_factor=2)),
    ("interpolate_nearest_scale_rest", "interpolate", [[2, 1, 7]], {"scale": 1.5}, lambda x: F.interpolate(x, scale_factor=1.5)),
    ("interpolate_linear", "interpolate", [[2, 2, 5]], {"size": 8, "mode": "linear"}, lambda x: F.interpolate(x, 8, mode="linear")),
    ("interpolate_bilinear", "interpolate", [[2, 2, 4, 5]], {"size": [7, 3], "mode": "bilinear"}, lambda x: F.interpolate(x, (7, 3), mode="bilinear")),
    ("interpolate_bilinear_corners", "interpolate", [[1, 2, 4, 5]], {"size": [7, 3], "mode": "bilinear", "align_corners": True},
     lambda x: F.interpolate(x, (7, 3), mode="bilinear", align_corners=True)),
    ("interpolate_bilinear_scale", "interpolate", [[1, 2, 3, 5]], {"scale": 1.5, "mode": "bilinear"}, lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear")),
    ("interpolate_bilinear_double", "interpolate", [[1, 2, 3, 4]], {"scale": 2, "mode": "bilinear", "align_corners": True},
     lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)),
    ("interpolate_bilinear_one", "interpolate", [[1, 2, 1, 4]], {"size": [3, 1], "mode": "bilinear", "align_corners": True},
     lambda x: F.interpolate(x, (3, 1), mode="bilinear", align_corners=True)),
    ("interpolate_bicubic", "interpolate", [[1, 2, 5, 4]], {"size": [8, 3], "mode": "bicubic"}, lambda x: F.interpolate(x, (8, 3), mode="bicubic")),
    ("interpolate_bicubic_corners", "interpolate", [[1, 2, 3, 5]], {"size": [7, 9], "mode": "bicubic", "align_corners": True},
     lambda x: F.interpolate(x, (7, 9), mode="bicubic", align_corners=True)),
    ("interpolate_trilinear", "interpolate", [[1, 2, 3, 4, 2]], {"size": [5, 3, 4], "mode": "trilinear"}, lambda x: F.interpolate(x, (5, 3, 4), mode="trilinear")),
    ("pixel_shuffle", "pixel_shuffle", [[2, 12, 3, 2]], {"factor": 2}, lambda x: F.pixel_shuffle(x, 2)),
    ("pixel_unshuffle", "pixel_unshuffle", [[2, 2, 6, 3]], {"factor": 3}, lambda x: F.pixel_unshuffle(x, 3)),
    *[
        (f"grid_sample_{mode}_{padding}{'_corners' if align else ''}", "grid_sample", [[2, 2, 4, 5], [[[[-0.9, -0.8], [0.3, 0.7], [1.4, -1.3]], [[-2.6, 0.1], [0.93, 0.98], [0.05, 2.9]]]] * 2],
         {"mode": mode, "padding": padding, "align_corners": align},
         lambda x, g, mode=mode, padding=padding, align=align: F.grid_sample(x, g, mode, padding, align))
        for mode in ("bilinear", "nearest") for padding in ("zeros", "border", "reflection") for align in (False, True)
    ],
    ("grid_sample_3d", "grid_sample", [[1, 2, 3, 4, 2], [1, 2, 3, 2, 3]], {}, lambda x, g: F.grid_sample(x, g, align_corners=False)),
    # Sums by letters.
    ("einsum_chain", "einsum", [[2, 3, 4], [4, 5], [3, 5, 2]], {"equation": "bij,jk,ikc->bc"}, lambda *x: torch.einsum("bij,jk,ikc->bc", *x)),
    ("einsum_implicit", "einsum", [[3, 4], [4, 5]], {"equation": "ca, ab"}, lambda *x: torch.einsum("ca, ab", *x)),
    ("einsum_ellipsis", "einsum", [[2, 1, 3, 4], [5, 4, 2]], {"equation": "...ij,...jk->...ki"}, lambda *x: torch.einsum("...ij,...jk->...ki", *x)),
    ("einsum_diagonal", "einsum", [[4, 4, 3]], {"equation": "iij->ji"}, lambda x: torch.einsum("iij->ji", x)),
    ("einsum_trace", "einsum", [[4, 4]], {"equation": "ii"}, lambda x: torch.einsum("ii", x)),
    ("einsum_heads", "einsum", [[2, 5, 3, 4], [2, 6, 3, 4]], {"equation": "bqhd,bkhd->bhqk"}, lambda *x: torch.einsum("bqhd,bkhd->bhqk", *x)),
    ("einsum_bilinear", "einsum", [[3, 4], [2, 4, 5], [3, 5]], {"equation": "bi,oij,bj->bo"}, lambda *x: torch.einsum("bi,oij,bj->bo", *x)),
    ("einsum_outer", "einsum", [[3], [4]], {"equation": "i,j"}, lambda *x: torch.einsum("i,j", *x)),
    # Attention.
    ("attention_grouped", "attention", [[2, 4, 5, 4], [2, 2, 6, 4], [2, 2, 6, 3]], {}, gqa),
    ("attention_grouped_causal", "attention", [[1, 6, 5, 4], [1, 2, 5, 4], [1, 2, 5, 4]], {"causal": True}, lambda q, k, v: gqa(q, k, v, is_causal=True)),
    ("attention_grouped_mask", "attention", [[1, 4, 3, 4], [1, 2, 5, 4], [1, 2, 5, 4], [4, 3, 5]], {}, lambda q, k, v, m: gqa(q, k, v, attn_mask=m)),
    ("attention_cross_bool", "attention", [[2, 2, 3, 4], [2, 2, 5, 4], [2, 2, 5, 4], bools([[True, True, False, True, False], [True] * 5, [False, True] * 2 + [False]])], {},
     lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m)),
    ("rotary_halves", "rotary_embedding", [[2, 3, 5, 6]], {}, rotated),
    ("rotary_pairs", "rotary_embedding", [[2, 5, 8]], {"interleaved": True, "base": 500000.0}, lambda x: rotated(x, 500000.0, True)),
    ("rotary_positions", "rotary_embedding", [[2, 3, 4], literal([[7], [4000]])], {}, lambda x, p: rotated(x, positions=p.expand(2, 3))),
]


def batch_norm(x, mean, var, weight, bias):
    """F.batch_norm takes no gradients of its statistics."""
    along = lambda v: v.reshape(1, -1, *[1] * (x.dim() - 2))
    return (x - along(mean)) / torch.sqrt(along(var) + 1e-5) * along(weight) + along(bias)


def number(v):
    """As JSON has it: what is no number there is a word."""
    return v if math.isfinite(v) else "NaN" if math.isnan(v) else "Infinity" if v > 0 else "-Infinity"


def operand(case, index, spec):
    """Its value, and how a reader makes it again."""
    name = f"{case}.{index}"
    if isinstance(spec, tuple) and spec[0] == "ints":
        return hashing.integers(name, spec[1], spec[2]), {"rule": "integers", "shape": spec[1], "below": spec[2]}
    if isinstance(spec, tuple) and spec[0] == "bools":
        value = np.array(spec[1], dtype=bool)
        return value, {"rule": "literal", "shape": list(value.shape), "dtype": "bool", "data": value.astype(int).reshape(-1).tolist()}
    if isinstance(spec, tuple):
        value = np.array(spec[1], dtype=np.int32)
        return value, {"rule": "literal", "shape": list(value.shape), "dtype": "i32", "data": value.reshape(-1).tolist()}
    if all(isinstance(v, int) for v in spec):
        return hashing.signed(name, spec), {"rule": "signed", "shape": spec}
    value = np.array(spec, dtype=np.float32)
    return value, {"rule": "literal", "shape": list(value.shape), "dtype": "f32", "data": [number(v) for v in value.reshape(-1).tolist()]}


def written(v):
    """An attribute in JSON, which has no infinities."""
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(v, v) if isinstance(v, float) else v


def figure():
    cases, tensors = [], {}
    for name, op, specs, attrs, compute in CASES:
        made = [operand(name, i, spec) for i, spec in enumerate(specs)]
        xs = [torch.tensor(v.astype(np.float64) if v.dtype == np.float32 else v) for v, _ in made]
        for x in xs:
            x.requires_grad_(x.dtype == torch.float64)
        y = compute(*xs)
        y, *others = y if isinstance(y, tuple) else (y,)
        for i, other in enumerate(others):
            tensors[f"{name}/other.{i}"] = other.numpy().astype(np.float64)
        direction = torch.tensor(hashing.signed(f"{name}.direction", list(y.shape)).astype(np.float64))
        if y.requires_grad:
            # A sum with a direction is not a number where y is not, and neither are products with it: y alone tells.
            y.backward(direction)
        tensors[f"{name}/y"] = y.detach().numpy().astype(np.float64)
        for i, x in enumerate(xs):
            # None where PyTorch has no derivative (the classes' weights of a cross entropy).
            if x.requires_grad and x.grad is not None:
                tensors[f"{name}/grad.{i}"] = x.grad.numpy()
        cases.append({"name": name, "op": op, "operands": [how for _, how in made], "attrs": {k: written(v) for k, v in attrs.items()}, "shape": list(y.shape)})
    return {"cases": cases}, tensors
