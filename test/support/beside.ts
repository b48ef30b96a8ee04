// Entries of a module beside the reference, on the same drawn inputs. In: a module, a loaded net, shapes of inputs. Out: a failed
// expectation where they differ.
import type { TestContext } from "vitest";
import { type Compiled, type Target, withPrecision } from "../../compiler/core/index.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { allclose, type Tolerance } from "./allclose.ts";
import { testDevice } from "./device.ts";
import { signed } from "./hashing.ts";
import { compileText, type Net, testCompiled } from "./module.ts";
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

interface Way {
  readonly name: string;
  readonly target: Target;
  readonly tolerance: Tolerance;
}
/** Targets as they are, where results are so near, and with f16, where they are as near as it is. */
export const andInHalf = (targets: readonly Target[], tolerance: Tolerance): readonly Way[] =>
  targets.flatMap((target) => [
    { name: target.name, target, tolerance },
    {
      name: `${target.name} in f16`,
      target: withPrecision(target, "f16"),
      tolerance: { rtol: 2e-2, atol: 2e-2 },
    },
  ]);
/** A source, compiled, that way beside the reference; the test is skipped where the adapter cannot. */
export async function sourceBeside(
  context: TestContext,
  source: string,
  { target, tolerance }: Way,
  calls: readonly ShapedCall[],
): Promise<Compiled> {
  const { features } = await testDevice(context);
  if (target.precision && !features.has("shader-f16")) return context.skip("the adapter has no shader-f16");
  const compiled = compileText(source, { targets: [target], verify: true });
  const net = await testCompiled(() => compiled).load(context, { target: target.name });
  await besideReference(compiled, net, calls, tolerance);
  return compiled;
}
