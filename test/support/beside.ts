// Entries of a module beside the reference, on the same drawn inputs. In: a module, a loaded net, shapes of inputs. Out: a failed
// expectation where they differ.
import type { Compiled } from "../../compiler/core/index.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { allclose, type Tolerance } from "./allclose.ts";
import { signed } from "./hashing.ts";
import type { Net } from "./module.ts";
import { referenceNet } from "./reference.ts";

/** An entry, and the shape of each of its inputs, which are f32. */
export type ShapedCall = readonly [entry: string, shapes: Readonly<Record<string, number[]>>];

export async function besideReference(
  compiled: Compiled,
  net: Net,
  calls: readonly ShapedCall[],
  tolerance: Tolerance,
): Promise<void> {
  const reference = referenceNet(compiled);
  for (const [entry, shapes] of calls) {
    const given = Object.entries(shapes).map(([name, shape]) => ({ name, shape, data: signed(name, shape) }));
    const inputs = Object.fromEntries(given.map(({ name, shape, data }) => [name, { shape, data }]));
    const exact = reference.call(
      entry,
      Object.fromEntries(given.map(({ name, shape, data }) => [name, dense("f32", shape, data)])),
    );
    const got = await net.results(entry, inputs);
    for (const [name, { data }] of Object.entries(exact)) allclose(got[name], data, tolerance);
  }
}
