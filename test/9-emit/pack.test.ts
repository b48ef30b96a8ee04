// Packing: a module's data says what the artefact said. In: compiled models. Out: the same after packing and back.
import { describe, expect, it } from "vitest";
import { pack } from "../../compiler/core/phases/9-emit/pack.ts";
import type { Artefact, Block, Step } from "../../runtime/core/program.ts";
import { unpack } from "../../runtime/core/unpack.ts";
import { compileText } from "../support/module.ts";
import { spelled } from "../support/spelled.ts";
import { tiny } from "../support/tiny.ts";

/** As a module's text would bring it back. */
const plain = (x: unknown): unknown => JSON.parse(JSON.stringify(x));
const back = (a: Artefact): Artefact => unpack(plain(pack(a)) as ReturnType<typeof pack>);

const LAYERS = `import { Linear, Embedding, BatchNorm1d } from "std/nn"
model M(d: int = 8) {
  table = Embedding(11, d)
  layers = [Linear(d, d) for i in 0..3]
  norm = BatchNorm1d(d)
  out = Linear(d, 3)
  private fn hidden(ids: i32[N]) { ids |> table |> layers |> norm |> dropout(0.5) |> out }
  fn scores(ids: i32[N]) { hidden(ids) }
  fn loss(ids: i32[N], y: i32[N]) -> f32 { cross_entropy(hidden(ids), y) }
}
train fit for M { minimize loss; with adamw(lr = cosine(1e-3, total_steps)) }`;

const LOOPS = `model L {
  param w: f32[4, 4] = zeros()
  param half: f16[4] = ones()
  buffer count: i32 = 0
  fn f(x: f32[B, T, 4]) {
    scan t over x axis 1 with s = zeros(B, 4) {
      s = scan u over x axis 1 with c = s { c = tanh(u @ w + c) + cast(half, f32) }
    }
  }
  fn g(x: f32[B, T, 4]) -> f32 { mean(f(x)) }
}
train fit for L { minimize g; with sgd(lr = 0.1, momentum = 0.9) }`;

describe("packing", () => {
  it.each([
    ["layers, draws, indices and a schedule", LAYERS],
    ["loops in loops, and two dtypes", LOOPS],
  ])("keeps all of a program: %s", (_what, source) => {
    const { artefact } = compileText(source);
    expect(artefact.programs.length).toBeGreaterThan(1);
    expect(plain(spelled(back(artefact)))).toEqual(plain(spelled(artefact)));
    // What came back is packed as before: nothing is lost by doing it again.
    expect(pack(back(artefact))).toEqual(pack(artefact));
  });

  it("keeps what only a program written by hand says", () => {
    const odd: Artefact = {
      ...tiny,
      params: [{ ...tiny.params[0], offset: 512, bytes: 20, aliases: ["a", "b"] }],
      programs: tiny.programs.map((p) => ({
        ...p,
        kernels: p.kernels.map((k, i) => ({ ...k, features: ["f16"], constants: { x: i } })),
        entries: p.entries.map((e) => ({
          ...e,
          writesParams: ["nowhere"],
          writesState: ["count", "bad_step"],
        })),
      })),
    };
    expect(plain(spelled(back(odd)))).toEqual(plain(spelled(odd)));
    expect(plain(spelled(back(tiny)))).toEqual(plain(spelled(tiny)));
  });

  it("counts the places of loops beside those of the block around them, whatever the numbers of their sizes", () => {
    const [program, ...others] = tiny.programs;
    const [entry, ...more] = program.entries;
    const { exprs } = entry.body;
    const [one, offset, bytes] = [exprs.length, exprs.length + 1, exprs.length + 2];
    const derived = { buffer: "derived" as const, offset };
    const clear = (bytes: number): Step => ({ kind: "clear", range: { ...derived, bytes }, label: "clear" });
    // In a loop, as many sizes of its own as make one of them stand where the outer block's stands in its table.
    const sizes = Array.from({ length: 4 * exprs.length }, (_, i) => 1000 + i);
    const body: Block = {
      exprs: [...exprs, 1, 640, 77],
      steps: [
        clear(bytes),
        {
          kind: "loop",
          symbol: "$t",
          count: one,
          label: "loop",
          body: { exprs: ["$t", ...sizes], steps: sizes.map((_, i) => clear(bytes + 2 + i)) },
        },
      ],
    };
    const odd: Artefact = {
      ...tiny,
      programs: [{ ...program, entries: [{ ...entry, solve: body.exprs, body }, ...more] }, ...others],
    };
    expect(plain(spelled(back(odd)))).toEqual(plain(spelled(odd)));
  });

  it("says once what targets, entries and layers share", () => {
    const { artefact } = compileText(LAYERS);
    const packed = pack(artefact);
    expect(packed.heads.length).toBe(artefact.programs[0].entries.length);
    // As they are read: packed rows say how far back their operands are.
    const exprs = unpack(packed).programs[0].entries[0].body.exprs.slice(0, packed.exprs.length);
    for (const table of [exprs, packed.sites, packed.kernels])
      expect(new Set(table.map((row) => JSON.stringify(row))).size).toBe(table.length);
    const size = (x: object): number => JSON.stringify({ ...x, texts: [] }).length;
    expect(size(packed)).toBeLessThan(size(artefact) / 3);
  });
});
