// Layers and losses at options that few programs give, against PyTorch (test/figures/corners.golden.json, made by
// test/figures/make/corners.py): results, gradients, what training writes.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Dense } from "../../compiler/core/ir/types.ts";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { difference } from "../support/allclose.ts";
import { modelOf } from "../support/check.ts";
import { withGradients } from "../support/reference.ts";

interface Given {
  readonly dtype: "f32" | "i32" | "bool";
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
type ByName = Readonly<Record<string, Given>>;
interface Corner {
  readonly name: string;
  readonly mode: "eval" | "train";
  readonly body: string;
  readonly inputs: ByName;
  readonly params: ByName;
  readonly state: ByName;
  readonly results: ByName;
  readonly direction?: Given;
  readonly gradients?: ByName;
}
const corners = JSON.parse(
  readFileSync(new URL("../figures/corners.golden.json", import.meta.url), "utf8"),
) as readonly Corner[];

const tensors = (list: ByName): Record<string, Dense> =>
  Object.fromEntries(Object.entries(list).map(([k, v]) => [k, dense(v.dtype, v.shape, v.data)]));
const typeOf = ({ dtype, shape }: Given): string => `${dtype}[${shape.join(", ")}]`;

/** The model of a corner, with the sum along the direction as an entry and, in training, as a loss. */
function sourceOf(c: Corner): string {
  const given = Object.entries({ ...c.inputs, direction: c.direction as Given });
  const [first] = Object.keys(c.results);
  const call = `f(${Object.keys(c.inputs).join(", ")})${first === "f" ? "" : `.${first}`}`;
  return `
import { ctc_loss } from "std/loss"
import {
  Embedding, GRU, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LSTM, MultiheadAttention, RNN, Transformer, TransformerEncoder
} from "std/nn"
model Corner {
  ${c.body}
  fn along(${given.map(([k, v]) => `${k}: ${typeOf(v)}`).join(", ")}) -> f32 { sum(${call} * direction) }
}
${c.mode === "train" ? "train fit for Corner { minimize along; with sgd() }" : ""}`;
}

describe("PyTorch's corners", () => {
  it.each(corners.map((c) => [c.name, c] as const))("%s", (_, c) => {
    const model = modelOf(sourceOf(c));
    // A whole state dict fits.
    if (Object.keys(c.params).some((path) => path.startsWith("it.")))
      expect(model.params.map((p) => p.path).sort()).toEqual(Object.keys(c.params).sort());
    const data = { params: tensors(c.params), state: tensors(c.state) };
    const inputs = tensors(c.inputs);
    const same = (name: string, actual: ArrayLike<number>, expected: Given): void =>
      expect(difference(actual, expected.data, { rtol: 1e-9, atol: 1e-10, name })).toBeUndefined();
    const entry = (name: string) => model.entries.find((e) => e.name === name)!.graph;
    if (c.mode === "eval") {
      const out = evaluate(entry("f"), inputs, data).results;
      for (const [name, figure] of Object.entries(c.results)) same(name, out[name].data, figure);
    }
    if (!c.gradients) return;
    const direction = tensors({ direction: c.direction as Given });
    const graph = withGradients(c.mode === "train" ? model.trains[0].lossGraph : entry("along"));
    const out = evaluate(graph, { ...inputs, ...direction }, data);
    for (const [name, figure] of Object.entries(c.gradients))
      same(`gradient ${name}`, out.results[`gradient ${name}`].data, figure);
    for (const [name, figure] of Object.entries(c.results))
      if (data.state[name]) same(name, out.writes[name].data, figure);
  });
});
