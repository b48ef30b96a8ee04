// What `mdl compile` tells when it is done. In: what was compiled and written. Out: text for a person.
import type { Compiled, EntrySummary } from "../core/index.ts";
import { bytesText, count, grouped, type Style, table } from "./style.ts";

export interface Written {
  readonly path: string;
  readonly bytes: number;
  readonly gzipped?: number;
}

export function summary(
  file: string,
  models: readonly Compiled[],
  written: readonly Written[],
  milliseconds: number,
  style: Style,
): string {
  const parts = models.map((m) => modelText(file, m, style));
  const files = written.map(({ path, bytes, gzipped }) => [
    style.green(path),
    bytesText(bytes),
    gzipped === undefined ? "" : style.dim(`${bytesText(gzipped)} gzipped`),
  ]);
  const time =
    milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
  parts.push(`${style.bold("wrote")} ${style.dim(`in ${time}`)}\n${table(files, [1])}\n`);
  return parts.join("\n");
}

function modelText(file: string, model: Compiled, style: Style): string {
  const lines = [`${style.bold(model.name)} ${style.dim(`from ${file}`)}`];
  if (model.artefact.doc) lines.push(`  ${model.artefact.doc.trim().split("\n")[0]}`);
  lines.push("", ...facts(model, style), "", entryTable(model.report.entries, style));
  return `${lines.join("\n")}\n`;
}

function facts({ artefact, report }: Compiled, style: Style): string[] {
  const elements = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
  const sum = (specs: typeof artefact.params): number => specs.reduce((n, s) => n + elements(s.shape), 0);
  const bytes = (specs: typeof artefact.params): number => specs.reduce((n, s) => n + s.bytes, 0);
  const { params } = artefact;
  const frozen = params.filter((p) => p.frozen);
  const rows = [
    [
      style.dim("parameters"),
      params.length
        ? `${grouped(sum(params))} in ${count(params.length, "tensor")}, ${bytesText(bytes(params))}` +
          (frozen.length ? ` (${grouped(sum(frozen))} frozen)` : "")
        : "none",
    ],
  ];
  const buffers = artefact.state.filter((s) => s.role === "buffer");
  if (buffers.length)
    rows.push([style.dim("buffers"), `${grouped(sum(buffers))} in ${count(buffers.length, "tensor")}`]);
  const optimiser = artefact.state.filter((s) => s.role === "internal");
  if (optimiser.length) rows.push([style.dim("training state"), bytesText(bytes(optimiser))]);
  const pipelines = artefact.programs.map((p) => `${p.target} (${count(p.kernels.length, "pipeline")})`);
  rows.push([style.dim("targets"), pipelines.join(", ")]);
  if (report.entries.some((e) => e.prepare > 0)) {
    rows.push([
      style.dim("prepared"),
      "weights are packed once after loading, by dispatches that are not counted below",
    ]);
  }
  return [table(rows)];
}

/** A row an entry; where targets differ, kernels and memory say so. */
function entryTable(entries: readonly EntrySummary[], style: Style): string {
  const names = [...new Set(entries.map((e) => e.name))];
  const head = ["entry", "operations", "kernels", "memory at 32", "inputs and results"].map(style.dim);
  const rows = names.map((name) => {
    const own = entries.filter((e) => e.name === name);
    return [
      style.cyan(name),
      range(
        own.map((e) => e.kernelsBefore),
        grouped,
      ),
      style.bold(
        range(
          own.map((e) => e.dispatches),
          grouped,
        ),
      ),
      range(
        own.map((e) => e.peakBytes),
        bytesText,
      ),
      `(${own[0].inputs}) ${style.dim("->")} ${resultsText(own[0].outputs)}`,
    ];
  });
  return table([head, ...rows], [1, 2, 3]);
}

/** One result needs no brackets. */
const resultsText = (outputs: string): string =>
  outputs.split(": ").length > 2 ? `(${outputs})` : outputs || "nothing";

function range(values: readonly number[], text: (n: number) => string): string {
  const [low, high] = [text(Math.min(...values)), text(Math.max(...values))];
  return low === high ? low : `${low} to ${high}`;
}
