// A feature of the device is asked for by the kernels that use it: what else a model does goes without.
import { describe, expect, it } from "vitest";
import { load } from "../../runtime/core/index.ts";
import { neededFeatures, runnable } from "../../runtime/core/select.ts";
import { nullDevice } from "../support/device.ts";
import { compileText } from "../support/module.ts";

const source = `model M {
  param w: f16[4] = ones()
  fn inside(x: f32[N]) -> f32[N] { f32(f16(x) * 2) }
  fn stored(x: f32[N, 4]) -> f16[N, 4] { f16(x) * w }
  fn literal(x: f32[N]) -> f32[N] { where(x > 0, f32(f16(x) - 1e4), x) }
  fn plain(x: f32[N]) -> f32[N] { x * 2 }
}`;

describe("half precision", () => {
  const { artefact } = compileText(source);

  it("is asked for by the kernels that use it, wherever in them", () => {
    for (const program of artefact.programs) {
      expect(program.requires.features).not.toContain("shader-f16");
      const needs = (name: string): string[] =>
        neededFeatures({ ...program, entries: program.entries.filter((e) => e.name === name) });
      for (const name of ["inside", "stored", "literal"]) expect(needs(name), name).toEqual(["shader-f16"]);
      expect(needs("plain")).toEqual([]);
      for (const k of program.kernels)
        expect(artefact.texts[k.text].includes("enable f16;")).toBe(
          k.features?.includes("shader-f16") ?? false,
        );
      expect(runnable(program, () => false).entries.map((e) => e.name)).toEqual(["plain"]);
      expect(runnable(program, () => true).entries).toEqual(program.entries);
    }
  });

  it("is missed by its own entries only", async () => {
    const { device } = await nullDevice("default");
    expect(device.features.has("shader-f16")).toBe(false);
    const net = await load(artefact, { device, target: "baseline" });
    const x = new Float32Array(4);
    await expect(net.entries.plain({ x })).resolves.toBeDefined();
    for (const name of ["inside", "literal"])
      await expect(net.entries[name]({ x })).rejects.toThrow(
        expect.objectContaining({
          name: "UnsupportedError",
          message: expect.stringContaining(`${name} needs shader-f16`),
        }),
      );
    net.dispose();
    // What was not asked for is another matter.
    const some = await load(artefact, { device, target: "baseline", entries: ["plain"] });
    await expect(some.entries.inside({ x })).rejects.toThrow(/was not made ready/);
    some.dispose();
    // Nothing of what was asked for can run.
    await expect(load(artefact, { device, target: "baseline", entries: ["inside"] })).rejects.toThrow(
      /baseline needs shader-f16/,
    );
  });

  it("is there where the device has it", async () => {
    const { device } = await nullDevice();
    const net = await load(artefact, { device, target: "baseline" });
    await expect(net.entries.inside({ x: new Float32Array(4) })).resolves.toBeDefined();
    net.dispose();
  });
});
