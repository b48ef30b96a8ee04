// `mdl ops`: what a program can use without declaring it, as the compiler defines it: operators, the standard library,
// initialisers, static functions, optimisers, schedules and penalties; in tables or one by one.
import {
  type Attr,
  applyOp,
  byName,
  closest,
  createBuilder,
  dim,
  exposedOps,
  type OpDef,
  type OpExample,
  type OpParam,
  opForCall,
  sources,
  spatialAxes,
  typeText,
  vocabulary,
  type Word,
} from "../../core/index.ts";
import { UsageError } from "../failure.ts";
import { count, type Style, styleFor, table } from "../style.ts";

export function opsCommand(name: string | undefined): void {
  const style = styleFor(process.stdout);
  if (name === undefined) {
    process.stdout.write(allText(style));
    return;
  }
  const words = vocabulary().filter((w) => w.name === name);
  const ops = operators(name);
  if (ops.length + words.length === 0) {
    const near = closest(name, [...exposedOps.map((op) => op.name), ...vocabulary().map((w) => w.name)]);
    throw new UsageError(
      `there is no ${name} in the language${near ? `; did you mean ${near}?` : ""} (mdl ops lists what there is)`,
    );
  }
  process.stdout.write(
    [...ops.map((op) => oneText(op, style)), ...words.map((w) => wordText(w, style))].join("\n"),
  );
}

const HEADINGS: Readonly<Record<Word["kind"], string>> = {
  layer: "layers",
  fn: "fns",
  initialiser: "initialisers, of a param or buffer",
  function: "functions on static values, lists and fns",
  optimiser: "optimisers, behind with in a train block",
  schedule: "schedules, for lr and weight_decay; step and total_steps are names there",
  penalty: "penalties, in minimize",
};

function wordText(w: Word, style: Style): string {
  const lines = [w.signature.replace(w.name, style.cyan(w.name)), ""];
  if (w.doc) lines.push(...wrapped(w.doc), "");
  if (w.module) lines.push(`  import { ${w.name} } from "${w.module}"`, "");
  else lines.push(`  ${style.dim(`one of the ${HEADINGS[w.kind]}`)}`, "");
  if (w.source) lines.push(...w.source.split("\n").map((line) => `    ${line}`.trimEnd()));
  return `${lines.join("\n").trimEnd()}\n`;
}

const shown = (op: OpDef): OpParam[] => op.params.filter((p) => !p.implicit);

function attrText(value: Attr): string {
  if (Array.isArray(value)) return `[${value.map((v) => attrText(v as Attr)).join(", ")}]`;
  if (typeof value === "object") return "…";
  return String(value);
}

const isWord = (op: OpDef, name: string): boolean =>
  op.params.some((p) => p.name === name && p.kind === "name");

/** Words are written in quotes, dtypes without. */
const defaultText = (p: OpParam): string => {
  if (p.kind === "name") return JSON.stringify(p.default);
  return attrText(Array.isArray(p.default) && p.default.length === 1 ? p.default[0] : p.default);
};

function paramText(p: OpParam): string {
  if (p.default !== undefined) return `${p.name} = ${defaultText(p)}`;
  return p.optional ? `${p.name}?` : p.name;
}

export const signature = (op: OpDef): string => `${op.name}(${shown(op).map(paramText).join(", ")})`;

const firstSentence = (doc: string): string => /^[\s\S]*?[^.][.](?=\s|$)/.exec(doc)?.[0] ?? doc;
const flat = (text: string): string => text.replace(/\s+/g, " ").trim();

function allText(style: Style): string {
  const words = vocabulary();
  const sections = new Map<string, (readonly [call: string, name: string, doc: string])[]>([
    ["operators", exposedOps.map((op) => [signature(op), op.name, flat(firstSentence(op.doc))])],
  ]);
  for (const w of words) {
    const heading = w.module ? `${HEADINGS[w.kind]} of ${w.module}` : HEADINGS[w.kind];
    const rows = sections.get(heading) ?? [];
    rows.push([w.signature, w.name, flat(firstSentence(w.doc))]);
    sections.set(heading, rows);
  }
  const parts = [...sections].map(([heading, rows]) => {
    const lines = rows.map(([call, name, doc]) => {
      const shown = call.replace(name, style.cyan(name));
      // A signature longer than the column goes on by itself.
      const gap = call.length > NARROW ? `\n  ${" ".repeat(NARROW)}` : " ".repeat(NARROW - call.length);
      return `  ${shown}${doc ? `${gap}  ${style.dim(doc)}` : ""}`;
    });
    return `${style.bold(heading)}\n${lines.join("\n")}`;
  });
  return `${parts.join("\n\n")}\n\n${count(exposedOps.length, "operator")} and ${count(words.length, "further name")}; mdl ops NAME says more about one, as in mdl ops conv2d\n`;
}

/** Width of the column of signatures. */
const NARROW = 44;

const colored = (op: OpDef, style: Style): string =>
  style.cyan(op.name) + signature(op).slice(op.name.length);

/** `max` of two tensors and of one are two operators. */
const operators = (name: string): OpDef[] => [
  ...new Set([opForCall(name, 1), opForCall(name, 2)].filter((op) => op !== undefined)),
];

const KINDS: Readonly<Record<OpParam["kind"], string>> = {
  tensor: "tensor",
  tensors: "list of tensors",
  int: "integer",
  ints: "list of integers",
  float: "number",
  bool: "true or false",
  name: "word",
  dim: "size",
  dims: "list of sizes",
  axis: "axis, may be negative",
  axes: "axes, may be negative",
  tuple: "integer, or a list of them",
  dtype: "dtype",
};

/** What is given: words where there are few, a list's length by what its numbers are. */
function kindText(p: OpParam): string {
  if (p.among) return p.among.map((w) => JSON.stringify(w)).join(" or ");
  if (p.kind !== "tuple" || p.length === undefined) return KINDS[p.kind];
  const names = spatialAxes(p.length).map((a) => a.word);
  return p.length === 1 ? "integer" : `integer, or [${names.join(", ")}]`;
}

const FUSES: Readonly<Record<OpDef["fuses"], string>> = {
  source: "a source: read where it is used",
  map: "element-wise: fuses with whatever is around it",
  view: "movement: index arithmetic, no kernel of its own",
  fold: "a reduction: a kernel, with what is before and after fused into it",
  composite: "made of other operators, or one kernel where a family takes it whole",
  algorithm: "several kernels of one family, whose cost is what the operands' size is",
  control: "holds a graph and runs it",
  pack: "operands are written straight into the result",
};

function oneText(op: OpDef, style: Style): string {
  const lines = [colored(op, style), "", ...wrapped(op.doc), ""];
  const params = shown(op).map((p) => {
    const kind = kindText(p);
    const more = [
      p.optional && p.default === undefined ? "may be left out" : "",
      p.aliases ? `also ${p.aliases.join(", ")}` : "",
      p.doc ?? "",
    ];
    return [
      style.cyan(p.name),
      p.default === undefined ? kind : `${kind}, ${defaultText(p)} if not given`,
      more.filter(Boolean).join("; "),
    ];
  });
  if (params.length) lines.push(table(params), "");
  const gradient = op.vjp
    ? "yes"
    : op.expand
      ? "by what it is made of"
      : `none${op.noGrad ? `: ${op.noGrad}` : ""}`;
  lines.push(
    table([
      [style.dim("gradient"), gradient],
      [style.dim("fusion"), FUSES[op.fuses]],
    ]),
  );
  const examples = op.examples.map((e) => exampleText(op, e)).filter((text) => text !== undefined);
  if (examples.length)
    lines.push("", style.dim("  examples"), ...examples.slice(0, 6).map((text) => `  ${text}`));
  return `${lines.join("\n")}\n`;
}

function wrapped(text: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of flat(text).split(" ")) {
    if (line.length + word.length > 96) {
      lines.push(`  ${line}`);
      line = "";
    }
    line += line ? ` ${word}` : word;
  }
  return [...lines, `  ${line}`];
}

/** `conv2d(x, weight, padding = 1)   x: f32[…], weight: f32[…] -> f32[…]`: a call that the compiler itself has judged. */
function exampleText(op: OpDef, example: OpExample): string | undefined {
  const b = createBuilder();
  const tensors = op.params.filter((p) => p.kind === "tensor" || p.kind === "tensors");
  const values = example.shapes.map((shape, i) =>
    b.make(sources.input, [], {
      name: `v${i}`,
      dtype: example.dtypes?.[i] ?? "f32",
      shape: shape.map((d) => dim(d)),
    }),
  );
  const args: Record<string, unknown> = { ...example.attrs };
  const names: string[] = [];
  const types: string[] = [];
  let at = 0;
  for (const p of tensors) {
    if (p.implicit || at >= values.length) continue;
    const own = p.kind === "tensors" ? values.slice(at) : [values[at]];
    at += own.length;
    args[p.name] = p.kind === "tensors" ? own : own[0];
    const labels = p.kind === "tensors" ? own.map((_, i) => `${p.name}${i}`) : [p.name];
    const value = p.kind === "tensors" ? `[${labels.join(", ")}]` : p.name;
    names.push(byName(op, p) ? `${p.name} = ${value}` : value);
    labels.forEach((l, i) => void types.push(`${l}: ${typeText(own[i].type)}`));
  }
  try {
    const results = applyOp(b, op, args as Parameters<typeof applyOp>[2]);
    const attrs = Object.entries(example.attrs ?? {})
      .filter(([, v]) => v !== undefined)
      .map(([k, v]) => `${k} = ${isWord(op, k) ? JSON.stringify(v) : attrText(v as Attr)}`);
    const result = results.map((v) => typeText(v.type)).join(", ");
    return `${op.name}(${[...names, ...attrs].join(", ")})  // ${types.join(", ")} -> ${result}`;
  } catch {
    // An example of the graph's own form that a call cannot say.
    return undefined;
  }
}
