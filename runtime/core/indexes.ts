// Looks through inputs from the host that are used as indices. In: a port that says what its elements index, and its elements.
// Out: nothing, or an InputError that names the first that is outside. A module none of whose inputs is one has
// no-indexes.ts in its place.
import { InputError } from "./errors.ts";
import { evaluateRow } from "./expr.ts";
import type { EntryPlan, Port } from "./program.ts";
import { type AnyArray, sizeOf } from "./tensor.ts";

/** Elements that are indices are inside what they index; else an error that names the first that is not. */
export function checkIndexes(
  entry: EntryPlan,
  port: Port,
  data: AnyArray,
  names: ReadonlyMap<string, number>,
): void {
  const shape = port.shapeText.map((_, k) => names.get(`${port.name}.${k}`) as number);
  const value = (id: number): number => evaluateRow(entry.body.exprs, id, names);
  for (const { extent, except, part, use } of port.indexes ?? []) {
    const end = value(extent);
    const axes = shape.map((size, k) => (part ? part[k].map(value) : [0, size, 1]));
    const check = (at: number): void => {
      const index = data[at];
      if ((index >= 0 && index < end) || index === except) return;
      const place = shape.map((size, k) => Math.floor(at / sizeOf(shape.slice(k + 1))) % size);
      const or = except === undefined || (except >= 0 && except < end) ? "" : ` or ${except}`;
      throw new InputError(
        "index-range",
        `${port.name}${place.length ? `[${place.join(", ")}]` : ""} is ${index}, expected ${
          end > 0 ? `0 to ${end - 1}` : "no index, as nothing is there"
        }${or} (${use}); load or call with checks: false to pass over this`,
      );
    };
    const walk = (k: number, at: number): void => {
      if (k === axes.length) {
        check(at);
        return;
      }
      const [start, count, step] = axes[k];
      const first = at * shape[k] + start;
      for (let i = 0; i < count; i++) walk(k + 1, first + i * step);
    };
    walk(0, 0);
  }
}
