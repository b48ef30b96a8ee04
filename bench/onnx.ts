// A network as an ONNX file, as an exporter would have written it: batch norms folded, linear layers as Gemm or MatMul and Add
// with the weight turned, attention as its two products around a softmax, an LSTM as one node. In: a network with its weights
// (networks/prepared.ts). Out: the bytes of a ModelProto, opset 20.
import { type Network, type Node, product } from "./networks/network.ts";
import type { Prepared } from "./networks/prepared.ts";

const OPSET = 20;
const IR_VERSION = 9;

// ------------------------------------------------------------------------------------------ protobuf

/** Fields of a message: a number and what it holds. Numbers are varints, [x] is a float, the rest is bytes. */
type Field = readonly [number, number | readonly [number] | string | Uint8Array | Message];
class Message {
  readonly #parts: Uint8Array[] = [];
  #size = 0;

  constructor(...fields: readonly Field[]) {
    for (const field of fields) this.add(...field);
  }

  add(number: Field[0], value: Field[1]): void {
    if (typeof value === "number") this.#push(varint(number * 8), varint(value));
    else if (Array.isArray(value))
      this.#push(varint(number * 8 + 5), new Uint8Array(Float32Array.of(value[0]).buffer));
    else {
      const bytes = value instanceof Message ? value.bytes() : encoded(value as string | Uint8Array);
      this.#push(varint(number * 8 + 2), varint(bytes.length), bytes);
    }
  }

  #push(...parts: readonly Uint8Array[]): void {
    this.#parts.push(...parts);
    for (const part of parts) this.#size += part.length;
  }

  bytes(): Uint8Array {
    const out = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}

const encoded = (value: string | Uint8Array): Uint8Array =>
  typeof value === "string" ? new TextEncoder().encode(value) : value;

function varint(value: number): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Uint8Array.from(out);
}

// ------------------------------------------------------------------------------------------ the graph

const FLOAT = 1;
const INT32 = 6;
const INT64 = 7;
type Attr = number | string | readonly number[] | { readonly float: number };

class Graph {
  readonly message = new Message();
  #made = 0;

  node(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attrs: Record<string, Attr> = {},
  ): void {
    const fields: Field[] = [
      ...inputs.map((name): Field => [1, name]),
      ...outputs.map((name): Field => [2, name]),
      [3, `${op}_${outputs[0]}`],
      [4, op],
      ...Object.entries(attrs).map(([name, value]): Field => [5, attribute(name, value)]),
    ];
    this.message.add(1, new Message(...fields));
  }

  /** A node whose output is for the next one. */
  inner(op: string, inputs: readonly string[], attrs: Record<string, Attr> = {}): string {
    const name = `inner_${this.#made++}`;
    this.node(op, inputs, [name], attrs);
    return name;
  }

  tensor(name: string, shape: readonly number[], type: number, data: ArrayBufferView): string {
    const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const dims = shape.map((d): Field => [1, d]);
    this.message.add(5, new Message(...dims, [2, type], [8, name], [9, raw]));
    return name;
  }

  floats(shape: readonly number[], values: Float32Array): string {
    return this.tensor(`constant_${this.#made++}`, shape, FLOAT, values);
  }

  ints(values: readonly number[]): string {
    return this.tensor(
      `constant_${this.#made++}`,
      [values.length],
      INT64,
      BigInt64Array.from(values, BigInt),
    );
  }

  port(field: 11 | 12, name: string, shape: readonly number[], type: number): void {
    const dims = new Message(...shape.map((d): Field => [1, new Message([1, d])]));
    this.message.add(field, new Message([1, name], [2, new Message([1, new Message([1, type], [2, dims])])]));
  }
}

function attribute(name: string, value: Attr): Message {
  if (typeof value === "number") return new Message([1, name], [3, value], [20, 2]);
  if (typeof value === "string") return new Message([1, name], [4, value], [20, 3]);
  if ("float" in value) return new Message([1, name], [2, [value.float]], [20, 1]);
  return new Message([1, name], ...value.map((v): Field => [8, v]), [20, 7]);
}

export function onnxModel({ network, weights }: Prepared, name: string): Uint8Array {
  const graph = new Graph();
  const shapes = shapesOf(network);
  // What a node wants otherwise than it is: made under a name of its own, and the rest that nobody names left out.
  const used = new Set<string>();
  const context: Context = {
    graph,
    shapes,
    weight(path) {
      return weights.get(path)!.data;
    },
    param(path) {
      if (weights.has(path) && !used.has(path)) {
        used.add(path);
        graph.tensor(path, weights.get(path)!.shape, FLOAT, weights.get(path)!.data);
      }
      return path;
    },
  };
  for (const node of network.nodes) {
    const write = OPS[node.op];
    if (!write) throw new Error(`ONNX files have no ${node.op} here`);
    write(context, node);
  }
  graph.message.add(2, name);
  for (const [port, { shape, dtype }] of Object.entries(network.inputs))
    graph.port(11, port, shape, dtype === "i32" ? INT32 : FLOAT);
  for (const [result, value] of Object.entries(network.outputs)) {
    graph.node("Identity", [value], [result]);
    graph.port(12, result, shapes.get(value)!, FLOAT);
  }
  const opset = new Message([1, ""], [2, OPSET]);
  return new Message([1, IR_VERSION], [2, "mdl bench"], [7, graph.message], [8, opset]).bytes();
}

function shapesOf(network: Network): ReadonlyMap<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  for (const [name, { shape }] of [...Object.entries(network.inputs), ...Object.entries(network.params)])
    shapes.set(name, shape);
  for (const { outputs, shape } of network.nodes) for (const name of outputs) shapes.set(name, shape);
  return shapes;
}

interface Context {
  readonly graph: Graph;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** A parameter as an initializer, or the value of this name. */
  param(path: string): string;
  weight(path: string): Float32Array;
}
type Write = (context: Context, node: Node) => void;

const square = (n: number): number[] => [n, n];
/** One node with the same operands. */
const plain =
  (op: string, attrs: (node: Node) => Record<string, Attr> = () => ({})): Write =>
  ({ graph, param }, node) =>
    graph.node(op, node.inputs.map(param), node.outputs, attrs(node));

const number = (node: Node, name: string): number => node.attrs[name] as number;
const window = (node: Node): Record<string, Attr> => {
  const padding = number(node, "padding");
  return {
    kernel_shape: square(number(node, "k")),
    strides: square(number(node, "stride")),
    pads: [padding, padding, padding, padding],
  };
};

function linear({ graph, param }: Context, node: Node): void {
  const [x, path, bias] = node.inputs;
  const kept = param(path);
  const weight = node.attrs["turned"] ? kept : graph.inner("Transpose", [kept], { perm: [1, 0] });
  if (bias === undefined) graph.node("MatMul", [x, weight], node.outputs);
  else if (node.shape.length === 2) graph.node("Gemm", [x, weight, param(bias)], node.outputs);
  else graph.node("Add", [graph.inner("MatMul", [x, weight]), param(bias)], node.outputs);
}

function attention({ graph, param, shapes }: Context, node: Node): void {
  const [q, k, v] = node.inputs.map(param);
  const [, , length, d] = shapes.get(node.inputs[0])!;
  const scale = graph.floats([], Float32Array.of(1 / Math.sqrt(d)));
  const turned = graph.inner("Transpose", [k], { perm: [0, 1, 3, 2] });
  let scores = graph.inner("Mul", [graph.inner("MatMul", [q, turned]), scale]);
  if (node.attrs["causal"]) {
    const far = Float32Array.from({ length: length * length }, (_, i) =>
      i % length > Math.floor(i / length) ? Number.NEGATIVE_INFINITY : 0,
    );
    scores = graph.inner("Add", [scores, graph.floats([length, length], far)]);
  }
  graph.node("MatMul", [graph.inner("Softmax", [scores], { axis: -1 }), v], node.outputs);
}

/** PyTorch's gates are input, forget, cell, output; ONNX's are input, output, forget, cell. */
const GATES = [0, 3, 1, 2];
function lstm({ graph, shapes, weight }: Context, node: Node): void {
  const [x, ...paths] = node.inputs;
  const h = number(node, "h");
  const ordered = (path: string): Float32Array => {
    const data = weight(path);
    const each = data.length / 4;
    const out = new Float32Array(data.length);
    for (const [i, gate] of GATES.entries()) out.set(data.subarray(gate * each, (gate + 1) * each), i * each);
    return out;
  };
  const [wi, wh, bi, bh] = paths.map(ordered);
  const biases = new Float32Array(8 * h);
  biases.set(bi, 0);
  biases.set(bh, 4 * h);
  const d = shapes.get(x)![2];
  const rows = graph.inner("Transpose", [x], { perm: [1, 0, 2] });
  const y = graph.inner(
    "LSTM",
    [
      rows,
      graph.floats([1, 4 * h, d], wi),
      graph.floats([1, 4 * h, h], wh),
      graph.floats([1, 8 * h], biases),
    ],
    { hidden_size: h },
  );
  // [T, directions, B, h]
  const [b, t] = node.shape;
  const flat = graph.inner("Reshape", [y, graph.ints([t, b, h])]);
  graph.node("Transpose", [flat], node.outputs, { perm: [1, 0, 2] });
}

const OPS: Readonly<Record<string, Write>> = {
  conv: plain("Conv", (node) => ({ ...window(node), group: number(node, "groups") })),
  conv_transpose: plain("ConvTranspose", (node) => ({
    kernel_shape: square(number(node, "k")),
    strides: square(number(node, "stride")),
  })),
  linear,
  matmul: plain("MatMul"),
  attention,
  lstm,
  layer_norm: plain("LayerNormalization", (node) => ({ axis: -1, epsilon: { float: number(node, "eps") } })),
  embedding: ({ graph, param }, { inputs: [ids, table], outputs }) =>
    graph.node("Gather", [param(table), ids], outputs, { axis: 0 }),
  relu: plain("Relu"),
  relu6: ({ graph }, { inputs: [x], outputs }) => {
    const [low, high] = [0, 6].map((v) => graph.floats([], Float32Array.of(v)));
    graph.node("Clip", [x, low, high], outputs);
  },
  gelu: plain("Gelu", () => ({ approximate: "none" })),
  softmax: plain("Softmax", () => ({ axis: -1 })),
  add: plain("Add"),
  max_pool: plain("MaxPool", window),
  global_avg_pool: ({ graph }, { inputs: [x], outputs }) =>
    graph.node("Flatten", [graph.inner("GlobalAveragePool", [x])], outputs, { axis: 1 }),
  flatten: plain("Flatten", () => ({ axis: 1 })),
  reshape: ({ graph }, { inputs: [x], outputs, shape }) =>
    graph.node("Reshape", [x, graph.ints(shape)], outputs),
  transpose: plain("Transpose", (node) => ({ perm: node.attrs["perm"] as readonly number[] })),
  concat: plain("Concat", (node) => ({ axis: number(node, "axis") })),
  split: ({ graph }, { inputs: [x], outputs, shape }) =>
    graph.node("Split", [x, graph.ints(outputs.map(() => shape.at(-1)!))], outputs, { axis: -1 }),
};

/** Bytes of the file that are no weights: what the graph itself weighs. */
export const graphBytes = (model: Uint8Array, { weights }: Prepared): number =>
  model.length - [...weights.values()].reduce((n, { shape }) => n + 4 * product(shape), 0);
