// What becomes one kernel: the dispatches of known models, counted from the plan's text as a user would count them.
// In eval mode, without `prepare`. A count alone could hide a waste: none of them may be an element-wise, movement, norm or
// bias kernel.
import { describe, expect, it } from "vitest";
import type { Compiled, CompileOptions } from "../../compiler/core/index.ts";
import { simplify } from "../../compiler/core/phases/4-simplify/simplify.ts";
import { fuse } from "../../compiler/core/phases/5-fuse/fuse.ts";
import { targets } from "../../compiler/core/targets.ts";
import { modelOf } from "../support/check.ts";
import { projectFile } from "../support/files.ts";
import { compileText } from "../support/module.ts";

interface Dispatch {
  readonly name: string;
  readonly family: string;
  readonly line: string;
}
/** The dispatches of an entry, in order; a group whose k is cut counts once. */
function dispatches(c: Compiled, target: string): Dispatch[] {
  const families = new Map<string, string>();
  for (const line of c.emit("kernels", target).split("\n")) {
    const m = /^kernel (\S+) \(([^ ,)]+)/.exec(line);
    if (m) families.set(m[1], m[2]);
  }
  return c
    .emit("plan", target)
    .split("\n")
    .filter((line) => line.trim().startsWith("dispatch") && !/^ *dispatch \S+_parts(_\d+)? /.test(line))
    .map((line) => {
      const name = line.trim().split(" ")[1];
      return { name, line, family: families.get(name) ?? "none" };
    });
}
const compiled = (source: string, target: string, options: CompileOptions = {}): Dispatch[] =>
  dispatches(compileText(source, { ...options, targets: [target] }), target);
/** Families without a contraction, a reduction or a window: what fusion is to leave nothing to. */
function wasted(list: readonly Dispatch[]): string[] {
  const busy = /^(contraction|winograd|rows|attention)/;
  return list
    .filter((d) => !busy.test(d.family) && !/pool|argmax|sum|mean|softmax|max/.test(d.name))
    .map((d) => d.line);
}
const families = (list: readonly Dispatch[]): string[] => list.map((d) => d.family.split(".")[0]);
const names = targets.map((t) => t.name);

const example = (file: string, target: string, entry: string, options: CompileOptions = {}): Dispatch[] =>
  compiled(projectFile(`dsl-examples/${file}`), target, { entries: [entry], ...options });

describe.each(names)("dispatches on %s", (target) => {
  it("ConvNet: a kernel for each block and one for the head", () => {
    for (const model of ["ConvNet", "ConvNetBN"]) {
      const list = example("convnet.mdl", target, "logits", { model });
      expect(families(list), model).toEqual(["contraction", "contraction", "contraction", "contraction"]);
      expect(wasted(list)).toEqual([]);
    }
  });

  it("a residual block: its two convolutions, with a projection three at most", () => {
    const block = (stride: number, cout: number): Dispatch[] =>
      compiled(
        `import { BasicBlock } from "std/nn"
         model M() {
           block = BasicBlock(16, ${cout}, stride = ${stride})
           fn logits(x: f32[N, 16, 8, 8]) -> f32[N, ${cout}, ${8 / stride}, ${8 / stride}] { block(x) } }`,
        target,
      );
    expect(families(block(1, 16))).toEqual(["contraction", "contraction"]);
    const projected = block(2, 32);
    expect(projected.length).toBeLessThanOrEqual(3);
    expect(new Set(families(projected))).toEqual(new Set(["contraction"]));
    expect(wasted(projected)).toEqual([]);
  });

  it("ResNet-18: 23 at most, and where blocks are used two more for each of 13 convolutions", () => {
    const list = example("resnet18.mdl", target, "logits");
    const blocks = list.filter((d) => d.name.includes("_blocks")).length;
    expect(blocks).toBe(targets.find((t) => t.name === target)?.winograd ? 13 : 0);
    // And one more for each that is not summed with a shortcut's.
    expect(list.length).toBeLessThanOrEqual(23 + 2 * blocks + 3);
    expect(list.length).toBeGreaterThanOrEqual(19);
    expect(wasted(list)).toEqual([]);
  });

  it("a pre-norm block with packed qkv: nine, seven where attention is one kernel", () => {
    const list = example("transformer.mdl", target, "encode", { model: "Encoder" });
    const one = list.some((d) => d.family.startsWith("attention"));
    expect(one).toBe(targets.find((t) => t.name === target)?.fastShared);
    expect(list.length).toBeLessThanOrEqual(one ? 7 : 9);
    expect(wasted(list)).toEqual([]);
  });

  it("softmax, log-softmax and layer norm: one", () => {
    for (const call of [
      "softmax(x)",
      "softmax(x, axis = 1)",
      "softmax(x, axis = 0)",
      "log_softmax(x)",
      "layer_norm(x)",
    ]) {
      const list = compiled(`model M() { fn logits(x: f32[N, 5, 48]) -> f32[N, 5, 48] { ${call} } }`, target);
      expect(families(list), call).toEqual(["rows"]);
    }
    const list = compiled(
      `import { LayerNorm } from "std/nn"
       model M() { ln = LayerNorm(48); fn logits(x: f32[N, 5, 48]) -> f32[N, 5, 48] { gelu(ln(x)) } }`,
      target,
    );
    expect(families(list)).toEqual(["rows"]);
  });

  it("element-wise trees, movement and broadcasts: one", () => {
    const list = compiled(
      `model M() { param b: f32[6] = zeros()

         fn logits(x: f32[N, 4, 6], y: f32[N, 6, 4]) -> f32[N, 24] {
           z = transpose(tanh(x) * 2.0 + b, [0, 2, 1])
           reshape(concat([z, y], axis = 0)[0:N] - relu(y) / 3.0, [N, 24])
         } }`,
      target,
    );
    expect(families(list)).toEqual(["map"]);
  });

  it("queries, keys and values from three layers: one contraction", () => {
    const source = (heads: string): string =>
      `import { Linear } from "std/nn"
       model M() { q = Linear(32, 32); k = Linear(32, 32); v = Linear(32, 32)
         fn logits(x: f32[N, T, 32]) -> f32[N, T, 32] { ${heads} } }`;
    expect(
      families(compiled(source("q(x) * k(x) + v(x)"), target)).filter((f) => f === "contraction"),
    ).toEqual(["contraction"]);
  });
});

describe("two spellings of one thing give the same kernels", () => {
  /** Kernel texts but for names. */
  const shape = (body: string, more = ""): string[] => {
    const target = "cpu-subgroup";
    const c = compileText(`model M() { ${more} fn logits(x: f32[N, 48]) -> f32[N, 48] { ${body} } }`, {
      targets: [target],
    });
    return c.artefact.texts.map((t) => {
      const lines = t.split("\n").filter((l) => !l.trim().startsWith("//"));
      const known = new Map<string, string>();
      const keep =
        /^(let|var|fn|struct|if|for|return|vec4|f32|i32|u32|p|d\d+|main|group|array|storage|read|read_write|binding)$/;
      return lines.join("\n").replace(/[A-Za-z_]\w*/g, (w) => {
        if (keep.test(w)) return w;
        if (!known.has(w)) known.set(w, `n${known.size}`);
        return known.get(w) as string;
      });
    });
  };
  it.each([
    [
      "softmax",
      "softmax(x)",
      "e = exp(x - max(x, axis = -1, keepdims = true))\n e / sum(e, axis = -1, keepdims = true)",
    ],
    [
      "log-softmax",
      "log_softmax(x)",
      "s = x - max(x, axis = -1, keepdims = true)\n s - log(sum(exp(s), axis = -1, keepdims = true))",
    ],
    ["gelu", "gelu(x)", "0.5 * x * (1.0 + erf(x * 0.7071067811865476))"],
    ["silu", "silu(x)", "x * sigmoid(x)"],
    [
      "layer norm",
      "layer_norm(x)",
      "m = mean(x, axis = -1, keepdims = true)\n v = mean(square(x - m), axis = -1, keepdims = true)\n (x - m) * rsqrt(v + 1e-5)",
    ],
  ])("%s", (_name, builtin, own) => {
    const [a, b] = [shape(builtin), shape(own)];
    expect(a.length).toBe(b.length);
    expect(b).toEqual(a);
  });
});

describe("a tangled graph", () => {
  it("is no more kernels than softmaxes, whatever waits for what", () => {
    const lines = Array.from({ length: 30 }, (_, i) => `  h${i + 1} = h${i} + softmax(x * ${i + 1})\n`);
    const source = `model M { fn f(x: f32[N, 8]) -> f32[N, 8] {\n  h0 = x\n${lines.join("")}  h30\n } }`;
    const graph = simplify(modelOf(source).entries[0].graph, { inference: true, operands: 7 });
    const { groups } = fuse(graph, { maxBindings: 8, derive: true });
    expect(groups.length).toBeGreaterThan(1);
    expect(groups.length).toBeLessThanOrEqual(30);
  });
});
