// A network as every peer can be told it: plain data, in PyTorch's layouts (images NCHW, convolutions OIHW, linear weights
// [out, in]), one node an operator as a user of the peer would write it. In: calls of a Builder. Out: a Network, from which
// the ONNX file is written (onnx.ts), and which TensorFlow.js, jax-js and PyTorch interpret (peers/). What mdl compiles is the
// .mdl file of the same workload; parameters have its paths.

export interface Port {
  readonly shape: readonly number[];
  readonly dtype: "f32" | "i32";
}

export interface Param {
  readonly shape: readonly number[];
  /** A part of a parameter of the model, made ahead: elements `from` up to `to` of an axis. */
  readonly part?: {
    readonly of: string;
    readonly shape: readonly number[];
    readonly axis: number;
    readonly from: number;
    readonly to: number;
  };
}

export interface Node {
  readonly op: string;
  /** Names of inputs, parameters and earlier nodes' outputs. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Of the (first) output. */
  readonly shape: readonly number[];
  /** The output is a batch of images: a peer that wants channels last has them so. */
  readonly image: boolean;
  readonly attrs: Readonly<
    Record<string, number | boolean | readonly number[] | readonly (readonly number[])[]>
  >;
}

/** A training step: the mean cross entropy of logits and labels, and an optimiser with PyTorch's meaning. */
export interface Training {
  readonly loss: string;
  readonly optimizer:
    | { readonly kind: "adam"; readonly lr: number }
    | { readonly kind: "sgd"; readonly lr: number; readonly momentum: number };
}

export interface Network {
  readonly inputs: Readonly<Record<string, Port>>;
  readonly params: Readonly<Record<string, Param>>;
  readonly nodes: readonly Node[];
  /** Results by name: the value that each is. */
  readonly outputs: Readonly<Record<string, string>>;
  readonly training?: Training;
  /** Operations of a call: two for a multiplication and an addition; of products and convolutions alone. */
  readonly flops: number;
}

/** What is known of a value while a network is built. */
export interface Value {
  readonly name: string;
  readonly shape: readonly number[];
  readonly image: boolean;
}

type Attrs = Node["attrs"];
export const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export class Builder {
  readonly #inputs: Record<string, Port> = {};
  readonly #params: Record<string, Param> = {};
  readonly #nodes: Node[] = [];
  #flops = 0;

  input(name: string, shape: readonly number[], dtype: Port["dtype"] = "f32", image = false): Value {
    this.#inputs[name] = { shape, dtype };
    return { name, shape, image };
  }

  image(name: string, shape: readonly number[]): Value {
    return this.input(name, shape, "f32", true);
  }

  param(path: string, shape: readonly number[]): Value {
    this.#params[path] = { shape };
    return { name: path, shape, image: false };
  }

  /** Elements `from` up to `to` of an axis of a parameter of the model. */
  part(of: string, shape: readonly number[], axis: number, from: number, to: number): Value {
    const name = `${of}[${from}:${to}]`;
    const cut = shape.map((d, i) => (i === axis ? to - from : d));
    this.#params[name] = { shape: cut, part: { of, shape, axis, from, to } };
    return { name, shape: cut, image: false };
  }

  #node(
    op: string,
    inputs: readonly Value[],
    shape: readonly number[],
    attrs: Attrs = {},
    image = false,
  ): Value {
    const name = `v${this.#nodes.length}`;
    this.#nodes.push({ op, inputs: inputs.map((v) => v.name), outputs: [name], shape, image, attrs });
    return { name, shape, image };
  }

  #pointwise(op: string, ...inputs: readonly Value[]): Value {
    return this.#node(op, inputs, inputs[0].shape, {}, inputs[0].image);
  }

  /** Of parameters `${path}.weight` and, where there is a bias, `${path}.bias`; with no path they are at the top. */
  conv(
    x: Value,
    path: string,
    cout: number,
    k: number,
    { stride = 1, padding = 0, groups = 1, bias = true } = {},
  ): Value {
    const [n, c, h, w] = x.shape;
    const out = (d: number): number => Math.floor((d + 2 * padding - k) / stride) + 1;
    const shape = [n, cout, out(h), out(w)];
    this.#flops += 2 * product(shape) * (c / groups) * k * k;
    const params = this.#weights(path, [cout, c / groups, k, k], bias ? [cout] : undefined);
    return this.#node("conv", [x, ...params], shape, { k, stride, padding, groups }, true);
  }

  /** Transposed, with a stride as large as the kernel. */
  convTranspose(x: Value, path: string, cout: number, k: number): Value {
    const [n, c, h, w] = x.shape;
    this.#flops += 2 * product(x.shape) * cout * k * k;
    const params = this.#weights(path, [c, cout, k, k], [cout]);
    return this.#node("conv_transpose", [x, ...params], [n, cout, h * k, w * k], { k, stride: k }, true);
  }

  #weights(path: string, weight: readonly number[], bias: readonly number[] | undefined): Value[] {
    const at = (name: string): string => (path === "" ? name : `${path}.${name}`);
    const made = [this.param(at("weight"), weight)];
    if (bias) made.push(this.param(at("bias"), bias));
    return made;
  }

  batchNorm(x: Value, path: string): Value {
    const c = [x.shape[1]];
    const params = ["weight", "bias", "running_mean", "running_var"].map((p) =>
      this.param(`${path}.${p}`, c),
    );
    return this.#node("batch_norm", [x, ...params], x.shape, { eps: 1e-5 }, true);
  }

  linear(x: Value, path: string, cout: number, bias = true): Value {
    const cin = x.shape.at(-1)!;
    return this.linearBy(x, ...(this.#weights(path, [cout, cin], bias ? [cout] : undefined) as [Value]));
  }

  /** By a weight [out, in] that is there already. */
  linearBy(x: Value, ...params: readonly [weight: Value, bias?: Value]): Value {
    const [cout, cin] = params[0].shape;
    const shape = [...x.shape.slice(0, -1), cout];
    this.#flops += 2 * product(shape) * cin;
    return this.#node("linear", [x, ...(params as readonly Value[])], shape);
  }

  matmul(a: Value, b: Value): Value {
    const shape = [...a.shape.slice(0, -1), b.shape.at(-1)!];
    this.#flops += 2 * product(a.shape) * b.shape.at(-1)!;
    return this.#node("matmul", [a, b], shape);
  }

  /** softmax(q kᵀ / sqrt(d)) v of [B, H, T, D]. */
  attention(q: Value, k: Value, v: Value, causal = false): Value {
    this.#flops += 4 * product(q.shape) * k.shape[2];
    return this.#node("attention", [q, k, v], q.shape, { causal });
  }

  layerNorm(x: Value, path: string): Value {
    const d = [x.shape.at(-1)!];
    return this.#node("layer_norm", [x, ...this.#weights(path, d, d)], x.shape, { eps: 1e-5 });
  }

  embedding(ids: Value, table: Value): Value {
    return this.#node("embedding", [ids, table], [...ids.shape, table.shape[1]]);
  }

  /** PyTorch's LSTM of one layer, batch first, from zeros: y [B, T, h]. */
  lstm(x: Value, path: string, h: number): Value {
    const [b, t, d] = x.shape;
    this.#flops += 2 * b * t * 4 * h * (d + h);
    const shapes = {
      weight_ih_l0: [4 * h, d],
      weight_hh_l0: [4 * h, h],
      bias_ih_l0: [4 * h],
      bias_hh_l0: [4 * h],
    };
    const params = Object.entries(shapes).map(([name, shape]) => this.param(`${path}.${name}`, shape));
    return this.#node("lstm", [x, ...params], [b, t, h], { h });
  }

  relu = (x: Value): Value => this.#pointwise("relu", x);
  relu6 = (x: Value): Value => this.#pointwise("relu6", x);
  /** With erf. */
  gelu = (x: Value): Value => this.#pointwise("gelu", x);
  softmax = (x: Value): Value => this.#pointwise("softmax", x);
  add = (a: Value, b: Value): Value => this.#pointwise("add", a, b);

  maxPool(x: Value, k: number, stride = k, padding = 0): Value {
    const [n, c, h, w] = x.shape;
    const out = (d: number): number => Math.floor((d + 2 * padding - k) / stride) + 1;
    return this.#node("max_pool", [x], [n, c, out(h), out(w)], { k, stride, padding }, true);
  }

  globalAvgPool(x: Value): Value {
    return this.#node("global_avg_pool", [x], x.shape.slice(0, 2));
  }

  /** All but the first axis in one; of images as NCHW has them. */
  flatten(x: Value): Value {
    return this.#node("flatten", [x], [x.shape[0], product(x.shape.slice(1))], { of: x.shape });
  }

  reshape(x: Value, shape: readonly number[]): Value {
    return this.#node("reshape", [x], shape);
  }

  transpose(x: Value, perm: readonly number[]): Value {
    return this.#node(
      "transpose",
      [x],
      perm.map((i) => x.shape[i]),
      { perm },
    );
  }

  concat(a: Value, b: Value, axis: number): Value {
    const shape = a.shape.map((d, i) => (i === axis ? d + b.shape[i] : d));
    return this.#node("concat", [a, b], shape, { axis }, a.image);
  }

  /** Equal parts of the last axis. */
  split(x: Value, parts: number): Value[] {
    const shape = [...x.shape.slice(0, -1), x.shape.at(-1)! / parts];
    const names = Array.from({ length: parts }, (_, i) => `v${this.#nodes.length}_${i}`);
    this.#nodes.push({
      op: "split",
      inputs: [x.name],
      outputs: names,
      shape,
      image: false,
      attrs: { parts },
    });
    return names.map((name) => ({ name, shape, image: false }));
  }

  /** Every second pixel of an image, and `more` channels of zeros before and after. */
  shrink(x: Value, more: number): Value {
    const [n, c, h, w] = x.shape;
    return this.#node("shrink", [x], [n, c + 2 * more, Math.ceil(h / 2), Math.ceil(w / 2)], { more }, true);
  }

  /** The network that ends here. */
  done(outputs: Readonly<Record<string, Value>>): Network {
    return {
      inputs: this.#inputs,
      params: this.#params,
      nodes: this.#nodes,
      outputs: Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, value.name])),
      flops: this.#flops,
    };
  }

  /** The training step of these logits [.., classes] and labels of the shape before: forward and twice as much back. */
  trained(logits: Value, labels: Value, optimizer: Training["optimizer"]): Network {
    const loss = this.#node("cross_entropy", [logits, labels], []);
    return { ...this.done({}), training: { loss: loss.name, optimizer }, flops: 3 * this.#flops };
  }
}
