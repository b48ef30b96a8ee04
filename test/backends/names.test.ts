// No name of an author's breaks a kernel: models whose inputs and parameters are called as every word of WGSL, and as every
// name that any kernel of ours prints. Dawn looks at each kernel of each target.
import { describe, expect, it } from "vitest";
import { words as wgslWords } from "../../compiler/core/backends/wgsl/words.ts";
import { compile } from "../../compiler/core/index.ts";
import { targets } from "../../compiler/core/targets.ts";
import { compileText } from "../support/module.ts";
import { errorsOf } from "../support/shaders.ts";
import { wide } from "../support/wide.ts";

/** Every name in the kernels of all families. */
function printed(): string[] {
  const sources = [
    `import { Conv2d } from "std/nn"
     model Conv {
       conv = Conv2d(3, 8, 3)
       fn f(x: f32[N, 3, 10, 10]) -> f32[N, 8, 4, 4] { max_pool2d(relu(conv(x)), 2) }
     }`,
    wide["attention over what many parts make"],
    wide["rows of many operands"],
    `model Heads {
      fn f(q: f32[T, 8], k: f32[T, 8], v: f32[T, 8], w: f32[8]) -> f32[T, 8] { attention(q, k, v, causal = true) * w }
      fn loss(q: f32[T, 8], k: f32[T, 8], v: f32[T, 8], w: f32[8]) -> f32 { sum(f(q, k, v, w) ** 2) }
      fn d(q: f32[T, 8], k: f32[T, 8], v: f32[T, 8], w: f32[8]) { (a, b, c) = grad(loss, wrt = (q, k, v))(q, k, v, w); (a = a, b = b, c = c) }
      fn draws(x: f32[N, 8]) -> f32[N, 8] { dropout(erf(x) + log(x) ** 1.5 + tanh(asin(x) % 0.3), 0.5) }
      fn most(x: f32[N, 8]) -> (m: f32[N], i: i32[N], a: bool[N], p: f32[N]) {
        (m = max(x, axis = 1), i = argmax(x, axis = 1), a = any(x > 0, axis = 1), p = prod(x, axis = 1))
      }
    }`,
  ];
  const names = new Set<string>();
  for (const source of sources)
    for (const text of compileText(source).artefact.texts)
      for (const [name] of text.replace(/\/\/[^\n]*/g, "").matchAll(/[A-Za-z_]\w*/g)) names.add(name);
  return [...names];
}
/** Those an author can write as an input's name. */
function writable(names: readonly string[]): string[] {
  const taken = (name: string): boolean => {
    try {
      compile(`model M { fn f(${name}: f32[N]) -> f32[N] { ${name} * 2 } }`, "main.mdl", { targets: [] });
      return false;
    } catch {
      return true;
    }
  };
  return names.filter((name) => !taken(name));
}

describe("names", () => {
  const own = [
    "Params",
    "_1",
    "__x",
    "mdl_tanh_1",
    "tile_a",
    "tile_a_1",
    "keys",
    "values",
    "p",
    "row_1",
    "é",
  ];
  const words = [...new Set([...own, ...wgslWords.reserved, ...printed()])].filter((w) => /^\w+$/.test(w));
  const names = writable(words);

  it("of all kinds are tried", () => {
    expect(wgslWords.reserved.size).toBeGreaterThan(500);
    expect(names.length).toBeGreaterThan(600);
    for (const name of ["Params", "tile_a", "keys", "store", "vec4", "storage", "main", "_1", "lane", "sum"])
      expect(names).toContain(name);
  });

  it.each(targets.map((t) => t.name))(
    "break no kernel for %s",
    async (target) => {
      const PER = 7;
      for (let start = 0; start < names.length; start += 70) {
        const entries: string[] = [];
        const params: string[] = [];
        for (let i = start; i < Math.min(names.length, start + 70); i += PER) {
          const list = names.slice(i, i + PER);
          while (list.length < PER) list.push(`more_${list.length}`);
          const [a, b, c, d, e, f, g] = list;
          const inputs = list.map((n) => `${n}: f32[N, 8]`).join(", ");
          // A number of its own makes each a kernel of its own: names do not.
          const k = `${i / 1024 + 0.5}`;
          entries.push(
            `fn map_${i}(${inputs}) -> f32[N, 8] { ${list.join(" + ")} * ${k} }`,
            `fn rows_${i}(${inputs}) -> f32[N, 8] { soft_of(${list.join(" * ")} * ${k}) }`,
            `fn tile_${i}(${inputs}) -> f32[N, N] { (${a} + ${b} * ${k}) @ (${c} * ${d}).T + sum_of(${e} * ${f} - ${g}) }`,
            `fn own_${i}(${inputs}) -> f32[N, 8] { attention_of(${a} * ${k}, ${b}, ${c} + ${d}, ${e} @ ${f}.T) * ${g} }`,
          );
        }
        for (const [n, name] of names.slice(start, start + 70).entries()) if (n % 7 === 0) params.push(name);
        // Parameters, sizes and results have names in kernels, too.
        const layers = params
          .map((name, n) => {
            const size = /^[A-Z]/.test(name) ? name : `S${name.replace(/\W/g, "")}`;
            return `fn param_${start + n}(x: f32[${size}, 8], y: f32[${size} + ${size}, 8]) { (out = x @ values.${name} + ${n + 0.25}, ${name === "out" ? "other" : name} = sum_of(y * ${n + 1.5})) }`;
          })
          .join("\n");
        const source = `
          // Names of inputs hide what they are called after.
          fn soft_of(x: f32[N, 8]) -> f32[N, 8] { softmax(x) }
          fn sum_of(x: f32[N, 8]) -> f32[N] { sum(x, axis = 1) }
          fn attention_of(q: f32[N, 8], k: f32[N, 8], v: f32[N, 8], m: f32[N, N]) -> f32[N, 8] { attention(q, k, v, m) }
          layer Values {\n${params.map((name) => `param ${name}: f32[8, 8] = ones()`).join("\n")}\nfn forward(x: f32[N]) -> f32[N] { x }\n}
          model M {\nvalues = Values()\n${entries.join("\n")}\n${layers}\n}`;
        const { artefact } = compileText(source, { targets: [target] });
        expect(await errorsOf(artefact, target)).toEqual([]);
      }
    },
    240_000,
  );
});
