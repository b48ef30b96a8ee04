// The walls of the house (docs/architecture.md, "The rooms"): who may import whom. Read from the sources' import lines, so
// that a type-only import counts for the walls; for cycles only what is there at run time does.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}
const files = ["compiler", "runtime"].flatMap((top) =>
  readdirSync(join(root, top), { recursive: true })
    .map((f) => posix.join(top, String(f).replaceAll("\\", "/")))
    .filter((f) => f.endsWith(".ts") && !f.includes("/generated/") && !f.endsWith(".test.ts")),
);
const textOf = (file: string): string => readFileSync(join(root, file), "utf8");
/** Every import and re-export; what is ours by its path from the top, packages and `node:` as they are written. */
const imports: readonly Import[] = files.flatMap((from) =>
  [
    ...textOf(from).matchAll(
      /^(?:import|export)\b(?:(?!;$|^import|^export)[\s\S])*?from "([^"]+)"|\bimport\("([^"]+)"\)/gm,
    ),
  ].map((m) => {
    const name = m[1] ?? m[2];
    const names = /\{([\s\S]*)\}/.exec(m[0])?.[1];
    const typeOnly =
      /^(?:import|export) type\b/.test(m[0]) ||
      (names !== undefined &&
        /^(?:import|export) \{/.test(m[0]) &&
        names.split(",").every((n) => n.trim() === "" || n.trim().startsWith("type ")));
    return { from, to: name.startsWith(".") ? posix.join(dirname(from), name) : name, typeOnly };
  }),
);
/** Of the text of a module, which stands in a template. */
const quoted = (i: Import): boolean =>
  i.to === "mdl/runtime" && i.from === "compiler/core/phases/8-emit/module.ts";
const said = (list: readonly Import[]): string[] => list.map((i) => `${i.from} imports ${i.to}`);
const within = (file: string, folder: string): boolean => file.startsWith(`${folder}/`);
const ours = (i: Import): boolean => within(i.to, "compiler") || within(i.to, "runtime");

describe("walls", () => {
  it("are checked on real imports", () => {
    expect(imports.length).toBeGreaterThan(400);
    expect(said(imports)).toContain("compiler/core/pipeline.ts imports compiler/core/ir/verify.ts");
    expect(imports.filter((i) => ours(i) && !i.to.includes("/generated/") && !files.includes(i.to))).toEqual(
      [],
    );
  });

  it("compiler/core knows no host: no node:, no package but chevrotain, which 1-parse alone knows", () => {
    const foreign = imports.filter((i) => within(i.from, "compiler/core") && !ours(i) && !quoted(i));
    expect(
      said(foreign.filter((i) => !(i.to === "chevrotain" && within(i.from, "compiler/core/phases/1-parse")))),
    ).toEqual([]);
    const touching = files.filter(
      (f) => within(f, "compiler/core") && /\bprocess\.|navigator\.gpu/.test(textOf(f)),
    );
    expect(touching).toEqual([]);
  });

  it("compiler/core takes of the runtime the program format and the random bits only", () => {
    const taken = new Set(
      imports.filter((i) => within(i.from, "compiler/core") && within(i.to, "runtime")).map((i) => i.to),
    );
    expect([...taken].sort()).toEqual(["runtime/core/program.ts", "runtime/core/threefry.ts"]);
  });

  it("runtime/core imports nothing but itself", () => {
    expect(
      said(imports.filter((i) => within(i.from, "runtime/core") && !within(i.to, "runtime/core"))),
    ).toEqual([]);
  });

  it("runtime/node imports runtime/core and Node, and nobody imports the hosts", () => {
    const allowed = (i: Import): boolean => within(i.to, "runtime") || i.to.startsWith("node:");
    expect(said(imports.filter((i) => within(i.from, "runtime/node") && !allowed(i)))).toEqual([]);
    const host = imports.filter((i) => within(i.to, "compiler/cli") && !within(i.from, "compiler/cli"));
    expect(said(host)).toEqual([]);
  });
});

describe("phases", () => {
  const phaseOf = (file: string): number => Number(/^compiler\/core\/phases\/(\d)-/.exec(file)?.[1] ?? 0);

  it("import earlier phases only; `grad` in the language needs the gradient driver", () => {
    const forwards = imports.filter((i) => phaseOf(i.from) > 0 && phaseOf(i.to) > phaseOf(i.from));
    expect(said(forwards)).toEqual([
      "compiler/core/phases/2-check/gradient.ts imports compiler/core/phases/3-grad/backward.ts",
    ]);
  });

  it("are imported by no vocabulary", () => {
    const vocabulary = ["diagnostics", "dims", "ir", "ops", "kernel"].map((d) => `compiler/core/${d}`);
    expect(
      said(imports.filter((i) => vocabulary.some((v) => within(i.from, v)) && phaseOf(i.to) > 0)),
    ).toEqual([]);
  });

  it("leave the reference alone, which shares nothing with lowering, fusion and kernels", () => {
    const judge = imports.filter((i) => within(i.from, "compiler/core/reference"));
    const shared = judge.filter(
      (i) => !i.typeOnly && (phaseOf(i.to) > 0 || within(i.to, "compiler/core/kernel")),
    );
    expect(said(shared)).toEqual([]);
  });
});

describe("cycles", () => {
  // The checker is an interpreter in several files: expressions call calls, calls call expressions.
  const INTERPRETER = "compiler/core/phases/2-check";

  it("are none among imports that are there at run time, but for the interpreter's own", () => {
    const next = new Map<string, string[]>();
    for (const i of imports)
      if (!i.typeOnly && ours(i)) next.set(i.from, [...(next.get(i.from) ?? []), i.to]);
    /** The shortest way from a file back to itself. */
    const cycleOf = (file: string): string[] | undefined => {
      const cameFrom = new Map<string, string>();
      const queue = [file];
      for (const at of queue)
        for (const to of next.get(at) ?? []) {
          if (cameFrom.has(to)) continue;
          cameFrom.set(to, at);
          if (to === file) {
            const way = [file];
            do way.unshift(cameFrom.get(way[0]) as string);
            while (way[0] !== file);
            return way;
          }
          queue.push(to);
        }
      return undefined;
    };
    const found = files.filter((f) => !within(f, INTERPRETER)).flatMap((f) => cycleOf(f)?.join(" -> ") ?? []);
    expect(found).toEqual([]);
    // The way is looked for as it should be: the interpreter has such cycles.
    expect(cycleOf(`${INTERPRETER}/expr.ts`)?.length).toBeGreaterThan(2);
  });
});

describe("files", () => {
  it("say at their beginning what they are", () => {
    const silent = files.filter((f) => !/^(?:#!.*\n)?(?:\/\/|\/\*\*)/.test(textOf(f)));
    expect(silent).toEqual([]);
  });
});
