// What the planner says and keeps: how many dispatches run, and which derived weights are one.
import { describe, expect, it } from "vitest";
import { dim } from "../../compiler/core/dims/dim.ts";
import { createBuilder } from "../../compiler/core/ir/build.ts";
import { Identity } from "../../compiler/core/ir/identity.ts";
import { mul } from "../../compiler/core/ops/elementwise.ts";
import { full, param } from "../../compiler/core/ops/source.ts";
import { compileText } from "../support/module.ts";

describe("derived weights", () => {
  it("are one where they compute the same, whatever the numbers in them", () => {
    const identity = new Identity();
    const key = (value: number): number => {
      const b = createBuilder();
      const w = b.make(param, [], { path: "w", dtype: "f32", shape: [dim(2)] });
      return identity.of(mul(b, w, b.make(full, [], { value, dtype: "f32", shape: [dim(2)] })));
    };
    const numbers = [0, -0, 1, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 1e-300];
    expect(new Set(numbers.map(key)).size).toBe(numbers.length);
    expect(numbers.map(key)).toEqual(numbers.map(key));
  });
});

describe("the table of dispatches", () => {
  it("counts a loop as often as it runs", () => {
    const source = (body: string): string =>
      `model M {\n param w: f32[4, 4] = zeros()\n fn f(x: f32[B, T, 4]) {\n ${body}\n }\n}`;
    const counts = (body: string) => {
      const c = compileText(source(body), { targets: ["baseline"] });
      const [{ dispatches, nominalDispatches }] = c.report.entries;
      const [entry] = c.artefact.programs[0].entries;
      const inLoop = entry.body.steps.map((s) => (s.kind === "loop" ? s.body.steps : []));
      return { dispatches, nominalDispatches, entry, inLoop };
    };
    expect(counts("tanh(x @ w)").dispatches).toBe("1");
    const loop = counts("scan t over x axis 1 with s = zeros(B, 4) { s = tanh(t @ w + s @ w.T) }");
    const perPass = loop.inLoop.flat().filter((s) => s.kind === "dispatch").length;
    const outside = loop.entry.body.steps.filter((s) => s.kind === "dispatch").length;
    expect(perPass).toBeGreaterThan(0);
    expect(loop.nominalDispatches).toBe(outside + 32 * perPass);
    expect(loop.dispatches).toMatch(/T/);
    // One kernel in the inner loop, T * T times.
    const nested = counts(
      "scan t over x axis 1 with s = zeros(B, 4) { s = scan u over x axis 1 with c = s { c = tanh(u + c) } }",
    );
    expect(nested.dispatches).toMatch(/T \* T|T \*\* 2|T\^2/);
  });
});
