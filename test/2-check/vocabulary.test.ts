// What `mdl ops` lists beside the operators: every name the tables define is there, says something, and works as it says.
import { describe, expect, it } from "vitest";
import { foreign } from "../../compiler/core/diagnostics/foreign.ts";
import { closest } from "../../compiler/core/diagnostics/index.ts";
import { exposedOps } from "../../compiler/core/ops/index.ts";
import { INITIALIZERS } from "../../compiler/core/phases/2-check/instances/init.ts";
import { BUILTINS } from "../../compiler/core/phases/2-check/interpret/builtins.ts";
import { SCHEDULES } from "../../compiler/core/phases/2-check/interpret/schedules.ts";
import { libraryModules, vocabulary } from "../../compiler/core/vocabulary.ts";
import { checkText } from "../support/check.ts";

const words = vocabulary();
const named = (name: string): string[] => words.filter((w) => w.name === name).map((w) => w.kind);

describe("the vocabulary", () => {
  it("has every name that is bound without a declaration", () => {
    const defined = [...BUILTINS, ...Object.keys(INITIALIZERS), ...Object.keys(SCHEDULES)];
    const said = new Set([...words.map((w) => w.name), ...exposedOps.map((op) => op.name)]);
    expect(defined.filter((name) => !said.has(name))).toEqual([]);
    expect(named("zeros")).toEqual(["initialiser", "function"]);
  });

  it("says a sentence about each, and how it is called", () => {
    expect(words.filter((w) => !w.signature.includes(w.name)).map((w) => w.name)).toEqual([]);
    expect(words.filter((w) => w.doc === "").map((w) => w.name)).toEqual([]);
  });

  it("tells of other libraries' names none that the language has", () => {
    const own = [...words.map((w) => w.name), ...exposedOps.map((op) => op.name)];
    // int and float are functions here, and dtypes there.
    expect(own.filter((name) => foreign(name) !== undefined)).toEqual(["int", "float"]);
  });

  it("says how numbers of the source become a tensor", () => {
    const said = (weight: string): unknown[] =>
      checkText(
        `model M { fn f(x: f32[N, 2], y: i32[N]) -> f32 { cross_entropy(x, y, weight = ${weight}) } }`,
      ).diagnostics.map((d) => d.help);
    expect(said("[0.5, 2.0]")).toEqual([expect.stringMatching(/^stack\(\[a, b\]\) makes a tensor/)]);
    expect(said("tensor([0.5, 2.0])")).toEqual([expect.stringContaining("stack([1.0, 2.0, 0.5])")]);
    expect(said("stack([0.5, 2.0])")).toEqual([]);
  });

  it("says how sizes are told to those who count from the last axis, or in pairs", () => {
    const said = (amounts: string): unknown[] =>
      checkText(`model M { fn f(x: f32[N, 3]) { pad(x, ${amounts}) } }`).diagnostics.map(
        (d) => d.help ?? d.message,
      );
    expect(said("[1], [0]")).toEqual([
      expect.stringMatching(/^from the first axis on, as in pad\(x, low = /),
    ]);
    expect(said("[[0, 0], [1, 0]]")).toEqual([
      expect.stringContaining("one list of sizes, a number for each axis"),
    ]);
    expect(said("low = [0, 1], high = [0, 0]")).toEqual([]);
  });

  it("has the standard library with types and defaults as its source has them", () => {
    const linear = words.find((w) => w.name === "Linear");
    expect(linear).toMatchObject({
      kind: "layer",
      module: "std/nn",
      signature: "Linear(cin: int, cout: int, bias: bool = true)",
    });
    expect(words.find((w) => w.name === "huber_loss")?.module).toBe("std/loss");
    expect(
      closest(
        "BatchNorm2D",
        words.map((w) => w.name),
      ),
    ).toBe("BatchNorm2d");
  });

  it("has the initialisers as std/init, which an import may name", () => {
    const [path, { items }] = libraryModules()[0];
    expect([path, items.map((i) => i.name)]).toEqual(["std/init", Object.keys(INITIALIZERS)]);
    const all = `import { ${Object.keys(INITIALIZERS).join(", ")} } from "std/init"`;
    const model = "model M { param w: f32[2, 2] = kaiming_uniform()\n fn f(x: f32[2]) { sum(w * x) } }";
    expect(checkText(`${all}\n${model}`).diagnostics).toEqual([]);
    const said = (names: string, from = "std/init"): unknown[] =>
      checkText(`import { ${names} } from "${from}"\n${model}`).diagnostics.map((d) => [d.message, d.help]);
    expect(said("kaiming_unifrm")).toEqual([
      ["std/init has no kaiming_unifrm", "did you mean kaiming_uniform?"],
    ]);
    expect(said("Linear")).toEqual([["std/init has no Linear", 'import { Linear } from "std/nn"']]);
    expect(said("normal as drawn")).toEqual([
      ["normal of std/init has no other name", "write normal(…), which needs no import"],
    ]);
    expect(said("normal", "std/int")).toEqual([['there is no module "std/int"', "did you mean std/init?"]]);
  });

  it.each(words.filter((w) => w.kind === "optimiser" || w.kind === "schedule").map((w) => [w.signature, w]))(
    "%s takes what it says",
    (_, word) => {
      // The signature with a number for each parameter without a default is itself a program.
      const call = word.signature.replace(/(?<=[(,]\s*)(\w+)(?=[,)])/g, "$1 = 2");
      const optimiser = word.kind === "optimiser" ? call : `sgd(lr = ${call})`;
      const { diagnostics } = checkText(
        `model M { param w: f32[2, 2] = zeros()\n fn loss(x: f32[2]) { sum(w * x) } }\ntrain fit for M { minimize loss\n with ${optimiser} }`,
      );
      expect(diagnostics.map((d) => d.message)).toEqual([]);
    },
  );
});

describe("gradients that are zero everywhere", () => {
  const gradient = (body: string): string[] =>
    checkText(
      `model M { private fn f(x: f32[N]) -> f32 { ${body} }\n fn g(x: f32[N]) { d = grad(f, wrt = x)\n d(x) } }`,
    ).diagnostics.map((d) => d.code);
  // As torch.floor, sign and round: the gradient exists and is zero.
  it.each(["sum(floor(x))", "sum(sign(x))", "sum(round(2 * x) / 2)"])("%s alone has one", (body) => {
    expect(gradient(body)).toEqual([]);
  });
  it.each(["sum(stop_gradient(x))", "sum(f32(x > 0))", "sum(zeros(3))"])("%s has none to take", (body) => {
    expect(gradient(body)).toContain("E1101");
  });
});
