// Graphs are data: what is printed reads back, prints the same, and builds the same artefact to the letter. So a graph can be
// kept, sent and written by hand, and an importer needs no source.
import { describe, expect, it } from "vitest";
import { dim } from "../../compiler/core/dims/dim.ts";
import { check, MdlError } from "../../compiler/core/index.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import { constantsOf, dataBytes, halfBits, literalData } from "../../compiler/core/ir/data.ts";
import { parseGraph } from "../../compiler/core/ir/parse.ts";
import { printGraph } from "../../compiler/core/ir/print.ts";
import type { Graph } from "../../compiler/core/ir/types.ts";
import type { CheckedModel, PortInfo } from "../../compiler/core/model.ts";
import { add, mul } from "../../compiler/core/ops/elementwise.ts";
import { opNamed } from "../../compiler/core/ops/index.ts";
import { constant, input, literal } from "../../compiler/core/ops/source.ts";
import { build } from "../../compiler/core/pipeline.ts";
import { targets } from "../../compiler/core/targets.ts";
import { numberToF16 } from "../../runtime/core/tensor.ts";
import { generateProgram } from "../support/programs/generate.ts";
import { allSources } from "../support/sources.ts";
import { checkTrial, trialFigures } from "../support/trial-figures.ts";

/** The graph, from its text and the data that the text names. */
function back(graph: Graph): Graph {
  const text = printGraph(graph);
  const constants = constantsOf(graph);
  const again = parseGraph(text, opNamed, (name) => constants.get(name));
  expect(printGraph(again)).toBe(text);
  return again;
}
const throughText = (model: CheckedModel): CheckedModel => ({
  ...model,
  entries: model.entries.map((e) => ({ ...e, graph: back(e.graph) })),
  trains: model.trains.map((t) => ({ ...t, lossGraph: back(t.lossGraph) })),
});
const target = targets.filter((t) => t.name === "gpu");
function buildsTheSame(model: CheckedModel, entries?: readonly string[]): void {
  const options = { targets: target, place: () => "", ...(entries ? { entries } : {}) };
  const [a, b] = [model, throughText(model)].map((m) => build(m, options));
  expect(b.artefact.texts).toEqual(a.artefact.texts);
  expect(JSON.stringify(b.artefact)).toBe(JSON.stringify(a.artefact));
  for (const s of a.stages) {
    back(s.checked);
    back(s.simplified);
  }
}

describe("graphs that were printed and read", () => {
  it.each(allSources().filter((s) => s.file.startsWith("dsl-examples/")))(
    "build the same: $file",
    ({ file, text }) => {
      // What is deeper says the same more often.
      const models = (check(text, file).models ?? []).filter((m) => m.params.length <= 70);
      for (const model of models) buildsTheSame(model);
    },
    120_000,
  );
  it.each(Object.entries(trialFigures))(
    "build the same: %s",
    (_name, f) => {
      const entries = [...Object.keys(f.entries), ...Object.keys(f.steps).map((s) => `${s}_step`)];
      buildsTheSame(checkTrial(f), entries);
    },
    120_000,
  );
  it("build the same: random programs", { timeout: 240_000 }, () => {
    let built = 0;
    for (let seed = 0; seed < 40; seed++) {
      const source = generateProgram(seed);
      try {
        for (const model of check(source, "program.mdl").models ?? []) {
          buildsTheSame(model);
          built++;
        }
      } catch (e) {
        if (!(e instanceof MdlError)) throw new Error(`seed ${seed}\n${source}`, { cause: e });
      }
    }
    expect(built).toBeGreaterThan(25);
  });
});

describe("a large constant", () => {
  const numbers = Float32Array.from({ length: 10_000 }, (_, i) => Math.fround(Math.sin(i)));
  const graphOf = (name: string): Graph => {
    const b = createBuilder();
    const x = b.make(input, [], { name: "x", dtype: "f32", shape: [dim(100)] });
    const table = literal(b, "f32", [100, 100], numbers, "table");
    const again = literal(b, "f32", [100, 100], [...numbers]);
    expect(again).toBe(table);
    const few = literal(b, "f32", [100], new Array(100).fill(0.5));
    const y = add(b, mul(b, table, x), few);
    return finishGraph({ name, inputs: [x.node], results: [{ name: "y", value: y }], symbols: [] });
  };
  const graph = graphOf("entry");
  it("is a name in the text, and read back beside it", () => {
    const text = printGraph(graph);
    expect(text.length).toBeLessThan(1000);
    expect(text).toMatch(
      /constant\(\) \{data = @f32x10000_[0-9a-f]{16}, dtype = "f32", shape = \[100, 100\]\} "table"/,
    );
    const constants = constantsOf(graph);
    expect([...constants.values()].map((d) => d.elements.length)).toEqual([10_000, 100]);
    // As bytes, it may travel: equal contents have the same name anywhere.
    const sent = [...constants].map(([name, d]) => [name, literalData(d.dtype, [...d.elements])] as const);
    expect(sent.every(([name, d]) => d === constants.get(name))).toBe(true);
    expect(printGraph(parseGraph(text, opNamed, (name) => constants.get(name)))).toBe(text);
    expect(() => parseGraph(text, opNamed)).toThrow(/the elements of f32x10000_\w+ are not given/);
  });
  it("that is small stands in the text", () => {
    const b = createBuilder();
    const value = literal(b, "i32", [3], [1, -2, 3]);
    const small = finishGraph({ name: "g", inputs: [], results: [{ name: "y", value }], symbols: [] });
    expect(printGraph(small)).toContain('constant() {data = i32<1, -2, 3>, dtype = "i32", shape = [3]}');
    expect(parseGraph(printGraph(small), opNamed).nodes[0].attrs.data).toBe(value.node.attrs.data);
  });
  it("lies in the artefact once, however many entries and targets read it", () => {
    const span = { file: "", start: 0, end: 0 };
    const port = (name: string): PortInfo => ({
      name,
      type: { dtype: "f32", shape: [dim(100)] },
      shapeText: ["100"],
      span,
    });
    const out: PortInfo = { ...port("y"), type: graph.results[0].value.type, shapeText: ["100", "100"] };
    const entry = (name: string) => ({
      name,
      graph: graphOf(name),
      inputs: [port("x")],
      outputs: [out],
      span,
    });
    const model: CheckedModel = {
      name: "M",
      params: [],
      buffers: [],
      entries: [entry("a"), entry("b")],
      layers: [],
      trains: [],
      span,
    };
    const { artefact } = build(model, { targets, place: () => "", verify: true });
    const bytes = Buffer.from(artefact.constants ?? "", "base64");
    const floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    // Behind what workgroups count in.
    expect(floats.length).toBeLessThan(64 + 10_000 + 100 + 128);
    expect(floats.slice(64, 64 + 10_000)).toEqual(numbers);
    const known = new Map([...constantsOf(...model.entries.map((e) => e.graph))]);
    expect(known.size).toBe(2);
  });
  it("is refused where its elements are not as many as its shape says, or of another type", () => {
    const b = createBuilder();
    const data = literalData("f32", [1, 2, 3]);
    expect(() => b.make(constant, [], { data, dtype: "f32", shape: [dim(4)] })).toThrow(/3 elements of f32/);
    expect(() => b.make(constant, [], { data, dtype: "i32", shape: [dim(3)] })).toThrow(/are no i32/);
  });
});

describe("literal data", () => {
  it("is one object for equal contents, whatever they were given as", () => {
    const a = literalData("f32", [1, 2, 0.1]);
    expect(literalData("f32", new Float64Array([1, 2, 0.1]))).toBe(a);
    expect(literalData("f32", [1, 2, -0.1])).not.toBe(a);
    expect(literalData("f32", [0])).not.toBe(literalData("f32", [-0]));
    expect(literalData("i32", [1])).not.toBe(literalData("u32", [1]));
    expect(a.name).toMatch(/^f32x3_[0-9a-f]{16}$/);
  });
  it("in half precision is rounded as the runtime rounds", () => {
    const numbers = [
      0,
      -0,
      1,
      65504,
      65519,
      65520,
      1e9,
      -1e-8,
      2 ** -24,
      2 ** -25,
      3 * 2 ** -26,
      6.1e-5,
      1 / 3,
    ];
    numbers.push(Number.NaN, Number.NEGATIVE_INFINITY);
    for (let e = -30; e < 18; e++)
      numbers.push(1.2345 * 2 ** e, -(2 ** e) * (1 + 2 ** -11), 2 ** e * (1 + 3 * 2 ** -11));
    const f32 = numbers.map(Math.fround);
    expect(f32.map(halfBits)).toEqual(f32.map(numberToF16));
    const data = literalData("f16", f32);
    expect([...new Uint16Array(dataBytes(data).slice().buffer)]).toEqual(f32.map(numberToF16));
    expect(literalData("f16", data.elements)).toBe(data);
  });
});
