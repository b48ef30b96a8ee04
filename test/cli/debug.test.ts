// Looking into a model, by the reference evaluator: values by name and line, prints and asserts, where NaN comes from, gradients
// that are compared. On a GPU: debug.gpu.test.ts.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { serialize } from "node:v8";
import { describe, expect, it, vi } from "vitest";
import { errorOf, firstDiffering } from "../../compiler/cli/debug/gradcheck.ts";
import { barsOf, short, statsOf } from "../../compiler/cli/debug/stats.ts";
import { execute } from "../../compiler/cli/program.ts";
import { check, compile, debugging, emitModule } from "../../compiler/core/index.ts";
import { signatureOf } from "../../runtime/core/store.ts";
import { testCli } from "../support/cli.ts";

const { folder } = testCli();
const write = (name: string, data: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, data);
  return path;
};

async function here(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const out = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const err = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  try {
    const code = await execute(args);
    const text = (spy: { mock: { calls: unknown[][] } }): string => spy.mock.calls.map(([t]) => t).join("");
    return { code, out: text(out), err: text(err) };
  } finally {
    out.mockRestore();
    err.mockRestore();
  }
}
interface Json {
  readonly values: readonly {
    readonly name: string;
    readonly kind: string;
    readonly place: string;
    readonly shape: readonly number[];
    readonly dtype: string;
    readonly nan: number;
    readonly count: number;
    readonly min?: number;
    readonly max?: number;
    readonly mean?: number;
  }[];
  readonly problems: readonly { readonly code: string; readonly message: string; readonly place: string }[];
}
async function json(...args: readonly string[]): Promise<Json & { code: number }> {
  const { code, out, err } = await here(...args, "--device", "cpu", "--json");
  expect(err).toBe("");
  return { code, ...(JSON.parse(out) as Json) };
}

/** `notes`: whether its prints and asserts stand in it. */
const net = (notes: boolean): string => {
  const note = (text: string): string => (notes ? text : "");
  return `import { Linear } from "std/nn"

layer Block(d: int) {
  up = Linear(d, d)
  fn forward(x: f32[N, d]) -> f32[N, d] {
    hidden = x |> up |> relu
${note('    print("hidden", hidden)')}
${note('    assert(hidden >= 0.0, "relu is above 0")')}
    x + dropout(hidden, 0.1)
  }
}

model Net(classes: int = 3) {
  blocks = [Block(4) for i in 0..2]
  head = Linear(4, classes)
  buffer calls: i32 = zeros()

  fn logits(x: f32[N, 4]) -> f32[N, classes] {
${note('    assert(classes > 1, "more than one")')}
    h = for block in blocks with h = x {
      h = block(h)
${note("      print(h)")}
    }
    near = h > 0.5
${note("    print(near, dropout(h, 0.5))")}
    where(near, h, h * 0.5) |> head
  }
  fn loss(x: f32[N, 4], y: i32[N]) -> f32 { cross_entropy(logits(x), y) }
  fn walk(xs: f32[T, N, 4], start: f32[N, 4]) -> f32[N, 4] {
    scan x over xs axis 0 with h = start {
      z = blocks[0].up(h) + x
      calls <- calls + 1
      h = tanh(z)
${note("      print(z)")}
${note('      assert(z < 100.0, "z is small")')}
    }
  }
  fn slope(x: f32[N, 4]) -> f32[N, 4] {
    s = grad(fn(a: f32[N, 4]) -> f32 { sum(a * a) }, wrt = a)(x)
${note('    print("slope", s)')}
    s
  }
}

train fit for Net {
  minimize loss
  with adamw(lr = 1e-3)
}
`;
};
const NET = write("net.mdl", net(true));

describe("print and assert", () => {
  it("are not there in an ordinary build: the same kernels, plans and bytes", () => {
    // What they are handed is checked all the same, and draws nothing that others count.
    const of = (text: string): string => {
      const { artefact, diagnostics } = compile(text, "net.mdl", { targets: ["gpu"] });
      expect(diagnostics).toEqual([]);
      return JSON.stringify(artefact);
    };
    expect(of(net(true))).toBe(of(net(false)));
  });

  it("make a module of their own, whose entries are the ordinary ones", () => {
    const of = (debug: boolean) => compile(net(true), "net.mdl", { targets: ["gpu"], debug });
    const [plain, debug] = [of(false), of(true)];
    const options = { runtime: "inline", minify: true } as const;
    const written = emitModule(debug.artefact, { ...options, notes: debug.notes });
    expect(plain.notes).toBeUndefined();
    expect(emitModule(plain.artefact, options).js).not.toMatch(/mdlNot|notes|assert/);
    expect(written.js).toContain("mdlNoting");
    // Nobody sees what computes it.
    expect(written.dts).not.toContain("notes");
    const entries = debug.artefact.programs[0].entries.map((e) => e.name);
    const own = plain.artefact.programs[0].entries.map((e) => e.name);
    expect(entries.filter((name) => !name.endsWith("$notes"))).toEqual(own);
    expect(Object.keys(debug.notes ?? {})).toEqual([
      ...["logits", "loss", "walk", "slope", "fit_step", "train_step"],
    ]);
    expect(debug.notes?.walk).toEqual({
      by: "walk$notes",
      notes: [
        { kind: "print", at: "net.mdl:34", text: "z", output: "kept0", passes: 1 },
        { kind: "assert", at: "net.mdl:35", text: "z is small", output: "kept1", passes: 1 },
      ],
    });
    const { writesState, writesParams } = debug.artefact.programs[0].entries.find(
      (e) => e.name === "walk$notes",
    ) as (typeof debug.artefact.programs)[0]["entries"][0];
    expect([writesState, writesParams]).toEqual([[], []]);
  });

  it("are statements, whose mistakes are told", () => {
    const said = (body: string): string[] =>
      check(`model M { fn f(x: f32[N, 2]) -> f32[N, 2] { ${body} } }`, "m.mdl").diagnostics.map(
        (d) => `${d.code} ${d.message}`,
      );
    expect(said("print(x); x")).toEqual([]);
    expect(said("x |> relu |> print; x")).toEqual([]);
    expect(said("y = print(x); y")).toEqual(["E0506 print has no value"]);
    expect(said("print(); x")).toEqual(["E0601 print needs something to print"]);
    expect(said("print(x @ ones(3, 3)); x")[0]).toMatch(/^E030/);
    expect(said("assert(x); x")).toEqual(["E0605 assert takes a condition, not a tensor f32[N, 2]"]);
    expect(said('assert(2 > 3, "two is less"); x')).toEqual(["E0611 two is less"]);
    expect(said("assert(2 < 3); x")).toEqual([]);
    // A name of the author's is the author's.
    expect(said("print = x; print")).toEqual([]);
  });

  it("show and test in a debug build: in loops, in scans, of gradients", async () => {
    const { code, out } = await here("debug", NET, "logits", "--size", "N=2", "--device", "cpu");
    expect(code).toBe(0);
    expect(out).toMatch(/^7: hidden in blocks\.0: f32\[2, 4\]\n\[\[/);
    expect(out).toMatch(/\n7: hidden in blocks\.1: f32\[2, 4\]\n/);
    expect(out.match(/\n22: h: f32\[2, 4\]\n/g)).toHaveLength(2);
    expect(out).toMatch(/\n25: near: bool\[2, 4\]\n\[\[(true|false)/);
    expect(out).toMatch(/\n25: dropout\(h, 0\.5\): f32\[2, 4\]\n/);
    const slope = await here(
      "run",
      NET,
      "slope",
      "--watch",
      "s",
      "--input",
      "x=[[1, 2, 3, 4]]",
      "--device",
      "cpu",
    );
    expect(slope.out).toContain("slope: f32[1, 4]\n[[2., 4., 6., 8.]]");
    const walk = ["run", NET, "walk", "--watch", "z", "--input", "start=[[0, 0, 0, 0]]", "--device", "cpu"];
    const good = await here(...walk, "--input", "xs=[[[1, 2, 3, 4]], [[5, 6, 7, 8]]]");
    expect([good.code, good.err]).toEqual([0, expect.not.stringContaining("error")]);
    expect(good.out).toMatch(/34: z: f32\[2, 1, 4\] \(each pass\)\n\[\[\[/);
    const bad = await here(...walk, "--input", "xs=[[[1, 2, 3, 4]], [[5, 6, 7, 800]]]");
    expect(bad.code).toBe(1);
    expect(bad.err).toMatch(
      /error\[E0611\]: z is small\n.*net\.mdl:35:14\n[\s\S]*is false in 1 of 8 elements/,
    );
    expect(bad.err).toContain("first at [1, 0, 3]");
    // Results stand before the table, and can go to a file as ever.
    expect(good.out).toMatch(/\nwalk: f32\[1, 4\]\n/);
  });
});

describe("mdl debug", () => {
  it("lists values by name and line, forward and gradients", async () => {
    const { values, code } = await json("debug", NET, "train", "--size", "N=3");
    expect(code).toBe(0);
    const of = (name: string, kind = "value"): Json["values"][number] | undefined =>
      values.find((v) => v.name === name && v.kind === kind);
    expect(of("x", "input")).toMatchObject({ shape: [3, 4], count: 12 });
    expect(of("blocks.1.hidden")).toMatchObject({ place: "6", shape: [3, 4], dtype: "f32", nan: 0 });
    expect(of("blocks.0")).toMatchObject({ shape: [3, 4] });
    // The passes of a loop, and a bool.
    expect(values.flatMap((v) => (v.kind === "value" && v.name.startsWith("h[") ? [v.name] : []))).toEqual([
      "h[0]",
      "h[1]",
    ]);
    expect(of("near")).toMatchObject({ dtype: "bool", place: "24" });
    expect(of("loss", "gradient")).toMatchObject({ min: 1, max: 1 });
    expect(of("head.weight", "gradient")).toMatchObject({ shape: [3, 4], place: "std/nn:13" });
    expect(of("blocks.0.hidden", "gradient")).toMatchObject({ shape: [3, 4] });
    // Forward first, and nothing of an integer has a gradient.
    const kinds = values.map((v) => v.kind);
    expect(kinds.lastIndexOf("value")).toBeLessThan(kinds.indexOf("gradient"));
    expect(of("near", "gradient")).toBeUndefined();
  });

  it("shows gradients of what is in a scan, pass by pass, and in a scan of it", async () => {
    const file = write(
      "passes.mdl",
      `op step(x: f32) -> f32 { where(x > 0.0, 1.0, 0.0) }
model Passes {
  param w: f32[2] = ones()
  fn loss(xs: f32[T, 2], ks: f32[3]) -> f32 {
    start = zeros(2)
    last = scan x over xs axis 0 with h = start {
      sign = x * 2.0
      gate = step(sign)
      into = w * x
      all = scan k over ks axis 0 with s = into {
        q = 2.0 * s
        s = q + k
      }
      h = 0.5 * h + all * gate
    }
    sum(last)
  }
}
train fit for Passes { minimize loss; with sgd(lr = 0.1) }
`,
    );
    const { values } = await json(
      ...["debug", file, "train", "--input", "xs=[[1, -1], [2, 1], [3, 1]]", "--input", "ks=[1, 2, 3]"],
    );
    const gradient = (of: string): unknown => {
      const {
        kind,
        shape,
        min,
        max,
        mean = 0,
        count,
      } = values.findLast((v) => v.name === of) as Json["values"][number];
      return kind === "gradient" ? { shape, min, max, sum: Math.fround(mean * count) } : undefined;
    };
    // What is halved with each pass that follows, and doubled in each of the inner one; the gate is shut once.
    const whole = 0.25 + 0.5 + 1;
    const open = whole + 0.5 + 1;
    expect(gradient("h")).toEqual({ shape: [3, 2], min: 0.25, max: 1, sum: 2 * whole });
    expect(gradient("all")).toEqual({ shape: [3, 2], min: 0, max: 1, sum: open });
    expect(gradient("q")).toEqual({ shape: [3, 3, 2], min: 0, max: 4, sum: 7 * open });
    expect(gradient("into")).toEqual({ shape: [3, 2], min: 0, max: 8, sum: 8 * open });
    expect(gradient("w")).toMatchObject({ shape: [2], min: 12, max: 8 * (0.25 + 1 + 3) });
    expect(gradient("sign")).toEqual({ shape: [3, 2], min: 0, max: 0, sum: 0 });
  });

  it("shows what is asked for, by pattern; parameters too, and empty tensors", async () => {
    const names = async (...args: string[]): Promise<string[]> =>
      (await json("debug", NET, "logits", ...args)).values.map((v) => v.name);
    expect(await names("--watch", "blocks.1.*")).toEqual([
      "blocks.1.up.weight",
      "blocks.1.up.bias",
      "blocks.1.up",
      "blocks.1.hidden",
    ]);
    expect(await names("--watch", "h", "--watch", "near")).toEqual(["h[0]", "h[1]", "near"]);
    expect(await names("--watch", "h[1]")).toEqual(["h[1]"]);
    const empty = await json("debug", NET, "logits", "--size", "N=0", "--watch", "near");
    expect(empty.values[0]).toMatchObject({ shape: [0, 4], count: 0 });
  });

  it("says what a name could have been", async () => {
    const miss = async (name: string, entry = "logits"): Promise<string> =>
      (await here("debug", NET, entry, "--watch", name, "--device", "cpu")).err;
    expect(await miss("hiden")).toContain(
      "logits has no value hiden; did you mean blocks.0.hidden or blocks.1.hidden?",
    );
    expect(await miss("blocks")).toContain("in it are blocks.0.up.weight");
    expect(await miss("zz", "walk")).toContain("did you mean z?");
    expect((await here("debug", "x.js", "logits")).code).toBe(2);
    expect((await here("debug", NET, "--device", "cpu")).err).toContain("which entry of Net? logits");
  });
});

const NAN = write(
  "nan.mdl",
  `import { Linear } from "std/nn"
model Nan {
  enc = Linear(4, 6)
  fn encode(x: f32[N, 4]) -> f32[N, 6] { x |> enc |> relu }
  fn scores(x: f32[N, 4]) -> f32[N, N] {
    h = encode(x)
    masked = where(h @ h.T > 1e9, h @ h.T, -inf)
    softmax(masked)
  }
  private fn logs(x: f32[N, 4]) -> f32 {
    h = encode(x)
    mean(log(h))
  }
  private fn roots(x: f32[N, 4]) -> f32 { mean(sqrt(sum(encode(x) * 0.0, axis = -1))) }
  private fn plain(x: f32[N, 4]) -> f32 {
    h = dropout(encode(x), 0.5)
    100.0 * mean(where(h > 0.0, h, -inf) |> exp)
  }
}
train fit for Nan {
  minimize logs
  with sgd(lr = 1e-3)
}
train back for Nan {
  minimize roots
  with sgd(lr = 1e-3)
}
train fine for Nan {
  minimize plain
  with sgd(lr = 0.1, momentum = 0.9)
}
`,
);

describe("a bad step", () => {
  const problem = async (...args: string[]): Promise<Json["problems"][number]> => {
    const { problems, code } = await json("debug", NAN, ...args, "--size", "N=3");
    expect([problems.length, code]).toEqual([1, 1]);
    return problems[0];
  };
  it("is told by the first value that is bad, its line and what it was made of", async () => {
    const { err } = await here("debug", NAN, "fit", "--size", "N=3", "--device", "cpu");
    expect(err).toMatch(/error\[E1201\]: step 0 of fit: log gives \d+ ∞ in 18 elements, first at \[0, \d\]/);
    expect(err).toMatch(/nan\.mdl:12:10\n/);
    expect(err).toMatch(/note: h is f32\[3, 6\], 0 to 0\.\d+, \d+ of it 0/);
    expect(err).toContain("keep what log is taken of above 0");
  });
  it("in a gradient, behind a mask, and in the update alone", async () => {
    expect(await problem("back")).toMatchObject({
      message: expect.stringContaining("gradient of sqrt gives 3 ∞"),
      place: "14",
    });
    // The mask's infinity is meant.
    expect(await problem("scores")).toMatchObject({
      message: "softmax gives 9 NaN in 9 elements, first at [0, 0]",
      place: "8",
    });
    expect(await problem("fine", "--lr", "1e38")).toMatchObject({
      message: expect.stringMatching(/step 0 of fine: the update of enc\.(weight|bias) gives/),
      place: "28",
    });
    expect((await json("debug", NAN, "fine", "--size", "N=3")).problems).toEqual([]);
  });
  it("is none where a loss scale is too large for gradients alone", async () => {
    const text = `model M {
  param w: f32[3, 2] = constant(0.5)
  fn loss(x: f32[N, 3]) -> f32 { mean(square(f32(f16(x @ w) * f16(9.0)))) }
}
train fit for M { minimize loss; with sgd(); loss_scale 65536 }
`;
    const scaled = write("scaled.mdl", text);
    // A gradient of 65536 * 2 / 4 * 13.5 is more than f16 holds.
    const { code, problems } = await json("debug", scaled, "train", "--input", "x=[[1, 1, 1], [1, 1, 1]]");
    expect([code, problems]).toEqual([0, []]);
    const bad = await json("debug", scaled, "train", "--input", "x=[[1e4, 1e4, 1e4], [1, 1, 1]]");
    expect([bad.code, bad.problems[0].message]).toEqual([
      1,
      "step 0 of fit: mul gives 2 ∞ in 4 elements, first at [0, 0]",
    ]);
    // What was told as the first bad step was not told before it.
    const { artefact } = compile(text, "scaled.mdl", { targets: ["baseline"] });
    const { params, paramBytes, state, stateBytes } = artefact;
    const snapshot = {
      signature: signatureOf(artefact),
      params: new Uint8Array(paramBytes),
      state: new Uint8Array(stateBytes),
      steps: { fit: 4 },
      seed: 3,
    };
    new Float32Array(snapshot.params.buffer, params[0].offset, 6).fill(0.5);
    const at = (path: string): number => state.find((s) => s.path === `fit.${path}`)?.offset ?? -1;
    new Float32Array(snapshot.state.buffer)[at("loss_scale") / 4] = 65536;
    new Int32Array(snapshot.state.buffer)[at("first_bad_step") / 4] = 3;
    const batch = { x: { data: new Float32Array(6).fill(1), shape: [2, 3] } };
    const kept = write("scaled.step", serialize({ snapshot, batch }));
    expect((await json("debug", scaled, "train", "--replay", kept)).problems).toEqual([]);
  });
  it("in a block that gives gradients", async () => {
    const look = write(
      "look.mdl",
      `model M {
  param w: f32[3] = zeros()
  fn loss(x: f32[N, 3]) -> f32 { sqrt(sum(square(x @ w))) }
  fn fine(x: f32[N, 3]) -> f32 { sum(square(x @ w - 1.0)) }
}
train look for M { minimize loss; gradients }
train good for M { minimize fine; gradients }
`,
    );
    const { code, problems } = await json("debug", look, "look", "--size", "N=2");
    expect([code, problems[0]]).toMatchObject([
      1,
      { message: "gradient of sqrt gives 1 ∞ in 1 element, first at []" },
    ]);
    const good = await json("debug", look, "good_gradients", "--size", "N=2");
    expect([good.code, good.values.filter((v) => v.kind === "gradient").map((v) => v.name)]).toEqual([
      0,
      ["loss", "w"],
    ]);
    const checked = await here("gradcheck", look, "good", "--device", "cpu");
    expect([checked.code, checked.out]).toEqual([
      0,
      expect.stringMatching(/\n +w +f32\[3\] .*ok\n1 gradient right/),
    ]);
  });
  it("in an input says which", async () => {
    const { err } = await here(
      ...["debug", NAN, "scores", "--input", 'x=[[1, 2, "NaN", 4]]', "--device", "cpu"],
    );
    expect(err).toContain("the input x holds 1 NaN in 4 elements, first at [0, 2]");
  });
  it("is made again from what a program kept", async () => {
    const { artefact } = compile(net(true), "net.mdl", { targets: ["baseline"] });
    const params = new Uint8Array(Math.ceil(artefact.paramBytes / 4) * 4);
    const bias = artefact.params.find((p) => p.path === "head.bias");
    new Float32Array(params.buffer)[(bias?.offset ?? 0) / 4] = Number.NaN;
    const snapshot = {
      signature: signatureOf(artefact),
      params,
      state: new Uint8Array(Math.ceil(artefact.stateBytes / 4) * 4),
      steps: { fit: 7 },
      seed: 3,
    };
    const batch = { x: { data: new Float32Array(8), shape: [2, 4] }, y: Int32Array.of(0, 2) };
    const kept = write("bad.step", serialize({ snapshot, batch }));
    const { problems } = await json("debug", NET, "train", "--replay", kept);
    expect(problems[0]).toMatchObject({
      message: expect.stringMatching(/^step 7 of fit: the parameter head\.bias holds 1 NaN/),
    });
    const other = write("other.step", serialize({ snapshot: { ...snapshot, signature: 1 }, batch }));
    expect((await here("debug", NET, "train", "--replay", other, "--device", "cpu")).err).toContain(
      "this snapshot is of another model",
    );
    expect((await here("debug", NET, "train", "--replay", NAN, "--device", "cpu")).err).toContain(
      "expected what v8.serialize({ snapshot, batch }) gives",
    );
  });
});

describe("mdl gradcheck", () => {
  it("finds the gradients of entries and steps right, with loops and random draws", async () => {
    const step = await here("gradcheck", NET, "--device", "cpu", "--samples", "2");
    expect([step.code, step.out]).toEqual([
      0,
      expect.stringMatching(/6 gradients right, by finite differences/),
    ]);
    const scan = await here("gradcheck", NET, "walk", "--device", "cpu", "--samples", "2");
    expect([scan.code, scan.out]).toEqual([0, expect.stringMatching(/blocks\.0\.up\.weight .*ok/)]);
    expect(scan.out).toMatch(/start .*ok/);
  });
  it("names the operator whose rule is wrong, and ends with 1", async () => {
    const wrong = write(
      "wrong.mdl",
      `op bent(x: f32) -> f32 { x * x } grad (g) { g * x }
model Wrong {
  param w: f32[4, 3] = normal()
  param v: f32[3] = ones()
  fn f(x: f32[N, 4]) -> f32[N] {
    h = tanh(x @ w)
    z = bent(h)
    sum(exp(z) * v, axis = -1)
  }
}
`,
    );
    const { code, out, err } = await here("gradcheck", wrong, "f", "--device", "cpu");
    expect(code).toBe(1);
    expect(out).toMatch(/v +f32\[3\].* ok\n/);
    expect(out).toMatch(/w +f32\[4, 3\].* differs\n/);
    expect(err).toMatch(/error\[E1202\]: the gradient of bent is \S+ at \[\d, \d\], by finite differences/);
    expect(err).toContain("wrong.mdl:7:9");
  });
  it("names the first value that a device has otherwise", () => {
    const { models } = check(net(true), "net.mdl", { watch: () => true });
    const { values } = debugging.debugEntry((models ?? [])[0], "logits");
    const list = [...new Set(values.filter((w) => w.kind === "value").map((w) => w.value))];
    const result = (x: number) => ({ dtype: "f32", shape: [2], data: Float32Array.of(1, x) }) as const;
    const found = firstDiffering(list, (v) => [result(list.indexOf(v) >= 3 ? 2 : 3), result(3)]);
    expect([list.indexOf(found?.value as never), found?.error]).toEqual([3, 1 / 3]);
    expect(firstDiffering(list, () => [result(3), result(3)])).toBeUndefined();
    expect(errorOf([Number.NaN, 1], [Number.NaN, 1])).toBe(0);
    expect(errorOf([Number.NaN], [1])).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("figures of a tensor", () => {
  it("are those of the finite elements", () => {
    const s = statsOf([1, 2, 3, 4, Number.NaN, Number.POSITIVE_INFINITY]);
    expect(s).toMatchObject({ count: 6, nan: 1, inf: 1, min: 1, max: 4, mean: 2.5 });
    expect(s.std).toBeCloseTo(Math.sqrt(5 / 3), 12);
    expect(s.histogram.reduce((x, y) => x + y, 0)).toBe(4);
    expect(statsOf([])).toMatchObject({ count: 0, min: undefined, mean: undefined, std: undefined });
    expect(statsOf([7])).toMatchObject({ min: 7, max: 7, mean: 7, std: undefined });
    expect(statsOf([1e8 + 1, 1e8 + 2, 1e8 + 3]).std).toBe(1);
    expect([barsOf(statsOf([0, 0, 0, 1])).length, barsOf(statsOf([]))]).toEqual([12, ""]);
    expect([0.123456, 123456, 1e-5, 7, undefined].map(short)).toEqual([
      "0.1235",
      "123456",
      "1.00e-5",
      "7",
      "",
    ]);
  });
});
