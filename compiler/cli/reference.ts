// `--device cpu`: an entry or a training step by the reference evaluator, in double precision, without a GPU. In: a compiled
// model, what the entry takes and the parameters. Out: results as a GPU would give them, rounded to their dtypes.
import { NonFiniteError } from "../../runtime/core/errors.ts";
import type { Given } from "../../runtime/core/inputs.ts";
import type { EntryPlan } from "../../runtime/core/program.ts";
import { arrayOf } from "../../runtime/core/tensor.ts";
import { seedWords } from "../../runtime/core/threefry.ts";
import { evaluateHost } from "../../runtime/core/train.ts";
import { type Compiled, type Dense, dense, ReferenceNet } from "../core/index.ts";
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
  totalSteps: number,
): Record<string, Result> {
  const inputs = Object.fromEntries(
    entry.inputs.map((port) => {
      const value = values[port.name];
      const data = "data" in value ? value.data : value;
      const shape = port.shape.map((_, axis) => given.names.get(`${port.name}.${axis}`) as number);
      return [port.name, dense(port.dtype, shape, data)];
    }),
  );
  const net = new ReferenceNet(compiled.reference, {
    tensors: Object.fromEntries(
      [...tensors].map(([spec, data]) => [spec.path, dense(spec.dtype, spec.shape, data as never)]),
    ),
    seed: seedWords(seed),
    totalSteps,
    evaluateHost,
  });
  const { train } = entry;
  const results = train ? net.step(train.block, inputs) : net.call(entry.name, inputs);
  if (!train) return rounded(results);
  const bad = train.flag === undefined ? 0 : results[train.flag].data[0];
  if (bad) throw new NonFiniteError(bad - 1, train.block);
  return rounded(Object.fromEntries(["loss", ...train.reports].map((name) => [name, results[name]])));
}

const rounded = (results: Readonly<Record<string, Dense>>): Record<string, Result> =>
  Object.fromEntries(
    Object.entries(results).map(([name, { dtype, shape, data }]) => {
      const out = arrayOf(dtype, data.length);
      out.set(data);
      return [name, { dtype, shape, data: out }];
    }),
  );
