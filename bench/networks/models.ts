// The networks of the workloads. Each says what the .mdl file of its workload says, parameters by the same paths.
import { Builder, type Network, type Training, type Value } from "./network.ts";

const upTo = (n: number): number[] => [...Array(n).keys()];

export function matmul(n: number): Network {
  const b = new Builder();
  return b.done({ y: b.matmul(b.input("a", [n, n]), b.input("b", [n, n])) });
}

export function convBlock(cin: number, cout: number, side: number): Network {
  const b = new Builder();
  const x = b.image("x", [1, cin, side, side]);
  return b.done({ y: b.maxPool(b.relu(b.conv(x, "", cout, 3, { padding: 1 })), 2) });
}

/** dsl-examples/convnet.mdl */
export function convnet(batch: number, optimizer?: Training["optimizer"]): Network {
  const b = new Builder();
  let x = b.image("x", [batch, 1, 28, 28]);
  for (const [i, c] of [32, 64, 128].entries())
    x = b.maxPool(b.relu(b.conv(x, `block${i + 1}`, c, 3, { padding: 1 })), 2);
  const logits = b.linear(b.flatten(x), "head", 10);
  return optimizer ? b.trained(logits, b.input("y", [batch], "i32"), optimizer) : b.done({ logits });
}

type Norm = (x: Value, path: string, cout: number, k: number, stride?: number, groups?: number) => Value;
/** A convolution that keeps the image's size (divided by its stride), and its batch norm. */
const normed =
  (b: Builder) =>
  (x: Value, [conv, bn]: readonly [string, string], cout: number, k: number, stride = 1, groups = 1): Value =>
    b.batchNorm(b.conv(x, conv, cout, k, { stride, padding: k >> 1, groups, bias: false }), bn);

/** ResNet-18 and -50 as torchvision names them. */
function resnet(batch: number, side: number, expansion: 1 | 4, depths: readonly number[]): Network {
  const b = new Builder();
  const block = normed(b);
  const image = b.image("x", [batch, 3, side, side]);
  let x = b.maxPool(b.relu(block(image, ["conv1", "bn1"], 64, 7, 2)), 3, 2, 1);
  for (const [stage, depth] of depths.entries()) {
    const c = 64 << stage;
    for (const i of upTo(depth)) {
      const at = `layer${stage + 1}.${i}`;
      const stride = stage > 0 && i === 0 ? 2 : 1;
      const part = (h: Value, n: number, cout: number, k: number, s: number): Value =>
        block(h, [`${at}.conv${n}`, `${at}.bn${n}`], cout, k, s);
      const cout = c * expansion;
      const down: readonly [string, string] = [`${at}.downsample.0`, `${at}.downsample.1`];
      const same = stride === 1 && x.shape[1] === cout;
      let h: Value;
      if (expansion === 1) h = part(b.relu(part(x, 1, c, 3, stride)), 2, c, 3, 1);
      else h = part(b.relu(part(b.relu(part(x, 1, c, 1, 1)), 2, c, 3, stride)), 3, cout, 1, 1);
      x = b.relu(b.add(h, same ? x : block(x, down, cout, 1, stride)));
    }
  }
  return b.done({ logits: b.linear(b.globalAvgPool(x), "fc", 1000) });
}
export const resnet18 = (batch: number): Network => resnet(batch, 224, 1, [2, 2, 2, 2]);
export const resnet50 = (batch: number): Network => resnet(batch, 224, 4, [3, 4, 6, 3]);

/** dsl-examples/resnet20.mdl */
export function resnet20(batch: number, optimizer: Training["optimizer"]): Network {
  const b = new Builder();
  const block = normed(b);
  let x = b.relu(block(b.image("x", [batch, 3, 32, 32]), ["conv1", "bn1"], 16, 3));
  for (const stage of upTo(3)) {
    for (const i of upTo(3)) {
      const at = `layer${stage + 1}.${i}`;
      const c = 16 << stage;
      const stride = stage > 0 && i === 0 ? 2 : 1;
      const h = b.relu(block(x, [`${at}.conv1`, `${at}.bn1`], c, 3, stride));
      const shortcut = stride === 1 ? x : b.shrink(x, (c - x.shape[1]) / 2);
      x = b.relu(b.add(block(h, [`${at}.conv2`, `${at}.bn2`], c, 3), shortcut));
    }
  }
  const logits = b.linear(b.globalAvgPool(x), "linear", 10);
  return b.trained(logits, b.input("y", [batch], "i32"), optimizer);
}

/** bench/models/compile/mobilenetv2.mdl */
export function mobilenetv2(batch: number): Network {
  const b = new Builder();
  const norm = normed(b);
  const block: Norm = (x, path, cout, k, stride, groups) =>
    b.relu6(norm(x, [`${path}.0`, `${path}.1`], cout, k, stride, groups));
  let x = block(b.image("x", [batch, 3, 224, 224]), "features.0", 32, 3, 2);
  let at = 1;
  const table = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ];
  for (const [t, c, n, s] of table) {
    for (const i of upTo(n)) {
      const path = `features.${at++}.conv`;
      const hid = x.shape[1] * t;
      const stride = i === 0 ? s : 1;
      let h = x;
      if (t > 1) h = block(h, `${path}.0`, hid, 1);
      const next = t > 1 ? 1 : 0;
      h = block(h, `${path}.${next}`, hid, 3, stride, hid);
      h = norm(h, [`${path}.${next + 1}`, `${path}.${next + 2}`], c, 1);
      x = stride === 1 && x.shape[1] === c ? b.add(x, h) : h;
    }
  }
  x = block(x, `features.${at}`, 1280, 1);
  return b.done({ logits: b.linear(b.globalAvgPool(x), "classifier.1", 1000) });
}

/** bench/models/vgg16.mdl */
export function vgg16(batch: number): Network {
  const b = new Builder();
  let x = b.image("x", [batch, 3, 224, 224]);
  let at = 0;
  for (const stage of [
    [64, 64],
    [128, 128],
    [256, 256, 256],
    [512, 512, 512],
    [512, 512, 512],
  ]) {
    for (const c of stage) {
      x = b.relu(b.conv(x, `features.${at}`, c, 3, { padding: 1 }));
      at += 2;
    }
    x = b.maxPool(x, 2);
    at++;
  }
  return b.done({ logits: b.linear(b.globalAvgPool(x), "classifier", 1000) });
}

/** bench/models/unet.mdl */
export function unet(batch: number, side: number, width: number, depth: number): Network {
  const b = new Builder();
  const double = (x: Value, path: string, c: number): Value =>
    [1, 2].reduce((h, i) => b.relu(b.conv(h, `${path}.conv${i}`, c, 3, { padding: 1 })), x);
  let x = b.image("x", [batch, 3, side, side]);
  const skips: Value[] = [];
  for (const i of upTo(depth)) {
    x = double(x, `down.${i}`, width << i);
    skips.push(x);
    x = b.maxPool(x, 2);
  }
  x = double(x, "middle", width << depth);
  for (const i of upTo(depth)) {
    const c = width << (depth - 1 - i);
    x = double(b.concat(skips.pop()!, b.convTranspose(x, `up.${i}.up`, c, 2), 1), `up.${i}.block`, c);
  }
  return b.done({ y: b.conv(x, "head", 2, 1) });
}

/** [B, T, D] as [B, H, T, D / H], and back. */
const heads = (b: Builder, x: Value, n: number): Value =>
  b.transpose(b.reshape(x, [x.shape[0], x.shape[1], n, x.shape[2] / n]), [0, 2, 1, 3]);
const unheads = (b: Builder, x: Value): Value =>
  b.reshape(b.transpose(x, [0, 2, 1, 3]), [x.shape[0], x.shape[2], x.shape[1] * x.shape[3]]);

/** Encoder of dsl-examples/transformer.mdl */
export function encoder(batch: number, length: number): Network {
  const b = new Builder();
  const x = b.input("x", [batch, length, 256]);
  const parts = b.split(b.linear(b.layerNorm(x, "block.norm1"), "block.attn.qkv", 768), 3);
  const [q, k, v] = parts.map((p) => heads(b, p, 4));
  const h = b.add(x, b.linear(unheads(b, b.attention(q, k, v)), "block.attn.proj", 256));
  const hidden = b.gelu(b.linear(b.layerNorm(h, "block.norm2"), "block.mlp.fc1", 1024));
  return b.done({ encode: b.add(h, b.linear(hidden, "block.mlp.fc2", 256)) });
}

const GPT = { vocab: 65, d: 128, heads: 4, context: 128 };

/** GPT of dsl-examples/transformer.mdl: all tokens at once. */
export function gpt(
  batch: number,
  length: number,
  depth: number,
  optimizer?: Training["optimizer"],
): Network {
  const b = new Builder();
  const { d } = GPT;
  const ids = b.input("ids", [batch, length], "i32");
  const table = b.param("wte.weight", [GPT.vocab, d]);
  const place = optimizer
    ? b.param("wpe.weight", [GPT.context, d])
    : b.part("wpe.weight", [GPT.context, d], 0, 0, length);
  if (place.shape[0] !== length) throw new Error("a training step takes the whole context");
  let x = b.add(b.embedding(ids, table), place);
  for (const i of upTo(depth)) {
    const at = `blocks.${i}`;
    const parts = b.split(b.linear(b.layerNorm(x, `${at}.ln1`), `${at}.qkv`, 3 * d), 3);
    const [q, k, v] = parts.map((p) => heads(b, p, GPT.heads));
    x = b.add(x, b.linear(unheads(b, b.attention(q, k, v, true)), `${at}.proj`, d));
    const hidden = b.gelu(b.linear(b.layerNorm(x, `${at}.ln2`), `${at}.mlp.fc1`, 4 * d));
    x = b.add(x, b.linear(hidden, `${at}.mlp.fc2`, d));
  }
  const logits = b.linearBy(b.layerNorm(x, "ln"), table);
  if (!optimizer) return b.done({ logits });
  const rows = b.reshape(logits, [batch * length, GPT.vocab]);
  return b.trained(rows, b.reshape(b.input("next", [batch, length], "i32"), [batch * length]), optimizer);
}

/** The same model, one token at place `at`, the keys and values of the places before it given. */
export function gptToken(at: number, depth: number): Network {
  const b = new Builder();
  const { d, context } = GPT;
  const table = b.param("wte.weight", [GPT.vocab, d]);
  const place = b.part("wpe.weight", [context, d], 0, at, at + 1);
  let x = b.add(b.embedding(b.input("id", [1], "i32"), table), place);
  const cached = [1, GPT.heads, context, d / GPT.heads];
  for (const i of upTo(depth)) {
    const path = `blocks.${i}`;
    const parts = b.split(b.linear(b.layerNorm(x, `${path}.ln1`), `${path}.qkv`, 3 * d), 3);
    const [q, k, v] = parts.map((p) => b.reshape(p, [1, GPT.heads, 1, d / GPT.heads]));
    const keys = b.concat(b.part(`${path}.keys`, cached, 2, 0, at), k, 2);
    const values = b.concat(b.part(`${path}.values`, cached, 2, 0, at), v, 2);
    const a = b.reshape(b.attention(q, keys, values), [1, d]);
    x = b.add(x, b.linear(a, `${path}.proj`, d));
    const hidden = b.gelu(b.linear(b.layerNorm(x, `${path}.ln2`), `${path}.mlp.fc1`, 4 * d));
    x = b.add(x, b.linear(hidden, `${path}.mlp.fc2`, d));
  }
  return b.done({ next: b.linearBy(b.layerNorm(x, "ln"), table) });
}

/** dsl-examples/lstm.mdl */
export function charLstm(batch: number, length: number): Network {
  const b = new Builder();
  const ids = b.input("ids", [batch, length], "i32");
  const x = b.embedding(ids, b.param("embed.weight", [65, 64]));
  return b.done({ logits: b.linear(b.lstm(x, "lstm", 128), "head", 65) });
}

export function softmax(rows: number, columns: number): Network {
  const b = new Builder();
  return b.done({ y: b.softmax(b.input("x", [rows, columns])) });
}

export function layerNorm(rows: number, columns: number): Network {
  const b = new Builder();
  return b.done({ y: b.layerNorm(b.input("x", [rows, columns]), "norm") });
}

export function attention(batch: number, n: number, length: number, d: number): Network {
  const b = new Builder();
  const [q, k, v] = ["q", "k", "v"].map((name) => b.input(name, [batch, n, length, d]));
  return b.done({ y: b.attention(q, k, v) });
}
