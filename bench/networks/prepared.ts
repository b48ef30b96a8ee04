// Networks with what a peer's user would have done ahead. In: a network and the model's weights. Out: the same function with
// its own weights: parts of parameters cut out; for inference, scale and shift of a batch norm in the weights of the
// convolution before it, as every exporter does; and, for all but PyTorch, matrices as [in, out].
import type { HostTensor } from "../workload.ts";
import { type Network, type Node, product } from "./network.ts";

export interface Prepared {
  readonly network: Network;
  readonly weights: ReadonlyMap<string, HostTensor>;
}

/** `turned`: the weights of linear layers are [in, out], and their nodes say so, where nobody else reads them. */
export function prepared(
  network: Network,
  model: ReadonlyMap<string, HostTensor>,
  { turned }: { readonly turned: boolean },
): Prepared {
  const weights = new Map<string, HostTensor>();
  for (const [name, { shape, part }] of Object.entries(network.params)) {
    const whole = model.get(part?.of ?? name);
    if (!whole) throw new Error(`there are no weights for ${name}`);
    const data = part ? cut(whole, part.axis, part.from, part.to) : whole.data;
    if (data.length !== product(shape))
      throw new Error(`${name} has ${data.length} elements, not [${shape}]`);
    weights.set(name, { shape, data });
  }
  const ready = network.training ? { network, weights } : folded(network, weights);
  return turned ? turn(ready) : ready;
}

function turn({ network, weights }: Prepared): Prepared {
  const isWeight = (node: Node, name: string): boolean => node.op === "linear" && node.inputs[1] === name;
  const out = new Map<string, HostTensor>();
  const done = new Set<string>();
  for (const [name, tensor] of weights) {
    const readers = network.nodes.filter((n) => n.inputs.includes(name));
    const turns = readers.length > 0 && readers.every((n) => isWeight(n, name));
    out.set(name, turns ? transposed(tensor) : tensor);
    if (turns) done.add(name);
  }
  const nodes = network.nodes.map((n) =>
    n.op === "linear" && done.has(n.inputs[1]) ? { ...n, attrs: { ...n.attrs, turned: true } } : n,
  );
  return { network: { ...network, nodes, params: paramsOf(out) }, weights: out };
}

const paramsOf = (weights: ReadonlyMap<string, HostTensor>): Network["params"] =>
  Object.fromEntries([...weights].map(([name, { shape }]) => [name, { shape }]));

function transposed({ shape: [rows, columns], data }: HostTensor): HostTensor {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  return { shape: [columns, rows], data: out };
}

function cut({ shape, data }: HostTensor, axis: number, from: number, to: number): Float32Array {
  const inner = product(shape.slice(axis + 1));
  const outer = product(shape.slice(0, axis));
  const out = new Float32Array(outer * (to - from) * inner);
  for (let i = 0; i < outer; i++) {
    const begin = (i * shape[axis] + from) * inner;
    out.set(data.subarray(begin, begin + (to - from) * inner), i * (to - from) * inner);
  }
  return out;
}

function folded(network: Network, weights: Map<string, HostTensor>): Prepared {
  const norms = new Map(network.nodes.filter((n) => n.op === "batch_norm").map((n) => [n.inputs[0], n]));
  const nodes: Node[] = [];
  for (const node of network.nodes) {
    if (node.op === "batch_norm") continue;
    const norm = node.op === "conv" ? norms.get(node.outputs[0]) : undefined;
    nodes.push(norm ? fold(node, norm, weights) : node);
  }
  const used = new Set(nodes.flatMap((n) => n.inputs));
  for (const name of [...weights.keys()]) if (!used.has(name)) weights.delete(name);
  return { network: { ...network, nodes, params: paramsOf(weights) }, weights };
}

/** The convolution that is both. */
function fold(conv: Node, norm: Node, weights: Map<string, HostTensor>): Node {
  const [x, weightName, biasName] = conv.inputs;
  const [gamma, beta, mean, variance] = norm.inputs.slice(1).map((name) => weights.get(name)!.data);
  const weight = weights.get(weightName)!;
  const bias = biasName === undefined ? undefined : weights.get(biasName)!.data;
  const each = product(weight.shape.slice(1));
  const scale = gamma.map((g, o) => g / Math.sqrt(variance[o] + (norm.attrs["eps"] as number)));
  const folded = `${weightName} folded`;
  const shift = `${weightName} shift`;
  weights.set(folded, {
    shape: weight.shape,
    data: weight.data.map((w, i) => w * scale[Math.floor(i / each)]),
  });
  weights.set(shift, {
    shape: [gamma.length],
    data: beta.map((b, o) => b + ((bias?.[o] ?? 0) - mean[o]) * scale[o]),
  });
  return { ...conv, inputs: [x, folded, shift], outputs: norm.outputs };
}
