// `mdl compile`: a module, its types and its weights beside each other, and a summary; or one stage as text. Several models
// in a file make a module each, unless --model, --weights or --emit mean one.
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import {
  blockEntry,
  type Compiled,
  compile,
  emitModule,
  type Precision,
  renderAll,
  type SetValue,
  type Stage,
  type StorageName,
} from "../../core/index.ts";
import { InputFailure, UsageError, withSources } from "../failure.ts";
import { type OutputFile, readBytes, SourceFiles, writeFiles } from "../files.ts";
import { modelsOf } from "../models.ts";
import { harmless, painterFor, styleFor } from "../style.ts";
import { summary, type Written } from "../summary.ts";
import { targetsWith } from "../tune/index.ts";
import { version } from "../version.ts";
import { watch } from "../watch.ts";
import { formatWeights, loadWeights, storageOption, wasCompiled } from "../weights.ts";

export interface CompileFlags {
  readonly out: string;
  readonly model?: string;
  readonly set?: Readonly<Record<string, SetValue>>;
  readonly entry?: readonly string[];
  readonly bind?: Readonly<Record<string, number>>;
  readonly freeze?: readonly string[];
  readonly target?: readonly string[];
  readonly tuning?: readonly string[];
  readonly precision?: "f32" | Precision;
  readonly storage?: StorageName;
  readonly group?: number;
  readonly weights?: string;
  readonly runtime: "inline" | "import";
  readonly host?: "any" | "page";
  readonly minify?: boolean;
  readonly debug?: boolean;
  readonly emit?: Stage;
  readonly force?: boolean;
  readonly watch?: boolean;
}

export async function compileCommand(path: string, flags: CompileFlags): Promise<void> {
  if (flags.watch && path === "-") throw new UsageError("--watch needs a file that can change");
  if (!flags.watch) return compileOnce(path, flags);
  await watch("compile", async (looksAt) => {
    for (const file of [
      path,
      ...(flags.weights === undefined ? [] : [flags.weights]),
      ...(flags.tuning ?? []),
    ])
      looksAt(file);
    await compileOnce(path, flags, looksAt);
  });
}

async function compileOnce(
  path: string,
  flags: CompileFlags,
  looksAt?: (file: string) => void,
): Promise<void> {
  const files = new SourceFiles(path, looksAt);
  const models = modelsOf(files);
  const one = flags.weights !== undefined || flags.emit !== undefined;
  const wanted = flags.model ?? (one ? models.main : undefined);
  const names: readonly (string | undefined)[] =
    wanted !== undefined ? [wanted] : models.all.length ? models.all : [undefined];
  if (flags.model === undefined && one && models.all.length > 1) {
    const others = models.all.filter((m) => m !== wanted).join(", ");
    process.stderr.write(`${harmless(files.file)}: this is ${wanted}; --model picks another (${others})\n`);
  }

  const compiled: Compiled[] = [];
  let milliseconds = 0;
  for (const model of ofEntries(files, names, flags)) {
    const since = performance.now();
    compiled.push(compileModel(files, model, flags));
    milliseconds += performance.now() - since;
  }
  const warnings = compiled
    .flatMap((c) => c.diagnostics)
    .filter((d, i, all) => all.findIndex((e) => same(d, e)) === i);
  if (warnings.length)
    process.stderr.write(`${renderAll(warnings, files.source, painterFor(process.stderr))}\n`);

  for (const c of compiled)
    for (const step of c.stored?.leftOut ?? [])
      process.stderr.write(
        `${c.name}: ${step} is left out, since training updates weights as they are declared\n`,
      );

  if (flags.emit !== undefined) {
    const text = compiled.flatMap((c) =>
      // With f16, what is new about it.
      (flags.target ?? [undefined]).map((t) =>
        c.emit(flags.emit as Stage, t && [t, precisionOf(flags)].filter(Boolean).join("-")),
      ),
    );
    // The AST is the source's, whatever the targets.
    const parts = flags.emit === "ast" ? text.slice(0, 1) : text;
    process.stdout.write(`${parts.map((t) => t.trimEnd()).join("\n\n")}\n`);
    return;
  }

  const written: Written[] = [];
  const outputs: OutputFile[] = [];
  for (const c of compiled) {
    const stem = join(flags.out, models.moduleName(c.name));
    const { js, dts } = emitModule(c.artefact, {
      runtime: flags.runtime,
      minify: flags.minify,
      host: flags.host,
      source: basename(files.file),
      compiler: `mdl ${version()}`,
      notes: c.notes,
    });
    outputs.push({ path: `${stem}.js`, data: js }, { path: `${stem}.d.ts`, data: dts });
    const own: Written[] = [
      { path: `${stem}.js`, bytes: Buffer.byteLength(js), gzipped: gzippedBytes(js) },
      { path: `${stem}.d.ts`, bytes: Buffer.byteLength(dts) },
    ];
    if (flags.weights !== undefined) {
      const data = formatWeights(c.artefact, await loadWeights(c.artefact, flags.weights));
      const place = `${stem}.safetensors`;
      // Weights that lie where they are wanted stay as they are.
      if (resolve(place) !== resolve(flags.weights)) outputs.push({ path: place, data });
      own.push({ path: place, bytes: data.byteLength });
    }
    written.push(...own);
  }
  const twice = outputs.find((o, i) => outputs.findIndex((p) => samePlace(o.path, p.path)) !== i);
  if (twice)
    throw new InputFailure(
      `two models of ${files.file} would be written to ${twice.path}: compile one of them with --model`,
    );
  if (!flags.force) for (const { path, data } of outputs) refuseForeign(path, data);
  await writeFiles(outputs);
  const shown = written.map((w) => ({ ...w, path: nearer(w.path) }));
  process.stdout.write(await summary(files.file, compiled, shown, milliseconds, styleFor(process.stdout)));
}

/** By a thread of Node's own. */
const gzippedBytes = async (text: string): Promise<number> => (await promisify(gzip)(text)).byteLength;

/** With --entry and no --model, the models that have one of these entries. */
function ofEntries(
  files: SourceFiles,
  names: readonly (string | undefined)[],
  flags: CompileFlags,
): readonly (string | undefined)[] {
  if (!flags.entry || names.length < 2) return names;
  const entries = flags.entry;
  const having = names.filter((model) => {
    const { model: checked } = compileModel(files, model, { ...flags, entry: [] });
    const own = [...checked.entries.map((e) => e.name), ...checked.trains.map(blockEntry)];
    return entries.every((e) => own.includes(e) || (e === "train_step" && checked.trains.length === 1));
  });
  // None: the first says what it has.
  return having.length ? having : names.slice(0, 1);
}

const compileModel = (files: SourceFiles, model: string | undefined, flags: CompileFlags): Compiled =>
  withSources(files.source, () =>
    compile(files.text, files.file, {
      resolve: files.resolve,
      model,
      set: flags.set,
      entries: flags.entry,
      bind: flags.bind,
      freeze: flags.freeze,
      ...storageOption(flags),
      targets: targetsWith(flags.tuning ?? [], flags.target, precisionOf(flags)),
      minify: flags.minify,
      debug: flags.debug,
    }),
  );

const precisionOf = ({ precision }: CompileFlags): Precision | undefined =>
  precision === "f32" ? undefined : precision;

const same = (a: Compiled["diagnostics"][number], b: typeof a): boolean =>
  a.code === b.code &&
  a.message === b.message &&
  a.primary.span.file === b.primary.span.file &&
  a.primary.span.start === b.primary.span.start;

/** A path as short as it can be said from here. */
function nearer(path: string): string {
  const near = relative(process.cwd(), path);
  return near.startsWith("..") ? path : near;
}

/** Whether two paths are one file on a disk that does not tell upper from lower case. */
const samePlace = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/** What mdl wrote is replaced; a file of somebody else's, or weights that may be the only ones, is not. */
export function refuseForeign(path: string, data: Uint8Array | string): void {
  if (!existsSync(path) || !statSync(path).isFile()) return;
  let head: Buffer;
  let size: number;
  try {
    const file = openSync(path, "r");
    try {
      const bytes = Buffer.alloc(1 << 16);
      head = bytes.subarray(0, readSync(file, bytes));
      size = statSync(path).size;
    } finally {
      closeSync(file);
    }
  } catch {
    // Not readable: writing will say so.
    return;
  }
  if (size === 0) return;
  const isWeights = path.endsWith(".safetensors");
  const ours = isWeights
    ? wasCompiled(head)
    : /^\/\/ .*; do not edit\.$/m.test(head.toString("utf8", 0, 512));
  if (ours || (size === Buffer.byteLength(data) && Buffer.from(data as Uint8Array).equals(readBytes(path))))
    return;
  const whose = isWeights ? "holds weights that mdl did not write" : "was not written by mdl";
  throw new InputFailure(
    `${path} is there and ${whose}: choose another folder with -o, or replace it with --force`,
  );
}

export function parseStage(stages: readonly string[], text: string): Stage {
  if (!stages.includes(text)) throw new UsageError(`--emit takes one of ${stages.join(", ")}, given ${text}`);
  return text as Stage;
}
