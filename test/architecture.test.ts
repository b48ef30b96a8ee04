// The walls of the house: who may import whom, and that nobody imports in a circle. Read from the sources, as they are.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { allOps, exposedOps } from "../compiler/core/ops/index.ts";
import { projectRoot } from "./support/files.ts";

interface Import {
  readonly from: string;
  /** A path in the repository, or a package. */
  readonly to: string;
  /** Erased: types only. */
  readonly type: boolean;
}
const files = (folder: string): string[] =>
  readdirSync(join(projectRoot, folder), { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile() && f.name.endsWith(".ts"))
    .map((f) => relative(projectRoot, join(f.parentPath ?? f.path, f.name)))
    .sort();
const textOf = (file: string): string => readFileSync(join(projectRoot, file), "utf8");
/** The code without comments and without what templates hold. A regular expression with a quote would confuse this. */
const codeOf = (file: string): string =>
  textOf(file).replace(
    /("(?:[^"\\\n]|\\.)*")|(`(?:[^`\\]|\\[\s\S])*`)|\/\/[^\n]*|\/\*[\s\S]*?\*\//g,
    (_m, string: string | undefined, template: string | undefined) => string ?? (template ? "``" : ""),
  );
/** Names a file uses, but for those of members, in strings and in comments. */
function namesIn(file: string): Set<string> {
  const code = codeOf(file).replace(/"(?:[^"\\\n]|\\.)*"/g, '""');
  return new Set([...code.matchAll(/(?<![.\w$])[A-Za-z_$][\w$]*(?!\??:|\w)/g)].map(([name]) => name));
}

function importsOf(file: string): Import[] {
  // Imports come first: what follows may be a template that holds a program of its own.
  const code = textOf(file);
  const end = code.search(/^(?:export )?(?:const|let|(?:async )?function|class|interface|type \w+ =)/m);
  const text = end < 0 ? code : code.slice(0, end);
  const out: Import[] = [];
  const statement =
    /^(?:import|export)\s+(type\s+)?(?:(\{[^}]*\}|\*(?:\s+as\s+\w+)?|\w+(?:\s*,\s*\{[^}]*\})?)\s+from\s+)?"([^"\n]+)"/gm;
  for (const [, type, names, to] of text.matchAll(statement)) {
    const listed = (/^\{([^}]*)\}$/.exec(names ?? "")?.[1] ?? "")
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean);
    const onlyTypes = listed.length > 0 && listed.every((part) => part.startsWith("type "));
    out.push({ from: file, to: resolve(file, to), type: type !== undefined || onlyTypes });
  }
  for (const [, to] of codeOf(file).matchAll(/\bimport\(\s*"([^"]+)"/g))
    out.push({ from: file, to: resolve(file, to), type: false });
  return out;
}
const resolve = (file: string, to: string): string => (to.startsWith(".") ? join(dirname(file), to) : to);

const compiler = files("compiler/core");
const runtime = files("runtime/core");
const everything = [...files("compiler"), ...files("runtime")];
const imports = everything.flatMap(importsOf);
const inside = (list: readonly string[]): Import[] => imports.filter((i) => list.includes(i.from));
const show = (list: readonly Import[]): string[] => list.map((i) => `${i.from} -> ${i.to}`);

describe("imports", () => {
  it("were all found, and end in files that are there", () => {
    expect(imports.length).toBeGreaterThan(300);
    const local = imports.filter((i) => i.to.startsWith("compiler/") || i.to.startsWith("runtime/"));
    expect(
      show(local.filter((i) => !existsSync(join(projectRoot, i.to)) && !i.to.includes("/generated/"))),
    ).toEqual([]);
    const relativeOnes = imports.filter((i) => !i.to.includes("/generated/") && /^\.|^\//.test(i.to));
    expect(show(relativeOnes)).toEqual([]);
  });
  it("of values make no circle", () => {
    const next = new Map<string, string[]>();
    for (const i of imports) if (!i.type) next.set(i.from, [...(next.get(i.from) ?? []), i.to]);
    const state = new Map<string, "open" | "done">();
    const circles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === "done") return;
      if (state.get(file) === "open") {
        circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
        return;
      }
      state.set(file, "open");
      for (const to of next.get(file) ?? []) visit(to, [...path, file]);
      state.set(file, "done");
    };
    for (const file of everything) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe("compiler/core", () => {
  it("imports nothing of Node, no host and no package but the parser's", () => {
    const own = (to: string): boolean => to.startsWith("compiler/core/") || to.startsWith("runtime/core/");
    const outside = inside(compiler).filter((i) => !own(i.to));
    expect([...new Set(outside.map((i) => i.to))]).toEqual(["chevrotain"]);
    expect(show(outside.filter((i) => !i.from.startsWith("compiler/core/phases/1-parse/")))).toEqual([]);
  });
  it("takes from the runtime the program's format, and what must be the same on both sides", () => {
    const taken = inside(compiler).filter((i) => i.to.startsWith("runtime/"));
    const allowed = new Set(
      ["arena", "program", "threefry", "unfold"].map((name) => `runtime/core/${name}.ts`),
    );
    expect(show(taken.filter((i) => !allowed.has(i.to)))).toEqual([]);
  });
  it("touches no GPU, no file and no process", () => {
    const forbidden = /^(navigator|GPU[A-Z]\w*|process|Buffer|document|__dirname|fetch)$/;
    const found = compiler.flatMap((f) =>
      [...namesIn(f)].filter((n) => forbidden.test(n)).map((n) => `${f}: ${n}`),
    );
    expect(found).toEqual([]);
  });
  it("goes one way: a phase takes from earlier phases only", () => {
    const phase = (f: string): number | undefined => {
      const m = /^compiler\/core\/phases\/(\d)-/.exec(f);
      return m ? Number(m[1]) : undefined;
    };
    const backwards = inside(compiler).filter((i) => {
      const [a, b] = [phase(i.from), phase(i.to)];
      return a !== undefined && b !== undefined && b > a;
    });
    expect(show(backwards)).toEqual([]);
    // And of these the types of what it is handed: the line calls the phases, they do not call each other.
    const calls = inside(compiler).filter((i) => {
      const [a, b] = [phase(i.from), phase(i.to)];
      return a !== undefined && b !== undefined && a !== b && !i.type;
    });
    expect(show(calls)).toEqual([]);
    // A plan orders and places launches, whatever was fused and scheduled how: not even types of those phases.
    const planned = inside(compiler).filter(
      (i) => phase(i.from) === 8 && [4, 5, 6, 7].includes(phase(i.to) ?? 0),
    );
    expect(show(planned)).toEqual([]);
    // What phases share (sizes, graphs, operators, kernels) knows no phase.
    const shared = inside(compiler).filter(
      (i) =>
        /^compiler\/core\/((dims|ir|ops|kernel|backends|autodiff|regions|diagnostics|reference|syntax)\/|model\.ts)/.test(
          i.from,
        ) && phase(i.to) !== undefined,
    );
    expect(show(shared)).toEqual([]);
    // Syntax ends at the checker, and so does the checker: what it hands on is the model. It is handed its parser.
    const source = inside(compiler).filter(
      (i) => (phase(i.from) ?? 0) >= 2 && phase(i.from) !== phase(i.to) && (phase(i.to) ?? 9) <= 2,
    );
    expect(show(source)).toEqual([]);
    const syntax = inside(compiler).filter(
      (i) => i.to.startsWith("compiler/core/syntax/") && (phase(i.from) ?? 0) > 2,
    );
    expect(show(syntax)).toEqual([]);
  });
  it("checks in rooms that stand in a row: what evaluates is handed down, not imported", () => {
    const rooms = ["names", "values", "instances", "tensors", "interpret", "entries"];
    const room = (f: string): number => {
      const at = /^compiler\/core\/phases\/2-check\/(?:(\w+)\/)?/.exec(f);
      return at ? (at[1] === undefined ? rooms.length : rooms.indexOf(at[1])) : -1;
    };
    const own = compiler.filter((f) => f.startsWith("compiler/core/phases/2-check/"));
    expect(own.filter((f) => room(f) < 0)).toEqual([]);
    expect(show(inside(own).filter((i) => room(i.to) > room(i.from)))).toEqual([]);
  });
  it("keeps its layers: sizes below graphs, graphs below operators and kernels", () => {
    const layer = (f: string): number => {
      const folder = /^compiler\/core\/(\w+)\//.exec(f)?.[1] ?? "";
      const layers = [
        "diagnostics",
        "syntax",
        "dims",
        "ir",
        "kernel",
        "backends",
        "ops",
        "autodiff",
        "regions",
        "reference",
        "phases",
      ];
      const at = layers.indexOf(folder);
      return at < 0 ? 9 : at;
    };
    const upwards = inside(compiler).filter(
      (i) =>
        i.to.startsWith("compiler/core/") &&
        !i.type &&
        layer(i.to) > layer(i.from) &&
        layer(i.from) < 9 &&
        layer(i.to) < 9,
    );
    expect(show(upwards)).toEqual([]);
  });
  it("knows a language of devices in its backend alone", () => {
    const foreign = compiler.filter(
      (f) =>
        !/^compiler\/core\/(backends|generated|syntax|phases\/[12]-)/.test(f) &&
        f !== "compiler/core/targets.ts",
    );
    const words =
      /\b[wW](gsl|GSL)\b|vec[234]<|\bsubgroup(Add|Mul|Max|Min|Broadcast)|workgroupBarrier|var<|@(compute|group|binding)\b/;
    const found = foreign.flatMap((f) =>
      textOf(f)
        .split("\n")
        .filter((line) => words.test(line.replace(/(^|\s)(\/\/|\/?\*).*/, "")))
        .map((line) => `${f}: ${line.trim()}`),
    );
    // The name of a stage is the host's word.
    expect(found.filter((line) => !line.startsWith("compiler/core/stages.ts"))).toEqual([]);
    // What lies between graph and text asks the target for its backend.
    const asked = inside(compiler).filter(
      (i) => i.to.startsWith("compiler/core/backends/wgsl/") && !i.from.startsWith("compiler/core/backends/"),
    );
    expect(show(asked)).toEqual(["compiler/core/targets.ts -> compiler/core/backends/wgsl/wgsl.ts"]);
  });
  it("switches on no operator's name: a pass that names one says so here", () => {
    const named = new Map<string, Set<string>>();
    for (const f of compiler.filter((x) => /phases\/[4-8]-/.test(x)))
      for (const [, name] of textOf(f).matchAll(/op\.name\s*[!=]==?\s*"(\w+)"/g)) {
        const set = named.get(f) ?? new Set<string>();
        named.set(f, set.add(name));
      }
    const sources = new Set(["param", "constant", "state", "seed", "hyper", "input", "full"]);
    const computing = [...named].flatMap(([f, names]) =>
      [...names].filter((n) => !sources.has(n)).map((n) => `${f.split("/").at(-1)}: ${n}`),
    );
    // Rewrites and lookups that are about one operator; fusion and schedules name none.
    expect(computing.filter((c) => !/^(scales|share|split|sums)\.ts/.test(c))).toEqual([]);
  });
});

describe("compiler/cli", () => {
  it("is a host like any other: of the compiler it imports the library", () => {
    const own = files("compiler/cli");
    const reach = inside(own).filter(
      (i) => i.to.startsWith("compiler/core/") && i.to !== "compiler/core/index.ts",
    );
    expect(show(reach)).toEqual([]);
  });
});

describe("runtime/core", () => {
  it("imports nothing from outside, but for WebGPU's package at run time", () => {
    const outside = inside(runtime).filter((i) => !i.to.startsWith("runtime/core/"));
    expect(
      [...new Set(outside.map((i) => i.to))].filter((to) => to !== "webgpu" && !to.startsWith("node:")),
    ).toEqual([]);
    // Node's own modules are only asked for where Node runs.
    expect(
      show(outside.filter((i) => i.to.startsWith("node:") && !i.type && !/import\(/.test(textOf(i.from)))),
    ).toEqual([]);
  });
  it("is not told about its hosts", () => {
    expect(
      show(
        inside(runtime).filter(
          (i) => i.to.startsWith("compiler/") || /^runtime\/(?:node|generate|data)\//.test(i.to),
        ),
      ),
    ).toEqual([]);
  });
});

describe("runtime/data", () => {
  const all = files("runtime/data");
  it("imports the runtime's core and nothing of the compiler; what is not in its folder node runs in a browser", () => {
    const outside = inside(all).filter((i) => !/^runtime\/(?:data|core)\//.test(i.to));
    expect(show(outside.filter((i) => !i.to.startsWith("node:")))).toEqual([]);
    const anywhere = all.filter((f) => !f.startsWith("runtime/data/node/"));
    expect(
      show(inside(anywhere).filter((i) => i.to.startsWith("node:") || i.to.startsWith("runtime/data/node/"))),
    ).toEqual([]);
  });
});

describe("operators", () => {
  it("that a program can call have examples and a word about themselves", () => {
    expect(
      exposedOps
        .filter((o) => o.examples.length === 0 && o.params.some((p) => p.kind.startsWith("tensor")))
        .map((o) => o.name),
    ).toEqual([]);
    expect(allOps.filter((o) => o.doc.trim().length < 3).map((o) => o.name)).toEqual([]);
  });
  it("have a meaning: a reference or a definition; and a way to kernels", () => {
    const meaning = allOps.filter((o) => o.fuses !== "source" && o.fuses !== "control" && o.name !== "pick");
    expect(meaning.filter((o) => !o.reference && !o.expand).map((o) => o.name)).toEqual([]);
    expect(
      meaning
        .filter((o) => (o.fuses === "map" || o.fuses === "fold" || o.fuses === "view") && !o.lower)
        .map((o) => o.name),
    ).toEqual([]);
    // What layouts make for a family is behind the definitions.
    const made = new Set(["winograd_filter"]);
    const whole = meaning.filter(
      (o) => (o.fuses === "composite" || o.fuses === "algorithm") && !made.has(o.name),
    );
    expect(whole.filter((o) => !o.expand).map((o) => o.name)).toEqual([]);
  });
  it("have a gradient, or say why not", () => {
    const silent = allOps
      .filter((o) => o.fuses !== "source" && !o.vjp && !o.noGrad && !o.expand)
      .map((o) => o.name);
    expect(silent).toEqual([]);
  });
  it("are defined in one file per family", () => {
    const lists = readFileSync(join(projectRoot, "compiler/core/ops/index.ts"), "utf8");
    for (const f of files("compiler/core/ops").filter((x) => /examples: \[/.test(textOf(x))))
      expect(lists, f).toContain(`./${f.split("/").at(-1)}`);
  });
});
