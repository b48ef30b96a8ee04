// A program with every operator of the language in it, generated from the definitions' worked examples: an entry for each
// operator, its call written as a user writes it. Out: the source, and inputs for each entry.
import { dim } from "../../compiler/core/dims/dim.ts";
import { createBuilder } from "../../compiler/core/ir/build.ts";
import {
  type Dense,
  type OpDef,
  OpError,
  type OpExample,
  type OpParam,
} from "../../compiler/core/ir/types.ts";
import { isFloat } from "../../compiler/core/ops/define.ts";
import { type Argument, applyOp, byName, exposedOps } from "../../compiler/core/ops/index.ts";
import { input } from "../../compiler/core/ops/source.ts";
import { drawDense, randomFrom } from "./opcheck.ts";

export interface OperatorEntry {
  readonly op: string;
  readonly entry: string;
  readonly inputs: Readonly<Record<string, Dense>>;
}

const isTensor = (p: OpParam): boolean => p.kind === "tensor" || p.kind === "tensors";
function written(value: unknown, p?: OpParam): string {
  if (typeof value === "string") return p?.kind === "dtype" ? value : JSON.stringify(value);
  if (value === Number.POSITIVE_INFINITY) return "inf";
  if (value === Number.NEGATIVE_INFINITY) return "-inf";
  return Array.isArray(value) ? `[${value.map((v) => written(v)).join(", ")}]` : String(value);
}
/** How many results there are, which decides how they are written. */
function results(op: OpDef, e: OpExample): number | undefined {
  const b = createBuilder();
  const args: Record<string, Argument> = { ...(e.attrs as Record<string, Argument>) };
  const values = e.shapes.map((shape, i) =>
    b.make(input, [], { name: `v${i}`, dtype: e.dtypes?.[i] ?? "f32", shape: shape.map((n) => dim(n)) }),
  );
  let next = 0;
  for (const p of op.params)
    if (p.kind === "tensor" && next < values.length) args[p.name] = values[next++];
    else if (p.kind === "tensors") {
      args[p.name] = values.slice(next);
      next = values.length;
    }
  try {
    return applyOp(b, op, args).length;
  } catch (error) {
    if (error instanceof OpError) return undefined;
    throw error;
  }
}

/** The first example that a call can say. */
function entryOf(op: OpDef, k: number): { text: string; entry: OperatorEntry } | undefined {
  for (const e of op.examples) {
    const count = results(op, e);
    if (count === undefined) continue;
    const name = `op_${op.name}`;
    const random = randomFrom(900 + k);
    const inputs: Record<string, Dense> = {};
    const params: string[] = [];
    const args: string[] = [];
    let at = 0;
    for (const p of op.params) {
      if (!isTensor(p) || at >= e.shapes.length) continue;
      const own = p.kind === "tensors" ? e.shapes.length - at : 1;
      const labels: string[] = [];
      for (let i = 0; i < own; i++, at++) {
        if (p.implicit) continue;
        const label = `${p.name}${p.kind === "tensors" ? i : ""}_`;
        const dtype = e.dtypes?.[at] ?? "f32";
        const x = drawDense(dtype, e.shapes[at], random, e.range);
        inputs[label] = isFloat(dtype) ? { ...x, data: x.data.map(Math.fround) } : x;
        params.push(`${label}: ${dtype}[${e.shapes[at].join(", ")}]`);
        labels.push(label);
      }
      const value = p.kind === "tensors" ? `[${labels.join(", ")}]` : labels[0];
      if (!p.implicit) args.push(byName(op, p) ? `${p.name} = ${value}` : value);
    }
    for (const [key, v] of Object.entries(e.attrs ?? {})) {
      const p = op.params.find((q) => q.name === key || q.aliases?.includes(key));
      if (v !== undefined && !p?.implicit) args.push(`${key} = ${written(v, p)}`);
    }
    const call = `${op.name}(${args.join(", ")})`;
    const names = Array.from({ length: count }, (_, i) => `r${i}`);
    const body =
      count === 1 ? call : `(${names.join(", ")}) = ${call}; (${names.map((n) => `${n} = ${n}`).join(", ")})`;
    return {
      text: `  fn ${name}(${params.join(", ")}) { ${body} }`,
      entry: { op: op.name, entry: name, inputs },
    };
  }
  return undefined;
}

export function everyOperator(): {
  source: string;
  entries: readonly OperatorEntry[];
  left: readonly string[];
} {
  const made = exposedOps.map((op, k) => ({ op, made: entryOf(op, k) }));
  const found = made.flatMap((m) => m.made ?? []);
  return {
    source: `/// Every operator of the language, generated.\nmodel Every {\n  fn op_iota() { iota(5) }\n${found.map((f) => f.text).join("\n")}\n}\n`,
    entries: [{ op: "iota", entry: "op_iota", inputs: {} }, ...found.map((f) => f.entry)],
    left: made.filter((m) => !m.made && m.op.name !== "iota").map((m) => m.op.name),
  };
}
