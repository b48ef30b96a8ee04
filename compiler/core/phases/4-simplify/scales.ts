// Folds per-channel scales and shifts of parameters (batch norm at inference) into the convolution before them:
//   conv(x, w) * s + t  ->  conv(x, w * s) + t,   (y + t) * s -> y * s + t * s,   (y * r) * s -> y * (r * s)
// for s, t, r that depend on parameters alone and vary over channels only. Which operand takes a scale its operator says
// (`scales`). In: primitives. Out: the same values to rounding.
import { asConst, type Dim, dim, isConst, ONE } from "../../dims/dim.ts";
import { usersOf } from "../../ir/build.ts";
import { transform } from "../../ir/transform.ts";
import type { Builder, Graph, OpDef, Value } from "../../ir/types.ts";
import { broadcastTo, broadcastTogether, reshape } from "../../ops/axes.ts";
import { add, mul, neg } from "../../ops/elementwise.ts";
import { dequantizeOp } from "../../ops/stored.ts";
import { derivedTest, writtenBy } from "./derived.ts";

/** conv(x, w) * scale + shift; scale and shift are [1, C, 1, …] as the result's rank says, or undefined for 1 and 0. */
interface Affine {
  readonly conv: Value;
  readonly scale?: Value;
  readonly shift?: Value;
}

export function foldScales(graph: Graph): Graph {
  const isDerived = derivedTest(writtenBy(graph));
  const users = usersOf(graph.nodes);
  const sinks = new Set([...graph.results, ...graph.writes].map((s) => s.value));
  const affine = new Map<Value, Affine>();
  return transform(graph, (b, n, inputs) => {
    if (n.op.scales) {
      const [out] = b.node(n.op, inputs, n.attrs, n.label);
      const { operand, from } = n.op.scales;
      const weight = inputs[operand];
      if (isDerived(weight) || takesScale(weight, from, isDerived)) affine.set(out, { conv: out });
      return [out];
    }
    const kind = n.op.name;
    if (kind !== "add" && kind !== "sub" && kind !== "mul") return undefined;
    // One operand an affine convolution nobody else reads, the other a channel vector of parameters.
    for (const [i, j] of [
      [0, 1],
      [1, 0],
    ]) {
      const main = affine.get(inputs[i]);
      const old = n.inputs[i];
      if (!main || sinks.has(old) || (users.get(old)?.length ?? 0) !== 1) continue;
      const vector = channelVector(b, inputs[j], main.conv, isDerived);
      if (!vector) continue;
      let next: Affine;
      if (kind === "mul") {
        next = {
          conv: main.conv,
          scale: main.scale ? mul(b, main.scale, vector) : vector,
          shift: main.shift && mul(b, main.shift, vector),
        };
      } else {
        // vector - y is y * -1 + vector: only worth it as y - vector.
        if (kind === "sub" && i === 1) continue;
        const t = kind === "sub" ? neg(b, vector) : vector;
        next = { ...main, shift: main.shift ? add(b, main.shift, t) : t };
      }
      const out = build(b, next);
      affine.set(out, next);
      return [out];
    }
    return undefined;
  }).graph;
}

/** [1, C, 1, …] of a value that is broadcast over all but the axis along which `conv` takes a scale. */
function channelVector(
  b: Builder,
  v: Value,
  conv: Value,
  isDerived: (v: Value) => boolean,
): Value | undefined {
  const { axis } = scaleOf(conv);
  const rank = conv.type.shape.length;
  let base = v;
  if (v.node.op.name === "broadcast_to") base = v.node.inputs[0];
  const value = base.node.op.name === "full" && base.type.shape.length === rank ? undefined : base;
  if (!value || !isDerived(value)) return undefined;
  const shape = value.type.shape;
  if (shape.length > rank) return undefined;
  const channel = shape.length - rank + axis;
  if (!shape.every((d, i) => i === channel || isConst(d, 1))) return undefined;
  const c = channel >= 0 ? shape[channel] : dim(1);
  if (asConst(c) === undefined) return undefined;
  return reshape(b, value, alongAxis(c, axis, rank));
}
const scaleOf = (conv: Value): NonNullable<OpDef["scales"]> =>
  conv.node.op.scales as NonNullable<OpDef["scales"]>;
/** A shape of ones but for one axis. */
const alongAxis = (size: Dim, axis: number, rank: number): Dim[] =>
  Array.from({ length: rank }, (_, i) => (i === axis ? size : ONE));

/** Decoded where it is read, of parameters: what is multiplied along an axis are the scales, which are few, and made ahead. */
const takesScale = (w: Value, along: number, isDerived: (v: Value) => boolean): boolean =>
  w.node.op === dequantizeOp && w.node.attrs.axis !== along && w.node.inputs.every(isDerived);

/** w * scale. */
function timesScale(b: Builder, w: Value, scale: Value): Value {
  if (w.node.op !== dequantizeOp) return mul(b, w, broadcastTo(b, scale, w.type.shape));
  const [words, own] = w.node.inputs;
  const factors = own ? broadcastTogether(b, [own, scale]) : [scale];
  const all = factors.reduce((x, y) => mul(b, x, y));
  return b.make(dequantizeOp, [words, all], w.node.attrs, w.node.label);
}

function build(b: Builder, a: Affine): Value {
  const { node } = a.conv;
  let out = a.conv;
  if (a.scale) {
    const { operand, from, axis } = scaleOf(a.conv);
    const w = node.inputs[operand];
    const perOut = reshape(b, a.scale, alongAxis(a.scale.type.shape[axis], from, w.type.shape.length));
    const scaled = timesScale(b, w, perOut);
    out = b.make(
      node.op,
      node.inputs.map((v, i) => (i === operand ? scaled : v)),
      node.attrs,
      node.label,
    );
  }
  return a.shift ? add(b, out, broadcastTo(b, a.shift, out.type.shape)) : out;
}
