// A program with every operator in it, generated from the definitions, written in the language: it compiles for every target,
// and its module gives on the adapter what the reference gives.
import { expect, it } from "vitest";
import { exposedOps } from "../../compiler/core/ops/index.ts";
import { difference } from "../support/allclose.ts";
import { everyOperator } from "../support/every-operator.ts";
import { compileText, testCompiled } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const { source, entries, left } = everyOperator();
let made: ReturnType<typeof compileText> | undefined;
const compiled = (): ReturnType<typeof compileText> => {
  made ??= compileText(source);
  return made;
};
const module = testCompiled(compiled);

/** The device's own functions are less exact. */
const LOOSE: ReadonlySet<string> = new Set(["sin", "cos", "tan", "randn"]);

it("every operator is in it, as the language calls it", () => {
  expect(left).toEqual([]);
  expect(entries.map((e) => e.op).toSorted()).toEqual(exposedOps.map((op) => op.name).toSorted());
  expect(compiled().artefact.programs.length).toBeGreaterThan(2);
});

it("agrees with the reference", async (context) => {
  // Indices are drawn as they come; what is outside reads what the reference reads.
  const net = await module.load(context, { checks: false });
  const reference = referenceNet(compiled());
  const wrong: string[] = [];
  for (const { op, entry, inputs } of entries) {
    const given = Object.fromEntries(
      Object.entries(inputs).map(([name, x]) => [
        name,
        {
          data:
            x.dtype === "f32"
              ? Float32Array.from(x.data)
              : x.dtype === "i32"
                ? Int32Array.from(x.data)
                : x.dtype === "u32"
                  ? Uint32Array.from(x.data)
                  : Uint8Array.from(x.data),
          shape: x.shape,
        },
      ]),
    );
    const found = await net.results(entry, given);
    for (const [name, want] of Object.entries(reference.call(entry, inputs))) {
      const exact = want.dtype !== "f32";
      const bound = exact ? 0 : LOOSE.has(op) ? 1e-3 : 2e-5;
      const message = difference(Array.from(found[name] as ArrayLike<number>, Number), want.data, {
        name: `${entry} ${name}`,
        shape: want.shape,
        rtol: bound,
        atol: bound / 4,
      });
      if (message) wrong.push(message);
    }
  }
  expect(wrong).toEqual([]);
});
