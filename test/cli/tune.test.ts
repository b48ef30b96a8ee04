// The tuner without a GPU: the search over choices by times that are made up, tables as files, and what a table does to a
// program. (On an adapter: cli.gpu.test.ts.)
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Alternative, best, type Pick, search, type Times } from "../../compiler/cli/tune/search.ts";
import { readTable, type Table, targetsWith, tunedTarget } from "../../compiler/cli/tune/table.ts";
import { targets } from "../../compiler/core/index.ts";
import { testCli } from "../support/cli.ts";
import { compile, gpuTarget, type Alternative as Offer } from "../support/tune.ts";

const { folder } = testCli();
const offers = (...sizes: number[]): Alternative[] =>
  sizes.map((size) => ({ family: "f", version: 1, choice: { size } }));

describe("the search", () => {
  const space = new Map([
    ["long", { offers: offers(1, 2, 3), times: [100, 60, 80] }],
    ["short", { offers: offers(1, 2), times: [30, 29] }],
    ["tiny", { offers: offers(1, 2), times: [0.1, 0.01] }],
    ["single", { offers: offers(1), times: [50] }],
  ]);
  const seen: Record<string, number>[] = [];
  const trial = async (pick: Pick): Promise<Times | undefined> => {
    const taken = Object.fromEntries([...space].map(([way, s]) => [way, pick(s.offers, way)]));
    seen.push(taken);
    const ways = new Map([...space].map(([way, s]) => [way, s.times[taken[way]]]));
    return { ways, total: [...ways.values()].reduce((a, b) => a + b, 0) };
  };

  it("tries every choice of what takes time, all classes at once, and keeps what is clearly better", async () => {
    const found = await search(trial, 1e9, () => {});
    expect(found?.rounds).toBe(2);
    expect(seen.map((s) => [s.long, s.short, s.tiny, s.single])).toEqual([
      [0, 0, 0, 0],
      [1, 1, 0, 0],
      [2, 0, 0, 0],
    ]);
    const [long, short] = found?.ways ?? [];
    expect(best(long)).toEqual({ at: 1, offer: space.get("long")?.offers[1] });
    // 3 % is noise.
    expect(best(short)).toBeUndefined();
    expect(found?.ways.map((w) => w.way)).toEqual(["long", "short"]);
  });
  it("leaves out what it has no time for, and says so", async () => {
    expect(await search(trial, 0, () => {})).toMatchObject({ rounds: 0, left: 2, before: 180.1 });
  });
  it("passes over a round that does not run", async () => {
    let round = 0;
    const found = await search(
      async (pick) => (round++ === 1 ? undefined : trial(pick)),
      1e9,
      () => {},
    );
    expect(found?.ways[0].times).toEqual([100, undefined, 80]);
    expect(best(found?.ways[0] as never)?.at).toBe(2);
  });
});

describe("tables", () => {
  const table: Table = {
    version: 1,
    target: "gpu",
    adapter: "amd rdna-3",
    made: { by: "a test", on: "nothing", date: "2026-11-25", of: "m.mdl" },
    rows: [],
  };
  const write = (name: string, what: unknown): string => {
    const path = join(folder, name);
    writeFileSync(path, typeof what === "string" ? what : JSON.stringify(what));
    return path;
  };

  it("make a target for their adapters, tried before the one for all", () => {
    const path = write("amd.json", table);
    const [first, ...rest] = targetsWith([path], ["gpu", "baseline"]) ?? [];
    expect(first).toMatchObject({
      name: "gpu-amd-rdna-3",
      requires: { adapter: "gpu", adapters: ["amd rdna-3"] },
    });
    expect(rest).toEqual(["gpu", "baseline"]);
    expect(targetsWith([], ["gpu"])).toEqual(["gpu"]);
  });
  it.each([
    ["{", /is no JSON/],
    ["[]", /expected an object/],
    [{ ...table, version: 2 }, /its version is 2, this mdl reads 1/],
    [{ ...table, target: "tpu" }, /there is no target tpu; targets are/],
    [{ ...table, rows: [{ region: "r" }] }, /its rows are not what they should be/],
  ])("%j is refused", (what, why) => {
    expect(() => readTable(write("bad.json", what))).toThrow(why);
  });
  it("are three programs of a target at most, with the one without", () => {
    const paths = ["a", "b", "c"].map((adapter) => write(`${adapter}.json`, { ...table, adapter }));
    expect(targetsWith(paths.slice(0, 2), undefined)).toHaveLength(2 + targets.length);
    expect(() => targetsWith(paths, undefined)).toThrow(/2 tuned programs .* at most/);
    expect(() => targetsWith([paths[0], paths[0]], undefined)).toThrow(/two tables are for gpu on a/);
    expect(() => targetsWith(paths.slice(0, 1), ["baseline"])).toThrow(/is for the target gpu/);
  });

  it("say which choice a class of groups gets; of another version, or of none that there is, nothing", () => {
    const asked = new Map<string, readonly Offer[]>();
    const plain = compile([gpuTarget], (all, way) => {
      if (all.length > 1) asked.set(way, all);
      return 0;
    });
    const [[way, all]] = asked;
    const other = all[1];
    const row = { region: way, ...other, microseconds: 1, before: 2 };
    const kernelsWith = (changed: object): string =>
      compile([tunedTarget({ ...table, rows: [{ ...row, ...changed }] })]).emit("kernels");
    const plainKernels = plain.emit("kernels");
    expect(kernelsWith({})).not.toBe(plainKernels);
    expect(kernelsWith({})).toContain(
      `choice ${other.family}: ${Object.entries(other.choice)
        .map(([what, n]) => `${what} ${n}`)
        .join(", ")}`,
    );
    for (const changed of [{ version: 99 }, { choice: { rows: 7 } }, { region: "another" }])
      expect(kernelsWith(changed)).toBe(plainKernels);
    // Dispatches of a program that is being tuned bear the class.
    const sites = plain.artefact.programs[0].entries.flatMap((e) =>
      e.body.steps.flatMap((s) => (s.kind === "dispatch" ? s.site : [])),
    );
    expect(sites).toContain(way);
  });
});
