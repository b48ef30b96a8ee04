// `mdl fmt`, `mdl summary`, `mdl doc`, `mdl completion` and `--watch`: what a person meets.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decodePng, encodePng } from "../../runtime/data/node/pictures/png.ts";
import { example, testCli } from "../support/cli.ts";

const { folder, run, main } = testCli();
const path = (name: string): string => join(folder, name);
const write = (name: string, text: string): string => {
  writeFileSync(path(name), text);
  return name;
};

const UGLY = "model  M{fn f(x:f32[N]){x|>relu // at least 0\n}}";
const LAID = "model M {\n  fn f(x: f32[N]) {\n    x |> relu  // at least 0\n  }\n}\n";

describe("fmt", () => {
  it("lays files out, those of folders too, and names what it changed", () => {
    mkdirSync(path("models/deep"), { recursive: true });
    mkdirSync(path("models/node_modules"));
    write("models/a.mdl", UGLY);
    write("models/deep/b.mdl", LAID);
    write("models/node_modules/c.mdl", UGLY);
    const check = run(["fmt", "models", "--check"]);
    expect([check.code, check.out]).toEqual([1, "models/a.mdl\n2 files: 1 not laid out\n"]);
    expect(readFileSync(path("models/a.mdl"), "utf8")).toBe(UGLY);
    const done = run(["fmt", "models"]);
    expect([done.code, done.out]).toEqual([0, "models/a.mdl\n2 files: 1 changed\n"]);
    expect(readFileSync(path("models/a.mdl"), "utf8")).toBe(LAID);
    expect(readFileSync(path("models/node_modules/c.mdl"), "utf8")).toBe(UGLY);
    expect(run(["fmt", "models", "--check"]).code).toBe(0);
    expect(readdirSync(path("models")).sort()).toEqual(["a.mdl", "deep", "node_modules"]);
  });

  it("writes nothing where one of the files has errors", () => {
    write("good.mdl", UGLY);
    write("bad.mdl", "model M { fn f(x: f32[N] { x } }");
    const { code, err } = run(["fmt", "good.mdl", "bad.mdl", "nowhere.mdl"]);
    expect(code).toBe(1);
    expect(err).toContain("error[E0105]");
    expect(err).toContain("bad.mdl:1");
    expect(err).toContain("nowhere.mdl: no such file");
    expect(readFileSync(path("good.mdl"), "utf8")).toBe(UGLY);
  });

  it("is a filter for editors", () => {
    const laid = run(["fmt", "--stdin"], { input: UGLY });
    expect([laid.code, laid.out]).toEqual([0, LAID]);
    const bad = run(["fmt", "--stdin", "net.mdl"], { input: "model {" });
    expect([bad.code, bad.out]).toEqual([1, ""]);
    expect(bad.err).toContain("net.mdl:1");
    expect(run(["fmt", "--stdin", "--check"], { input: UGLY }).code).toBe(1);
  });
});

describe("summary", () => {
  it("says what a model's layers are", () => {
    const { code, out } = run(["summary", example("resnet18"), "logits", "--size", "N=2"]);
    expect(code).toBe(0);
    expect(out).toMatch(/^ResNet18 logits at N = 2\n/);
    // torchinfo's figures for torchvision's resnet18: 11,689,512 parameters, 1.81 G multiply-adds an image.
    expect(out).toMatch(/^ +ResNet18 +f32\[2, 1000\] +11,689,512 +3\.63 G$/m);
    expect(out).toMatch(/^ +conv1 +Conv2d +f32\[2, 64, 112, 112\] +9,408 +236 M$/m);
    expect(out).toMatch(/^ +layer2\.0 +BasicBlock +f32\[2, 128, 28, 28\] +230,144/m);
    expect(out).toMatch(/^ {6}downsample\.0 +Conv2d +f32\[2, 128, 28, 28\]/m);
    expect(out).toMatch(/trainable +11,689,512/);
    const short = run(["summary", example("resnet18"), "logits", "--depth", "1"]).out;
    expect(short).toContain("layer1.1");
    expect(short).not.toContain("bn2");
  });

  it("is JSON for tools, of training steps and loops too", () => {
    const { code, out } = run([
      "summary",
      example("lstm"),
      "fit_step",
      "--size",
      "B=4",
      "--size",
      "T=10",
      "--json",
    ]);
    expect(code).toBe(0);
    const s = JSON.parse(out);
    // What paths call by no word of its own (a level of the LSTM) is a part of what holds it.
    expect(s.layers.map((l: { path: string }) => l.path)).toEqual(["", "embed", "lstm", "lstm.drop", "head"]);
    const lstm = s.layers.find((l: { path: string }) => l.path === "lstm");
    // Both products of each of ten steps: 4 rows by (64 + 128) by 512.
    expect(lstm).toMatchObject({
      layer: "LSTM",
      parameters: 4 * 128 * (64 + 128 + 2),
      macs: 10 * 4 * 192 * 512,
    });
    expect(s).toMatchObject({ entry: "fit_step", training: true, frozen: 0, sizes: { B: 4, T: 10 } });
    expect(s.activationBytes).toBeGreaterThan(0);
    expect(s.stateBytes).toBeGreaterThan(2 * s.parameterBytes);
    expect(run(["summary", example("lstm"), "logits", "--size", "X=4"]).code).toBe(1);
    expect(run(["summary", example("lstm"), "logit"]).err).toContain("did you mean logits?");
  });
});

describe("compile --watch", () => {
  const NET = 'import { two } from "./lib.mdl"\nmodel Net { fn f(x: f32[N]) { two(x) } }\n';
  const LIB = (k: number): string => `fn two(x: f32[N]) -> f32[N] { ${k} * x }\n`;

  it("compiles again when an import changes, keeps what it has through an error, and ends with Ctrl-C", async () => {
    mkdirSync(path("watched"));
    write("watched/net.mdl", NET);
    write("watched/lib.mdl", LIB(2));
    const child = spawn(
      process.execPath,
      [main(), "compile", "net.mdl", "-o", "out", "--watch", "--target", "gpu"],
      {
        cwd: path("watched"),
      },
    );
    let said = "";
    child.stdout.on("data", (d) => (said += d));
    child.stderr.on("data", (d) => (said += d));
    const until = async (what: RegExp, from: number): Promise<number> => {
      for (let i = 0; i < 600; i++) {
        const found = said.slice(from).match(what);
        if (found?.index !== undefined) return from + found.index + found[0].length;
        await new Promise((r) => setTimeout(r, 50));
      }
      throw new Error(`no ${what} in ${said}`);
    };
    try {
      let at = await until(/watching 2 files; Ctrl-C ends\n/, 0);
      const module = (): string => readFileSync(path("watched/out/net.js"), "utf8");
      const first = module();
      write("watched/lib.mdl", LIB(3));
      at = await until(/wrote[\s\S]*watching/, at);
      const second = module();
      expect(second).not.toBe(first);
      write("watched/lib.mdl", "fn two(x: f32[N]) -> f32[N] { nowhere(x) }\n");
      at = await until(/there is no nowhere here[\s\S]*watching/, at);
      expect(module()).toBe(second);
      write("watched/lib.mdl", LIB(2));
      await until(/wrote[\s\S]*watching/, at);
      expect(module()).toBe(first);
      const ended = new Promise((done) => child.on("exit", (code, signal) => done([code, signal])));
      child.kill("SIGINT");
      expect(await ended).toEqual([0, null]);
      expect(existsSync(path("watched/out/net.d.ts"))).toBe(true);
    } finally {
      child.kill("SIGKILL");
    }
  });
});

describe("doc", () => {
  it("says what doc comments say, of the library and of sources", () => {
    const list = run(["doc"]);
    expect(list.out).toMatch(/^std\/nn {2}The layers of everyday models/m);
    expect(list.out).toMatch(/^ {2}LayerNorm +[A-Z]/m);
    const one = run(["doc", "RMSNorm"]).out;
    expect(one).toMatch(/^layer RMSNorm\(/);
    expect(one).toMatch(/^ {2}param weight: f32/m);
    expect(run(["doc", "kaiming_uniform"]).out).toMatch(
      /^initialiser kaiming_uniform\(a = 0, mode = "fan_in"/,
    );
    expect(run(["doc", "std/nn", "LayerNrm"]).err).toContain("did you mean LayerNorm?");
    write(
      "own.mdl",
      [
        "/// A file of one's own,",
        "/// over two lines.",
        "",
        "// ------- parts",
        "",
        "/// A layer.",
        "///",
        "///   as code",
        "layer A(d: int = 3) {",
        "  /// What it weighs.",
        "  param w: f32[d] = ones() if d > 2",
        "  private fn hidden(x: f32[d]) { x }",
        "  fn forward(x: f32[d]) -> f32[d] { hidden(x) * w }",
        "}",
        "k = 2 ** 3",
      ].join("\n"),
    );
    expect(run(["doc", "own.mdl", "--markdown"]).out).toBe(
      [
        "# own.mdl",
        "A file of one's own, over two lines.",
        "## Parts",
        "**layer `A(d: int = 3)`**",
        "A layer.",
        "```text\n  as code\n```",
        "- param `w: f32[d] = ones() if d > 2`: What it weighs.\n- fn `forward(x: f32[d]) -> f32[d]`",
        "**constant `k = 2 ** 3`**\n",
      ].join("\n\n"),
    );
    expect(run(["doc", "own.mdl", "A"]).out).toContain(
      "param w: f32[d] = ones() if d > 2\n      What it weighs.",
    );
    expect(run(["doc", "nowhere.mdl"]).err).toContain("nowhere.mdl: no such file");
    write("broken.mdl", "layer {");
    expect(run(["doc", "broken.mdl"]).code).toBe(1);
  });
});

describe("completion", () => {
  it("knows commands, options and choices in bash", () => {
    const script = run(["completion", "bash"]).out;
    const completes = (...words: string[]): string[] => {
      const bash = spawnSync(
        "bash",
        [
          "-c",
          `${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mdl; printf '%s\\n' "\${COMPREPLY[@]}"`,
          "x",
          "mdl",
          ...words,
        ],
        { encoding: "utf8", cwd: folder },
      );
      expect(bash.stderr).toBe("");
      return bash.stdout.split("\n").filter(Boolean);
    };
    expect(completes("co")).toEqual(["compile", "completion"]);
    expect(completes("run", "--in")).toEqual(["--input"]);
    expect(completes("compile", "x.mdl", "--precision", "f")).toEqual(["f32", "f16-weights", "f16"]);
    expect(completes("completion", "")).toEqual(["bash", "zsh", "fish"]);
    // As bash takes --precision=f apart.
    expect(completes("compile", "--precision", "=", "f16")).toEqual(["f16-weights", "f16"]);
    write("some_model.mdl", "");
    write("some model.mdl", "");
    expect(completes("check", "some_m")).toEqual(["some_model.mdl"]);
    expect(completes("check", "some").sort()).toEqual(["some model.mdl", "some_model.mdl"]);
  });

  const asked: readonly (readonly [line: string, offered: readonly string[]])[] = [
    ["mdl co", ["compile", "completion"]],
    ["mdl run --in", ["--input"]],
    ["mdl compile x.mdl --precision f", ["f16", "f16-weights", "f32"]],
    ["mdl completion ", ["bash", "fish", "zsh"]],
    ["mdl check whole", ["whole_model.mdl"]],
  ];
  const scriptOf = (shell: string): string => {
    const { code, out } = run(["completion", shell]);
    expect(code).toBe(0);
    for (const word of ["compile", "precision", "f16-weights"]) expect(out).toContain(word);
    write("whole_model.mdl", "");
    write(`completion.${shell}`, out);
    return path(`completion.${shell}`);
  };

  it("offers in fish what it should", (context) => {
    const script = scriptOf("fish");
    for (const [line, offered] of asked) {
      const fish = spawnSync("fish", ["--no-config", "-c", `source ${script}; complete -C '${line}'`], {
        encoding: "utf8",
        cwd: folder,
      });
      if (fish.error) return context.skip("no fish here");
      expect(fish.stderr).toBe("");
      const words = fish.stdout.split("\n").map((l) => l.split("\t")[0]);
      expect([line, words.filter(Boolean).sort()]).toEqual([line, offered]);
    }
  });

  it("offers in zsh what it should", (context) => {
    const script = scriptOf("zsh");
    // A shell in a terminal of its own, where a tab is pressed; what would be listed goes to a file.
    const session = `
      zmodload zsh/zpty
      zpty z zsh -f -i
      zpty -w z "autoload -Uz compinit; compinit -u -D; source ${script}"
      zpty -w z 'compadd() { local -a m; if [[ " $* " != *" -"[OAD]" "* ]]; then builtin compadd -A m "$@"; print -rl -- $m >> offered; fi; builtin compadd "$@" }'
      zpty -w -n z "$1"$'\\t'
      for (( i = 0; i < 200; i++ )) { [[ -s offered ]] && break; sleep 0.05 }
      zpty -d z`;
    for (const [line, offered] of asked) {
      rmSync(path("offered"), { force: true });
      const zsh = spawnSync("zsh", ["-f", "-c", session, "zsh", line], { encoding: "utf8", cwd: folder });
      if (zsh.error) return context.skip("no zsh here");
      const words = existsSync(path("offered")) ? readFileSync(path("offered"), "utf8").split("\n") : [];
      expect([line, words.filter(Boolean).sort()]).toEqual([line, offered]);
    }
  }, 60_000);
});

describe("run with pictures and archives", () => {
  it("takes a picture, scales and normalises it, and gives pictures and archives back", () => {
    write(
      "pictures.mdl",
      "model M {\n  fn invert(x: f32[N, 3, 4, 6]) -> (y: f32[N, 3, 4, 6], m: f32[N, 3]) {\n    (y = 1 - x, m = mean(x, axes = [2, 3]))\n  }\n}\n",
    );
    writeFileSync(
      path("red.png"),
      encodePng(
        12,
        8,
        3,
        Uint8Array.from({ length: 288 }, (_, i) => (i % 3 ? 51 : 255)),
      ),
    );
    const args = ["run", "pictures.mdl", "invert", "--device", "cpu", "--input", "x=red.png"];
    const refused = run(args);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("--resize scales it")]);
    const done = run([
      ...args,
      "--resize",
      "--output",
      "y=out.png",
      "--output",
      "all.npz",
      "--output",
      "m=-",
    ]);
    expect([done.code, JSON.parse(done.out)]).toEqual([0, [[1, 0.2, 0.2]]]);
    expect(done.err).toContain("wrote out.png");
    const out = decodePng(readFileSync(path("out.png")));
    expect([out.width, out.height, ...out.data.subarray(0, 3)]).toEqual([6, 4, 0, 204, 204]);
    // What was written is read again.
    const again = run([
      "run",
      "pictures.mdl",
      "invert",
      "--device",
      "cpu",
      "--input",
      "x=all.npz:y",
      "--output",
      "m=-",
    ]);
    expect(JSON.parse(again.out)[0][0]).toBeCloseTo(0, 6);
    const normal = run([
      ...args,
      "--resize",
      "crop",
      "--mean",
      "0.5,0.2,0",
      "--std",
      "0.5",
      "--output",
      "m=-",
    ]);
    expect(JSON.parse(normal.out)).toEqual([[1, 0, 0.4]]);
    const wrong = run([...args, "--resize", "--mean", "1,2", "--output", "m=-"]);
    expect([wrong.code, wrong.err]).toEqual([
      1,
      expect.stringContaining("red.png has 3 channels here, and --mean 2 numbers"),
    ]);
    expect(run([...args, "--resize", "round"]).code).toBe(2);
    expect(run([...args, "--std", "0"]).err).toContain("--std divides, and 0 cannot");
  });
});
