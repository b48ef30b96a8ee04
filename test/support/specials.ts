// PyTorch's values at NaN, the infinities, signed zeros, subnormals and the extremes (test/figures/specials.json), and models
// that compute the same. In: the committed figures. Out: sources, inputs and a comparison.
import { readFileSync } from "node:fs";

type Figure = number | "NaN" | "Infinity" | "-Infinity" | "-0";
interface Case {
  readonly mdl: string;
  readonly y: readonly Figure[];
  readonly g?: readonly (readonly Figure[])[];
}
type Section = "unary" | "predicates" | "binary" | "comparisons" | "reduce" | "indices" | "pools" | "bits";
type Figures = { readonly [S in Section]: readonly Case[] } & {
  readonly [argument in "x" | "a" | "b" | "rows" | "i" | "j"]: readonly Figure[];
};
const figures = JSON.parse(
  readFileSync(new URL("../figures/specials.json", import.meta.url), "utf8"),
) as Figures;

const numbers = (list: readonly Figure[]): number[] => list.map(Number);

interface Argument {
  readonly dtype: "f32" | "i32";
  readonly type: string;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
const ARGUMENTS: Readonly<Record<Section, Readonly<Record<string, Argument>>>> = (() => {
  const vector = (list: readonly Figure[], dtype: Argument["dtype"] = "f32"): Argument => ({
    dtype,
    type: `${dtype}[N]`,
    shape: [list.length],
    data: numbers(list),
  });
  const x = { x: vector(figures.x) };
  const xy = { x: vector(figures.a), y: vector(figures.b) };
  const ij = { x: vector(figures.i, "i32"), y: vector(figures.j, "i32") };
  const rows = {
    x: { dtype: "f32" as const, type: "f32[R, 4]", shape: [12, 4], data: numbers(figures.rows) },
  };
  const p = {
    p: { dtype: "f32" as const, type: "f32[B, 1, 4, 4]", shape: [3, 1, 4, 4], data: numbers(figures.rows) },
  };
  return {
    unary: x,
    predicates: x,
    binary: xy,
    comparisons: xy,
    reduce: rows,
    indices: rows,
    pools: p,
    bits: ij,
  };
})();

export interface Special {
  readonly section: Section;
  /** Entries of this section, each of a few results. */
  readonly entries: readonly string[];
  readonly inputs: Readonly<Record<string, Argument>>;
  /** Per result: how it is written, what PyTorch has. */
  readonly expected: ReadonlyMap<string, { readonly text: string; readonly want: readonly number[] }>;
}

/** A model whose entries give every figure's value and gradients. `most` results an entry. */
export function specialModel(most = 6): { source: string; specials: readonly Special[] } {
  const lines: string[] = [];
  const specials = (Object.keys(ARGUMENTS) as Section[]).map((section): Special => {
    const inputs = ARGUMENTS[section];
    const names = Object.keys(inputs);
    const params = names.map((n) => `${n}: ${inputs[n].type}`).join(", ");
    const expected = new Map<string, { text: string; want: readonly number[] }>();
    const results: string[] = [];
    figures[section].forEach((c, i) => {
      const id = `${section}${i}`;
      results.push(`y_${id} = ${c.mdl}`);
      expected.set(`y_${id}`, { text: c.mdl, want: numbers(c.y) });
      if (!c.g) return;
      lines.push(`  private fn s_${id}(${params}) -> f32 { sum(${c.mdl}) }`);
      names.forEach((n, k) => {
        results.push(`g${k}_${id} = grad(s_${id}, wrt = ${n})(${names.join(", ")})`);
        expected.set(`g${k}_${id}`, { text: `gradient of ${c.mdl} in ${n}`, want: numbers(c.g?.[k] ?? []) });
      });
    });
    const entries: string[] = [];
    for (let i = 0; i < results.length; i += most) {
      const name = `e_${section}${i / most}`;
      entries.push(name);
      const some = results.slice(i, i + most);
      lines.push(`  fn ${name}(${params}) { (${some.join(", ")}${some.length === 1 ? "," : ""}) }`);
    }
    return { section, entries, inputs, expected };
  });
  return { source: `model M {\n${lines.join("\n")}\n}\n`, specials };
}

const TINY = 1.1754943508222875e-38;
const near = (got: number, want: number, rtol: number, atol: number): boolean =>
  Number.isFinite(want) ? Math.abs(got - want) <= atol + rtol * Math.abs(want) : Object.is(got, want);

/**
 * What differs, in words. `flushed` lists elements whose argument is subnormal: a device may take it for zero, so that the
 * value at +0 or -0 is as right. So is zero where PyTorch has a subnormal.
 */
export function differences(
  special: Special,
  name: string,
  got: ArrayLike<number>,
  rtol = 2e-5,
  atol = 1e-6,
): string[] {
  const { text, want } = special.expected.get(name) ?? { text: name, want: [] };
  const args = Object.entries(special.inputs);
  const elementwise = args.every(([, a]) => a.data.length === want.length && a.shape.length === 1);
  const out: string[] = [];
  want.forEach((w, i) => {
    const value = Number(got[i]);
    if (near(value, w, rtol, atol)) return;
    if (elementwise) {
      const at = (k: number): readonly number[] => args.map(([, a]) => a.data[k]);
      const mine = at(i);
      if (mine.some((v) => v !== 0 && Math.abs(v) <= TINY)) {
        const alike = want.some((other, k) => {
          const theirs = at(k);
          return (
            theirs.every((v, q) => v === mine[q] || (Math.abs(mine[q]) <= TINY && v === 0)) &&
            near(value, other, rtol, atol)
          );
        });
        if (alike) return;
      }
    }
    const arguments_ = elementwise ? ` at ${args.map(([, a]) => a.data[i]).join(", ")}` : ` [${i}]`;
    out.push(`${text}${arguments_}: ${value}, PyTorch has ${w}`);
  });
  if (got.length !== want.length) out.push(`${text}: ${got.length} values for ${want.length}`);
  return out;
}
