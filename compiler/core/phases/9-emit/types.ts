// The `.d.ts` of a module. In: an artefact. Out: types by name, dtype and shape for entries, inputs, results, training steps
// and parameters. It stands by itself: no import of mdl, no library of types beyond ES2020.
import type { Artefact, EntryPlan, Port } from "../../../../runtime/core/program.ts";
import { moduleTypesText } from "../../generated/runtime-text.ts";
import { docComment, key, lineComment, quote } from "./text.ts";

/**
 * What an entry cannot hide on a net: its own methods, what every object has, and `then`, which would make the net a
 * promise. Such entries are reached as `net.entries.NAME` (runtime/core/net.ts).
 */
export const OWN_NAMES: readonly string[] = [
  "name",
  "target",
  "device",
  "entries",
  "parameters",
  "getParameter",
  "setParameter",
  "save",
  "loadWeights",
  "snapshot",
  "restore",
  "reset",
  "profile",
  "memory",
  "dispose",
  "close",
  "then",
  ...Object.getOwnPropertyNames(Object.prototype),
];

const CLASSES = [
  "MdlRuntimeError",
  "InputError",
  "WeightsError",
  "UnsupportedError",
  "LimitError",
  "GpuError",
  "DeviceLostError",
  "DisposedError",
  "NonFiniteError",
];

export const typeText = ({ dtype, shapeText }: Port): string =>
  shapeText.length ? `${dtype}[${shapeText.join(", ")}]` : dtype;

const union = (names: readonly string[]): string => (names.length ? names.map(quote).join(" | ") : "never");

export function emitTypes(artefact: Artefact, header: string): string {
  // All programs of an artefact have the same entries.
  const { entries: own } = artefact.programs[0];
  const steps = own.filter((e) => e.train);
  const hasAlias = steps.length === 1 && !own.some((e) => e.name === "train_step");
  const entries = hasAlias ? [...own, { ...steps[0], name: "train_step" }] : own;
  const saved = [...artefact.params, ...artefact.state.filter((s) => s.role !== "internal")];
  const paths = saved.flatMap((s) => [s.path, ...s.aliases]);
  const hidden = entries.map((e) => e.name).filter((name) => OWN_NAMES.includes(name));
  const methods = hidden.length ? `Omit<Entries, ${union(hidden)}>` : "Entries";
  const doc = docComment([artefact.doc ?? "", "", `A loaded ${artefact.name}.`].slice(artefact.doc ? 0 : 2));
  return `${lineComment(header)}

${moduleTypesText.trim()}

/** Paths of parameters and buffers: the names in a safetensors file. */
export type ParameterPath = ${union(paths)};

export interface Entries {
${entries.map(method).join("\n")}
}

${doc}export interface Net extends NetBase<ParameterPath>, ${methods} {
  /** The entries by name, also those whose name is a method's. */
  readonly entries: Entries;
}

/** Opens the model: device, pipelines, weights. Nothing is compiled after it resolves. */
export declare function load(options?: LoadOptions): Promise<Net>;

/** The compiled programs, as data. */
export declare const artefact: { readonly version: number; readonly name: string };

export declare const Tensor: TensorConstructor;
${CLASSES.map((name) => `export declare const ${name}: abstract new (...args: never) => ${name};`).join("\n")}
`;
}

function method(entry: EntryPlan): string {
  const { inputs, outputs, train } = entry;
  const results = train
    ? outputs.filter((p) => p.name === train.loss || train.reports.includes(p.name))
    : outputs;
  const line = (p: Port): string => `- \`${p.name}\`: \`${typeText(p)}\`${p.doc ? `, ${p.doc}` : ""}`;
  const lines = [...(entry.doc ? [entry.doc, ""] : [])];
  if (inputs.length) lines.push("Inputs:", ...inputs.map(line), "");
  lines.push(train ? "Figures of the step:" : "Results:", ...results.map(line));

  const given = inputs.map((p) => `readonly ${key(p.name)}: Input<${quote(p.dtype)}>`).join("; ");
  const parameters = [inputs.length ? `inputs: { ${given} }` : "inputs?: {}"];
  let generic = "";
  let result: string;
  if (train) {
    // What is computed of others is called by its text, and nobody's to give.
    const own = entry.implicit.filter((i) => i.value !== undefined && /^\w+$/.test(i.name));
    const hyper = own.map((i) => i.name);
    parameters.push(`options?: StepOptions<${union(hyper)}>`);
    result = `StepResult<${union(train.reports)}>`;
  } else {
    const names = union(outputs.map((p) => p.name));
    const record = outputs.map((p) => `readonly ${key(p.name)}: Tensor<${quote(p.dtype)}>`).join("; ");
    // With several results, `outputs` says which of them there are.
    const several = outputs.length > 1;
    if (several) generic = `<K extends ${names} = ${names}>`;
    parameters.push(`options?: CallOptions<${several ? "K" : names}>`);
    result = several ? `Pick<{ ${record} }, K>` : `{ ${record} }`;
  }
  const head = `  ${key(entry.name)}${generic}(`;
  const tail = `): Promise<${result}>;`;
  const flat = `${head}${parameters.join(", ")}${tail}`;
  const signature =
    flat.length <= 110 ? flat : `${head}\n${parameters.map((p) => `    ${p},`).join("\n")}\n  ${tail}`;
  return `${docComment(lines, "  ")}${signature}`;
}
