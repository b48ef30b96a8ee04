// The last phase: an artefact becomes an ES module and its types. In: an artefact (data) and where it came from. Out: the
// text of `NAME.js`, self-contained unless the runtime is to be imported, and of `NAME.d.ts`.

import type { Artefact, Init, Notes } from "../../../../runtime/core/program.ts";
import { InternalError } from "../../diagnostics/index.ts";
import { notingText, runtimes } from "../../generated/runtime-text.ts";
import { quantizeCommand, type Storage, storageText } from "../../storage.ts";
import { ownOf, spelled } from "./brief.ts";
import { alikeTogether } from "./order.ts";
import { pack } from "./pack.ts";
import { data, flatData, lineComment, oneLine, template } from "./text.ts";
import { emitTypes } from "./types.ts";

export interface EmitOptions {
  /** `inline`: the module holds its runtime; `import`: it imports `mdlc/runtime`. */
  readonly runtime: "inline" | "import";
  /**
   * Where it will run. `any` by default; `page` leaves out what an inlined runtime knows of Node (paths, and Dawn where no
   * GPU is handed in).
   */
  readonly host?: "any" | "page";
  /** Data and runtime in as few bytes as it takes; texts of kernels are what `compile` made (its option `minify`). */
  readonly minify?: boolean;
  /** For the header: the source's file name, and the compiler's version. */
  readonly source?: string;
  readonly compiler?: string;
  /** Of a debug build: what calls print and test. */
  readonly notes?: Notes;
}

export interface EmittedModule {
  readonly js: string;
  readonly dts: string;
}

export function emitModule(artefact: Artefact, options: EmitOptions): EmittedModule {
  const from = options.source ? ` from ${oneLine(options.source)}` : "";
  const header = `${artefact.name}: made${from} by ${options.compiler ?? "mdl"}; do not edit.`;
  const written = options.minify ? artefact.texts.map(ownOf) : artefact.texts;
  const order = alikeTogether(written);
  const texts = order.map((i) => (options.minify ? spelled(written[i]) : written[i]));
  const told = options.minify ? undocumented(artefact) : artefact;
  const { texts: _, ...rest } = pack(ordered(told, order));
  const parts = options.minify
    ? [
        lineComment(header),
        `const mdlArtefact={texts:[\n${texts.map(template).join(",\n")}\n],${flatData(rest, "").slice(1)};`,
      ]
    : [
        `${lineComment(header)}${artefact.doc ? `\n//\n${lineComment(artefact.doc)}` : ""}\n`,
        "// Texts of kernels; the rows of kernels refer to them by index.",
        `const mdlTexts = [\n${texts.map((text, i) => `// ${i}\n${template(text)},`).join("\n")}\n];\n`,
        "// Everything else, as data: see Packed in mdlc/runtime.",
        `const mdlArtefact = {\n texts: mdlTexts,\n ${data(rest, "").replace(/^\{\s*/, "")};\n`,
      ];
  const js = `${parts.join("\n")}\n${options.runtime === "inline" ? inlined(artefact, options) : imported(artefact, options)}\n`;
  return { js, dts: emitTypes(withoutNoted(artefact, options.notes), header) };
}

/** Without doc comments, which no runtime reads: the types have them. */
function undocumented({ doc: _, ...artefact }: Artefact): Artefact {
  const without = <T extends { readonly doc?: string }>({ doc: _, ...rest }: T): T => rest as T;
  return {
    ...artefact,
    programs: artefact.programs.map((p) => ({
      ...p,
      entries: p.entries.map((e) => ({
        ...without(e),
        inputs: e.inputs.map(without),
        outputs: e.outputs.map(without),
      })),
    })),
  };
}

function ordered(artefact: Artefact, order: readonly number[]): Artefact {
  const at = new Map(order.map((old, i) => [old, i]));
  return {
    ...artefact,
    texts: order.map((i) => artefact.texts[i]),
    programs: artefact.programs.map((p) => ({
      ...p,
      kernels: p.kernels.map((k) => ({ ...k, text: at.get(k.text) as number })),
    })),
  };
}

/** Without the entries that compute what is noted, which a caller does not see. */
function withoutNoted(artefact: Artefact, notes: Notes | undefined): Artefact {
  if (!notes) return artefact;
  const own = new Set(Object.values(notes).map((n) => n.by));
  const programs = artefact.programs.map((p) => ({
    ...p,
    entries: p.entries.filter((e) => !own.has(e.name)),
  }));
  return { ...artefact, programs };
}

/** What calls `start` in a debug build, and prints and tests; `failure` is the class of what it throws. */
const noting = (notes: Notes, start: string, failure: string): string =>
  `// What print and assert say.
${notingText}
const mdlStart = mdlNoting(${start}, ${data(notes, "")}, ${failure});`;

/** How the module is loaded. Of stored weights, what refuses others says what makes them. */
const startOf = ({ storage }: Artefact): string =>
  storage
    ? `const mdlTold = (error) => {
  if (error?.code === "weights-mismatch") error.message += ${JSON.stringify(STORED(storage))};
  throw error;
};
const mdlLoad = async (options) => {
  const net = await mdlStart(mdlArtefact, options).catch(mdlTold);
  const loadWeights = net.loadWeights.bind(net);
  net.loadWeights = (...given) => loadWeights(...given).catch(mdlTold);
  return net;
};
export { mdlArtefact as artefact, mdlLoad as load };`
    : START;
const STORED = (storage: Storage): string =>
  `; this module reads ${storageText(storage)}, which "${quantizeCommand(storage, "FILE")}" makes of f32`;

const START = `const mdlLoad = (options) => mdlStart(mdlArtefact, options);
export { mdlArtefact as artefact, mdlLoad as load };`;

const imported = (artefact: Artefact, { notes }: EmitOptions): string => `${
  notes
    ? `import { load as mdlPlain, MdlRuntimeError as mdlFailure } from "mdlc/runtime";
${noting(notes, "mdlPlain", "mdlFailure")}`
    : `import { load as mdlStart } from "mdlc/runtime";`
}
export * from "mdlc/runtime";
${startOf(artefact)}`;

/** What runtime/core/few-inits.ts draws. */
const USUAL: readonly Init["kind"][] = ["constant", "uniform", "normal"];

/** The parts of the runtime that a module does without, in the order in which `runtimes` names them. */
function unused(artefact: Artefact, { host = "any" }: EmitOptions): string[] {
  const entries = artefact.programs.flatMap((p) => p.entries);
  const trains = entries.some((e) => e.train);
  // Modules with rare initial values are few: all of them have all else, but for training.
  const inits = [...artefact.params, ...artefact.state].some((s) => !USUAL.includes(s.init.kind));
  const left = {
    inits: !inits,
    node: host === "page",
    indexes: !inits && !entries.some((e) => e.inputs.some((p) => p.indexes?.length)),
    train: !trains,
    recovery: !inits && !trains && !entries.some((e) => e.writesParams.length + e.writesState.length > 0),
  };
  return Object.entries(left).flatMap(([part, out]) => (out ? [part] : []));
}

/** The runtime's own text; its `load` is wrapped, its classes are exported on. */
function inlined(artefact: Artefact, options: EmitOptions): string {
  const without = unused(artefact, options);
  const made = runtimes[without.join()];
  let at = 0;
  const lines = made.lines.map((length) => {
    at += length;
    return made.text.slice(at - length, at);
  });
  const text = options.minify ? made.text : [...lines, made.text.slice(at)].join("\n");
  // A bundle ends with its one export clause.
  const clause = /export\s*\{([^{}]*)\};?$/.exec(text);
  const exported = (clause?.[1] ?? "").split(",").map((part) => part.trim().split(/\s+as\s+/));
  const start = exported.find(([local, name]) => (name ?? local) === "load");
  if (!clause || !start) throw new InternalError("emit", "the runtime's text does not end with its exports");
  const others = exported
    .filter((e) => e !== start)
    .map(([local, name]) => (name ? `${local} as ${name}` : local));
  const failure = exported.find(([local, name]) => (name ?? local) === "MdlRuntimeError") ?? [];
  const begin = options.notes ? noting(options.notes, start[0], failure[0]) : `const mdlStart = ${start[0]};`;
  const left = without.length > 0 ? `, without what it does not use (${without.join(", ")})` : "";
  return `${options.minify ? "" : `// The runtime${left}.\n`}${text.slice(0, clause.index).trimEnd()}
${begin}
${startOf(artefact)}
export { ${others.join(", ")} };`;
}
