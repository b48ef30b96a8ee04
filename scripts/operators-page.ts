// docs/operators.md: every operator of the language, from the definitions alone. In: nothing. Out: the page's text. `npm run
// docs` writes it; test/docs/operators.test.ts fails where the page is not what the definitions say.
import { dim, print as printDim, sym } from "../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../compiler/core/ir/build.ts";
import {
  type Dense,
  type DType,
  type OpDef,
  OpError,
  type OpExample,
  type OpParam,
  type Value,
} from "../compiler/core/ir/types.ts";
import { ANY, isFloat } from "../compiler/core/ops/define.ts";
import { type Argument, applyOp, byName, opFamilies } from "../compiler/core/ops/index.ts";
import { input } from "../compiler/core/ops/source.ts";
import { dense, evaluate } from "../compiler/core/reference/evaluate.ts";

const HEAD = `# Operators

What a program calls without importing it. This page is written from the definitions (\`npm run docs\`; a test holds it true); \`mdl ops NAME\` says the same in a terminal. The shapes are those of an example, with letters for its sizes; dtypes are those of its operands that are not indices or conditions. A literal adapts to the tensors beside it, and operators that work element by element broadcast ([dims and symbols](language.md#dims-and-symbols)). What numbers mean, at NaN and infinity too, is in [language.md](language.md#numbers).

Where the gradient is "by its definition", the operator is made of others, which are differentiated; where nothing is said of NaN and infinities, they pass as in PyTorch (\`test/figures/specials.json\`).
`;

const shown = (op: OpDef): readonly OpParam[] => op.params.filter((p) => !p.implicit);
const isTensor = (p: OpParam): boolean => p.kind === "tensor" || p.kind === "tensors";

// ---------------------------------------------------------------------------------------------- in words

function attrText(value: unknown, p?: OpParam): string {
  if (typeof value === "string") return p?.kind === "dtype" ? value : JSON.stringify(value);
  if (value === Number.POSITIVE_INFINITY) return "inf";
  if (value === Number.NEGATIVE_INFINITY) return "-inf";
  if (Array.isArray(value)) return `[${value.map((v) => attrText(v)).join(", ")}]`;
  return typeof value === "object" && value !== null ? printDim(value as never) : String(value);
}
function paramText(p: OpParam): string {
  if (p.default === undefined) return p.optional ? `${p.name}?` : p.name;
  const one = Array.isArray(p.default) && new Set(p.default).size === 1 ? p.default[0] : p.default;
  return `${p.name} = ${attrText(one, p)}`;
}
const signature = (op: OpDef): string => `${op.name}(${shown(op).map(paramText).join(", ")})`;

const gradientText = (op: OpDef): string =>
  !shown(op).some(isTensor)
    ? "nothing to take one by"
    : op.noGrad
      ? `none: ${op.noGrad}`
      : op.vjp
        ? "yes"
        : op.expand
          ? "by its definition"
          : "none";
const torchText = (op: OpDef): string => (op.torch === "" ? "" : `\`${op.torch ?? `torch.${op.name}`}\``);

// ------------------------------------------------------------------------------------------- an example

interface Call {
  readonly values: readonly Value[];
  readonly results: readonly Value[];
  readonly text: string;
  readonly names: readonly string[];
}
/** The example as a call: shapes by letters where `letters`, operands of one dtype in another where `to`. */
function call(op: OpDef, example: OpExample, letters: boolean, to?: { from: DType; dtype: DType }): Call {
  const b = createBuilder();
  const sizes = [...new Set(example.shapes.flat())].filter((n) => n > 1);
  const values = example.shapes.map((shape, i) => {
    const own = example.dtypes?.[i] ?? "f32";
    return b.make(input, [], {
      name: `v${i}`,
      dtype: to && own === to.from ? to.dtype : own,
      shape: shape.map((n) => (letters && n > 1 ? sym(LETTERS[sizes.indexOf(n)]) : dim(n))),
    });
  });
  const args: Record<string, Argument> = { ...(example.attrs as Record<string, Argument>) };
  const names: string[] = [];
  const written: string[] = [];
  let at = 0;
  for (const p of op.params) {
    if (!isTensor(p) || at >= values.length) continue;
    const own = p.kind === "tensors" ? values.slice(at) : [values[at]];
    at += own.length;
    args[p.name] = p.kind === "tensors" ? own : own[0];
    const labels = p.kind === "tensors" ? own.map((_, i) => `${p.name}${i}`) : [p.name];
    names.push(...labels.map((l) => (p.implicit ? "" : l)));
    const value = p.kind === "tensors" ? `[${labels.join(", ")}]` : p.name;
    if (!p.implicit) written.push(byName(op, p) ? `${p.name} = ${value}` : value);
  }
  const results = applyOp(b, op, args);
  const attrs = Object.entries(example.attrs ?? {}).flatMap(([k, v]) => {
    const p = op.params.find((q) => q.name === k || q.aliases?.includes(k));
    return p?.implicit || v === undefined ? [] : [`${k} = ${attrText(v, p)}`];
  });
  return { values, results, names, text: `${op.name}(${[...written, ...attrs].join(", ")})` };
}
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const typeText = (v: Value): string => `${v.type.dtype}[${v.type.shape.map(printDim).join(", ")}]`;
/** The call or nothing, where the definition refuses it. */
function tried(f: () => Call): Call | undefined {
  try {
    return f();
  } catch (e) {
    if (e instanceof OpError) return undefined;
    throw e;
  }
}

/** What the operands that are numbers may be. */
function dtypes(op: OpDef): readonly DType[] {
  if (!shown(op).some(isTensor)) return [];
  return ANY.filter((dtype) =>
    op.examples.some((e) => {
      const own = e.shapes.map((_, i) => e.dtypes?.[i] ?? "f32");
      const from = own.find(isFloat) ?? own[0];
      return from !== undefined && tried(() => call(op, e, false, { from, dtype })) !== undefined;
    }),
  );
}

/** Types before and after, and the numbers where they are few. */
function exampleText(op: OpDef): string | undefined {
  const said = op.examples.flatMap((example) => {
    const literal = tried(() => call(op, example, false));
    if (!literal) return [];
    const c = tried(() => call(op, example, true)) ?? literal;
    const left = c.values.flatMap((v, i) => (c.names[i] ? [`${c.names[i]}: ${typeText(v)}`] : []));
    const types = `${c.text}  // ${left.join(", ")}${left.length > 0 ? " -> " : ""}${c.results.map(typeText).join(", ")}`;
    const numbers = numbersText(literal, example);
    return [{ numbers, text: numbers ? `${types}\n${numbers}` : types }];
  });
  return (said.find((e) => e.numbers) ?? said[0])?.text;
}
const FEW = 8;
function numbersText(c: Call, example: OpExample): string | undefined {
  const count = (v: Value): number => v.type.shape.reduce((n, d) => n * Number(printDim(d)), 1);
  const many = [...c.values, ...c.results].some((v) => count(v) > FEW || count(v) === 0);
  if (many || c.values.length === 0 || c.names.some((n) => n === "")) return undefined;
  const data: Record<string, Dense> = {};
  let place = 0;
  c.values.forEach((v, i) => {
    const shape = v.type.shape.map((d) => Number(printDim(d)));
    const [low, high] =
      example.range ?? (isFloat(v.type.dtype) ? [-1, 1] : v.type.dtype === "bool" ? [0, 1] : [0, 4]);
    // The golden ratio's multiples are nowhere near each other.
    const drawn = Array.from({ length: count(v) }, () => {
      const u = (++place * 0.618034) % 1;
      return isFloat(v.type.dtype)
        ? Math.round(100 * (low + (high - low) * u)) / 100
        : Math.floor(low + (high - low + 1) * u);
    });
    data[`v${i}`] = dense(v.type.dtype, shape, drawn);
  });
  const graph = finishGraph({
    name: "example",
    inputs: c.values.map((v) => v.node),
    results: c.results.map((value, i) => ({ name: `y${i}`, value })),
    symbols: [],
  });
  const { results } = evaluate(graph, data);
  const given = c.values.map((_, i) => `${c.names[i]} = ${nested(data[`v${i}`])}`).join(", ");
  return `//   ${given}\n//   gives ${c.results.map((_, i) => nested(results[`y${i}`])).join(", ")}`;
}
const number = (dtype: DType, v: number): string =>
  dtype === "bool"
    ? v
      ? "true"
      : "false"
    : Number.isNaN(v)
      ? "nan"
      : Number.isFinite(v)
        ? String(Number(v.toPrecision(4)) + 0)
        : v > 0
          ? "inf"
          : "-inf";
function nested({ dtype, shape, data }: Dense, axis = 0, at = 0): string {
  if (axis === shape.length) return number(dtype, data[at]);
  const step = shape.slice(axis + 1).reduce((n, d) => n * d, 1);
  const parts = Array.from({ length: shape[axis] }, (_, i) =>
    nested({ dtype, shape, data }, axis + 1, at + i * step),
  );
  return `[${parts.join(", ")}]`;
}

// ---------------------------------------------------------------------------------------------- the page

function operatorText(op: OpDef): string {
  const types = dtypes(op);
  const facts = [
    types.length > 0 ? types.map((t) => `\`${t}\``).join(" ") : "",
    `gradient: ${gradientText(op)}`,
    torchText(op) ? `PyTorch: ${torchText(op)}` : "PyTorch has none of it by itself",
  ].filter(Boolean);
  const notes = shown(op).filter((p) => p.doc);
  const also = shown(op).filter((p) => p.aliases);
  const more = [
    ...notes.map((p) => `\`${p.name}\`: ${p.doc}`),
    ...also.map(
      (p) => `\`${p.name}\` may be written ${(p.aliases ?? []).map((a) => `\`${a}\``).join(" or ")}`,
    ),
  ];
  const example = exampleText(op);
  return [
    `### ${op.name}`,
    `\`${signature(op)}\``,
    op.doc,
    ...(more.length > 0 ? [`${more.join("; ")}.`] : []),
    `${facts.join("; ")}.`,
    ...(example ? [`\`\`\`text\n${example}\n\`\`\``] : []),
  ].join("\n\n");
}

/** The page. */
export function operatorsPage(): string {
  const families = opFamilies
    .map(({ title, ops }) => ({ title, ops: ops.filter((op) => op.exposed !== false) }))
    .filter(({ ops }) => ops.length > 0);
  const anchor = (title: string): string =>
    title
      .toLowerCase()
      .replace(/[^a-z ]/g, "")
      .replaceAll(" ", "-");
  const contents = families.map(
    ({ title, ops }) => `- [${title}](#${anchor(title)}): ${ops.map((op) => op.name).join(", ")}`,
  );
  const count = families.reduce((n, { ops }) => n + ops.length, 0);
  return [
    HEAD,
    `${count} operators:\n\n${contents.join("\n")}\n`,
    ...families.map(({ title, ops }) => `## ${title}\n\n${ops.map(operatorText).join("\n\n")}\n`),
  ].join("\n");
}
