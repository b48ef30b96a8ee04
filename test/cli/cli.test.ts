// The command line as a person meets it, without a GPU: help, what is written and printed, refusals and exit codes.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { execute } from "../../compiler/cli/program.ts";
import { formatSafetensors, parseSafetensors } from "../../runtime/core/safetensors.ts";
import { formatNpy, parseNpy } from "../../runtime/data/npy.ts";
import { example, testCli } from "../support/cli.ts";
import { projectFile, projectRoot } from "../support/files.ts";
import { readmeBlock } from "../support/readme.ts";

const { folder, run, main } = testCli();
const path = (name: string): string => join(folder, name);
const write = (name: string, data: string | Uint8Array): string => {
  writeFileSync(path(name), data);
  return name;
};

const TINY = `/// Two rows of weights.
model Tiny(rows: int = 2) {
  param weight: f32[rows, 3] = zeros()
  fn scores(x: f32[N, 3]) -> f32[N, rows] { x @ weight.T }
  fn both(x: f32[N, 3]) -> (low: f32[N], high: f32[N]) { (low = min(x, axis = 1), high = max(x, axis = 1)) }
}
`;
const WEIGHT = Float32Array.of(1, 0, 0, 0, 1, 1);
const weights = (shape: number[], data: Float32Array): Uint8Array =>
  formatSafetensors([{ path: "weight", dtype: "f32", shape, data }], {});

/** In this process, for what needs none of its own. */
async function here(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
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

describe("help", () => {
  it("has an example on every command", async () => {
    const { code, out } = run(["--help"]);
    expect(code).toBe(0);
    const commands = [...out.matchAll(/^ {2}(\w+) .*? {2,}\S/gm)]
      .map((m) => m[1])
      .filter((c) => c !== "help");
    expect(commands).toEqual([
      "compile",
      "train",
      "eval",
      "quantize",
      "run",
      "generate",
      "summary",
      "profile",
      "debug",
      "gradcheck",
      "tune",
      "check",
      "fmt",
      "doctor",
      "ops",
      "doc",
      "completion",
    ]);
    for (const command of commands) {
      const help = await here([command, "--help"]);
      expect(help.code).toBe(0);
      expect(help.out).toMatch(new RegExp(`Examples:\\n {2}mdl ${command}`));
    }
  });

  it("suggests what was meant, with exit code 2", async () => {
    const command = run(["chek", "x.mdl"]);
    expect([command.code, command.err]).toEqual([2, expect.stringContaining("Did you mean check?")]);
    const option = await here(["compile", "x.mdl", "--wieghts", "f"]);
    expect([option.code, option.err]).toEqual([2, expect.stringContaining("Did you mean --weights?")]);
    expect((await here([])).code).toBe(2);
    const op = await here(["ops", "realu"]);
    expect([op.code, op.err]).toEqual([2, expect.stringContaining("did you mean relu?")]);
    const layer = await here(["ops", "BatchNorm2D"]);
    expect([layer.code, layer.err]).toEqual([2, expect.stringContaining("did you mean BatchNorm2d?")]);
  });

  it("lists operators, and says all about one", async () => {
    const all = await here(["ops"]);
    expect(all.code).toBe(0);
    expect(all.out).toMatch(/^ {2}softmax\(x, axis.* {2}\S/m);
    for (const heading of ["operators", "layers of std/nn", "fns of std/loss", "initialisers", "optimisers"])
      expect(all.out).toMatch(new RegExp(`^${heading}`, "m"));
    expect((await here(["ops", "adamw"])).out).toContain(
      "betas = (0.9, 0.999), eps = 1e-8, weight_decay = 1e-2",
    );
    const layer = (await here(["ops", "BatchNorm2d"])).out;
    expect(layer).toContain('import { BatchNorm2d } from "std/nn"');
    expect(layer).toContain("running_var");
    const one = run(["ops", "conv2d"]).out;
    expect(one).toContain(
      "conv2d(x, weight)  // x: f32[2, 3, 5, 6], weight: f32[4, 3, 3, 2] -> f32[2, 4, 3, 5]",
    );
    expect(one).not.toContain("\x1b");
    expect(run(["ops", "conv2d"], { env: { FORCE_COLOR: "1" } }).out).toContain("\x1b[36mconv2d");
  });
});

describe("compile", () => {
  it("writes module, types and weights, and says what they are", () => {
    write("tiny.mdl", TINY);
    write("in.safetensors", weights([2, 3], WEIGHT));
    const { code, out, err } = run(["compile", "tiny.mdl", "-o", "build", "--weights", "in.safetensors"]);
    expect([code, err]).toEqual([0, ""]);
    expect(readdirSync(path("build")).sort()).toEqual(["tiny.d.ts", "tiny.js", "tiny.safetensors"]);
    expect(out).toContain("Tiny from tiny.mdl\n  Two rows of weights.");
    expect(out).toMatch(/parameters +6 in 1 tensor, 24 B/);
    expect(out).toMatch(/scores +\d+ → 1 .*\(x: f32\[N, 3\]\) -> scores: f32\[N, 2\]/);
    expect(out).toMatch(/build\/tiny\.js +\S+ kB +\S+ kB gzipped/);
    const saved = parseSafetensors(readFileSync(path("build/tiny.safetensors"))).get("weight");
    expect([...(saved?.bytes ?? [])]).toEqual([...new Uint8Array(WEIGHT.buffer)]);
    // Again, over its own files, with another runtime.
    expect(run(["compile", "tiny.mdl", "-o", "build", "--runtime", "import"]).code).toBe(0);
    expect(readFileSync(path("build/tiny.js"), "utf8")).toContain('from "mdlc/runtime"');
    const size = (...args: string[]): number => {
      expect(run(["compile", "tiny.mdl", "-o", "build", ...args]).code).toBe(0);
      return readFileSync(path("build/tiny.js")).length;
    };
    expect(size("--minify")).toBeLessThan(size());
  });

  it("makes a module of each model, or of the one that is picked", async () => {
    write("zoo.mdl", `${TINY}\n${TINY.replace("Tiny", "Other").replace("both", "more")}`);
    const zoo = (out: string, ...args: string[]): ReturnType<typeof here> =>
      here(["compile", path("zoo.mdl"), "-o", path(out), ...args]);
    expect((await zoo("zoo")).code).toBe(0);
    expect(readdirSync(path("zoo")).sort()).toEqual(["Other.d.ts", "Other.js", "Tiny.d.ts", "Tiny.js"]);
    const set = await zoo("one", "--model", "Other", "--set", "rows=5", "--entry", "scores");
    expect(set.out).toMatch(/-> scores: f32\[N, 5\]/);
    expect(set.out).not.toMatch(/more/);
    expect((await zoo("two", "--entry", "more")).code).toBe(0);
    expect(readdirSync(path("two"))).toEqual(["Other.d.ts", "Other.js"]);
  });

  it("prints a line a dispatch", () => {
    const { code, out } = run([
      "compile",
      example("convnet"),
      "--model",
      "ConvNet",
      "--entry",
      "logits",
      "--emit",
      "plan",
    ]);
    expect(code).toBe(0);
    const lines = out.trimEnd().split("\n");
    const dispatches = lines.filter((line) => line.startsWith("dispatch"));
    expect(dispatches).toHaveLength(4);
    for (const line of dispatches) expect(line).toMatch(/convnet\.mdl:\d+:\d+.* grid .*\[.*params\+/);
    expect(lines.filter((line) => line.startsWith("prepare")).length).toBeGreaterThan(0);
    expect(lines.at(-1)).toMatch(/^peak \d+ bytes/);
  });

  it.each(["ast", "graph", "fused", "kernels", "wgsl"])(
    "prints the stage %s and writes nothing",
    async (stage) => {
      write("tiny.mdl", TINY);
      const { code, out } = await here([
        "compile",
        path("tiny.mdl"),
        "--emit",
        stage,
        "--target",
        "baseline",
        "-o",
        path("unmade"),
      ]);
      expect(code).toBe(0);
      const marks: Record<string, string> = {
        ast: "model Tiny(",
        graph: "param",
        fused: "entry scores (baseline)",
        kernels: "kernel ",
        wgsl: "@compute",
      };
      expect(out).toContain(marks[stage]);
      expect(existsSync(path("unmade"))).toBe(false);
    },
  );

  it("reports all errors of a source, with exit code 1 and nothing overwritten", () => {
    write("tiny.mdl", TINY);
    mkdirSync(path("kept"), { recursive: true });
    expect(run(["compile", "tiny.mdl", "-o", "kept"]).code).toBe(0);
    const before = readFileSync(path("kept/tiny.js"), "utf8");
    write(
      "tiny.mdl",
      TINY.replace("x @ weight.T", "x @ wieght.T").replace("min(x, axis = 1)", "min(x, axis = 7)"),
    );
    const { code, err } = run(["compile", "tiny.mdl", "-o", "kept"]);
    expect(code).toBe(1);
    expect(err).toContain("error[E0201]");
    expect(err).toMatch(/tiny\.mdl:4:\d+/);
    expect(err).toContain("error[E0305]");
    expect(readFileSync(path("kept/tiny.js"), "utf8")).toBe(before);
    write("tiny.mdl", TINY);
  });

  it("refuses weights that do not fit, and files of somebody else", async () => {
    write("tiny.mdl", TINY);
    const tiny = async (...args: string[]): Promise<[number, string]> => {
      const { code, err } = await here(["compile", path("tiny.mdl"), ...args]);
      return [code, err];
    };
    write("wrong.safetensors", weights([3, 2], WEIGHT));
    const out = ["-o", path("refused"), "--weights"];
    const misfit =
      "wrong.safetensors: the weights do not fit the model: weight: expected f32[2, 3], the file has F32[3, 2]";
    expect(await tiny(...out, path("wrong.safetensors"))).toEqual([1, expect.stringContaining(misfit)]);
    write("text.safetensors", "not at all");
    const noFile = expect.stringContaining("text.safetensors: not a safetensors file");
    expect(await tiny(...out, path("text.safetensors"))).toEqual([1, noFile]);
    expect(existsSync(path("refused"))).toBe(false);
    write("tiny.js", "export const mine = 1;\n");
    expect(await tiny("-o", folder)).toEqual([1, expect.stringContaining("was not written by mdl")]);
    expect(readFileSync(path("tiny.js"), "utf8")).toBe("export const mine = 1;\n");
    expect(await tiny("--target", "abacus")).toEqual([
      1,
      expect.stringContaining("there is no target abacus"),
    ]);
    expect(await tiny("--bind", "Q=8")).toEqual([1, expect.stringContaining("Tiny has no size Q to bind")]);
    expect(await tiny("--bind", "N=9007199254740991")).toEqual([1, expect.stringContaining("is no size")]);
    expect(await tiny("--bind", "N=2000000000")).toEqual([
      1,
      expect.stringContaining("a tensor of more than 2^31 elements: f32[N, 3]"),
    ]);
    expect(await tiny("--bind", "N")).toEqual([2, expect.stringContaining("--bind takes name=value")]);
    expect(run(["compile", "missing.mdl"])).toMatchObject({
      code: 1,
      err: "error: missing.mdl: no such file\n",
    });
  });
});

describe("compile beside files of others", () => {
  const model = (): string => {
    mkdirSync(path("source"), { recursive: true });
    write("source/own.mdl", TINY.replaceAll("Tiny", "Own"));
    write("w.safetensors", weights([2, 3], WEIGHT));
    return path("source/own.mdl");
  };
  const compiled = (out: string, ...more: string[]): Promise<{ code: number; err: string }> =>
    here(["compile", model(), "-o", path(out), "--target", "baseline", ...more]);

  it("leaves types and weights that mdl did not write, unless it is forced", async () => {
    for (const [name, text] of [
      ["own.d.ts", "export type Mine = 1;\n"],
      ["own.safetensors", Buffer.from(weights([2, 3], Float32Array.of(9, 9, 9, 9, 9, 9)))],
    ] as const) {
      const out = `kept-${name}`;
      mkdirSync(path(out));
      write(`${out}/${name}`, text);
      const more = name.endsWith("safetensors") ? ["--weights", path("w.safetensors")] : [];
      const refused = await compiled(out, ...more);
      expect([refused.code, refused.err]).toEqual([1, expect.stringMatching(/is there and .*--force/)]);
      expect(readFileSync(path(`${out}/${name}`)).equals(Buffer.from(text))).toBe(true);
      expect(readdirSync(path(out))).toEqual([name]);
      expect((await compiled(out, "--force", ...more)).code).toBe(0);
      expect(readFileSync(path(`${out}/${name}`)).equals(Buffer.from(text))).toBe(false);
    }
  });

  it("replaces what it wrote itself, weights too", async () => {
    const more = ["--weights", path("w.safetensors")];
    expect((await compiled("again", ...more)).code).toBe(0);
    write("w.safetensors", weights([2, 3], Float32Array.of(5, 5, 5, 5, 5, 5)));
    expect((await here(["compile", path("source/own.mdl"), "-o", path("again"), ...more])).code).toBe(0);
    const bytes = readFileSync(path("again/own.safetensors"));
    expect(
      new Float32Array(
        bytes.buffer.slice(bytes.byteOffset + bytes.byteLength - 24, bytes.byteOffset + bytes.byteLength),
      ),
    ).toEqual(Float32Array.of(5, 5, 5, 5, 5, 5));
    expect(parseSafetensors(bytes).has("weight")).toBe(true);
  });

  it("stays in the folder it was given, whatever the source is called", async () => {
    model();
    write("source/..mdl", TINY.replaceAll("Tiny", "Dotted"));
    const { code } = await here([
      "compile",
      path("source/..mdl"),
      "-o",
      path("dots/build"),
      "--target",
      "baseline",
    ]);
    expect(code).toBe(0);
    expect(readdirSync(path("dots"))).toEqual(["build"]);
    expect(readdirSync(path("dots/build")).sort()).toEqual(["Dotted.d.ts", "Dotted.js"]);
  });

  it("does not write two models to one place", async () => {
    write("source/pair.mdl", `${TINY.replaceAll("Tiny", "Pair")}${TINY.replaceAll("Tiny", "pair")}`);
    const { code, err } = await here([
      "compile",
      path("source/pair.mdl"),
      "-o",
      path("pair"),
      "--target",
      "baseline",
    ]);
    expect([code, err]).toEqual([1, expect.stringContaining("two models of")]);
  });
});

describe("check", () => {
  it("takes arguments of the model", async () => {
    write("args.mdl", "model M(classes: int) {\n  fn f(x: f32[N]) { x * classes }\n}\n");
    expect((await here(["check", path("args.mdl")])).out).toContain("E0610");
    expect((await here(["check", path("args.mdl"), "--set", "classes=3"])).code).toBe(0);
    const wrong = await here(["check", path("args.mdl"), "--set", "clases=3"]);
    expect([wrong.code, wrong.out]).toEqual([1, expect.stringContaining("clases")]);
  });
});

describe.skipIf(process.platform === "win32")("streams", () => {
  // A shell with pipefail tells the command's own exit code.
  const shell = (script: string): { status: number | null; stderr: string } =>
    spawnSync(
      "bash",
      ["-c", `set -o pipefail; mdl() { "${process.execPath}" "${main()}" "$@"; }; ${script}`],
      {
        cwd: folder,
        encoding: "utf8",
        timeout: 100_000,
      },
    );

  it("end as they would have though nobody reads any more", () => {
    const fns = Array.from({ length: 400 }, (_, i) => `  fn f${i}(x: f32[N]) { y${i} }`);
    write("bad.mdl", `model M {\n${fns.join("\n")}\n}\n`);
    expect(shell("mdl check bad.mdl | true").status).toBe(1);
    expect(shell("mdl nope 2>&1 | true").status).toBe(2);
    expect(shell("mdl ops | true").status).toBe(0);
  });

  it.skipIf(!existsSync("/dev/full"))("say that the disk is full, in one line", () => {
    const { status, stderr } = shell("mdl ops > /dev/full");
    expect([status, stderr]).toEqual([1, "error: cannot write standard output: the disk is full\n"]);
  });

  it("and a SIGINT to the command alone ends its work", async () => {
    write("tiny.mdl", TINY);
    // Standard error as Node makes it is a socket, so the command works in a child of its own, which waits for its input.
    const child = spawn(process.execPath, [main(), "run", "tiny.mdl", "scores", "--input", "x=-"], {
      cwd: folder,
    });
    const ended = new Promise((resolve) => child.on("close", (code, signal) => resolve(signal ?? code)));
    setTimeout(() => child.kill("SIGINT"), 2500);
    expect([130, "SIGINT"]).toContain(await ended);
  });

  it("show nothing of a file or path that a terminal would obey", async () => {
    const evil = "\x1b]0;pwned\x07\x1b[2J\u009b31m\u202eevil";
    write("tiny.mdl", TINY);
    write(
      "esc.safetensors",
      formatSafetensors([{ path: evil, dtype: "f32", shape: [1], data: WEIGHT.slice(0, 1) }], {}),
    );
    const all = [
      await here(["compile", path("tiny.mdl"), "--weights", path("esc.safetensors"), "-o", path("esc")]),
      await here(["compile", path(`${evil}.mdl`)]),
      await here(["check", path(`${evil}.mdl`)]),
      await here(["check", path(`${evil}.mdl`), "--json"]),
      await here([`${evil}`]),
      await here(["ops", evil]),
    ];
    for (const { code, out, err } of all) {
      expect(code).not.toBe(0);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
      expect(out + err).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]/);
    }
  });
});

describe("run --device cpu", () => {
  const cpu = (...args: string[]): string[] => ["run", "tiny.mdl", ...args, "--device", "cpu"];
  const x = "x=[[1, 2, 3], [4, 5, 6]]";

  it("prints results as tensors, or their largest classes", () => {
    write("tiny.mdl", TINY);
    write("w.safetensors", weights([2, 3], WEIGHT));
    const plain = run(cpu("scores", "--input", x, "--weights", "w.safetensors"));
    expect(plain).toEqual({ code: 0, err: "", out: "scores: f32[2, 2]\n[[ 1.,  5.],\n [ 4., 11.]]\n" });
    const top = run(cpu("scores", "--input", x, "--weights", "w.safetensors", "--top", "1"));
    expect(top.out).toBe("scores: f32[2, 2]\n  row 0\n    1  5.0000\n  row 1\n    1  11.0000\n");
  });

  it("takes a training step", () => {
    write(
      "fit.mdl",
      `model Fit {
  param w: f32[3] = constant(0.5)
  fn loss(x: f32[N, 3]) -> f32 { mean(x @ w) }
}
train fit for Fit { minimize loss;  with sgd(lr = cosine(1e-2)) }
`,
    );
    const step = (x: string) => run(["run", "fit.mdl", "fit_step", "--input", `x=${x}`, "--device", "cpu"]);
    expect(step("[[1, 2, 3], [4, 5, 6]]").out).toBe("loss: f32 = 5.2500\n");
    const bad = step("[[1e39, 2, 3]]");
    expect([bad.code, bad.err]).toEqual([1, expect.stringContaining("fit: step 0 met an infinity")]);
  });

  it("reads standard input and writes .json, .npy and standard output", () => {
    write("x.npy", formatNpy("f32", [1, 3], Float32Array.of(3, 1, 2)));
    const piped = run(cpu("both", "--input", "x=-", "--output", "-"), { input: readFileSync(path("x.npy")) });
    expect(JSON.parse(piped.out)).toEqual({ low: [1], high: [3] });
    const json = run(cpu("both", "--input", "x=-", "--output", "both.json"), { input: "[[7, 8, 9]]" });
    expect(json.err).toBe("wrote both.json\n");
    expect(JSON.parse(readFileSync(path("both.json"), "utf8"))).toEqual({ low: [7], high: [9] });
    expect(run(cpu("both", "--input", "x=x.npy", "--output", "out.npy")).code).toBe(0);
    expect([...(parseNpy(readFileSync(path("out.high.npy"))).data as Float32Array)]).toEqual([3]);
    expect(existsSync(path("out.low.npy"))).toBe(true);
  });

  it.each([
    ["no entry", ["run", "tiny.mdl", "--device", "cpu"], 2, "which entry of Tiny? scores, both"],
    [
      "an unknown entry",
      ["run", "tiny.mdl", "score", "--device", "cpu"],
      1,
      "Tiny has no entry score; did you mean scores?",
    ],
    [
      "missing inputs",
      ["run", "tiny.mdl", "scores", "--device", "cpu"],
      1,
      "scores needs x: f32[N, 3], which is missing",
    ],
    [
      "a module on the cpu",
      ["run", "build/tiny.js", "scores", "--device", "cpu"],
      2,
      "--device cpu evaluates the graph, and",
    ],
    [
      "an input without a name",
      ["run", "tiny.mdl", "scores", "--input", "x.npy"],
      2,
      "--input takes name=FILE",
    ],
    [
      "an unknown output format",
      ["run", "tiny.mdl", "scores", "--output", "out.xml"],
      2,
      "--output takes a file that ends in .npy, .bin, .json, .csv, .npz, .png, or -, given out.xml",
    ],
    [
      "an unknown device",
      ["run", "tiny.mdl", "scores", "--device", "tpu"],
      2,
      "Allowed choices are auto, gpu, cpu",
    ],
    ["a top of none", ["run", "tiny.mdl", "scores", "--top", "0"], 2, "expected an integer of at least 1"],
    ["a bad seed", ["run", "tiny.mdl", "scores", "--seed", "-1"], 2, "--seed takes an integer"],
  ])("refuses %s", async (_, args, code, message) => {
    write("tiny.mdl", TINY);
    const [command, file, ...more] = args;
    const ran = await here([command, path(file), ...more]);
    expect(ran.err).toContain(message);
    expect(ran.code).toBe(code);
  });
});

it("run refuses files that are no modules", () => {
  write("other.mjs", "export const load = 1;\n");
  expect(run(["run", "gone.js", "f"])).toMatchObject({ code: 1, err: "error: gone.js: no such file\n" });
  const other = run(["run", "other.mjs", "f"]);
  expect([other.code, other.err]).toEqual([1, "error: other.mjs is no module that mdl compile wrote\n"]);
});

describe("the README", () => {
  it("shows a model that compiles, and the error of its mistake", async () => {
    const model = readmeBlock("spiral.mdl");
    write("spiral.mdl", model);
    const compiled = await here(["compile", path("spiral.mdl"), "--entry", "predict", "-o", path("readme")]);
    expect(compiled.code).toBe(0);
    const facts = (text: string): string | undefined =>
      /^ {2}parameters .*$/m.exec(text)?.[0].replace(/ +/g, " ");
    expect(facts(compiled.out)).toBe(facts(projectFile("README.md")));
    write("spiral.mdl", model.replace("Linear(hidden, hidden)", "Linear(2, hidden)"));
    const wrong = run(["check", "spiral.mdl"]);
    expect(wrong.code).toBe(1);
    expect(projectFile("README.md")).toContain(wrong.out);
  });

  it("names commands and files that there are", async () => {
    const readme = projectFile("README.md");
    for (const [, file] of readme.matchAll(/\]\((?!http)([^)#]+)\)/g))
      expect(existsSync(join(projectRoot, file))).toBe(true);
    const scripts = Object.keys((JSON.parse(projectFile("package.json")) as { scripts: object }).scripts);
    for (const [, script] of readme.matchAll(/`npm run (\w+)/g)) expect(scripts).toContain(script);
    const help = (await here(["--help"])).out;
    for (const [, command] of readme.matchAll(/^\| `mdl (\w+)/gm))
      expect(help).toMatch(new RegExp(`^ {2}${command} `, "m"));
  });
});

describe("check", () => {
  it("looks at every file, for people and for tools", () => {
    write("good.mdl", TINY);
    write("bad.mdl", TINY.replace("x @ weight.T", "y @ weight.T"));
    const good = run(["check", "good.mdl", example("resnet20")]);
    expect(good).toEqual({ code: 0, err: "", out: "2 files: no errors\n" });
    const bad = run(["check", "good.mdl", "bad.mdl", "gone.mdl"]);
    expect(bad.code).toBe(1);
    expect(bad.out).toContain("error[E0201]: ");
    expect(bad.out).toContain("gone.mdl: no such file");
    expect(bad.out).toMatch(/3 files: 2 errors\n$/);
    const json = run(["check", "bad.mdl", "gone.mdl", "--json"]);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.out)).toMatchObject([
      { code: "E0201", severity: "error", file: "bad.mdl", line: 4 },
      { code: null, severity: "error", file: "gone.mdl" },
    ]);
  });

  it("follows imports relative to the file", () => {
    mkdirSync(path("deep"), { recursive: true });
    write("deep/part.mdl", "fn twice(x: f32[N]) -> f32[N] { x * 2 }\n");
    write(
      "deep/whole.mdl",
      'import { twice } from "./part.mdl"\nmodel W { fn f(x: f32[N]) -> f32[N] { twice(x) } }\n',
    );
    expect(run(["run", "deep/whole.mdl", "f", "--input", "x=[1, 2]", "--device", "cpu"])).toEqual({
      code: 0,
      err: "",
      out: "f: f32[2]\n[2., 4.]\n",
    });
  });
});
