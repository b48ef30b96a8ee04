// `mdl summary`: a model as a table of its layers, as torchinfo's: what comes out of each, parameters, arithmetic, memory. The
// checked model says all of it but the memory of activations, which is that of the plan that would run.
import { evaluateRows } from "../../../runtime/core/expr.ts";
import { bindEntry } from "../../../runtime/core/plan.ts";
import type { EntryPlan } from "../../../runtime/core/program.ts";
import { typeText } from "../../../runtime/core/tensor.ts";
import {
  type CheckedEntry,
  type CheckedTrain,
  type LayerCost,
  layerCosts,
  type SetValue,
  type StorageName,
  storageText,
} from "../../core/index.ts";
import { sizesOf } from "../draw.ts";
import { UsageError } from "../failure.ts";
import { entryOf, SourceModel } from "../runnable.ts";
import { bytesText, count, grouped, harmless, type Style, styleFor, table } from "../style.ts";
import { storageOption } from "../weights.ts";

export interface SummaryFlags {
  readonly model?: string;
  readonly set?: Readonly<Record<string, SetValue>>;
  readonly size?: Readonly<Record<string, number>>;
  readonly depth?: number;
  readonly json?: boolean;
  readonly storage?: StorageName;
  readonly group?: number;
}

interface Summary {
  readonly model: string;
  readonly entry: string;
  readonly sizes: Readonly<Record<string, number>>;
  readonly layers: readonly LayerCost[];
  readonly parameterBytes: number;
  /** Where large weights are stored in fewer bits: how, and how many of them. */
  readonly stored?: { readonly as: string; readonly weights: number };
  readonly trainable: number;
  readonly frozen: number;
  /** Buffers, and what an optimiser keeps. */
  readonly stateBytes: number;
  readonly activationBytes: number;
  readonly training: boolean;
}

/** Memory is that of the plan for real GPUs, however large. */
const TARGET = "gpu";
const LIMITS = {
  maxComputeWorkgroupsPerDimension: 65_535,
  minUniformBufferOffsetAlignment: 256,
  maxStorageBufferBindingSize: Number.MAX_SAFE_INTEGER,
  maxDispatchCost: Number.MAX_SAFE_INTEGER,
};

export function summaryCommand(path: string, name: string | undefined, flags: SummaryFlags): void {
  const source = new SourceModel(path, flags);
  const { checked } = source;
  const entry = name ?? source.entries[0];
  if (entry === undefined)
    throw new UsageError(`${checked.name} has no entries: each fn that is not private is one`);
  source.pick(entry);
  const compiled = source.compile({ entries: [entry], targets: [TARGET], ...storageOption(flags) });
  source.warn(compiled);
  const { artefact } = compiled;
  const plan = entryOf(artefact, entry);
  const sizes = sizesOf(plan, flags.size ?? {});
  const bytes = (list: readonly { readonly bytes: number }[]): number =>
    list.reduce((n, s) => n + s.bytes, 0);
  const graph = plan.train
    ? (checked.trains.find((t) => t.name === plan.train?.block) as CheckedTrain).lossGraph
    : (checked.entries.find((e) => e.name === plan.name) as CheckedEntry).graph;
  const layers = layerCosts(checked, graph, Object.fromEntries(sizes));
  const [{ parameters, frozen }] = layers;
  const summary: Summary = {
    model: checked.name,
    entry: plan.name,
    sizes: Object.fromEntries(sizes),
    layers,
    parameterBytes: bytes(artefact.params),
    ...(compiled.stored &&
      artefact.storage && {
        stored: { as: storageText(artefact.storage), weights: compiled.stored.weights.length },
      }),
    trainable: parameters - frozen,
    frozen,
    stateBytes: bytes(artefact.state),
    activationBytes: bindEntry(artefact.programs[0], plan, axesOf(plan, sizes), LIMITS).arenaBytes,
    training: plan.train !== undefined,
  };
  if (flags.json) process.stdout.write(`${JSON.stringify(jsonOf(summary), null, 2)}\n`);
  else process.stdout.write(`${harmless(text(summary, flags.depth, styleFor(process.stdout)))}\n`);
}

/** With the sizes of inputs' axes, as a call has them. */
function axesOf(entry: EntryPlan, sizes: ReadonlyMap<string, number>): Map<string, number> {
  const values = evaluateRows(entry.body.exprs, sizes, []);
  const axes = entry.inputs.flatMap((p) => p.shape.map((id, k) => [`${p.name}.${k}`, values[id]] as const));
  return new Map([...sizes, ...axes]);
}

/** A level of the tree, or all that lies deeper together. */
function rowsOf(
  layers: readonly LayerCost[],
  depth: number,
): (LayerCost & { readonly level: number; readonly label: string })[] {
  const open: string[] = [];
  return layers.flatMap((l) => {
    while (
      open.length > 0 &&
      !l.path.startsWith(open[open.length - 1] === "" ? "" : `${open[open.length - 1]}.`)
    )
      open.pop();
    const above = open[open.length - 1] ?? "";
    const level = open.length;
    open.push(l.path);
    return level > depth
      ? []
      : [{ ...l, level, label: above === "" ? l.path : l.path.slice(above.length + 1) }];
  });
}

/** 58.0 G, 1.4 M: operations as a person reads them. */
function operations(n: number): string {
  if (n === 0) return "–";
  const units = ["", " k", " M", " G", " T", " P"];
  let value = n;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? Math.round(value) : value.toPrecision(3)}${units[unit]}`;
}

function text(summary: Summary, depth: number | undefined, style: Style): string {
  const { layers, sizes, frozen, trainable, parameterBytes, stateBytes, activationBytes, training } = summary;
  const at = Object.entries(sizes).map(([name, n]) => `${name} = ${n}`);
  const head = ["layer", "", "output", "parameters", "multiply-adds"].map(style.dim);
  const rows = rowsOf(layers, depth ?? Number.POSITIVE_INFINITY).map((l) => {
    const own = l.level === 0 ? style.bold(l.layer) : style.cyan(l.label);
    const parameters = l.parameters === 0 ? "–" : grouped(l.parameters);
    return [
      "  ".repeat(l.level) + own,
      l.level === 0 ? "" : l.layer,
      l.output ? typeText(l.output.dtype, l.output.shape) : style.dim("not called"),
      l.frozen > 0 && l.frozen === l.parameters ? style.dim(`(${parameters} frozen)`) : parameters,
      operations(l.macs),
    ];
  });
  const [total] = layers;
  const facts = [
    ["parameters", `${grouped(total.parameters)}, ${bytesText(parameterBytes)}${storedText(summary)}`],
    ["trainable", grouped(trainable)],
    ["frozen", grouped(frozen)],
    [
      "multiply-adds",
      `${operations(total.macs)} (${operations(total.flops)} operations on floats in all${training ? ", forward" : ""})`,
    ],
    ["activations", `${bytesText(activationBytes)} at once${training ? ", for the whole step" : ""}`],
    ["state", bytesText(stateBytes)],
    ["memory", `${bytesText(parameterBytes + stateBytes + activationBytes)} in all`],
  ].map(([name, value]) => [style.dim(name), value]);
  return [
    `${style.bold(summary.model)} ${summary.entry}${at.length ? ` ${style.dim(`at ${at.join(", ")}`)}` : ""}`,
    "",
    table([head, ...rows], [3, 4]),
    "",
    table(facts),
  ].join("\n");
}

const storedText = ({ stored }: Summary): string =>
  stored ? `, ${count(stored.weights, "weight")} as ${stored.as}` : "";

const jsonOf = ({ layers, ...rest }: Summary): object => {
  const [{ parameters, macs, flops }] = layers;
  return { ...rest, parameters, macs, flops, layers };
};
