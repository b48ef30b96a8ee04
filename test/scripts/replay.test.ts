// Replay's own parts: what counts as a difference, that a revision which refuses or dies of one model is told of that one
// alone, and that no layer of the standard library is left out.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { stdSources } from "../../compiler/core/generated/std.ts";
import { compare, isEqual, reportText } from "../../scripts/replay/compare.ts";
import { replayModels } from "../../scripts/replay/models.ts";
import type { EntryRecord, ModelRecord, TargetRecord } from "../../scripts/replay/record.ts";
import { recordsOf } from "../../scripts/replay/revision.ts";
import { projectRoot } from "../support/files.ts";

const entry: EntryRecord = { name: "f", dispatches: "3 * T + 1", nominal: 97, prepare: 0, peakBytes: 512 };
const target: TargetRecord = {
  target: "gpu",
  kernels: [
    { name: "add", text: "a" },
    { name: "mul", text: "m" },
  ],
  entries: [entry],
  plan: "dispatch add",
};
const record = (id: string, more: Partial<TargetRecord> = {}, bytes = 100, ms = 10): ModelRecord => ({
  id,
  bytes,
  ms,
  targets: [{ ...target, ...more }],
});

describe("compare", () => {
  it("finds nothing in equal records, whatever the order of kernels", () => {
    const turned = { kernels: [...target.kernels].reverse() };
    const c = compare([record("M")], [record("M", turned, 100, 12)]);
    expect(isEqual(c)).toBe(true);
    expect(c.kernels).toEqual({ equal: 2, changes: [] });
    expect(reportText(c)).toContain("kernel texts    2 equal, 0 changed, 0 added, 0 removed");
  });

  it("pairs kernels by text, then by name", () => {
    const kernels = [
      { name: "add", text: "a2" },
      { name: "renamed", text: "m" },
      { name: "fresh", text: "f" },
    ];
    const before = record("M", { kernels: [...target.kernels, { name: "gone", text: "g" }] });
    const c = compare([before], [record("M", { kernels })]);
    expect(c.kernels.equal).toBe(1);
    expect(c.kernels.changes.map((k) => `${k.kind} ${k.name}`)).toEqual([
      "changed add",
      "added fresh",
      "removed gone",
    ]);
    expect(isEqual(c)).toBe(false);
  });

  it("counts a text as often as a program has it", () => {
    const twice = [...target.kernels, { name: "add_2", text: "a" }];
    const c = compare([record("M")], [record("M", { kernels: twice })]);
    expect(c.kernels.equal).toBe(2);
    expect(c.kernels.changes.map((k) => `${k.kind} ${k.name}`)).toEqual(["added add_2"]);
  });

  it.each([
    ["a plan", { plan: "dispatch mul" }, 100, "plans"],
    ["dispatches", { entries: [{ ...entry, dispatches: "2 * T", nominal: 64 }] }, 100, "entries"],
    ["prepared dispatches", { entries: [{ ...entry, prepare: 1 }] }, 100, "entries"],
    ["an entry", { entries: [] }, 100, "entries"],
    ["peak bytes", { entries: [{ ...entry, peakBytes: 256 }] }, 100, "peaks"],
    ["a size", {}, 99, "sizes"],
  ] as const)("tells %s", (_what, more, bytes, where) => {
    const c = compare([record("M")], [record("M", more, bytes)]);
    expect(c[where].changes).toHaveLength(1);
    expect(isEqual(c)).toBe(false);
  });

  it("tells a compile time only where it is long and far from what it was", () => {
    const before = [
      record("short", {}, 100, 10),
      record("long", {}, 100, 1000),
      record("near", {}, 100, 1000),
    ];
    const after = [
      record("short", {}, 100, 40),
      record("long", {}, 100, 2500),
      record("near", {}, 100, 1500),
    ];
    const c = compare(before, after);
    expect(c.times).toEqual([{ where: "long", before: "1000 ms", after: "2500 ms" }]);
    expect(isEqual(c)).toBe(true);
  });

  it("tells what a revision refuses, and passes over what both refuse alike", () => {
    const no = (id: string, error: string): ModelRecord => ({ id, error });
    const before = [record("A"), no("B", "E1"), no("C", "E1"), no("D", "E1")];
    const after = [no("A", "E2"), record("B"), no("C", "E1"), no("D", "E2"), record("E")];
    const c = compare(before, after);
    expect(c.refusals.map((r) => `${r.where}: ${r.before} -> ${r.after}`)).toEqual([
      "A: compiled -> E2",
      "B: E1 -> compiled",
      "D: E1 -> E2",
      "E: not compiled -> compiled",
    ]);
    expect(c.refused).toBe(1);
    expect(isEqual(c)).toBe(false);
  });

  it("says once what is the same on several targets", () => {
    const on = (dispatches: string, targets: readonly string[]): ModelRecord => ({
      id: "M",
      bytes: 100,
      ms: 10,
      targets: targets.map((name) => ({ ...target, target: name, entries: [{ ...entry, dispatches }] })),
    });
    const both = ["gpu", "baseline"];
    const text = reportText(compare([on("3", both)], [on("2", both)]));
    expect(text).toContain("\ndispatches\n  M f gpu, baseline: 3 -> 2");
  });

  it("cuts long sections, and says so", () => {
    const ids = ["A", "B", "C"];
    const c = compare(
      ids.map((id) => record(id)),
      ids.map((id) => record(id, { plan: "" })),
    );
    expect(reportText(c, 2)).toContain("  A gpu\n  B gpu\n  … and 1 more (--all)");
    expect(reportText(c)).toContain("  C gpu");
  });
});

describe("a revision", () => {
  const folder = mkdtempSync(join(tmpdir(), "mdl-replay-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const compiler = join(folder, "compiler.mjs");
  writeFileSync(
    compiler,
    `export const emitModule = () => ({ js: "js" });
export function compile(source) {
  if (source === "refuse") throw Object.assign(new Error("no"), { diagnostics: [{ code: "E0001", message: "not this" }] });
  if (source === "die") process.exit(7);
  return {
    artefact: { texts: ["text of " + source], programs: [{ target: "gpu", kernels: [{ name: "k", text: 0 }] }] },
    report: { entries: [{ name: "f", target: "gpu", dispatches: "1", nominalDispatches: 1, prepare: 0, peakBytes: 256 }] },
    emit: (stage, target) => stage + " of " + target,
  };
}
`,
  );
  const models = ["one", "refuse", "die", "two"].map((source) => ({
    id: source,
    file: `${source}.mdl`,
    source,
  }));
  const run = (): Promise<{ records: ModelRecord[]; kept: boolean[] }> => {
    const kept: boolean[] = [];
    const revision = { name: "fake", compiler, cache: folder };
    const progress = (_r: ModelRecord, k: boolean): unknown => kept.push(k);
    return recordsOf(projectRoot, revision, models, { targets: ["gpu"], progress }).then((records) => ({
      records,
      kept,
    }));
  };

  it("is asked for every model, dies of one alone, and is asked once", async () => {
    const { records, kept } = await run();
    expect(records.map((r) => ("error" in r ? r.error : r.targets[0].kernels[0].text))).toEqual([
      "text of one",
      "E0001 not this",
      "its process ended with 7",
      "text of two",
    ]);
    expect(kept).toEqual([false, false, false, false]);
    const again = await run();
    expect(again.records).toEqual(records);
    expect(again.kept).toEqual([true, true, true, true]);
  });
});

describe("the models", () => {
  const models = replayModels(projectRoot);
  it("have names of their own, and are of every kind", () => {
    expect(new Set(models.map((m) => m.id)).size).toBe(models.length);
    for (const start of [
      "dsl-examples/",
      "test/trial/",
      "test/programs/",
      "std/nn",
      "std/loss",
      "wide ",
      "random ",
    ])
      expect(models.filter((m) => m.id.startsWith(start)).length, start).toBeGreaterThan(2);
  });
  it("have every layer and loss of the standard library, by itself or in another that they have", () => {
    const parts = new Map(
      ["std/nn", "std/loss"].flatMap((file) => {
        const text = stdSources[file];
        const heads = [...text.matchAll(/^(?:layer|fn) (\w+)/gm)];
        return heads.map((h, i) => [h[1], text.slice(h.index, heads[i + 1]?.index)] as const);
      }),
    );
    const met = new Set<string>();
    const meet = (text: string): void => {
      for (const [word] of text.matchAll(/\b[A-Za-z_]\w*/g))
        if (parts.has(word) && !met.has(word)) {
          met.add(word);
          meet(parts.get(word) as string);
        }
    };
    for (const m of replayModels(projectRoot)) meet(m.source);
    expect([...parts.keys()].filter((name) => !met.has(name))).toEqual([]);
    expect(parts.size).toBeGreaterThan(100);
  });
});
