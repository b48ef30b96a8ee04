// Layers of std/nn against the state dicts of PyTorch's layers (test/figures/state_dicts.json): the same names and shapes,
// and the same initialisation, as far as mean, spread and bounds tell it.
import { describe, expect, it } from "vitest";
import { initialBytes, placesOf, readWeights } from "../../runtime/core/store.ts";
import { projectFile } from "../support/files.ts";
import { compileText } from "../support/module.ts";

interface Begins {
  readonly shape: readonly number[];
  readonly mean: number;
  readonly std: number;
  readonly largest: number;
}
const { layers } = JSON.parse(projectFile("test/figures/state_dicts.json")) as {
  readonly layers: Readonly<Record<string, Readonly<Record<string, Begins>>>>;
};

/** An entry that calls the layer. */
function entry(layer: string): string {
  const [name, ...sizes] = layer.split(/\W+/);
  const call: Readonly<Record<string, string>> = {
    Conv1d: `x: f32[N, ${sizes[0]}, 8]`,
    Conv2d: `x: f32[N, ${sizes[0]}, 8, 8]`,
    Conv3d: `x: f32[N, ${sizes[0]}, 4, 4, 4]`,
    ConvTranspose1d: `x: f32[N, ${sizes[0]}, 8]`,
    ConvTranspose2d: `x: f32[N, ${sizes[0]}, 8, 8]`,
    ConvTranspose3d: `x: f32[N, ${sizes[0]}, 4, 4, 4]`,
    BatchNorm3d: `x: f32[N, ${sizes[0]}, 4, 4, 4]`,
    Embedding: "x: i32[N]",
    BatchNorm2d: `x: f32[N, ${sizes[0]}, 4, 4]`,
    MultiHeadAttention: `x: f32[B, T, ${sizes[0]}]`,
    LSTM: `x: f32[B, T, ${sizes[0]}]`,
    GRU: `x: f32[B, T, ${sizes[0]}]`,
  };
  const given = name === "MultiHeadAttention" ? "x, x, x" : "x";
  return `fn f(${call[name] ?? `x: f32[N, ${sizes[0]}]`}) { it(${given}) }`;
}

describe("layers of std/nn", () => {
  for (const [layer, expected] of Object.entries(layers)) {
    it(`${layer} is made of what PyTorch's is, and begins as it does`, async () => {
      const name = layer.slice(0, layer.indexOf("("));
      const source = `import { ${name} } from "std/nn"\nmodel M { it = ${layer}\n ${entry(layer)} }\n`;
      const { artefact } = compileText(source, { targets: ["baseline"] });
      const own = [...artefact.params, ...artefact.state].filter((s) => s.role !== "internal");
      const theirs = Object.entries(expected).filter(([path]) => path !== "num_batches_tracked");
      const list = (entries: readonly (readonly [string, readonly number[]])[]): string[] =>
        entries.map(([path, shape]) => `${path} [${shape}]`).sort();
      expect(list(own.map((s) => [s.path, s.shape]))).toEqual(
        list(theirs.map(([path, { shape }]) => [`it.${path}`, shape])),
      );

      for (const flat of ["params", "state"] as const) {
        const bytes = initialBytes(artefact, flat, [1, 2]);
        for (const spec of artefact[flat]) {
          const { mean, std, largest } = expected[spec.path.slice("it.".length)];
          const count = spec.shape.reduce((a, b) => a * b, 1);
          const x = [...new Float32Array(bytes.buffer, spec.offset, count)];
          const ownMean = x.reduce((a, b) => a + b, 0) / count;
          const ownStd = Math.sqrt(x.reduce((a, b) => a + (b - ownMean) ** 2, 0) / count);
          // Two draws of `count` elements differ by so much at most, with all but certainty.
          const off = (6 * std) / Math.sqrt(count) + 1e-9;
          expect(Math.abs(ownMean - mean), `${spec.path}: mean`).toBeLessThan(off * Math.SQRT2);
          expect(Math.abs(ownStd - std), `${spec.path}: spread`).toBeLessThan(off);
          const ownLargest = x.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
          // Bounds are met from below; a normal's largest is anywhere near four.
          const near = name === "Embedding" ? 0.4 : 0.1;
          expect(Math.abs(ownLargest - largest), `${spec.path}: bound`).toBeLessThanOrEqual(near * largest);
        }
      }

      // The file as PyTorch would write it, counters included, fits as a whole.
      const file = Object.entries(expected).map(([path, { shape }]) => {
        const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
        return [`it.${path}`, { data, shape }] as const;
      });
      const { ignored } = await readWeights(placesOf(artefact), Object.fromEntries(file));
      expect(ignored).toEqual({ missing: [], unexpected: [] });
    });
  }
});
