"""The models of dsl-examples in PyTorch, with the parameter names that mdl gives them."""

import torch
from torch import nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Dropout whose mask is handed in, so that both sides can use the same one. `mask` holds 0 and 1."""

    def __init__(self, p):
        super().__init__()
        self.p = p
        self.mask = None

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        assert self.mask is not None, "dropout in training needs a mask"
        return x * self.mask.to(x.dtype) / (1 - self.p)


class ConvBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(cout, cin, 3, 3))
        self.bias = nn.Parameter(torch.empty(cout))

    def forward(self, x):
        return F.max_pool2d(F.relu(F.conv2d(x, self.weight, self.bias, padding=1)), 2)


class ConvBlockBN(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.bn(self.conv(x))), 2)


class ConvNet(nn.Module):
    def __init__(self, classes=10, p=0.25, width=32, block=ConvBlock):
        super().__init__()
        self.block1 = block(1, width)
        self.block2 = block(width, 2 * width)
        self.block3 = block(2 * width, 4 * width)
        self.dropout = Dropout(p)
        self.head = nn.Linear(4 * width * 3 * 3, classes)

    def forward(self, x):
        h = self.block3(self.block2(self.block1(x))).flatten(1)
        return self.head(self.dropout(h))


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        same = stride == 1 and cin == cout
        self.downsample = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(cin, cout, 1, stride=stride, bias=False), nn.BatchNorm2d(cout))
        )

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + self.downsample(x))


class ResNet18(nn.Module):
    def __init__(self, classes=1000, width=64):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        for i in range(1, 5):
            first = BasicBlock(widths[i - 1], widths[i], stride=1 if i == 1 else 2)
            setattr(self, f"layer{i}", nn.Sequential(first, BasicBlock(widths[i], widths[i])))
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        h = self.layer4(self.layer3(self.layer2(self.layer1(h))))
        return self.fc(h.mean((2, 3)))


class MLP(nn.Module):
    def __init__(self, d, hidden):
        super().__init__()
        self.fc1 = nn.Linear(d, hidden)
        self.fc2 = nn.Linear(hidden, d)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


def attend(qkv, heads, causal):
    b, t, d3 = qkv.shape
    d = d3 // 3
    q, k, v = (z.reshape(b, t, heads, d // heads).transpose(1, 2) for z in qkv.split(d, dim=-1))
    a = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return a.transpose(1, 2).reshape(b, t, d)


class SelfAttention(nn.Module):
    def __init__(self, d, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(d, 3 * d)
        self.proj = nn.Linear(d, d)

    def forward(self, x):
        return self.proj(attend(self.qkv(x), self.heads, self.causal))


class TransformerBlock(nn.Module):
    def __init__(self, d, heads, hidden, causal=False):
        super().__init__()
        self.norm1 = nn.LayerNorm(d)
        self.attn = SelfAttention(d, heads, causal)
        self.norm2 = nn.LayerNorm(d)
        self.mlp = MLP(d, hidden)

    def forward(self, x):
        h = x + self.attn(self.norm1(x))
        return h + self.mlp(self.norm2(h))


class Encoder(nn.Module):
    def __init__(self, d, heads, hidden):
        super().__init__()
        self.block = TransformerBlock(d, heads, hidden)

    def forward(self, x):
        return self.block(x)


class GPTBlock(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1 = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.proj = nn.Linear(d, d)
        self.ln2 = nn.LayerNorm(d)
        self.mlp = MLP(d, 4 * d)

    def forward(self, x):
        h = x + self.proj(attend(self.qkv(self.ln1(x)), self.heads, True))
        return h + self.mlp(self.ln2(h))


class GPT(nn.Module):
    """The head's weight is wte's, so it isn't a parameter of its own."""

    def __init__(self, vocab, d, heads, depth, context):
        super().__init__()
        self.wte = nn.Embedding(vocab, d)
        self.wpe = nn.Embedding(context, d)
        self.blocks = nn.ModuleList(GPTBlock(d, heads) for _ in range(depth))
        self.ln = nn.LayerNorm(d)

    def forward(self, ids):
        h = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.blocks:
            h = block(h)
        return self.ln(h) @ self.wte.weight.T


class CharLSTM(nn.Module):
    def __init__(self, vocab, d, h):
        super().__init__()
        self.embed = nn.Embedding(vocab, d)
        self.lstm = nn.LSTM(d, h, batch_first=True)
        self.head = nn.Linear(h, vocab)

    def forward(self, ids):
        return self.head(self.lstm(self.embed(ids))[0])


class MultiHeadAttention(nn.Module):
    """torch.nn.MultiheadAttention, batch first, its weights not asked for."""

    def __init__(self, d, heads):
        super().__init__()
        inner = nn.MultiheadAttention(d, heads, batch_first=True)
        self.in_proj_weight, self.in_proj_bias, self.out_proj = inner.in_proj_weight, inner.in_proj_bias, inner.out_proj
        self.d, self.heads = d, heads

    def forward(self, query, key, value):
        y, _ = F.multi_head_attention_forward(
            query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1), self.d, self.heads,
            self.in_proj_weight, self.in_proj_bias, None, None, False, 0.0,
            self.out_proj.weight, self.out_proj.bias, training=self.training, need_weights=False,
        )  # fmt: skip
        return y.transpose(0, 1)


class MLPModel(nn.Module):
    def __init__(self, inputs, hidden, depth, classes):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(hidden if i else inputs, hidden) for i in range(depth))
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x)
