// The gradient of scan: a scan backwards over the same slices. In: the forward node and the gradients of its results.
// Out: gradients of sequences, initial carries and captured values. A second forward scan emits the carries each step
// began with (the forward one does not keep them); the body of the backward scan computes a step again and its gradient.
import { createBuilder, finishGraph } from "../../ir/build.ts";
import type { Builder, Graph, Node, TensorType, Value } from "../../ir/types.ts";
import { full, isFloat } from "../../ops/define.ts";
import { add } from "../../ops/elementwise.ts";
import { makeScan, type ScanAttrs, type ScanGradient, scanAttrs } from "../../ops/scan.ts";
import { input } from "../../ops/source.ts";

type Backward = (
  b: Builder,
  outputs: readonly Value[],
  seeds: readonly (Value | undefined)[],
  wrt: readonly Value[],
) => readonly (Value | undefined)[];

export const scanGradient =
  (backward: Backward): ScanGradient =>
  (b, node, grads) => {
    const a = scanAttrs(node.attrs);
    const xs = node.inputs.slice(0, a.xs);
    const carries = node.inputs.slice(a.xs, a.xs + a.carries);
    const captured = node.inputs.slice(a.xs + a.carries);
    const saved = makeScan(b, node.inputs, keepingCarries(a)).slice(node.outs.length);

    // Only floats have gradients; the places of the others stay empty.
    const floats = (list: readonly Value[]): number[] =>
      list.map((v, i) => (isFloat(v.type.dtype) ? i : -1)).filter((i) => i >= 0);
    const [dx, dc, dk] = [floats(xs), floats(carries), floats(captured)];
    const emits = node.outs.slice(a.carries);
    const flowing = emits.map((v, i) => ({ v, i, g: grads[a.carries + i] })).filter((e) => e.g !== undefined);

    const step = backwardBody(backward, a, {
      dx,
      dc,
      dk,
      emits: flowing.map((e) => e.i),
      types: { carries: carries.map((v) => v.type), captured: captured.map((v) => v.type) },
    });
    const zeros = (t: TensorType): Value => full(b, 0, t);
    const outs = makeScan(
      b,
      [
        ...xs,
        ...saved,
        ...flowing.map((e) => e.g as Value),
        ...dc.map((i) => grads[i] ?? zeros(carries[i].type)),
        ...dk.map((i) => zeros(captured[i].type)),
        ...captured,
      ],
      {
        body: step,
        xs: xs.length + saved.length + flowing.length,
        carries: dc.length + dk.length,
        axes: [...a.axes, ...saved.map(() => 0), ...flowing.map((e) => a.emitAxes[e.i])],
        emitAxes: dx.map((i) => a.axes[i]),
        count: a.count,
        reverse: !a.reverse,
      },
    );
    const back: (Value | undefined)[] = node.inputs.map(() => undefined);
    dc.forEach((i, k) => {
      back[a.xs + i] = outs[k];
    });
    dk.forEach((i, k) => {
      back[a.xs + a.carries + i] = outs[dc.length + k];
    });
    dx.forEach((i, k) => {
      back[i] = outs[dc.length + dk.length + k];
    });
    return back;
  };

/** The scan that also emits the carries a step begins with, along axis 0. */
function keepingCarries(a: ScanAttrs): ScanAttrs {
  const carries = a.body.inputs.slice(a.xs, a.xs + a.carries);
  const body: Graph = {
    ...a.body,
    results: [...a.body.results, ...carries.map((n, i) => ({ name: `before${i}`, value: n.outs[0] }))],
  };
  return { ...a, body, emitAxes: [...a.emitAxes, ...carries.map(() => 0)] };
}

interface Places {
  /** Sequences, carries and captured values with gradients; emitted values into which one flows. */
  readonly dx: readonly number[];
  readonly dc: readonly number[];
  readonly dk: readonly number[];
  readonly emits: readonly number[];
  readonly types: { readonly carries: readonly TensorType[]; readonly captured: readonly TensorType[] };
}

/**
 * One step back. Inputs: slices, carries before the step, gradients of emitted values; the carried gradients and sums
 * over steps of the captured values' gradients; the captured values. Results: the next carries, then the slices' gradients.
 */
function backwardBody(backward: Backward, a: ScanAttrs, p: Places): Graph {
  const b = createBuilder(1 + Math.max(0, ...a.body.nodes.map((n) => n.id)));
  const inputs: Node[] = [];
  const fresh = (name: string, type: TensorType): Value => {
    const v = b.make(
      input,
      [],
      { name, dtype: type.dtype, shape: [...type.shape], place: inputs.length },
      name,
    );
    inputs.push(v.node);
    return v;
  };
  const formals = a.body.inputs.map((n) => n.outs[0]);
  const [slices, before, captured] = [
    formals.slice(0, a.xs),
    formals.slice(a.xs, a.xs + a.carries),
    formals.slice(a.xs + a.carries),
  ];
  const actual = new Map<Value, Value>();
  const stand = (v: Value): void => {
    actual.set(v, fresh(String(v.node.attrs.name), v.type));
  };
  [...slices, ...before].forEach(stand);
  const results = a.body.results.map((r) => r.value);
  const seeds: (Value | undefined)[] = results.map(() => undefined);
  for (const i of p.emits) seeds[a.carries + i] = fresh(`d_emit${i}`, results[a.carries + i].type);
  for (const i of p.dc) seeds[i] = fresh(`d_carry${i}`, p.types.carries[i]);
  const sums = p.dk.map((i) => fresh(`d_captured${i}`, p.types.captured[i]));
  captured.forEach(stand);

  // The step again, on these inputs.
  for (const n of a.body.nodes) {
    if (n.op === input) continue;
    const ins = n.inputs.map((v) => actual.get(v) as Value);
    const outs = b.at(n.origin, () => b.node(n.op, ins, n.attrs, n.label));
    n.outs.forEach((v, i) => {
      actual.set(v, outs[i]);
    });
  }
  const at = (v: Value): Value => actual.get(v) as Value;
  const wrt = [
    ...p.dx.map((i) => slices[i]),
    ...p.dc.map((i) => before[i]),
    ...p.dk.map((i) => captured[i]),
  ].map(at);
  const found = backward(b, results.map(at), seeds, wrt);
  const grads = wrt.map((v, i) => found[i] ?? full(b, 0, v.type));
  const dxs = grads.slice(0, p.dx.length);
  const carried = grads.slice(p.dx.length, p.dx.length + p.dc.length);
  const totals = grads.slice(p.dx.length + p.dc.length).map((g, i) => add(b, sums[i], g));
  return finishGraph({
    name: `${a.body.name}.gradient`,
    inputs,
    results: [
      ...carried.map((value, i) => ({ name: `d_carry${p.dc[i]}`, value })),
      ...totals.map((value, i) => ({ name: `d_captured${p.dk[i]}`, value })),
      ...dxs.map((value, i) => ({ name: `d_x${p.dx[i]}`, value })),
    ],
    symbols: a.body.symbols,
    constraints: a.body.constraints,
  });
}
