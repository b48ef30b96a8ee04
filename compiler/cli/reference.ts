// `--device cpu`: an entry by the reference evaluator, in double precision, without a GPU. In: a compiled model, what the
// entry takes and the parameters. Out: results as a GPU would give them, rounded to their dtypes.
import type { Given } from "../../runtime/core/inputs.ts";
import type { EntryPlan } from "../../runtime/core/program.ts";
import { arrayOf } from "../../runtime/core/tensor.ts";
import { seedWords } from "../../runtime/core/threefry.ts";
import { InternalError } from "../core/diagnostics/index.ts";
import type { Compiled } from "../core/index.ts";
import type { Dense } from "../core/ir/types.ts";
import { dense, evaluate } from "../core/reference/evaluate.ts";
import type { Value } from "./inputs.ts";
import type { Result } from "./print-tensor.ts";
import type { Tensors } from "./weights.ts";

export function evaluateEntry(
  compiled: Compiled,
  entry: EntryPlan,
  values: Readonly<Record<string, Value>>,
  given: Given,
  tensors: Tensors,
  seed: bigint | number,
): Record<string, Result> {
  const checked = compiled.model.entries.find((e) => e.name === entry.name);
  if (!checked) throw new InternalError("reference", `${entry.name} has no graph`);
  const inputs = Object.fromEntries(
    entry.inputs.map((port) => {
      const value = values[port.name];
      const data = "data" in value ? value.data : value;
      const shape = port.shape.map((_, axis) => given.names.get(`${port.name}.${axis}`) as number);
      return [port.name, dense(port.dtype, shape, data)];
    }),
  );
  const named = (specs: Compiled["artefact"]["params"]): Record<string, Dense> =>
    Object.fromEntries(
      specs.map((spec) => [spec.path, dense(spec.dtype, spec.shape, tensors.get(spec) as never)]),
    );
  const { results } = evaluate(checked.graph, inputs, {
    params: named(compiled.artefact.params),
    state: named(compiled.artefact.state),
    seed: seedWords(seed),
  });
  return Object.fromEntries(
    Object.entries(results).map(([name, { dtype, shape, data }]) => {
      const out = arrayOf(dtype, data.length);
      out.set(data);
      return [name, { dtype, shape, data: out }];
    }),
  );
}
