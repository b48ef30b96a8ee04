// Looking into a model on the adapter: what a debug build shows is what the reference has; a bad step of mdl train ends it with
// the line; gradients agree.
import { spawnSync } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { testCli } from "../support/cli.ts";
import { testDevice } from "../support/device.ts";
import { projectRoot } from "../support/files.ts";

const { folder, run } = testCli();

const MODEL = `model Small {
  param w: f32[2, 3] = normal(0.5)
  param v: f32[3] = ones()
  fn mix(xs: f32[T, N, 2]) -> f32[N, 3] {
    scan x over xs axis 0 with h = zeros(xs.shape[1], 3) {
      z = x @ w + h
      h = tanh(z)
      assert(h <= 1.0, "tanh is below 1")
    }
  }
  fn score(x: f32[N, 2]) -> f32[N] {
    h = relu(x @ w + 1.0)
    print("kept", dropout(h, 0.5))
    near = h > 0.5
    sum(where(near, h, 0.1 * h) * v, axis = -1)
  }
  fn loss(x: f32[N, 2], y: f32[N]) -> f32 { mean(square(dropout(score(x), 0.2) - log(y))) }
}
train fit for Small {
  minimize loss
  with sgd(lr = 0.01, momentum = 0.9)
}
`;

interface Row {
  readonly name: string;
  readonly kind: string;
  readonly shape: readonly number[];
  readonly min?: number;
  readonly max?: number;
  readonly mean?: number;
}

describe("a debug build on a GPU", () => {
  it("has the values, gradients and draws of the reference; gradients are right", async (context) => {
    await testDevice(context);
    writeFileSync(join(folder, "small.mdl"), MODEL);
    for (const entry of [
      ["train", "--size", "N=4", "--step", "3"],
      ["mix", "--size", "T=3"],
    ]) {
      const of = (device: string): { code: number | null; values: readonly Row[] } => {
        const { code, out, err } = run(["debug", "small.mdl", ...entry, "--device", device, "--json"]);
        expect(err).toBe("");
        return { code, values: JSON.parse(out).values };
      };
      const [gpu, cpu] = [of("gpu"), of("cpu")];
      expect([gpu.code, cpu.code]).toEqual([0, 0]);
      expect(gpu.values.length).toBeGreaterThan(3);
      for (const [i, row] of cpu.values.entries()) {
        expect(gpu.values[i]).toMatchObject({ name: row.name, kind: row.kind, shape: row.shape });
        for (const figure of ["min", "max", "mean"] as const)
          expect(gpu.values[i][figure], `${row.name} ${figure}`).toBeCloseTo(row[figure] ?? Number.NaN, 4);
      }
    }
    const checked = run(["gradcheck", "small.mdl", "--samples", "2", "--device", "gpu"]);
    expect([checked.code, checked.err]).toEqual([0, ""]);
    expect(checked.out).toMatch(/2 gradients right/);
  });

  it("prints and asserts in a module, with what the call draws, and changes nothing of it", async (context) => {
    await testDevice(context);
    writeFileSync(
      join(folder, "noted.mdl"),
      `model Noted {
  param w: f32[4] = ones()
  buffer calls: i32 = zeros()
  fn loss(x: f32[N, 4]) -> f32 {
    d = sum(dropout(x * w, 0.5))
    print("sum", d)
    assert(x < 9.0, "x is small")
    d
  }
  fn count(x: f32[T]) -> f32 {
    calls <- calls + 1
    print("counted", calls)
    scan a over x axis 0 with s = 0.0 { print("so far", s); s = s + a }
  }
}
train fit for Noted { minimize loss; with sgd(lr = 0.1) }
`,
    );
    expect(run(["compile", "noted.mdl", "--debug", "-o", "noted"])).toMatchObject({ code: 0, err: "" });
    expect(run(["compile", "noted.mdl", "-o", "plain"])).toMatchObject({ code: 0, err: "" });
    const steps = `const x = { data: Float32Array.from({ length: 12 }, (_, i) => i % 7), shape: [3, 4] };
const losses = [];
for (let i = 0; i < 3; i++) losses.push(await (await net.train_step({ x })).loss);
`;
    writeFileSync(
      join(folder, "noted.mjs"),
      `import { load, MdlRuntimeError } from "./noted/noted.js";
import { load as plain } from "./plain/noted.js";
const printed = [];
console.log = (text) => printed.push(text);
async function losses(net) { ${steps} return losses; }
const net = await load({ seed: 5, entries: ["train_step", "count"] });
const found = await losses(net);
const other = await plain({ seed: 5 });
const same = await losses(other);
await net.count({ x: Float32Array.of(1, 2) });
let error;
try {
  await net.train_step({ x: { data: Float32Array.of(1, 2, 9, 10), shape: [1, 4] } });
} catch (e) {
  error = [e instanceof MdlRuntimeError, e.code, e.message];
}
const calls = (await net.getParameter("calls")).item();
process.stdout.write(JSON.stringify({ printed, found, same, error, calls, entries: Object.keys(net.entries) }));
net.dispose();
other.dispose();
`,
    );
    symlinkSync(join(projectRoot, "node_modules"), join(folder, "node_modules"), "junction");
    const { status, stdout, stderr } = spawnSync(process.execPath, ["noted.mjs"], {
      cwd: folder,
      encoding: "utf8",
    });
    expect(status, stderr).toBe(0);
    const { printed, found, same, error, calls, entries } = JSON.parse(stdout);
    expect(found).toEqual(same);
    const [one, two, three, ...rest] = printed as readonly string[];
    [one, two, three].forEach((line, i) => {
      expect(line).toMatch(/^noted\.mdl:6: sum: Tensor f32\[\] /);
      expect(Number(line.split(" ").at(-1))).toBeCloseTo(found[i], 3);
    });
    expect(rest.slice(0, 2)).toEqual([
      "noted.mdl:12: counted: Tensor i32[] 0",
      "noted.mdl:13: so far (each pass): Tensor f32[2] [0., 1.]",
    ]);
    expect(error).toEqual([...[true, "assert", "noted.mdl:7: x is small: false in 2 of 4, first at [0, 2]"]]);
    expect([calls, entries]).toEqual([1, ["loss", "count", "fit_step", "train_step"]]);
  });

  it("says why mdl train met a bad step", async (context) => {
    await testDevice(context);
    writeFileSync(join(folder, "small.mdl"), MODEL);
    const rows = Array.from(
      { length: 40 },
      (_, i) => `${i % 5},${i % 3},${i === 29 ? "0.0" : `${1 + (i % 4)}.5`}`,
    );
    writeFileSync(join(folder, "data.csv"), `a,b,y\n${rows.join("\n")}\n`);
    const args = ["train", "small.mdl", "--data", "csv:data.csv?label=y", "--epochs", "1", "--batch", "8"];
    const { code, err } = run([...args, "--val", "none"]);
    expect(err).toMatch(
      /error\[E1201\]: step \d of fit: log gives 1 ∞ in 8 elements, first at \[\d\]\n +┌─ small\.mdl:17:\d+/,
    );
    expect(err).toMatch(/note: y is f32\[8\], 0 to 4\.500, 1 of it 0/);
    expect(code).toBe(1);
  });
});
