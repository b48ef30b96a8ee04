// The estimator's parts: listings, loops, patterns of addresses, kinds of workgroups. What needs the chips' compilers is skipped
// where they are not. Figures themselves are a model's: what is held here is that it sees what is in the code.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it, type TestContext } from "vitest";
import { chips } from "../../bench/estimate/chips.ts";
import { figuresOf } from "../../bench/estimate/figures.ts";
import { parseAmd } from "../../bench/estimate/machine/amd.ts";
import { findLoops, type Loop, matchLoops, pathOf, setTurns } from "../../bench/estimate/machine/listing.ts";
import { parseNvidia } from "../../bench/estimate/machine/nvidia.ts";
import { MachineCodes } from "../../bench/estimate/machine-code.ts";
import { dawnParts, isMissing, nvidiaParts } from "../../bench/estimate/parts.ts";
import { patternOf, type Site } from "../../bench/estimate/patterns.ts";
import { recordedCall } from "../../bench/estimate/recorded.ts";
import { type EstimateRow, estimateTable, kernelTable, peerFigures } from "../../bench/estimate/report.ts";
import { type TracedLoop, traceSpirv } from "../../bench/estimate/spirv/trace.ts";
import { together } from "../../bench/estimate/tune.ts";

describe("patterns of addresses", () => {
  const site = (bytes: number, at: (lane: number) => number): Site => ({
    name: "a",
    space: "workgroup",
    bytes,
    write: false,
    loop: undefined,
    calls: 1,
    seen: [Array.from({ length: 32 }, (_, lane) => at(lane))],
  });

  it("are free where lanes lie side by side, or read the same", () => {
    expect(
      patternOf(
        site(4, (lane) => lane),
        32,
      ),
    ).toEqual({ conflict: 1, sectors: 4, lines: 1, bytesPer32: 128 });
    expect(
      patternOf(
        site(4, () => 7),
        32,
      ),
    ).toEqual({ conflict: 1, sectors: 1, lines: 1, bytesPer32: 4 });
    expect(
      patternOf(
        site(16, (lane) => lane),
        32,
      ),
    ).toMatchObject({ conflict: 1, sectors: 16, lines: 4 });
  });
  it("take a pass for each word of a bank", () => {
    expect(
      patternOf(
        site(4, (lane) => 32 * lane),
        32,
      ),
    ).toMatchObject({ conflict: 32, sectors: 32, lines: 32 });
    expect(
      patternOf(
        site(4, (lane) => 33 * lane),
        32,
      ).conflict,
    ).toBe(1);
  });
  it("are those of wider accesses where a compiler merged neighbours", () => {
    expect(
      patternOf(
        site(4, (lane) => 4 * lane),
        32,
        16,
      ),
    ).toMatchObject({ conflict: 1, bytesPer32: 512 });
  });
});

const AMD = `
  s_mov_b32 s0, 0                                     ; be800380
BB1:
  buffer_load_dwordx4 v[0:3], v4, s[4:7], 0 offen     ; e0381000
  s_waitcnt vmcnt(0)                                  ; bf8c3f70
  v_fmac_f32_e32 v8, v0, v1                           ; 56101100
  v_rcp_f32_e32 v9, v8                                ; 7e125508
  ds_write_b32 v5, v8 offset:64                       ; d8340040
  s_cmp_lt_u32 s0, s1                                 ; bf0a0100
  s_cbranch_scc1 BB1                                  ; bf85fff0
BB2:
  s_endpgm                                            ; bf810000
`;

describe("listings", () => {
  it("of AMD give kinds, registers, waits and loops", () => {
    const list = parseAmd(AMD);
    expect(list.map((x) => x.kind)).toEqual([
      ...["salu", "vmem", "wait", "fma", "trans", "lds", "salu", "branch", "branch"],
    ]);
    expect(list[1]).toMatchObject({
      bytes: 16,
      write: false,
      writes: [0, 1, 2, 3],
      reads: [4, 516, 517, 518, 519],
    });
    expect(list[2].waits).toEqual({ vmcnt: 0 });
    // A multiply-add into its own register reads it.
    expect(list[3]).toMatchObject({ fmas: 1, valu: 1, writes: [8], reads: [0, 1, 8] });
    expect(list[4]).toMatchObject({ valu: 4, trans: true });
    expect(list[5]).toMatchObject({ bytes: 4, write: true, writes: [] });
    expect(findLoops(list)).toMatchObject([{ first: 1, last: 7, parent: undefined }]);
  });
  it("of NVIDIA give control bits, and end at the exit", () => {
    const word = (stall: number, write: number, read: number, waits: number): string =>
      (((BigInt(waits) << 11n) | (BigInt(read) << 8n) | (BigInt(write) << 5n) | BigInt(stall)) << 41n)
        .toString(16)
        .padStart(16, "0");
    const line = (text: string, control: string): string =>
      `        /*0010*/                   ${text} ;      /* 0x0000000000000000 */\n` +
      `                                                                   /* 0x${control} */`;
    const {
      length,
      0: load,
      1: fma,
      2: store,
    } = parseNvidia(
      [
        "\t.section\t.text.kernel_main",
        ".text.kernel_main:",
        line("LDG.E.128 R4, [R2.64]", word(4, 2, 7, 0)),
        line("@!P0 FFMA R0, R4, R5, R0", word(5, 7, 7, 0b100)),
        line("STL [R1], R0", word(1, 7, 0, 0)),
        line("EXIT", word(5, 7, 7, 0)),
        ".L_x_1:",
        line("BRA `(.L_x_1)", word(0, 7, 7, 0)),
      ].join("\n"),
    );
    expect(length).toBe(4);
    expect(load).toMatchObject({ kind: "vmem", bytes: 16, stall: 4, writeBarrier: 2, readBarrier: 7 });
    expect(fma).toMatchObject({ fmas: 1, waits: 4 });
    expect(store).toMatchObject({ spill: true, write: true, readBarrier: 0 });
  });
});

describe("loops", () => {
  const source = (id: number, parent: number | undefined, trips: number, literal = 0): TracedLoop => ({
    ...{ id, parent, trips, literal },
    entries: trips > 0 ? 1 : 0,
    turns: trips,
  });
  const loop = (id: number, first: number, last: number, parent?: number): Loop => ({
    ...{ id, first, last, parent },
    turns: 1,
  });

  it("of a listing are those of the program that were not unrolled", () => {
    const loops = [loop(0, 1, 8), loop(1, 3, 5, 0)];
    const traced = [source(0, undefined, 64), source(1, 0, 4, 4), source(2, 0, 100)];
    expect(matchLoops(loops, traced, [])).toBe(true);
    setTurns(loops, traced);
    expect(loops.map((l) => [l.source, l.turns])).toEqual([
      [0, 64],
      [2, 100],
    ]);
    expect(matchLoops([loop(0, 1, 2), loop(1, 3, 4)], [source(0, undefined, 3)], [])).toBe(false);
  });
  it("that a workgroup does not enter are passed by, with what is around them", () => {
    // Two things side by side, each behind a branch around it: 1 to 3, and 5 to 7.
    const list = parseAmd(
      ["s_cbranch_scc0 BB2", "BB1:", "v_mov_b32 v0, 1", "s_cbranch_scc1 BB1", "v_mov_b32 v1, 1", "BB2:"]
        .concat(["s_cbranch_scc0 BB4", "BB3:", "v_mov_b32 v2, 1", "s_cbranch_scc1 BB3", "BB4:", "s_endpgm"])
        .join("\n"),
    );
    const loops = findLoops(list);
    const traced = [source(0, undefined, 0), source(1, undefined, 2)];
    expect(matchLoops(loops, traced, list)).toBe(true);
    setTurns(loops, traced);
    expect(pathOf(list, loops, Number.POSITIVE_INFINITY)).toEqual([0, 4, 5, 6, 5, 6, 7]);
  });
});

describe("tables", () => {
  const row: EstimateRow = {
    ...{
      workload: "a_matmul1024",
      what: "matmul",
      chip: "a6000",
      us: 71,
      memory_us: 16,
      bound_us: 55,
      dispatches: 1,
    },
    ...{ tflops: 30, peak_tflops: 38.7, unmatched_us: 0, spills: 0 },
    peers: peerFigures("a_matmul1024", "a6000"),
    kernels: [{ name: "dot", site: "m.mdl:1:1", times: 1, groups: 256, failed: "it does not compile" }],
  };
  it("hold a call against the fastest of the recorded others", () => {
    expect(row.peers.map((p) => p.system)).toEqual(["tfjs-webgpu", "ort-webgpu", "jax-webgpu"]);
    expect(estimateTable([row])).toMatch(
      /a_matmul1024 +a6000 +71\.0 .* tfjs-webgpu +142 +0\.50 +1 not compiled/,
    );
    expect(kernelTable(row)).toContain("m.mdl:1:1: it does not compile");
  });
});

describe("recorded calls", () => {
  it("count alike dispatches once, and what is bound as storage", () => {
    const small = { group: 0, binding: 1, size: 16, bytes: [64, 0, 0, 0] };
    const large = { group: 0, binding: 0, size: 4096 };
    const code = `@binding(0) @group(0) var<storage, read_write> a: array<f32>;
@group(0) @binding(1) var<uniform> n: vec4<u32>;`;
    const dispatch = { code: 0, entry: "main", grid: [2, 3, 1], bindings: [large, small] };
    const other = { ...dispatch, bindings: [large, { ...small, bytes: [32, 0, 0, 0] }] };
    const file = join(mkdtempSync(join(tmpdir(), "mdl-recorded-")), "peer.a.json");
    writeFileSync(
      file,
      JSON.stringify({ name: "peer.a", texts: [code], dispatches: [dispatch, other, dispatch] }),
    );
    const { name, list } = recordedCall(file);
    rmSync(dirname(file), { recursive: true });
    expect(name).toBe("peer.a");
    expect(list.map((d) => [d.times, d.groups, d.bytes, d.small[0].bytes[0]])).toEqual([
      [2, 6, 4096, 64],
      [1, 6, 4096, 32],
    ]);
  });
});

describe("tuning by estimate", () => {
  const offer = (split: number) => ({ family: "contraction.tile", version: 2, choice: { split } });
  const way = (times: readonly (number | undefined)[], first = 1) => ({
    way: "a product",
    offers: [offer(first), offer(2), offer(4)],
    times: [...times],
  });

  it("weighs calls alike, whatever they take", () => {
    const short = { total: 10, ways: [way([4, 2, 3])] };
    const long = { total: 1000, ways: [way([40, 41, 20])] };
    const [both] = together([short, long]);
    expect(both.offers).toEqual([offer(1), offer(2), offer(4)]);
    // 0.44, 0.241 and 0.32 of a call; as they are, 44 microseconds of both together.
    expect(both.times.map((t) => Math.round(t! * 10) / 10)).toEqual([44, 24.1, 32]);
  });
  it("leaves out what one of the calls was not tried with, and classes that begin differently", () => {
    const one = { total: 10, ways: [way([4, 2, undefined])] };
    expect(together([one, { total: 10, ways: [way([4, 3, 1])] }])[0].offers).toEqual([offer(1), offer(2)]);
    expect(together([one, { total: 10, ways: [way([4, 3, 1], 8)] }])).toEqual([]);
  });
});

const BUFFERS = `
struct Params { groups: i32, end: i32, n: i32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
`;
/** The first ten workgroups turn n times, the rest three times. */
const SIDES = `${BUFFERS}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let group = i32(w.x);
  if (group >= p.groups) { return; }
  var s = 0f;
  if (group < p.end) {
    for (var k = 0; k < p.n; k += 1) { s += a[group * p.n + k]; }
  }
  if (group >= p.end) {
    for (var k = 0; k < 3; k += 1) { s += a[k * 64 + i32(lid)]; }
  }
  a[group * 64 + i32(lid)] = s;
}`;
/** As many values as no thread has registers for. */
const WIDE = `${BUFFERS}
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lid: u32) {
  let i = i32(lid);
  ${Array.from({ length: 400 }, (_, k) => `var x${k} = a[i + ${256 * k}];`).join("\n  ")}
  for (var t = 0; t < p.n; t += 1) {
    ${Array.from({ length: 400 }, (_, k) => `x${k} = x${k} * x${(k + 1) % 400} + 1f;`).join("\n    ")}
  }
  ${Array.from({ length: 400 }, (_, k) => `a[i + ${256 * k}] = x${k};`).join("\n  ")}
}`;

describe("kernels on chips", () => {
  const chip = (name: string) => chips.find((c) => c.name === name)!;
  function machineCodes(context: TestContext, name: string): MachineCodes {
    const dawn = dawnParts();
    if (isMissing(dawn)) return context.skip(dawn.missing);
    const nvidia = nvidiaParts();
    if (chip(name).vendor === "nvidia" && isMissing(nvidia)) return context.skip(nvidia.missing);
    return new MachineCodes(dawn, nvidia, [chip(name)]);
  }

  it.for(["navi21", "a6000"])(
    "are traced by kinds of workgroups: %s",
    { timeout: 120_000 },
    (name, context) => {
      const codes = machineCodes(context, name);
      const compiled = codes.compiled({ code: SIDES }, chip(name));
      if ("error" in compiled) throw new Error(compiled.error);
      const block = new Uint8Array(new Int32Array([100, 10, 50]).buffer);
      const module = codes.spirv({ code: SIDES })!;
      const traces = traceSpirv(module, {
        grid: [100, 1, 1],
        bytes: (_, binding) => (binding === 0 ? block : undefined),
      });
      expect(traces.map((t) => [t.groups, t.loops.map((l) => l.trips)])).toEqual([
        [90, [0, 3]],
        [10, [50, 0]],
      ]);
      // The one reads the same, the other neighbours.
      const reads = traces.map((t) => t.sites.find((s) => !s.write)!);
      expect(reads.map((s) => [s.calls, s.bytesPer32])).toEqual([
        [3, 128],
        [50, 4],
      ]);
      const work = { groups: 100, bytes: 1000, threads: 64 };
      const figures = figuresOf(compiled.machine, chip(name), { ...work, traces });
      expect(figures).toMatchObject({ kinds: 2, matched: true, spilled: 0, groups: 100 });
      // Fifty trips to memory, one after the other or several at a time, and nothing else.
      expect(figures.computeUs).toBeGreaterThan(0.5);
      expect(figures.computeUs).toBeLessThan(50);
    },
  );

  it.for(["navi21", "a6000"])(
    "spill where a thread has too many values: %s",
    { timeout: 120_000 },
    (name, context) => {
      const compiled = machineCodes(context, name).compiled({ code: WIDE }, chip(name));
      if ("error" in compiled) throw new Error(compiled.error);
      expect(compiled.machine.spilled).toBeGreaterThan(100);
      expect(compiled.machine.scratch).toBeGreaterThan(400);
    },
  );
});
