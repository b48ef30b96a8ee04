// A random program's trial: it is printed and parsed back, checked, compiled for every target, and its entries are called
// and its training steps taken on a device, beside the reference evaluator. In: a source whose first line says its sizes.
// Out: that all agree, that the checker refuses it, or the first thing that is wrong.
import { renderAll } from "../../../compiler/core/diagnostics/index.ts";
import { stdSources } from "../../../compiler/core/generated/std.ts";
import { check, MdlError } from "../../../compiler/core/index.ts";
import { parseGraph } from "../../../compiler/core/ir/parse.ts";
import { printGraph } from "../../../compiler/core/ir/print.ts";
import type { Dense, Graph } from "../../../compiler/core/ir/types.ts";
import type { CheckedModel } from "../../../compiler/core/model.ts";
import { opNamed } from "../../../compiler/core/ops/index.ts";
import { parse } from "../../../compiler/core/phases/1-parse/parse.ts";
import { printAst } from "../../../compiler/core/phases/1-parse/print.ts";
import { type Built, build } from "../../../compiler/core/pipeline.ts";
import { dense, EvaluateError, evaluate, roundToF16 } from "../../../compiler/core/reference/evaluate.ts";
import type { ReferenceNet } from "../../../compiler/core/reference/net.ts";
import { misfit } from "../../../runtime/core/adapter.ts";
import type { StepResult, Tensor } from "../../../runtime/core/api.ts";
import { load, type Net } from "../../../runtime/core/index.ts";
import type { DType, EntryPlan, Program } from "../../../runtime/core/program.ts";
import { modelOf } from "../check.ts";
import { lacking } from "../device.ts";
import { denseOf, disagreement, given, type Tensors } from "../graphs.ts";
import { integers, signed } from "../hashing.ts";
import { referenceNet, withGradients } from "../reference.ts";
import { TARGETS } from "./targets.ts";

export interface Failure {
  /** What stage it is, and what kind of failure: equal for failures of one cause, as far as one can see. */
  readonly kind: string;
  readonly message: string;
  readonly target?: string;
}
export type Outcome =
  | { readonly status: "refused"; readonly code: string; readonly message: string }
  | { readonly status: "failed"; readonly failure: Failure }
  /** The adapter cannot run it: it lacks f16, or what a target needs that was asked for. */
  | { readonly status: "unfit"; readonly reason: string }
  | { readonly status: "agreed"; readonly compared: number; readonly weak: number };

export interface Trial {
  readonly source: string;
  /** Labels of TARGETS. */
  readonly targets?: readonly string[];
  /** Without it nothing runs on a device. */
  readonly device?: GPUDevice;
}
const FILE = "program.mdl";
const SEED = 7;

class Failed extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}
const firstLine = (text: string): string => text.split("\n", 1)[0];
/** A message without what differs from program to program. */
const kindOf = (text: string): string =>
  firstLine(text)
    .replace(/\b[a-zA-Z]{1,5}\d+(_\d+)?\b/g, "#")
    .replace(/-?\d+(\.\d+)?(e[-+]?\d+)?/g, "#")
    .replace(/(#[ ,x*]*)+/g, "#")
    .slice(0, 120);
function failing<T>(stage: string, work: () => T, target?: string): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Failed) throw error;
    const e = error as Error;
    throw new Failed({
      kind: `${stage}: ${e.name}: ${kindOf(e.message)}`,
      message: `${stage}: ${e.stack ?? e.message}`,
      target,
    });
  }
}

/** `// sizes N=3 T=4; N=0 T=1`: what the program is called at; the first only where it is compiled for it (`// bound`). */
export function sizesOf(source: string): Record<string, number>[] {
  const line = /^\/\/ sizes (.*)$/m.exec(source)?.[1] ?? "N=3 T=4; N=1 T=2";
  return line
    .split(";")
    .slice(0, isBound(source) ? 1 : undefined)
    .map((part) =>
      Object.fromEntries([...part.matchAll(/(\w+)=(\d+)/g)].map(([, name, n]) => [name, Number(n)])),
    );
}

const isBound = (source: string): boolean => /^\/\/ bound$/m.test(source);
/** The sizes to compile for, of the symbols that the model has. */
function boundSizes(source: string, model: CheckedModel): Record<string, number> | undefined {
  if (!isBound(source)) return undefined;
  const graphs = [...model.entries.map((e) => e.graph), ...model.trains.map((t) => t.lossGraph)];
  const symbols = new Set<string>(graphs.flatMap((g) => [...g.symbols]));
  return Object.fromEntries(Object.entries(sizesOf(source)[0]).filter(([name]) => symbols.has(name)));
}

/** Inputs of an entry by its ports' names: what they hold depends on name, shape and salt alone. */
function inputsOf(entry: EntryPlan, sizes: Readonly<Record<string, number>>, salt: string): Tensors {
  return Object.fromEntries(
    entry.inputs.map((port) => {
      const shape = port.shapeText.map((d) => (/^\d+$/.test(d) ? Number(d) : sizes[d]));
      const name = `${port.name}.${salt}`;
      const below = Number(/_(\d+)$/.exec(port.name)?.[1] ?? 2);
      const data =
        port.dtype === "f32"
          ? signed(name, shape)
          : port.dtype === "f16"
            ? signed(name, shape).map(roundToF16)
            : integers(name, shape, port.dtype === "bool" ? 2 : below);
      return [port.name, dense(port.dtype as DType, shape, data)];
    }),
  );
}

// ------------------------------------------------------------------------------------------ the reference

/** What one call gave: results, and where it may not be made, that. */
type Given = { readonly results: Tensors } | { readonly refused: string };
interface Call {
  readonly label: string;
  readonly entry: EntryPlan;
  readonly inputs: Tensors;
  readonly hyper?: Readonly<Record<string, number>>;
}
/** Calls in order: every entry at every size, steps between, and the first sizes again with what was learned. */
function callsOf(compiled: Compiled, allSizes: readonly Record<string, number>[]): Call[] {
  const { entries } = compiled.artefact.programs[0];
  const calls: Call[] = [];
  const add = (entry: EntryPlan, at: number, salt: string): void => {
    const sizes = allSizes[at];
    const label = `${entry.name} at ${Object.entries(sizes)
      .map((s) => s.join(" = "))
      .join(", ")} (${salt})`;
    calls.push({ label, entry, inputs: inputsOf(entry, sizes, salt) });
  };
  const plain = entries.filter((e) => !e.train);
  const steps = entries.filter((e) => e.train);
  for (const e of plain) add(e, 0, "a");
  for (const salt of ["a", "b", "c"]) for (const e of steps) add(e, 0, salt);
  if (steps.length > 0) for (const e of plain) add(e, 0, "b");
  for (let k = 1; k < allSizes.length; k++) for (const e of [...plain, ...steps]) add(e, k, "d");
  return calls;
}

type Compiled = Pick<Built, "artefact" | "reference"> & { readonly model: CheckedModel };
interface History {
  readonly calls: readonly Given[];
  /** Parameters and state at the end of each call. */
  readonly stored: readonly Tensors[];
}
function follow(net: ReferenceNet, calls: readonly Call[], paths: readonly string[], noise: number): History {
  const given: Given[] = [];
  const stored: Tensors[] = [];
  for (const c of calls) {
    const inputs = Object.fromEntries(
      Object.entries(c.inputs).map(([name, x]) => [name, noise === 0 ? x : shaken(x, noise, c.label + name)]),
    );
    try {
      const results = c.entry.train ? net.step(c.entry.train.block, inputs) : net.call(c.entry.name, inputs);
      given.push({ results });
    } catch (error) {
      if (!(error instanceof EvaluateError)) throw error;
      given.push({ refused: error.message });
    }
    stored.push(Object.fromEntries(paths.map((p) => [p, net.tensor(p)])));
  }
  return { calls: given, stored };
}
/** Moved by about `noise`, half precision by about its own. */
function shaken(x: Dense, noise: number, name: string): Dense {
  if (x.dtype !== "f32" && x.dtype !== "f16") return x;
  const by = signed(`shake.${name}`, x.shape);
  const scale = x.dtype === "f16" ? 100 * noise : noise;
  return { ...x, data: x.data.map((v, i) => v + scale * by[i] * (Math.abs(v) + 0.1)) };
}

// ------------------------------------------------------------------------------------------------ a trial

export async function tryProgram(trial: Trial): Promise<Outcome> {
  try {
    return await attempt(trial);
  } catch (error) {
    if (error instanceof Failed) return { status: "failed", failure: error.failure };
    throw error;
  }
}

async function attempt({ source, device, targets = ["cpu-subgroup"] }: Trial): Promise<Outcome> {
  failing("print", () => {
    const once = printAst(parse(source, FILE).ast);
    const twice = printAst(parse(once, FILE).ast);
    if (once !== twice) throw new Error("printing what was printed gives another text");
  });
  const errors = failing("check", () => check(source, FILE).diagnostics).filter(
    (d) => d.severity === "error",
  );
  if (errors.length > 0) {
    const text = renderAll(errors, (name) => (name === FILE ? source : stdSources[name]));
    return { status: "refused", code: errors[0].code, message: text };
  }
  const model = failing("check", () => modelOf(source));
  const bind = boundSizes(source, model);
  const built = new Map(
    targets.map((label) => [
      label,
      failing(
        "compile",
        () => {
          try {
            const target = TARGETS.get(label);
            if (!target) throw new Error(`there is no target ${label}`);
            return build(model, { targets: [target], bind, verify: true, place: () => "" });
          } catch (error) {
            if (!(error instanceof MdlError)) throw error;
            const [{ code, message }] = error.diagnostics;
            throw new Error(`passes check and is refused: ${code} ${message}`);
          }
        },
        label,
      ),
    ]),
  );
  const compiled: Compiled = { model, ...(built.get(targets[0]) as Built) };

  const calls = callsOf(compiled, sizesOf(source));
  const paths = [...compiled.artefact.params, ...compiled.artefact.state].map((s) => s.path);
  const [exact, rounded, ...shakenOnes] = failing("reference", () => {
    const at = (noise: number, roundFloats = false): History => {
      const net = referenceNet(compiled, { seed: SEED, totalSteps: 10, roundFloats });
      if (noise === 0) return follow(net, calls, paths, noise);
      const tensors = Object.fromEntries(
        compiled.artefact.params.map(({ path }) => [path, shaken(net.tensor(path), noise, path)]),
      );
      return follow(referenceNet(compiled, { seed: SEED, totalSteps: 10, tensors }), calls, paths, noise);
    };
    return [at(0), at(0, true), at(1e-6), at(3e-6)];
  });
  failing("gradient", () => gradientsHold(compiled, sizesOf(source)[0]));

  let compared = 0;
  let weak = 0;
  const slackOf = (select: (h: History) => Dense | undefined): number => {
    const want = select(exact);
    let slack = 0;
    for (const other of [rounded, ...shakenOnes]) {
      const got = select(other);
      if (!want || !got || got.data.length !== want.data.length) return Number.POSITIVE_INFINITY;
      want.data.forEach((x, i) => {
        const y = got.data[i];
        const d = x === y || (Number.isNaN(x) && Number.isNaN(y)) ? 0 : Math.abs(x - y);
        if (!(d <= slack)) slack = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
      });
    }
    return slack;
  };
  const compare = (
    what: string,
    got: Dense | undefined,
    select: (h: History) => Dense | undefined,
    target: string,
  ): void => {
    const want = select(exact);
    if (!want) return;
    const slack = slackOf(select);
    const most = want.data.reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 0);
    compared++;
    // What a millionth decides is no use for comparing; nor a value that nobody knows.
    if (!(32 * slack <= 0.02 * Math.max(most, 0.1))) {
      weak++;
      return;
    }
    const problem = disagreement(what, got, want, slack, want.dtype === "f16" ? 2e-3 : 5e-5);
    if (problem)
      throw new Failed({
        kind: `differs: ${what.split(" ")[0]}`,
        message: `${what} on ${target}: ${problem}`,
        target,
      });
  };
  const textsReturn = (): void => {
    const { entries, steps } = compiled.reference;
    for (const { graph } of [...entries, ...steps]) failing("graph text", () => graphReturns(graph));
  };
  if (!device) {
    textsReturn();
    return { status: "agreed", compared, weak };
  }

  const unfit = targets.map((t) => unfitness((built.get(t) as Built).artefact.programs[0], t, device));
  const reason = unfit.find((r) => r !== undefined);
  if (reason !== undefined) {
    textsReturn();
    return { status: "unfit", reason };
  }
  for (const target of targets) {
    const { artefact } = built.get(target) as Built;
    const net = await load(artefact, {
      device,
      target: artefact.programs[0].target,
      seed: SEED,
      train: { totalSteps: 10 },
    }).catch((error: unknown) =>
      failing(
        "load",
        () => {
          throw error;
        },
        target,
      ),
    );
    try {
      for (const [i, c] of calls.entries()) {
        const outcome = await callOn(net, c, target);
        const expected = exact.calls[i];
        if ("refused" in expected || "refused" in outcome) {
          if ("refused" in expected && "refused" in outcome) continue;
          const [who, why] =
            "refused" in outcome
              ? ["the runtime", outcome.refused]
              : ["the reference", (expected as { refused: string }).refused];
          throw new Failed({
            kind: `refused: ${kindOf(why)}`,
            message: `only ${who} refuses ${c.label} on ${target}: ${why}`,
            target,
          });
        }
        for (const name of Object.keys(expected.results)) {
          if (c.entry.train && !(name in outcome.results)) continue;
          compare(
            `result ${name} of ${c.label}`,
            outcome.results[name],
            (h) => {
              const call = h.calls[i];
              return "results" in call ? call.results[name] : undefined;
            },
            target,
          );
        }
        for (const path of c.entry.train ? paths : c.entry.writesState)
          compare(
            `stored ${path} after ${c.label}`,
            denseOf(await net.getParameter(path)),
            (h) => h.stored[i][path],
            target,
          );
      }
    } finally {
      net.dispose();
    }
  }
  textsReturn();
  return { status: "agreed", compared, weak };
}

/** Why the device cannot run a program. Limits are no reason: what is compiled keeps to those of its target. */
function unfitness(program: Program, label: string, device: GPUDevice): string | undefined {
  const requires = { ...program.requires, limits: {} };
  const { features, limits, adapterInfo: info } = device;
  const misfits = misfit({ requires }, { features, limits, info }, true);
  return misfits === undefined ? lacking(program, device) : `the adapter does not fit: ${label} ${misfits}`;
}

/** A call on the device; a step whose figures are refused for a bad step has no figures. */
async function callOn(net: Net, c: Call, target: string): Promise<Given> {
  try {
    const inputs = given(c.inputs);
    const call = net.entries[c.entry.name];
    // Indices outside are refused; what the device makes of them where nobody looks is defined, too.
    const made = await call(inputs).catch((error: Error) => {
      if (error.name !== "InputError" || !error.message.includes("checks: false")) throw error;
      return call(inputs, { checks: false });
    });
    if (!c.entry.train)
      return {
        results: Object.fromEntries(
          Object.entries(made as Record<string, Tensor>).map(([k, t]) => [k, denseOf(t)]),
        ),
      };
    try {
      const figures = await (made as StepResult).read();
      return {
        results: {
          ...Object.fromEntries(Object.entries(figures).map(([k, x]) => [k, dense("f32", [], [x])])),
          bad_step: dense("i32", [], [0]),
        },
      };
    } catch (error) {
      const { name, step } = error as Error & { step?: number };
      if (name !== "NonFiniteError" || step === undefined) throw error;
      return { results: { bad_step: dense("i32", [], [step + 1]) } };
    }
  } catch (error) {
    const e = error as Error;
    if (e.name === "InputError") return { refused: e.message };
    return failing(
      "call",
      () => {
        e.message = `${c.label} on ${target}: ${e.message}`;
        throw e;
      },
      target,
    );
  }
}

function graphReturns(graph: Graph): void {
  const text = printGraph(graph);
  const again = printGraph(parseGraph(text, opNamed));
  if (again !== text) throw new Error("a graph that was printed and parsed prints otherwise");
}

/** The gradient by every parameter, in one direction, against differences of the loss in double precision. */
function gradientsHold(compiled: Compiled, sizes: Readonly<Record<string, number>>): void {
  for (const t of compiled.model.trains) {
    // What stops a gradient is there so that differences are not what it says.
    if (t.lossGraph.nodes.some((n) => n.op.name === "stop_gradient")) continue;
    const entry = compiled.artefact.programs[0].entries.find((e) => e.train?.block === t.name);
    if (!entry) continue;
    const net = referenceNet(compiled, { seed: SEED });
    const stored = Object.fromEntries(
      [...compiled.artefact.params, ...compiled.artefact.state].map(({ path }) => [path, net.tensor(path)]),
    );
    const inputs = inputsOf(entry, sizes, "a");
    const options = { state: stored, seed: [SEED, 0] as const };
    const loss = { ...t.lossGraph, results: t.lossGraph.results.slice(0, 1), writes: [] };
    const floats = compiled.artefact.params.filter((p) => p.dtype === "f32").map((p) => p.path);
    if (floats.length < compiled.artefact.params.length) continue;
    const direction = Object.fromEntries(floats.map((p) => [p, signed(`direction.${p}`, stored[p].shape)]));
    const at = (by: number): number => {
      const moved = Object.fromEntries(
        floats.map((p) => [
          p,
          { ...stored[p], data: stored[p].data.map((x, i) => x + by * direction[p][i]) },
        ]),
      );
      return evaluate(loss, inputs, { ...options, params: { ...stored, ...moved } }).results[
        loss.results[0].name
      ].data[0];
    };
    let slope = 0;
    try {
      const { results } = evaluate(withGradients(loss), inputs, { ...options, params: stored });
      for (const p of floats) {
        const g = results[`gradient ${p}`]?.data ?? [];
        for (let i = 0; i < g.length; i++) slope += g[i] * direction[p][i];
      }
      const [wide, narrow] = [1e-4, 1e-5].map((h) => (at(h) - at(-h)) / (2 * h));
      const scale = Math.abs(narrow) + Math.abs(at(0)) + 1e-3;
      // Where the differences disagree with each other there is a kink, or nothing finite.
      if (!(Math.abs(wide - narrow) < 1e-4 * scale)) continue;
      if (!(Math.abs(narrow - slope) < 1e-3 * scale))
        throw new Error(
          `the loss of ${t.name} moves by ${narrow} in a direction in which its gradient is ${slope}`,
        );
    } catch (error) {
      if (error instanceof EvaluateError) continue;
      throw error;
    }
  }
}
