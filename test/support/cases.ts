// Before/after cases as text: a graph, what a step of the compiler is asked to do, and what comes out. In: files of
// test/cases/ROOM (the rooms are the folders of compiler/core/phases). Out: whether the text is what the step gives, or the
// file written anew. What steps there are is in case-stages.ts; docs/architecture.md says how to add a case.
//
//   # Why the case is there.
//   stage: fold-scales
//   inference: true
//   --- graph
//   graph f(N) {
//     …
//   }
//   --- after
//   unchanged
//
// Instead of a graph there may be a model (`--- model`): the graph is then that of its entry, the first or the one named
// (`entry: loss`). `before: merge-scans, expand` runs other steps of the room first. `unchanged` is said where a step
// leaves things as they were: a case in which it must not fire.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseGraph } from "../../compiler/core/ir/parse.ts";
import { printGraph } from "../../compiler/core/ir/print.ts";
import type { Graph } from "../../compiler/core/ir/types.ts";
import { verify } from "../../compiler/core/ir/verify.ts";
import { opNamed } from "../../compiler/core/ops/index.ts";
import { gpuMatrix, targets as kinds, type Target, withPrecision } from "../../compiler/core/targets.ts";
import { modelOf } from "./check.ts";
import { projectRoot } from "./files.ts";

/** What a case may name: each kind of adapter, and what is for products in f16. */
const targets = [...kinds, withPrecision(gpuMatrix, "f16")];
const FOLDER = join(projectRoot, "test", "cases");

/** What a case asks for beside its stage; every key of the head that is read. */
export interface CaseOptions {
  readonly target: Target;
  /** An entry: parameters do not change between calls. Else a part of a training step. */
  readonly inference: boolean;
  /** A number of the head, if it is there. */
  number(name: string): number | undefined;
  /** A word of the head, if it is there. */
  word(name: string): string | undefined;
}

/** What is there before a step and after it, line by line. */
export interface Change {
  readonly before: readonly string[];
  readonly after: readonly string[];
}
/**
 * A step: from graph to graph (its result is verified and must read back), something of a graph that it changes, or from a
 * graph to a text.
 */
export type Stage =
  | { readonly kind: "graph"; readonly run: (graph: Graph, options: CaseOptions) => Graph }
  | { readonly kind: "change"; readonly run: (graph: Graph, options: CaseOptions) => Change }
  | { readonly kind: "text"; readonly run: (graph: Graph, options: CaseOptions) => string };
export type Stages = Readonly<Record<string, Readonly<Record<string, Stage>>>>;

export interface TextCase {
  readonly room: string;
  readonly file: string;
  readonly text: string;
}
export class CaseError extends Error {}

/** All cases, by room and name. */
export function allCases(): TextCase[] {
  return readdirSync(FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name: room }) =>
      readdirSync(join(FOLDER, room))
        .filter((file) => file.endsWith(".txt"))
        .sort()
        .map((file) => ({
          room,
          file: `test/cases/${room}/${file}`,
          text: readFileSync(join(FOLDER, room, file), "utf8"),
        })),
    );
}

interface Parts {
  readonly comment: string;
  readonly head: ReadonlyMap<string, string>;
  readonly kind: "graph" | "model";
  readonly input: string;
  readonly after: string;
}

/** The parts of a case; throws where it is not one. */
export function readCase({ file, text }: TextCase): Parts {
  const fail = (what: string): never => {
    throw new CaseError(`${file}: ${what}`);
  };
  const m = /^((?:#.*\n)*)((?:[\w-]+: .*\n)*)--- (graph|model)\n([\s\S]*?)\n--- after\n([\s\S]*)$/.exec(
    text.replaceAll("\r\n", "\n"),
  );
  if (!m)
    return fail(
      "expected `# why`, lines `name: value`, `--- graph` or `--- model`, and `--- after`, in order",
    );
  const [, comment, head, kind, input, after] = m;
  if (comment === "") fail("its first line says why it is there: `# …`");
  const entries = head
    .split("\n")
    .filter(Boolean)
    .map((line) => /^([\w-]+): (.*)$/.exec(line)!.slice(1, 3) as [string, string]);
  return {
    comment,
    head: new Map(entries),
    kind: kind as Parts["kind"],
    input: input.trimEnd(),
    after: after.trimEnd(),
  };
}

const UNCHANGED = "unchanged";

export interface Outcome {
  readonly stage: string;
  readonly expected: string;
  readonly actual: string;
  /** The step gave what it was given. */
  readonly unchanged: boolean;
  /** The whole file, with what came out. */
  readonly rewritten: string;
}

/** Runs a case. Throws CaseError where the file asks for what there is not. */
export function runCase(of: TextCase, rooms: Stages): Outcome {
  const parts = readCase(of);
  const fail = (what: string): never => {
    throw new CaseError(`${of.file}: ${what}`);
  };
  const stages =
    rooms[of.room] ?? fail(`there is no room ${of.room}: there are ${Object.keys(rooms).join(", ")}`);
  const stageOf = (name: string): Stage =>
    stages[name] ??
    fail(`there is no stage ${name} in ${of.room}: there are ${Object.keys(stages).join(", ")}`);
  const unread = new Set(parts.head.keys());
  const word = (name: string): string | undefined => {
    unread.delete(name);
    return parts.head.get(name);
  };
  const name = word("stage") ?? fail("it names no stage");
  const before = word("before")?.split(", ") ?? [];
  const target = word("target") ?? "gpu";
  const number = (key: string): number | undefined => {
    const text = word(key);
    if (text === undefined) return undefined;
    return Number.isFinite(Number(text)) ? Number(text) : fail(`${key} is not a number`);
  };
  const options: CaseOptions = {
    target: targets.find((t) => t.name === target) ?? fail(`there is no target ${target}`),
    inference: (word("inference") ?? "true") === "true",
    word,
    number,
  };
  const given =
    parts.kind === "graph" ? readGraph(of.file, parts.input) : entryOf(of.file, parts.input, word("entry"));
  let graph = given;
  for (const step of before) {
    const stage = stageOf(step);
    if (stage.kind !== "graph") return fail(`${step} gives no graph`);
    graph = stage.run(graph, options);
  }
  const stage = stageOf(name);
  const { said, unchanged } = outcomeOf(of.file, stage, graph, options);
  if (unread.size > 0) fail(`nothing reads ${[...unread].join(", ")}`);
  const input = parts.kind === "graph" ? printGraph(given) : parts.input;
  const head = [...parts.head].map(([key, value]) => `${key}: ${value}\n`).join("");
  return {
    stage: name,
    // A graph as it was written is held to how it prints, so that before and after can be compared by eye.
    expected: `${parts.input}\n--- after\n${parts.after}`,
    actual: `${input}\n--- after\n${said}`,
    unchanged,
    rewritten: `${parts.comment}${head}--- ${parts.kind}\n${input}\n--- after\n${said}\n`,
  };
}

/** What a step made of a graph, as a case says it, and whether that is what was there before. */
function outcomeOf(
  file: string,
  stage: Stage,
  graph: Graph,
  options: CaseOptions,
): { said: string; unchanged: boolean } {
  if (stage.kind === "text") return { said: stage.run(graph, options).trimEnd(), unchanged: false };
  if (stage.kind === "graph") {
    const after = graphText(file, stage.run(graph, options));
    return after === printGraph(graph)
      ? { said: UNCHANGED, unchanged: true }
      : { said: after, unchanged: false };
  }
  const { before, after } = stage.run(graph, options);
  const unchanged = before.join("\n") === after.join("\n");
  const list = (title: string, lines: readonly string[]): string[] => [
    title,
    ...lines.map((line) => `  ${line}`),
  ];
  const then = unchanged ? [`then: ${UNCHANGED}`] : list("then:", after);
  return { said: [...list("first:", before), ...then].join("\n"), unchanged };
}

function readGraph(file: string, text: string): Graph {
  const graph = parseGraph(text, opNamed);
  verify(graph, file);
  return graph;
}

function entryOf(file: string, source: string, name: string | undefined): Graph {
  const { entries } = modelOf(source);
  const entry = name === undefined ? entries[0] : entries.find((e) => e.name === name);
  if (!entry) throw new CaseError(`${file}: there is no entry ${name}`);
  verify(entry.graph, file);
  return entry.graph;
}

/** The text of a step's result, which is a graph like any other: it verifies, and what is printed reads back. */
function graphText(file: string, graph: Graph): string {
  verify(graph, file);
  const text = printGraph(graph);
  const again = printGraph(readGraph(file, text));
  if (again !== text) throw new CaseError(`${file}: the result reads back as\n${again}`);
  return text;
}
