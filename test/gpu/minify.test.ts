// A minified module is the same program: for each target the same dispatches of the same kernels, and the same bits come out,
// of inference and of training steps.
import { describe, expect, it } from "vitest";
import type { Block, Kernel, Program } from "../../runtime/core/program.ts";
import { once, own } from "../support/adapter.ts";
import { compileText, testModule } from "../support/module.ts";

const SOURCE = `import { BatchNorm2d, Conv2d, Linear } from "std/nn"
model Small {
  conv = Conv2d(2, 8, 3, padding = 1)
  bn   = BatchNorm2d(8)
  head = Linear(8 * 4 * 4, 5)
  fn logits(x: f32[N, 2, 8, 8]) -> f32[N, 5] { x |> conv |> bn |> relu |> max_pool2d(2) |> flatten |> head }
  private fn loss(x: f32[N, 2, 8, 8], y: i32[N]) -> f32 { cross_entropy(logits(x), y) }
  fn functions(x: f32[N, 7]) -> (a: f32[N, 7], s: f32[N, 7], i: i32[N], b: bool[N, 7], m: f32[N]) {
    (a = tanh(erf(x) + log(abs(x)) ** 1.5) - x % 0.3, s = softmax(dropout(x, 0.5)), i = argmax(x, axis = 1),
     b = x > 0.1 && x < 0.9, m = max(x, axis = 1))
  }
}
train fit for Small { minimize loss; with adam(lr = 0.1) }`;

const data = (n: number, seed: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + seed) * 2);
const bits = (x: ArrayLike<number>): readonly number[] =>
  x instanceof Float32Array ? [...new Uint32Array(x.slice().buffer)] : Array.from(x, Number);

describe.each(once(own.name, "gpu"))("a minified module for %s", (target) => {
  const modules = [false, true].map((minify) => testModule(SOURCE, { targets: [target], minify }));

  it("has the same plan, and texts that are much shorter", () => {
    const [long, short] = [false, true].map((minify) => compileText(SOURCE, { targets: [target], minify }));
    // Constants are called as the text calls them; what workgroups count in is bound last, and not where they do not draw.
    const kernelOf = ({ text, constants, draws, access, ...kernel }: Kernel) => ({
      ...kernel,
      access: draws ? access.slice(0, -1) : access,
      constants: Object.values(constants ?? {}).sort((a, b) => a - b),
    });
    const bound = ({ kernels }: Program, body: Block): unknown =>
      body.steps.map((s) => {
        if (s.kind === "loop") return { ...s, body: bound({ kernels } as Program, s.body) };
        return s.kind === "dispatch" && kernels[s.kernel].draws ? { ...s, bind: s.bind.slice(0, -1) } : s;
      });
    const shape = ({ artefact: { texts, programs, ...rest } }: typeof long) => ({
      ...rest,
      programs: programs.map((p) => ({
        ...p,
        kernels: p.kernels.map(kernelOf),
        derived: p.derived.map(({ body, ...unit }) => ({ ...unit, steps: bound(p, body) })),
        entries: p.entries.map(({ body, ...entry }) => ({ ...entry, steps: bound(p, body) })),
      })),
    });
    expect(shape(short)).toEqual(shape(long));
    const size = (c: typeof long): number => c.artefact.texts.join("").length;
    expect(size(short)).toBeLessThan(0.6 * size(long));
    for (const text of short.artefact.texts) expect(text).not.toMatch(/\/\/|\n| {2}|mdl_|--/);
  });

  it("computes the same, bit for bit", async (context) => {
    const seen: unknown[] = [];
    for (const module of modules) {
      const net = await module.load(context, { seed: 3, target });
      const x = { data: data(4 * 128, 1), shape: [4, 2, 8, 8] };
      const out: unknown[] = [bits(await net.call("logits", { x }))];
      const results = await net.results("functions", { x: { data: data(21, 2), shape: [3, 7] } });
      out.push(Object.entries(results).map(([name, r]) => [name, bits(r)]));
      for (let i = 0; i < 3; i++)
        out.push(await net.step("fit", { x, y: { data: Int32Array.of(0, 4, 2, 1), shape: [4] } }));
      out.push(bits(await net.parameter("conv.weight")), bits(await net.parameter("bn.running_var")));
      seen.push(out);
    }
    expect(seen[1]).toEqual(seen[0]);
  }, 120_000);
});
