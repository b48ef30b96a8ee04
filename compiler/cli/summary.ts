// What `mdl compile` tells when it is done. In: what was compiled and written. Out: text for a person.
import { type Compiled, storageText } from "../core/index.ts";
import { portText } from "./inputs.ts";
import { bare, bytesText, count, grouped, harmless, type Style, table } from "./style.ts";

export interface Written {
  readonly path: string;
  readonly bytes: number;
  readonly gzipped?: Promise<number>;
}

export async function summary(
  file: string,
  models: readonly Compiled[],
  written: readonly Written[],
  milliseconds: number,
  style: Style,
): Promise<string> {
  // First what there is to be worked out: compressing goes on meanwhile.
  const parts = models.map((m) => modelText(file, m, style));
  const files: string[][] = [];
  for (const { path, bytes, gzipped } of written)
    files.push([
      style.green(harmless(path)),
      bytesText(bytes),
      gzipped === undefined ? "" : style.dim(`${bytesText(await gzipped)} gzipped`),
    ]);
  const time =
    milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
  parts.push(`${style.bold("wrote")} ${style.dim(`in ${time}`)}\n${table(files, [1])}\n`);
  return parts.join("\n");
}

function modelText(file: string, model: Compiled, style: Style): string {
  const lines = [`${style.bold(model.name)} ${style.dim(`from ${harmless(file)}`)}`];
  if (model.artefact.doc) lines.push(`  ${harmless(model.artefact.doc.trim().split("\n")[0])}`);
  lines.push("", ...facts(model, style), "", entryTable(model, style));
  return `${lines.join("\n")}\n`;
}

function facts({ artefact, report, stored }: Compiled, style: Style): string[] {
  const elements = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
  const sum = (specs: typeof artefact.params): number => specs.reduce((n, s) => n + elements(s.shape), 0);
  const bytes = (specs: typeof artefact.params): number => specs.reduce((n, s) => n + s.bytes, 0);
  const { params } = artefact;
  const frozen = params.filter((p) => p.frozen);
  // Of weights in words the numbers count, not the words.
  const packed = new Map<string, readonly number[]>();
  for (const w of stored?.weights ?? []) {
    packed.set(w.words.path, w.shape);
    if (w.scale) packed.set(w.scale.path, [0]);
  }
  const numbers = params.map((p) => ({ ...p, shape: packed.get(p.path) ?? p.shape }));
  const tensors = params.length - (stored?.weights.filter((w) => w.scale).length ?? 0);
  const rows = [
    [
      style.dim("parameters"),
      params.length
        ? `${grouped(sum(numbers))} in ${count(tensors, "tensor")}, ${bytesText(bytes(params))}` +
          (artefact.storage && stored
            ? ` (${count(stored.weights.length, "weight")} as ${storageText(artefact.storage)})`
            : "") +
          (frozen.length ? ` (${grouped(sum(frozen))} frozen)` : "")
        : "none",
    ],
  ];
  // What belongs to a train block is called by it; a private buffer is the model's like any other.
  const blocks = artefact.programs[0].entries.flatMap((e) =>
    e.train ? [`${e.name.replace(/_step$/, "")}.`] : [],
  );
  const ofTraining = ({ role, path }: { readonly role: string; readonly path: string }): boolean =>
    role === "internal" && (path === "random_step" || blocks.some((block) => path.startsWith(block)));
  const buffers = artefact.state.filter((s) => !ofTraining(s));
  if (buffers.length)
    rows.push([style.dim("buffers"), `${grouped(sum(buffers))} in ${count(buffers.length, "tensor")}`]);
  const optimiser = artefact.state.filter(ofTraining);
  if (optimiser.length) rows.push([style.dim("training state"), bytesText(bytes(optimiser))]);
  const pipelines = artefact.programs.map((p) => `${p.target} (${count(p.kernels.length, "pipeline")})`);
  rows.push([style.dim("targets"), pipelines.join(", ")]);
  if (report.entries.some((e) => e.prepare > 0)) {
    rows.push([
      style.dim("prepared"),
      "weights are packed when they are loaded or written, by dispatches not counted below",
    ]);
  }
  return [table(rows)];
}

/** A row an entry; where targets differ, kernels and memory say so. */
function entryTable({ artefact, report }: Compiled, style: Style): string {
  const plans = artefact.programs[0].entries;
  const head = ["entry", "kernels", "peak memory", "inputs and results"].map(style.dim);
  const rows = plans.map((plan) => {
    const own = report.entries.filter((e) => e.name === plan.name);
    const fused = dispatchesText(own);
    const results = plan.outputs.filter((p) => p.name !== plan.train?.flag).map(portText);
    return [
      style.cyan(plan.name),
      `${range(
        own.map((e) => e.kernelsBefore),
        grouped,
      )} → ${style.bold(fused)}`,
      range(
        own.map((e) => e.peakBytes),
        bytesText,
      ),
      `(${plan.inputs.map(portText).join(", ")}) ${style.dim("->")} ${bracketed(results)}`,
    ];
  });
  const differ = artefact.programs.length > 1 && rows.some((r) => bare(r.join()).includes(" to "));
  const note = `kernels: before fusion → dispatches of a call; memory: with every unbound size at 32, without weights${differ ? "; by target, from … to …" : ""}`;
  return `${table([head, ...rows], [1, 2])}\n  ${style.dim(note)}`;
}

/** In the sizes of the call where a loop runs: `3 * T + 26`. */
function dispatchesText(own: Compiled["report"]["entries"]): string {
  const plain = own.every((e) => /^\d+$/.test(e.dispatches));
  if (plain)
    return range(
      own.map((e) => e.nominalDispatches),
      grouped,
    );
  const byCost = [...own].sort((a, b) => a.nominalDispatches - b.nominalDispatches);
  return [...new Set([byCost[0], byCost[byCost.length - 1]].map((e) => e.dispatches))].join(" to ");
}

/** One result needs no brackets. */
const bracketed = (results: readonly string[]): string =>
  results.length === 1 ? results[0] : `(${results.join(", ")})`;

function range(values: readonly number[], text: (n: number) => string): string {
  const [low, high] = [text(Math.min(...values)), text(Math.max(...values))];
  return low === high ? low : `${low} to ${high}`;
}
