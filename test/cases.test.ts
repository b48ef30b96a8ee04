// Text cases: what each step of the compiler makes of a graph, before and after (test/support/cases.ts says what they look
// like). `MDL_UPDATE_CASES=1 npx vitest run test/cases.test.ts` writes the expected texts anew: read the difference.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { stages } from "./support/case-stages.ts";
import { allCases, CaseError, type Outcome, runCase, type TextCase } from "./support/cases.ts";
import { projectRoot } from "./support/files.ts";

const update = process.env.MDL_UPDATE_CASES === "1";
const cases = allCases();

for (const [room, steps] of Object.entries(stages)) {
  const own = cases.filter((c) => c.room === room);
  if (own.length === 0) continue;
  const outcomes: Outcome[] = [];
  describe(room, () => {
    it.each(
      own.map(
        (c) =>
          [
            c.file
              .split("/")
              .at(-1)!
              .replace(/\.txt$/, ""),
            c,
          ] as const,
      ),
    )("%s", (_name, c) => {
      const outcome = runCase(c, stages);
      outcomes.push(outcome);
      if (update) writeFileSync(join(projectRoot, c.file), outcome.rewritten);
      else expect(outcome.actual).toBe(outcome.expected);
    });

    // A step without a case in which it does something, or a pass without one in which it must not, is not tested by text.
    it("has cases of every step", () => {
      if (outcomes.length < own.length) return;
      const changing = Object.keys(steps).filter((name) => steps[name].kind !== "text");
      const tested = (unchanged: boolean): Set<string> =>
        new Set(outcomes.filter((o) => o.unchanged === unchanged).map((o) => o.stage));
      // Merging looks at bindings itself: no graph is known from which it leaves something to cut.
      const idle = new Set(["fit-merged"]);
      expect(changing.filter((name) => !tested(false).has(name) && !idle.has(name))).toEqual([]);
      expect(changing.filter((name) => !tested(true).has(name))).toEqual([]);
      const named = new Set(outcomes.map((o) => o.stage));
      expect(Object.keys(steps).filter((name) => !named.has(name))).toEqual([]);
    });
  });
}

it("every folder of cases is a room", () => {
  expect(cases.map((c) => c.room).filter((room) => !(room in stages))).toEqual([]);
});

describe("the runner", () => {
  const graph = `graph f(N) {
  %0: f32[N] = input() {name = "x", dtype = "f32", shape = [N]} "x"
  return y = %0
}`;
  const doubled = graph.replace("return y = %0", "%1: f32[N] = add(%0, %0)\n  return y = %1");
  const rooms = {
    room: {
      same: {
        kind: "graph" as const,
        run: (g: Parameters<(typeof stages)["4-simplify"]["expand"]["run"]>[0]) => g,
      },
      count: { kind: "text" as const, run: (g: { nodes: readonly unknown[] }) => `${g.nodes.length} nodes` },
    },
  };
  const run = (text: string): Outcome =>
    runCase({ room: "room", file: "case", text } satisfies TextCase, rooms);
  const of = (stage: string, after: string, more = ""): string =>
    `# why\nstage: ${stage}\n${more}--- graph\n${doubled}\n--- after\n${after}\n`;

  it("passes what comes out, and nothing else", () => {
    const right = run(of("count", "2 nodes"));
    expect(right.actual).toBe(right.expected);
    const wrong = run(of("count", "3 nodes"));
    expect(wrong.actual).not.toBe(wrong.expected);
    const still = run(of("same", "unchanged"));
    expect(still).toMatchObject({ unchanged: true, expected: still.actual });
    const moved = run(of("same", graph));
    expect(moved.actual).not.toBe(moved.expected);
  });
  it("writes a file that passes", () => {
    const { rewritten } = run(of("count", "what was it"));
    const again = run(rewritten);
    expect(again.actual).toBe(again.expected);
    expect(again.rewritten).toBe(rewritten);
  });
  it("holds the graph before to how graphs print", () => {
    const spaced = run(of("same", "unchanged").replaceAll("%1", "%7"));
    expect(spaced.actual).not.toBe(spaced.expected);
  });
  it("takes the graph of a model's entry", () => {
    const model = "model M {\n  fn f(x: f32[N]) { x }\n  fn g(x: f32[N]) { x + x }\n}";
    const text = (more: string): string =>
      `# why\nstage: count\n${more}--- model\n${model}\n--- after\n2 nodes\n`;
    expect(run(text("entry: g\n")).actual).toContain("after\n2 nodes");
    expect(run(text("")).actual).toContain("after\n1 nodes");
    expect(() => run(text("entry: h\n"))).toThrow(/no entry h/);
  });
  it("says what is wrong with a file", () => {
    expect(() => run("graph f() {\n}")).toThrow(CaseError);
    expect(() => run(of("same", "unchanged").replace("# why\n", ""))).toThrow(/why it is there/);
    expect(() => run(of("rotate", "unchanged"))).toThrow(/no stage rotate in room: there are same, count/);
    expect(() => run(of("same", "unchanged", "target: tpu\n"))).toThrow(/no target tpu/);
    expect(() => run(of("same", "unchanged", "speed: 3\n"))).toThrow(/nothing reads speed/);
    expect(() => run(of("same", "unchanged").replace("add(%0, %0)", "sum(%0)"))).toThrow();
  });
});
