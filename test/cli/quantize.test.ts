// `mdl quantize`, and what reads its files: the way from f32 weights to a result, and every wrong turn on it. Without a GPU.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { formatSafetensors, parseSafetensors } from "../../runtime/core/safetensors.ts";
import { numbers } from "../storage/support.ts";
import { testCli } from "../support/cli.ts";

const SOURCE = `import { Linear } from "std/nn"

model Net() {
  a = Linear(33, 64)
  b = Linear(64, 5)
  fn scores(x: f32[N, 33]) -> f32[N, 5] { x |> a |> relu |> b }
  private fn loss(x: f32[N, 33], y: i32[N]) -> f32 { cross_entropy(scores(x), y) }
}

train fit for Net {
  minimize loss
  with     sgd(lr = 0.1)
}
`;
const shapes = { "a.weight": [64, 33], "a.bias": [64], "b.weight": [5, 64], "b.bias": [5] };

describe("mdl quantize", () => {
  const cli = testCli();
  const place = (name: string): string => join(cli.folder, name);
  const weights = (name: string, change: (path: string, data: Float32Array) => void = () => {}): void => {
    const tensors = Object.entries(shapes).map(([path, shape], i) => {
      const data = numbers(
        shape.reduce((a, b) => a * b, 1),
        i + 1,
      );
      change(path, data);
      return { path, dtype: "f32" as const, shape, data };
    });
    writeFileSync(place(name), formatSafetensors(tensors, {}));
  };
  const run = (...args: string[]) => cli.run([...args, "--device", "cpu"]);
  beforeAll(() => {
    writeFileSync(place("net.mdl"), SOURCE);
    writeFileSync(place("x.json"), JSON.stringify([Array.from({ length: 33 }, (_, i) => i / 33)]));
    weights("net.safetensors");
  });
  const scores = (file: string): number[] => {
    const { out, err } = run(
      "run",
      "net.mdl",
      "scores",
      "--weights",
      file,
      "--input",
      "x=x.json",
      "--output",
      "-",
    );
    expect(out, err).toContain("[");
    return JSON.parse(out).flat(9);
  };

  it("writes weights that mdl run takes with the source, and says how far they are from f32", () => {
    const made = run("quantize", "net.mdl", "--weights", "net.safetensors", "--size", "N=3");
    expect(made, made.err).toMatchObject({ code: 0 });
    expect(made.out).toMatch(/a\.weight +64 x 33 +2\.6 kB +0\.\d+ %/);
    // A weight of 320 numbers stays as it is.
    expect(made.out).toContain("Net: 1 weight as int8");
    expect(made.out).toMatch(/scores +3 x 5 .* of 3 rows have the largest where it was/);
    const file = parseSafetensors(readFileSync(place("net.int8.safetensors")));
    expect([...file].map(([path, { dtype, shape }]) => `${path} ${dtype} ${shape}`)).toEqual([
      "a.weight.int8 U32 9,64",
      "a.weight.int8_scale F32 1,64",
      "a.bias F32 64",
      "b.weight F32 5,64",
      "b.bias F32 5",
    ]);
    const [exact, near] = [scores("net.safetensors"), scores("net.int8.safetensors")];
    exact.forEach((x, i) => {
      expect(Math.abs(near[i] - x)).toBeLessThan(0.02);
    });
    expect(near).not.toEqual(exact);
  });
  it("reports as JSON, and fewer bits are further away", () => {
    const errors = ["16", "8", "4"].map((bits) => {
      const made = run(
        "quantize",
        "net.mdl",
        "scores",
        "--weights",
        "net.safetensors",
        "--bits",
        bits,
        "--json",
      );
      expect(made, made.err).toMatchObject({ code: 0 });
      const { weights: own, bytes, results } = JSON.parse(made.out);
      expect(bytes[1]).toBeLessThan(bytes[0]);
      expect(results[0].relative).toBeLessThan(4 * own[0].relative);
      return own[0].relative as number;
    });
    expect(errors[0]).toBeLessThan(2 ** -11);
    expect(errors[1]).toBeGreaterThan(4 * errors[0]);
    expect(errors[1]).toBeLessThan(0.01);
    expect(errors[2]).toBeGreaterThan(4 * errors[1]);
    expect(errors[2]).toBeLessThan(0.12);
  });
  it("is compiled by what the file says, without its training step", () => {
    const made = cli.run(["compile", "net.mdl", "--weights", "net.int8.safetensors", "-o", "build"]);
    expect(made, made.err).toMatchObject({ code: 0 });
    expect(made.err).toContain("fit_step is left out");
    expect(made.out).toMatch(/parameters +2,501 in 4 tensors, 4\.\d kB \(1 weight as int8\)/);
    const module = readFileSync(place("build/net.js"), "utf8");
    expect(module).toContain("mdl quantize MODEL.mdl --weights FILE --bits 8");
    // The copy beside the module says what it holds, as the file did.
    const again = cli.run(["compile", "net.mdl", "--weights", "build/net.safetensors", "-o", "build"]);
    expect(again, again.err).toMatchObject({ code: 0 });
    expect(cli.run(["summary", "net.mdl", "scores", "--storage", "int8"]).out).toMatch(
      /parameters +2,501, 4\.\d kB, 1 weight as int8/,
    );
  });
  const told = (...args: string[]): string => {
    const { code, err } = cli.run(args);
    expect(code, err).not.toBe(0);
    return err;
  };
  it("refuses what does not fit, and says what does", () => {
    expect(told("compile", "net.mdl", "--storage", "int4", "--weights", "net.safetensors")).toMatch(
      /missing a\.weight\.int4.*\n.*holds f32 weights and the model reads int4 in groups of 32: "mdl quantize .* --bits 4"/,
    );
    expect(told("compile", "net.mdl", "--storage", "int4", "--weights", "net.int8.safetensors")).toMatch(
      /holds int8 weights, --storage says int4 in groups of 32/,
    );
    expect(told("compile", "net.mdl", "--storage", "int8", "--entry", "fit_step")).toMatch(
      /training updates weights as they are declared/,
    );
    expect(told("compile", "net.mdl", "--storage", "int8", "--group", "32")).toMatch(
      /a group .* is for 4 bits/,
    );
  });
  it("quantizes what can be, and names what cannot", () => {
    const quantize = (file: string, ...more: string[]) =>
      told("quantize", "net.mdl", "--weights", file, "--device", "cpu", ...more);
    expect(quantize("net.int8.safetensors")).toMatch(/holds int8 weights already/);
    expect(quantize("net.safetensors", "--bits", "4", "--group", "12")).toMatch(/a multiple of 8/);
    expect(quantize("net.safetensors", "--group", "32")).toMatch(/--group is of --bits 4/);
    writeFileSync(place("only.mdl"), SOURCE.replace(/^ +with .*$/m, "  gradients"));
    expect(told("quantize", "only.mdl", "fit_gradients", "--weights", "net.safetensors")).toMatch(
      /fit_gradients trains, and training keeps weights/,
    );
    weights("bad.safetensors", (path, data) => {
      if (path === "a.weight") data[7] = Number.NaN;
    });
    expect(quantize("bad.safetensors")).toMatch(/a\.weight has NaN at element 7/);
    writeFileSync(place("mine.safetensors"), "x".repeat(100));
    expect(quantize("net.safetensors", "-o", "mine.safetensors")).toMatch(/mine\.safetensors is there/);
  });
});
