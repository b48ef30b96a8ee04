// What peers are told, and the page of results: networks, what is done with them ahead, ONNX files, Markdown and charts. No
// peer is run and nothing is timed: their packages need not be there.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Caller } from "../../bench/calls.ts";
import { refreshFigures } from "../../bench/figures-section.ts";
import * as models from "../../bench/networks/models.ts";
import { Builder } from "../../bench/networks/network.ts";
import { prepared } from "../../bench/networks/prepared.ts";
import { graphBytes, onnxModel } from "../../bench/onnx.ts";
import { root } from "../../bench/paths.ts";
import { emptyRow, type Report, type Row } from "../../bench/report.ts";
import { chartsOf, pageOf } from "../../bench/results.ts";
import { systems } from "../../bench/systems/index.ts";
import type { Workload } from "../../bench/workload.ts";
import { dataOf, workloads } from "../../bench/workloads.ts";
import { projectFile } from "../support/files.ts";

const tensor = (shape: readonly number[], values: readonly number[]) => ({
  shape,
  data: Float32Array.from(values),
});

describe("networks", () => {
  it("count the operations of products and convolutions, three times for a step", () => {
    const b = new Builder();
    const x = b.linear(
      b.globalAvgPool(b.conv(b.image("x", [2, 3, 8, 8]), "c", 4, 3, { padding: 1 })),
      "l",
      5,
    );
    expect(b.done({ x }).flops).toBe(2 * 2 * 4 * 64 * 27 + 2 * 2 * 5 * 4);
    expect(b.trained(x, b.input("y", [2], "i32"), { kind: "adam", lr: 1 }).flops).toBe(3 * b.done({}).flops);
  });

  it("know which values are images, and name parameters by the model's paths", () => {
    const { nodes, params } = models.unet(1, 16, 4, 1);
    expect(nodes.find((n) => n.op === "concat")!.image).toBe(true);
    expect(Object.keys(params).slice(0, 2)).toEqual(["down.0.conv1.weight", "down.0.conv1.bias"]);
    const { nodes: tokens } = models.gpt(1, 8, 1);
    expect(tokens.filter((n) => n.image)).toEqual([]);
  });

  it("take parts of parameters", () => {
    const b = new Builder();
    const all = [...Array(12).keys()];
    const network = b.done({ y: b.matmul(b.input("x", [1, 3]), b.part("p", [3, 4], 1, 1, 3)) });
    const { weights } = prepared(network, new Map([["p", tensor([3, 4], all)]]), { turned: true });
    expect([...weights.get("p[1:3]")!.data]).toEqual([1, 2, 5, 6, 9, 10]);
  });

  it("fold a batch norm into the convolution before it, for inference alone", () => {
    const b = new Builder();
    const y = b.batchNorm(b.conv(b.image("x", [1, 1, 1, 1]), "c", 2, 1), "n");
    const given = new Map(
      Object.entries({
        "c.weight": tensor([2, 1, 1, 1], [3, 5]),
        "c.bias": tensor([2], [1, 2]),
        "n.weight": tensor([2], [2, 4]),
        "n.bias": tensor([2], [0.5, 0.25]),
        "n.running_mean": tensor([2], [1, -1]),
        "n.running_var": tensor([2], [4, 16]),
      }),
    );
    const { network, weights } = prepared(b.done({ y }), given, { turned: true });
    expect(network.nodes.map((n) => n.op)).toEqual(["conv"]);
    expect(network.nodes[0].outputs).toEqual([y.name]);
    const [, weight, bias] = network.nodes[0].inputs.map((name) => weights.get(name)?.data);
    // (3 x + 1 - 1) * 2 / 2 + 0.5 and (5 x + 2 + 1) * 4 / 4 + 0.25, but for eps.
    for (const [i, value] of [3, 5].entries()) expect(weight![i]).toBeCloseTo(value, 4);
    for (const [i, value] of [0.5, 3.25].entries()) expect(bias![i]).toBeCloseTo(value, 4);
    expect(Object.keys(network.params).length).toBe(2);

    const logits = b.linear(b.flatten(y), "l", 3);
    const step = b.trained(logits, b.input("t", [1], "i32"), { kind: "sgd", lr: 1, momentum: 0 });
    const all = new Map([
      ...given,
      ["l.weight", tensor([3, 2], [1, 2, 3, 4, 5, 6])],
      ["l.bias", tensor([3], [0, 0, 0])],
    ]);
    const trained = prepared(step, all, { turned: true });
    expect(trained.network.nodes.map((n) => n.op)).toContain("batch_norm");
    expect([...trained.weights.get("l.weight")!.data]).toEqual([1, 3, 5, 2, 4, 6]);
    expect([...prepared(step, all, { turned: false }).weights.get("l.weight")!.data]).toEqual([
      1, 2, 3, 4, 5, 6,
    ]);
  });

  it("leave a matrix that an embedding reads as it is", () => {
    const network = models.gpt(1, 8, 1);
    const ready = prepared(network, dataOf(network, {}).weights, { turned: true });
    const heads = ready.network.nodes.filter((n) => n.inputs[1] === "wte.weight");
    expect(heads.map((n) => [n.op, n.attrs["turned"]])).toEqual([
      ["embedding", undefined],
      ["linear", undefined],
    ]);
    expect(ready.weights.get("wte.weight")!.shape).toEqual([65, 128]);
  });
});

/** Fields of a protobuf message by number. */
function fields(bytes: Uint8Array): Map<number, (number | Uint8Array)[]> {
  const out = new Map<number, (number | Uint8Array)[]>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      value += (bytes[at] & 127) * scale;
      if (bytes[at++] < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = tag >> 3;
    let value: number | Uint8Array;
    if ((tag & 7) === 0) value = varint();
    else {
      const length = (tag & 7) === 5 ? 4 : varint();
      value = bytes.subarray(at, at + length);
      at += length;
    }
    out.set(field, [...(out.get(field) ?? []), value]);
  }
  expect(at).toBe(bytes.length);
  return out;
}
const text = (bytes: unknown): string => new TextDecoder().decode(bytes as Uint8Array);

describe("ONNX files", () => {
  const graphOf = (network: ReturnType<typeof models.matmul>) => {
    const ready = prepared(network, dataOf(network, {}).weights, { turned: true });
    const model = onnxModel(ready, "net");
    const [graph] = fields(model).get(7)! as Uint8Array[];
    const of = fields(graph);
    const nodes = of.get(1)!.map((node) => {
      const f = fields(node as Uint8Array);
      return { op: text(f.get(4)![0]), inputs: (f.get(1) ?? []).map(text), outputs: f.get(2)!.map(text) };
    });
    const tensors = (of.get(5) ?? []).map((t) => fields(t as Uint8Array));
    const ports = (field: number): string[] =>
      of.get(field)!.map((p) => text(fields(p as Uint8Array).get(1)![0]));
    return { model, ready, nodes, tensors, inputs: ports(11), outputs: ports(12) };
  };

  it("have nodes that read what is there before them", () => {
    for (const network of [
      models.convnet(1),
      models.encoder(1, 4),
      models.charLstm(1, 3),
      models.gpt(1, 4, 1),
    ]) {
      const { nodes, tensors, inputs, outputs } = graphOf(network);
      const there = new Set([...inputs, ...tensors.map((t) => text(t.get(8)![0]))]);
      for (const node of nodes) {
        for (const name of node.inputs) expect(there, `${node.op} reads ${name}`).toContain(name);
        for (const name of node.outputs) there.add(name);
      }
      expect(outputs).toEqual(Object.keys(network.outputs));
    }
  });

  it("hold weights as raw floats, of their shapes", () => {
    const { model, ready, tensors, nodes } = graphOf(models.convBlock(4, 8, 6));
    expect(nodes.map((n) => n.op)).toEqual(["Conv", "Relu", "MaxPool", "Identity"]);
    const [weight] = tensors;
    expect([text(weight.get(8)![0]), weight.get(1)]).toEqual(["weight", [8, 4, 3, 3]]);
    const raw = (weight.get(9)![0] as Uint8Array).slice();
    expect([...new Float32Array(raw.buffer)]).toEqual([...ready.weights.get("weight")!.data]);
    expect(graphBytes(model, ready)).toBeLessThan(600);
  });

  it("say what they do not have", () => {
    expect(() => graphOf(models.convnet(1, { kind: "adam", lr: 1 }))).toThrow(
      "ONNX files have no cross_entropy",
    );
  });
});

describe("systems", () => {
  const user = { name: "mine", training: false } as Workload;
  it("say what they cannot run", () => {
    const lacks = (system: string, workload: Workload): string | undefined =>
      systems.find((s) => s.name === system)!.lacks(workload);
    const step = workloads.find((w) => w.name === "g_train")!;
    expect(lacks("ort-webgpu", step)).toMatch(/does not train/);
    expect(lacks("tfjs-wasm", step)).toMatch(/no gradients/);
    expect(lacks("tfjs-webgpu", step)).toBeUndefined();
    expect(lacks("jax-webgpu", { ...user, onnx: "a.onnx" })).toMatch(/workloads of the list only/);
    expect(lacks("ort-cpu", { ...user, onnx: "a.onnx" })).toBeUndefined();
    expect(lacks("mdl", { ...user, onnx: "a.onnx" })).toMatch(/does not read ONNX/);
  });
});

describe("a run", () => {
  it("starts no peer once its time is over, and goes on with the compiler's own", async () => {
    const said: string[] = [];
    const extent = { starts: 1, rounds: 1, seconds: 0.1, atLeast: 1, budget: -1 };
    const peers = systems.filter((s) => s.installed !== undefined);
    const lacking = { ...systems[0], lacks: () => "it is a test" };
    const caller = new Caller([lacking, ...peers], extent, "", (line) => said.push(line));
    const { rows, ratios } = await caller.measure(workloads.find((w) => w.name === "softmax")!);
    expect(rows.map((r) => r.system)).toEqual(["mdl", ...peers.map((s) => s.name)]);
    expect(rows[0].skipped).toBe("it is a test");
    for (const row of rows.slice(1)) expect(row.skipped, row.system).toMatch(/were over$|no torch/);
    expect(ratios).toEqual([]);
    expect(said.length).toBe(rows.length);
  });
});

describe("a page of results", () => {
  const row = (workload: string, system: string, median: number): Row => ({
    ...emptyRow(workload, system, { skipped: "" }),
    skipped: undefined,
    variant: system,
    warm_ms: { median, min: median / 2, max: 2 * median, n: 9 },
    cold_ms: 100 * median,
    first_ms: 10 * median,
  });
  const point = (system: string, at: number): Row => ({
    ...row(`net_batch_${at}`, system, at),
    curve: "net_batch",
    axis: "batch",
    at,
  });
  const report: Report = {
    device: "a device",
    ceilings: null,
    machine: { cpu: "a processor", "onnxruntime-node": "1.30.0" },
    rows: [
      row("a", "mdl", 2),
      row("a", "ort-webgpu", 6),
      row("a", "ort-wasm", 1),
      emptyRow("a", "torch-cpu", { skipped: "no torch" }),
    ],
    ratios: [
      {
        workload: "a",
        system: "mdl",
        against: "ort-webgpu",
        speedup: 3,
        quartiles: [2, 4],
        gpu_speedup: null,
      },
      {
        workload: "a",
        system: "mdl",
        against: "ort-wasm",
        speedup: 0.5,
        quartiles: [0.4, 0.6],
        gpu_speedup: null,
      },
    ],
    curves: [point("mdl", 1), point("mdl", 8)],
    compile: ["residual_half", "residual"].map((name, i) => ({
      ...{
        name,
        targets: 1,
        nodes: 1000 * (i + 1),
        dispatches: 9,
        seconds: 1,
        cpu_seconds: 2 + i,
        megabytes: 300,
      },
    })),
  };
  it("has the figures in tables, and who led by how much", () => {
    const page = pageOf("mine", report, (chart) => `[${chart}]`);
    expect(page).toContain("| onnxruntime-node | 1.30.0 |");
    expect(page).toContain("| a | 2.00 | 6.00 | 1.00 |");
    expect(page).toContain("| a | 3.00 (ort-webgpu) | 0.50 (ort-wasm) | 0.50 (ort-wasm) |");
    expect(page).toContain("| a | 200 (20.0) | 600 (60.0) | 100 (10.0) |");
    expect(page).toContain("## net_batch");
    for (const chart of ["[warm]", "[cold]", "[net_batch]", "[compile_residual]"])
      expect(page).toContain(chart);
    expect(page).toContain("- a, torch-cpu: skipped: no torch");
  });
  it("has charts of what there is", () => {
    const charts = chartsOf(report);
    expect([...charts.keys()]).toEqual(["warm", "cold", "net_batch", "compile_residual"]);
    const { data } = charts.get("warm") as { data: { values: object[] } };
    expect(data.values).toEqual([
      { workload: "a", system: "mdl", times: 1 },
      { workload: "a", system: "ort-webgpu", times: 3 },
      { workload: "a", system: "ort-wasm", times: 0.5 },
    ]);
    expect(chartsOf({ device: "", ceilings: null, machine: {}, rows: [], ratios: [] }).size).toBe(0);
  });
  it("is the figures of docs/performance.md", () => {
    const page =
      "# P\n<!-- results: mine -->\nstale\n<!-- end -->\n<!-- results: other -->\nkept\n<!-- end -->\n";
    const made = refreshFigures(page, (name) => (name === "mine" ? report : undefined));
    expect(made).toContain(
      "| a | 2.00 (1.00) | – | 6.00 (ort-webgpu) | 3.00 | 1.00 | 0.50 | 200 | 600 (ort-webgpu) |",
    );
    expect(made).not.toContain("stale");
    expect(made).toContain("<!-- results: other -->\nkept\n<!-- end -->");
    expect(refreshFigures(made, (name) => (name === "mine" ? report : undefined))).toBe(made);
  });
  it("is in docs/performance.md as the committed results have it", () => {
    const page = projectFile("docs/performance.md");
    const folder = join(root, "bench", "results");
    const results = (name: string): Report | undefined =>
      existsSync(join(folder, `${name}.json`))
        ? (JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as Report)
        : undefined;
    expect(refreshFigures(page, results)).toBe(page);
  });
});
