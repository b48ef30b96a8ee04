// `npm run bench -- --sizes`: bytes of modules, gzipped. In: the models below, compiled for the three kinds of adapter, which the
// limits are for, and for all that `mdl compile` compiles for. Out: a table, with the limits that the project holds itself to. What a part weighs is what the module weighs less without it: kernel texts
// left empty, the runtime imported; the rest is the plans, with the tables of parameters and ports.
import { gzipSync } from "node:zlib";
import { compile, emitModule, targets } from "../compiler/core/index.ts";
import { readText } from "./paths.ts";
import { columns } from "./report.ts";

interface Sized {
  readonly name: string;
  readonly file: string;
  readonly model?: string;
  /** What an application of the model runs. */
  readonly entries: readonly string[];
  /** Bytes, minified and gzipped. */
  readonly limit: number;
}

const trained = ["logits", "fit_step"];
export const sizedModels: readonly Sized[] = [
  { name: "convnet", file: "dsl-examples/convnet.mdl", model: "ConvNet", entries: trained, limit: 45_000 },
  { name: "resnet20", file: "dsl-examples/resnet20.mdl", entries: trained, limit: 65_000 },
  { name: "mobilenetv2", file: "bench/models/compile/mobilenetv2.mdl", entries: trained, limit: 110_000 },
  { name: "gpt", file: "dsl-examples/transformer.mdl", model: "GPT", entries: trained, limit: 70_000 },
  { name: "resnet18_inference", file: "dsl-examples/resnet18.mdl", entries: ["logits"], limit: 34_000 },
];

export interface SizeRow {
  readonly name: string;
  readonly bytes: number;
  readonly minified_bytes: number;
  /** The same with every target, those for some makers' devices, too. */
  readonly all_bytes: number;
  /** Minified, and for pages only. */
  readonly page_bytes: number;
  readonly limit_bytes: number;
  /** Of the minified one. */
  readonly wgsl_bytes: number;
  readonly plan_bytes: number;
  readonly runtime_bytes: number;
}

export function sizeOf({ name, file, model, entries, limit }: Sized): SizeRow {
  const made = (minify: boolean, all = false) =>
    compile(readText(file), file, {
      model,
      entries,
      minify,
      targets: targets.filter((t) => all || t.requires.adapters === undefined),
    }).artefact;
  const artefact = made(true);
  // The module as it is written, and in the small form.
  const write = (of: typeof artefact, runtime: "inline" | "import", minify: boolean): string =>
    emitModule(of, { runtime, source: file, minify }).js;
  const bytes = gzipped(write(artefact, "inline", true));
  const wgsl = bytes - gzipped(write({ ...artefact, texts: artefact.texts.map(() => "") }, "inline", true));
  const runtime = bytes - gzipped(write(artefact, "import", true));
  return {
    name,
    bytes: gzipped(write(made(false), "inline", false)),
    minified_bytes: bytes,
    all_bytes: gzipped(write(made(true, true), "inline", true)),
    page_bytes: gzipped(
      emitModule(artefact, { runtime: "inline", source: file, minify: true, host: "page" }).js,
    ),
    limit_bytes: limit,
    wgsl_bytes: wgsl,
    plan_bytes: bytes - wgsl - runtime,
    runtime_bytes: runtime,
  };
}
const gzipped = (text: string): number => gzipSync(text, { level: 9 }).length;

const HEAD = [
  "model",
  "kB gzipped",
  "minified",
  "for pages",
  "all targets",
  "limit",
  "WGSL",
  "plans",
  "runtime",
  "",
];

/** The table of rows, in kB of 1,000 bytes: a row that is over its limit says so. */
export function sizeTable(rows: readonly SizeRow[]): string {
  const kB = (n: number | undefined): string => (n === undefined ? "-" : (n / 1000).toFixed(1));
  const cells = rows.map((r) => [
    r.name,
    kB(r.bytes),
    kB(r.minified_bytes),
    kB(r.page_bytes),
    kB(r.all_bytes),
    kB(r.limit_bytes),
    kB(r.wgsl_bytes),
    kB(r.plan_bytes),
    kB(r.runtime_bytes),
    r.minified_bytes > r.limit_bytes ? "over" : "",
  ]);
  return columns([HEAD, ...cells], 1);
}
