// Inputs that nobody gave, drawn at random: a profile wants a call, and not its results. In: an entry, sizes by name. Out: data
// by input, as `takeInputs` takes it. Floats are uniform in [0, 1), which no norm and no logarithm minds; integers that are
// used as indices lie inside what they index.
import { evaluateRows } from "../../runtime/core/expr.ts";
import type { EntryPlan, Port } from "../../runtime/core/program.ts";
import { type AnyArray, arrayOf } from "../../runtime/core/tensor.ts";
import { drawKey, fnv1a, randomBits, uniformFromBits } from "../../runtime/core/threefry.ts";
import { InputFailure } from "./failure.ts";

/** What a size is where nobody says. */
const SIZE = 1;

export type Sizes = Readonly<Record<string, number>>;

/** Sizes of all symbols of an entry. A name that it does not have is refused. */
export function sizesOf(entry: EntryPlan, given: Sizes): Map<string, number> {
  const names = entry.symbols.map((s) => s.name);
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue;
    throw new InputFailure(
      `${entry.name} has no size ${name}: ${names.length ? `its sizes are ${names.join(", ")}` : "all its sizes are fixed"}`,
    );
  }
  return new Map(names.map((name) => [name, given[name] ?? SIZE]));
}

export function drawInputs(
  entry: EntryPlan,
  sizes: ReadonlyMap<string, number>,
  seed: number,
): Record<string, { readonly data: AnyArray; readonly shape: readonly number[] }> {
  const values = evaluateRows(entry.body.exprs, sizes, []);
  return Object.fromEntries(
    entry.inputs.map((port) => {
      const shape = port.shape.map((id) => values[id]);
      if (shape.some((n) => !(n >= 0))) {
        throw new InputFailure(
          `${entry.name}: ${port.name} has no shape at these sizes (${shape.join(", ")})`,
        );
      }
      const data = arrayOf(
        port.dtype,
        shape.reduce((a, b) => a * b, 1),
      );
      const below = belowOf(port, values);
      const key = drawKey([seed, 0], fnv1a(port.name), 0);
      for (let i = 0; i < data.length; i++) {
        const u = uniformFromBits(randomBits(key, i));
        data[i] = sizes.get(port.name) ?? (below === undefined ? u : Math.floor(u * below));
      }
      return [port.name, { data, shape }];
    }),
  );
}

/** Integers lie below this: what they index, or two; undefined for floats. */
function belowOf(port: Port, values: readonly number[]): number | undefined {
  if (port.dtype === "f32" || port.dtype === "f16") return undefined;
  const extents = (port.indexes ?? []).map((x) => values[x.extent]);
  return Math.max(1, Math.min(...(extents.length > 0 ? extents : [2])));
}
