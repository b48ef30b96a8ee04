// A train block as one graph: loss, gradients, clipping, update. In: the loss in train mode, the optimiser, where each
// parameter lies in the flat buffer. Out: a graph whose writes are all parameters at once, the moments, the counters and the
// running statistics; every one of them gated by a finite flag, so that a bad step changes nothing. Parameters, gradients
// and moments are flat, so that the update is one kernel however many tensors there are. Formulas are PyTorch's.

import type { HostExpr, Init } from "../../../../runtime/core/program.ts";
import { dim, product } from "../../dims/dim.ts";
import { createBuilder, finishGraph } from "../../ir/build.ts";
import type { Builder, Graph, Value } from "../../ir/types.ts";
import { broadcastTo, cast, reshape, sum } from "../../ops/axes.ts";
import { pack } from "../../ops/copy.ts";
import {
  add,
  and,
  div,
  eq,
  isFiniteOp,
  maximum,
  minimum,
  mul,
  not,
  sqrt,
  square,
  sub,
  where,
} from "../../ops/elementwise.ts";
import { sliceOp } from "../../ops/movement.ts";
import { constant, full, hyper, param, state } from "../../ops/source.ts";
import type { CheckedModel, CheckedTrain } from "../2-check/checked.ts";
import { backward } from "./backward.ts";

export interface StepState {
  readonly path: string;
  readonly dtype: "f32" | "i32";
  readonly shape: readonly number[];
  readonly init: Init;
}
export interface TrainStep {
  readonly graph: Graph;
  readonly hyper: Readonly<Record<string, HostExpr>>;
  /** Moments and counters of the optimiser. */
  readonly state: readonly StepState[];
  readonly flag: string;
}
/** Where parameters lie in the flat buffer, in elements; its length is a multiple of `GRAIN`. */
export interface FlatParams {
  readonly offsets: ReadonlyMap<string, number>;
  readonly total: number;
  /** The source path of all of them at once. */
  readonly path: string;
}
/** Rows of the flat buffer when it is reduced: its length is a multiple of GRAIN * 64. */
export const GRAIN = 64;
/** Elements between the beginnings of parameters (256 bytes). */
const BLOCK = 64;

export function trainStep(model: CheckedModel, train: CheckedTrain, flat: FlatParams): TrainStep {
  const { lossGraph } = train;
  const b = createBuilder(1 + Math.max(0, ...lossGraph.nodes.map((n) => n.id)));
  const loss = (lossGraph.results.find((r) => r.name === "loss") ?? lossGraph.results[0]).value;
  const updated = new Set(train.update);
  const leaves = new Map<string, Value>();
  for (const n of lossGraph.nodes)
    if (n.op.name === "param" && updated.has(String(n.attrs.path)))
      leaves.set(String(n.attrs.path), n.outs[0]);
  const paths = model.params.map((p) => p.path).filter((p) => leaves.has(p));
  const one = fill(b, 1);
  const grads = backward(
    b,
    [loss],
    [one],
    paths.map((p) => leaves.get(p) as Value),
  );
  const operands: Value[] = [];
  const offsets: number[] = [];
  grads.forEach((g, i) => {
    if (!g) return;
    operands.push(reshape(b, g, [product(g.type.shape)]));
    offsets.push(flat.offsets.get(paths[i]) as number);
  });

  // Everything flat, as rows of BLOCK elements: per-parameter settings are one number a row.
  const rows = flat.total / BLOCK;
  const shape = [dim(rows), dim(BLOCK)];
  const asRows = (v: Value): Value => reshape(b, v, shape);
  const g0 =
    operands.length > 0
      ? b.make(pack, operands, { offsets, total: flat.total }, "gradients")
      : fill(b, 0, [flat.total]);
  const p0 = b.make(param, [], { path: flat.path, dtype: "f32", shape: [dim(flat.total)] }, "parameters");

  // The finite flag: a bad loss or gradient anywhere.
  const badRows = sum(
    b,
    cast(b, not(b, finite(b, reshape(b, g0, [dim(GRAIN), dim(flat.total / GRAIN)]))), "f32"),
    [1],
  );
  const bad = add(b, sum(b, badRows, [0]), cast(b, not(b, finite(b, loss)), "f32"));
  const ok = eq(b, bad, 0);

  // Host scalars.
  const opt = train.optimizer;
  const arg = (name: string, otherwise: number): HostExpr => opt.args[name] ?? otherwise;
  const hypers: Record<string, HostExpr> = { lr: arg("lr", 1e-3) };
  const weightDecay = arg("weight_decay", opt.kind === "adamw" ? 1e-2 : 0);
  const decays = weightDecay !== 0;
  if (opt.kind !== "sgd") {
    const count: HostExpr = ["+", "step", 1];
    hypers.step_size = ["/", "lr", ["-", 1, ["pow", arg("beta1", 0.9), count]]];
    hypers.second_scale = ["/", 1, ["sqrt", ["-", 1, ["pow", arg("beta2", 0.999), count]]]];
  }
  if (decays) hypers.decay = opt.kind === "adamw" ? ["*", "lr", weightDecay] : weightDecay;
  const names = Object.keys(hypers);
  const scalars = b.make(hyper, [], { names }, "schedule");
  const host = (name: string): Value =>
    reshape(
      b,
      b.make(sliceOp, [scalars], { starts: [dim(names.indexOf(name))], sizes: [dim(1)], steps: [1] }),
      [],
    );
  const spread = (v: Value): Value => broadcastTo(b, v, shape);

  let g = asRows(g0);
  if (train.clip) {
    if (train.clip.by === "value")
      g = maximum(b, minimum(b, g, fill(b, train.clip.limit)), fill(b, -train.clip.limit));
    else {
      const partial = sum(b, square(b, reshape(b, g0, [dim(GRAIN), dim(flat.total / GRAIN)])), [1]);
      const norm = sqrt(b, sum(b, partial, [0]));
      // torch.nn.utils.clip_grad_norm_: max_norm / (norm + 1e-6), at most 1.
      const factor = minimum(b, div(b, fill(b, train.clip.limit), add(b, norm, 1e-6)), fill(b, 1));
      g = mul(b, g, spread(factor));
    }
  }
  const p = asRows(p0);
  const states: StepState[] = [];
  const moment = (name: string): Value => {
    const path = `${train.name}.${name}`;
    states.push({ path, dtype: "f32", shape: [flat.total], init: { kind: "constant", value: 0 } });
    return b.make(state, [], { path, dtype: "f32", shape: [dim(flat.total)] }, name);
  };
  const writes: { path: string; value: Value }[] = [];
  const gate = (next: Value, old: Value): Value => where(b, broadcastTo(b, ok, next.type.shape), next, old);
  const commit = (path: string, next: Value, old: Value): void => {
    writes.push({ path, value: reshape(b, gate(next, asRows(old)), [dim(flat.total)]) });
  };
  // Weight decay reaches what is trained and not exempt.
  const exempt = new Set(opt.noDecay);
  const decayed = paths.filter((q) => !exempt.has(q));
  const decay = (): Value => {
    const d = spread(host("decay"));
    if (decayed.length === model.params.length) return d;
    const table = new Array<number>(rows).fill(0);
    for (const q of decayed) {
      const from = (flat.offsets.get(q) as number) / BLOCK;
      const size = sizeOf(model, q);
      for (let i = from; i < from + Math.ceil(size / BLOCK); i++) table[i] = 1;
    }
    const t = b.make(constant, [], { data: table, dtype: "f32", shape: [dim(rows), dim(1)] }, "decay_table");
    return mul(b, d, broadcastTo(b, t, shape));
  };
  let next: Value;
  if (opt.kind === "sgd") {
    if (decays) g = add(b, g, mul(b, p, decay()));
    const momentum = Number(arg("momentum", 0));
    let direction = g;
    if (momentum !== 0) {
      const old = moment("momentum");
      const buffer = add(b, mul(b, asRows(old), momentum), g);
      commit(`${train.name}.momentum`, buffer, old);
      direction = opt.nesterov ? add(b, g, mul(b, buffer, momentum)) : buffer;
    }
    next = sub(b, p, mul(b, direction, spread(host("lr"))));
  } else {
    const beta1 = Number(arg("beta1", 0.9));
    const beta2 = Number(arg("beta2", 0.999));
    let start = p;
    if (decays && opt.kind === "adam") g = add(b, g, mul(b, p, decay()));
    if (decays && opt.kind === "adamw") start = mul(b, p, sub(b, fill(b, 1), decay()));
    const m0 = moment("exp_avg");
    const v0 = moment("exp_avg_sq");
    const m = add(b, mul(b, asRows(m0), beta1), mul(b, g, 1 - beta1));
    const v = add(b, mul(b, asRows(v0), beta2), mul(b, square(b, g), 1 - beta2));
    commit(`${train.name}.exp_avg`, m, m0);
    commit(`${train.name}.exp_avg_sq`, v, v0);
    const denominator = add(b, mul(b, sqrt(b, v), spread(host("second_scale"))), Number(arg("eps", 1e-8)));
    next = sub(b, start, mul(b, div(b, m, denominator), spread(host("step_size"))));
  }
  commit(flat.path, next, p0);

  // Counters: finished steps, and the first bad one (1 + its number; 0 while all were good).
  const counter = (name: string): Value => {
    const path = `${train.name}.${name}`;
    states.push({ path, dtype: "i32", shape: [], init: { kind: "constant", value: 0 } });
    return b.make(state, [], { path, dtype: "i32", shape: [] }, name);
  };
  const steps = counter("step");
  const firstBad = counter("first_bad_step");
  const count = add(b, steps, 1);
  writes.push({ path: `${train.name}.step`, value: gate(count, steps) });
  const isFirst = and(b, eq(b, firstBad, 0), not(b, ok));
  const nextBad = where(b, isFirst, count, firstBad);
  writes.push({ path: `${train.name}.first_bad_step`, value: nextBad });
  // Running statistics are gated like parameters; the random step goes on, or a bad draw would come back for ever.
  for (const w of lossGraph.writes) {
    const old =
      lossGraph.nodes.find((n) => n.op.name === "state" && n.attrs.path === w.path)?.outs[0] ??
      b.make(state, [], { path: w.path, dtype: w.value.type.dtype, shape: w.value.type.shape });
    writes.push(w.value.type.dtype === "f32" ? { path: w.path, value: gate(w.value, old) } : w);
  }
  const results = [
    { name: "loss", value: loss },
    ...train.reports.map((name) => ({
      name,
      value: (lossGraph.results.find((r) => r.name === name) as Graph["results"][number]).value,
    })),
    { name: "bad_step", value: nextBad },
  ];
  return {
    graph: finishGraph({
      name: `${train.name}_step`,
      inputs: lossGraph.inputs,
      results,
      writes,
      symbols: lossGraph.symbols,
      constraints: lossGraph.constraints,
    }),
    hyper: hypers,
    state: states,
    flag: "bad_step",
  };
}
const fill = (
  b: Builder,
  value: number,
  shape: readonly number[] = [],
  dtype: "f32" | "i32" = "f32",
): Value => b.make(full, [], { value, dtype, shape: shape.map((n) => dim(n)) });
const finite = (b: Builder, x: Value): Value => b.make(isFiniteOp, [x]);
const sizeOf = (model: CheckedModel, path: string): number =>
  (model.params.find((p) => p.path === path)?.shape ?? []).reduce((a, c) => a * c, 1);
