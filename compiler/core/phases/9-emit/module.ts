// The last phase: an artefact becomes an ES module and its types. In: an artefact (data) and where it came from. Out: the
// text of `NAME.js`, self-contained unless the runtime is to be imported, and of `NAME.d.ts`.
import type { Artefact } from "../../../../runtime/core/program.ts";
import { InternalError } from "../../diagnostics/index.ts";
import { inferenceRuntimeText, trainingRuntimeText } from "../../generated/runtime-text.ts";
import { data, lineComment, oneLine, template } from "./text.ts";
import { emitTypes } from "./types.ts";

export interface EmitOptions {
  /** `inline`: the module holds its runtime; `import`: it imports `mdlc/runtime`. */
  readonly runtime: "inline" | "import";
  /** For the header: the source's file name, and the compiler's version. */
  readonly source?: string;
  readonly compiler?: string;
}

export interface EmittedModule {
  readonly js: string;
  readonly dts: string;
}

export function emitModule(artefact: Artefact, options: EmitOptions): EmittedModule {
  const from = options.source ? ` from ${oneLine(options.source)}` : "";
  const header = `${artefact.name}: made${from} by ${options.compiler ?? "mdl"}; do not edit.`;
  const { texts, ...rest } = artefact;
  const names = texts.map((_, i) => {
    const kernels = artefact.programs.flatMap((p) =>
      p.kernels.filter((k) => k.text === i).map((k) => k.name),
    );
    return [...new Set(kernels)].join(", ");
  });
  const js = `${lineComment(header)}${artefact.doc ? `\n//\n${lineComment(artefact.doc)}` : ""}

// WGSL, one text per kernel; programs refer to them by index.
const mdlTexts = [
${texts.map((text, i) => `${lineComment(`${i}: ${names[i]}`)}\n${template(text)},`).join("\n")}
];

const mdlArtefact = {
 texts: mdlTexts,
 ${data(rest, "").replace(/^\{\s*/, "")};

${options.runtime === "inline" ? inlined(artefact) : IMPORTED}
`;
  return { js, dts: emitTypes(artefact, header) };
}

const START = `const mdlLoad = (options) => mdlStart(mdlArtefact, options);
export { mdlArtefact as artefact, mdlLoad as load };`;

const IMPORTED = `import { load as mdlStart } from "mdlc/runtime";
export * from "mdlc/runtime";
${START}`;

/** The runtime's own text; its `load` is wrapped, its classes are exported on. */
function inlined(artefact: Artefact): string {
  const trains = artefact.programs.some((p) => p.entries.some((e) => e.train));
  const text = (trains ? trainingRuntimeText : inferenceRuntimeText).trim();
  // esbuild ends a bundle with its one export clause.
  const clause = /export\s*\{([^{}]*)\};?$/.exec(text);
  const exported = (clause?.[1] ?? "").split(",").map((part) => part.trim().split(/\s+as\s+/));
  const start = exported.find(([local, name]) => (name ?? local) === "load");
  if (!clause || !start) throw new InternalError("emit", "the runtime's text does not end with its exports");
  const others = exported
    .filter((e) => e !== start)
    .map(([local, name]) => (name ? `${local} as ${name}` : local));
  return `// The runtime${trains ? "" : ", without its training part"}.
${text.slice(0, clause.index).trimEnd()}
const mdlStart = ${start[0]};
${START}
export { ${others.join(", ")} };`;
}
