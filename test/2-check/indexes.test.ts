// Inputs that are used as indices: a call refuses one outside in what the host gives, and says which; what the compiler
// cannot follow to an input it does not check. Operators' own meaning of an index outside is in test/gpu/indexes.test.ts.
import { describe, expect, it } from "vitest";
import { bindSizes, dense } from "../../compiler/core/reference/evaluate.ts";
import { takeInputs } from "../../runtime/core/inputs.ts";
import type { EntryPlan } from "../../runtime/core/program.ts";
import { errorsOf, modelOf } from "../support/check.ts";
import { compileText } from "../support/module.ts";

function entryOf(source: string, name = "f"): EntryPlan {
  const { artefact } = compileText(source, { targets: ["baseline"] });
  const found = artefact.programs[0].entries.find((e) => e.name === name);
  if (!found) throw new Error(`no entry ${name}`);
  return found;
}
const ints = (shape: readonly number[], data: readonly number[]) => ({ data: Int32Array.from(data), shape });
const zeros = (...shape: number[]) => ({
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  shape,
});
/** What the call says, or undefined. */
function said(entry: EntryPlan, inputs: { readonly [name: string]: unknown }, checks?: boolean) {
  try {
    takeInputs(entry, inputs, checks);
    return undefined;
  } catch (error) {
    expect((error as Error).name).toBe("InputError");
    return (error as Error).message;
  }
}
const words = `
import { Embedding } from "std/nn"
model M {
  wte = Embedding(50257, 4)
  fn f(ids: i32[B, T]) -> f32[B, T, 4] { ids |> wte }
}`;

describe("an index that the text states", () => {
  const codes = (body: string): string[] =>
    errorsOf(`model M { param w: f32[5, 3] = ones()\n fn f(x: f32[T, 3]) { ${body} } }`);
  it("is an error where it is outside", () => {
    expect(codes("slice_at(w, [3, 0], [3, 3])")).toEqual([
      "E0306 the index 3 is outside: expected 0 to 2 (slice_at of 3 from an axis of 5)",
    ]);
    expect(codes("take(w, 5) + sum(x)")).toEqual([
      "E0306 the index 5 is outside: expected 0 to 4 (take from axis 0 of [5, 3])",
    ]);
    expect(codes("take(x, -1)")).toEqual([
      "E0306 the index -1 is outside: expected from 0 on (take from axis 0 of [T, 3])",
    ]);
    expect(codes("one_hot(5, 5) + sum(x)")[0]).toMatch(/^E0306/);
    expect(codes("take(w, 4) + sum(x)")).toEqual([]);
  });
  it("is checked at the call where sizes leave it open", () => {
    const graph = (body: string) =>
      modelOf(`model M { param w: f32[5, 3] = ones()\n fn f(x: f32[T, 3]) { ${body} } }`).entries[0].graph;
    const sizes = (body: string, t: number) =>
      bindSizes(graph(body), { x: dense("f32", [t, 3], new Array(3 * t).fill(0)) });
    expect(sizes("take(x, 2)", 3)).toEqual({ T: 3 });
    expect(() => sizes("take(x, 2)", 2)).toThrow(/the index 2 \(take from axis 0 of \[T, 3\]\)/);
    expect(sizes("slice_at(w, [2, 0], [T, 3])", 3)).toEqual({ T: 3 });
    expect(() => sizes("slice_at(w, [2, 0], [T, 3])", 4)).toThrow(/the index 2/);
  });
});

describe("an index that the host gives", () => {
  it("is refused with its place, its value and what it indexes", () => {
    const f = entryOf(words);
    expect(said(f, { ids: ints([2, 2], [0, 50256, 1, 2]) })).toBeUndefined();
    expect(said(f, { ids: ints([2, 2], [0, 1, 2, 50257]) })).toBe(
      "ids[1, 1] is 50257, expected 0 to 50256 (take from axis 0 of [50257, 4], in wte); load or call with checks: false to pass over this",
    );
    expect(said(f, { ids: [[3], [-1]] })).toMatch(/^ids\[1, 0\] is -1, expected 0 to 50256/);
    expect(said(f, { ids: ints([1, 1], [-1]) }, false)).toBeUndefined();
    expect(said(f, { ids: new BigInt64Array([0n, 70000n]), ...{} })).toMatch(/do not tell its sizes/);
  });

  it.each([
    ["take(w, i)", "i: i32[2]", [0, 5], /i\[1\] is 5, expected 0 to 4 \(take/],
    ["w[i[0]] + 0.0 * sum(w)", "i: i32[2]", [0, 9], undefined],
    ["gather(w, i[:, new], axis = 1)", "i: i32[5]", [0, 1, 2, 3, 0], /i\[3\] is 3, expected 0 to 2 \(gather/],
    ["one_hot(i, 4)", "i: i32[2]", [3, 4], /i\[1\] is 4, expected 0 to 3 \(one_hot of 4 classes\)/],
    [
      "slice_at(w, [i, 0], [3, 3])",
      "i: i32",
      [3],
      /^i is 3, expected 0 to 2 \(slice_at of 3 from an axis of 5/,
    ],
    ["update(w, zeros(2, 3), at = [i, 0])", "i: i32", [4], /^i is 4, expected 0 to 3 \(update of 2/],
    // Through what only moves elements.
    ["take(w, reshape(transpose(i)[::-1, :], -1))", "i: i32[2, 2]", [0, 1, 2, 7], /i\[1, 1\] is 7/],
    ["take(w, concat([i, i]))", "i: i32[2]", [0, 6], /i\[1\] is 6/],
    ["take(w, i32(u32(i)))", "i: i32[2]", [0, 6], /i\[1\] is 6/],
    // Only the part that is used, and that in steps.
    ["take(w, i[1:])", "i: i32[3]", [9, 0, 1], undefined],
    ["take(w, i[1:])", "i: i32[3]", [9, 0, 5], /i\[2\] is 5/],
    ["take(w, i[:, 1])", "i: i32[2, 3]", [9, 0, 9, 9, 5, 9], /i\[1, 1\] is 5/],
    ["take(w, i[3::-2])", "i: i32[5]", [9, 0, 9, 4, 9], undefined],
    ["take(w, i[3::-2])", "i: i32[5]", [9, 8, 9, 4, 9], /i\[1\] is 8/],
    // What is computed is not followed; clamped and chosen indices are the author's.
    ["take(w, clamp(i, 0, 4))", "i: i32[2]", [-7, 9], undefined],
    ["take(w, where(i < 0, 0, i))", "i: i32[2]", [-7, 9], undefined],
    ["take(w, where(i == -1, 0, i))", "i: i32[2]", [-1, 4], undefined],
    ["take(w, where(i != -1, i, 0))", "i: i32[2]", [-1, 5], /i\[1\] is 5, expected 0 to 4 or -1/],
  ] as const)("%s of %s", (body, input, data, message) => {
    const [, shape] = /\[(.*)\]/.exec(input) ?? [];
    const sizes = shape?.split(", ").map(Number);
    const f = entryOf(`model M { param w: f32[5, 3] = zeros()\n fn f(${input}) { ${body} } }`);
    const got = said(f, { i: sizes ? ints(sizes, data) : data[0] });
    if (message) expect(got).toMatch(message);
    else expect(got).toBeUndefined();
  });

  it("may be a class to be ignored", () => {
    const loss = (more: string) =>
      entryOf(`model M { fn f(x: f32[N, 3], y: i32[N]) { cross_entropy(x, y${more}) } }`);
    const y = (...data: number[]) => ({ x: zeros(data.length, 3), y: ints([data.length], data) });
    expect(said(loss(""), y(0, -100, 2))).toBeUndefined();
    expect(said(loss(""), y(0, -100, 3, -1))).toMatch(
      /^y\[2\] is 3, expected 0 to 2 or -100 \(cross_entropy of 3 classes\)/,
    );
    expect(said(loss(", ignore_index = -1"), y(0, -1))).toBeUndefined();
    expect(said(loss(", ignore_index = -1"), y(0, -100))).toMatch(/y\[1\] is -100, expected 0 to 2 or -1/);
    expect(said(loss(", ignore_index = 1"), y(0, 1, 3))).toMatch(/y\[2\] is 3, expected 0 to 2 \(/);
    const nll = `import { nll_loss } from "std/loss"
      model M { fn f(x: f32[N, 3], y: i32[N]) { nll_loss(log_softmax(x), y) } }`;
    expect(said(entryOf(nll), y(0, -100, 2))).toBeUndefined();
    expect(said(entryOf(nll), y(0, -100, 4))).toMatch(/y\[2\] is 4, expected 0 to 2 or -100/);
  });

  it("is found in training steps, in gradients alone, in scans, and where the size is known at the call", () => {
    const train = `
      import { Embedding, Linear } from "std/nn"
      model M {
        wte = Embedding(6, 4)
        head = Linear(4, 5)
        private fn loss(ids: i32[B, T]) -> f32 { cross_entropy(ids[:, :-1] |> wte |> head, ids[:, 1:]) }
        private fn s(x: f32[N, 3], y: i32[N]) -> f32 { cross_entropy(x, y) }
        fn g(x: f32[N, 3], y: i32[N]) { grad(s, wrt = x)(x, y) }
        fn r(ids: i32[B, T], table: f32[V, 4]) {
          scan id over ids axis 1 with h = zeros(B, 4) { h = h + take(table, id)
            emit y = h }
        }
      }
      train fit for M { minimize loss; with sgd(lr = 0.1) }`;
    const fit = entryOf(train, "fit_step");
    expect(said(fit, { ids: ints([1, 3], [5, 4, 4]) })).toBeUndefined();
    expect(said(fit, { ids: ints([1, 3], [6, 4, 4]) })).toMatch(/ids\[0, 0\] is 6, expected 0 to 5 \(take/);
    expect(said(fit, { ids: ints([1, 3], [5, 4, 5]) })).toMatch(/ids\[0, 2\] is 5, expected 0 to 4 or -100/);
    expect(said(entryOf(train, "g"), { x: zeros(2, 3), y: ints([2], [0, 3]) })).toMatch(/y\[1\] is 3/);
    const r = entryOf(train, "r");
    expect(said(r, { ids: ints([2, 2], [0, 1, 2, 3]), table: zeros(4, 4) })).toBeUndefined();
    expect(said(r, { ids: ints([2, 2], [0, 1, 2, 3]), table: zeros(3, 4) })).toMatch(
      /ids\[1, 1\] is 3, expected 0 to 2 \(take from axis 0 of \[V, 4\]\)/,
    );
  });

  it("has no place beyond a cache's end", () => {
    const f = entryOf(`model M {
      buffer keys: f32[8, 4] = zeros()
      fn f(k: f32[T, 4], at: i32) { k2 = update(keys, k, at = [at, 0]); keys <- k2; k2 }
    }`);
    expect(said(f, { k: zeros(3, 4), at: 5 })).toBeUndefined();
    expect(said(f, { k: zeros(3, 4), at: 6 })).toMatch(
      /^at is 6, expected 0 to 5 \(update of T from an axis of 8/,
    );
  });
});
