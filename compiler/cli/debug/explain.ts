// Why a call or a training step was bad, as a diagnostic: the tensor, the source line it first appeared at, and what it was made
// of. In: the call, to be made once more. Out: a diagnostic, or nothing where the call made again is good.
import type { AnyArray } from "../../../runtime/core/tensor.ts";
import { evaluateHost } from "../../../runtime/core/train.ts";
import {
  blockEntry,
  type CheckedModel,
  type Diagnostic,
  debugging,
  type Value as Node,
  type Span,
  typeText,
} from "../../core/index.ts";
import { InputFailure } from "../failure.ts";
import type { Value } from "../inputs.ts";
import type { Result } from "../print-tensor.ts";
import type { SourceModel } from "../runnable.ts";
import { count } from "../style.ts";
import { type Call, observe, tensorsOf, type Where } from "./observe.ts";
import { badText, firstBad, short, statsOf } from "./stats.ts";

/** What a training step goes by beside its batch and the model's tensors. */
export interface StepNumbers {
  /** The number of the step: schedules follow it. */
  readonly step: number;
  readonly totalSteps?: number;
  /** In place of what the train block says: `{ lr: 1e-4 }`. */
  readonly hyper?: Readonly<Record<string, number>>;
}

/**
 * Makes the call again in a debug build and says where NaN or infinity first came from. `model`: checked by `source.watched`;
 * `entry`: an entry, or a train block's own; a step's optimiser state is among the call's tensors (as it begins where not).
 * A bad step has changed nothing: what it began with is what is there after it.
 */
export async function explainBad(
  source: SourceModel,
  model: CheckedModel,
  entry: string,
  call: Call,
  where: Where,
  numbers: StepNumbers = { step: 0 },
): Promise<Diagnostic | undefined> {
  const block = model.trains.find((t) => blockEntry(t) === entry);
  const train = block && block.rules.length > 0 ? block : undefined;
  const debugged = debugging.debugEntry(model, entry);
  const { reference, artefact } = source.build(model, { targets: [], entries: [entry] });
  const step = train && debugging.lookThroughStep(model, reference, train);
  // A block without an update gives its parameters' gradients.
  const given = debugged.values.filter((w) => w.kind === "gradient" && block?.update.includes(w.name));
  const gives = debugging.keeping(
    debugged.entry,
    given.map((w) => w.value),
  );
  const replay = step ?? debugging.lookThrough(gives.entry);
  const inputs: Record<string, Value> = { ...call.inputs };
  const hyper = step ? hyperOf(step.hyper, numbers) : {};
  if (step) {
    const first = tensorsOf(artefact, undefined, call.seed);
    for (const { path, type } of step.state) {
      const data = call.tensors.get(path) ?? (first.get(path) as AnyArray);
      inputs[path] = { data, shape: type.shape.map((d) => Number(d.key)) };
    }
    if (Object.keys(hyper).length > 0) inputs[debugging.HYPER] = Float32Array.from(Object.values(hyper));
  }
  const again = { ...call, inputs };
  const counted = await observe(source, model, replay.entry, again, where);
  // Gradients that overflow at a loss scale are passed over.
  if (step && Number(counted.results.bad_step.data[0]) === 0) return undefined;
  const counts = counted.results[debugging.COUNTS];
  const origin = counts && debugging.originIn(replay, counts.data);
  if (!origin) return undefined;
  const { entry: kept, outputs } = debugging.keeping(
    replay.plain,
    origin.shown.map((s) => s.value),
  );
  const { results } = await observe(source, model, kept, again, where);
  const dataOf = (v: Node): Result | undefined => {
    const at = origin.shown.find((s) => s.of === v)?.value;
    return at && results[outputs.get(at) as string];
  };
  // The name that is nearest to where it is used.
  const known = (v: Node): debugging.Watched | undefined => debugged.values.findLast((w) => w.value === v);
  const nameOf = (v: Node): string | undefined => known(v)?.name;
  return say({
    origin,
    dataOf,
    nameOf,
    spanOf: (v) => v.node.origin.span ?? known(v)?.span,
    within: train ? `step ${numbers.step} of ${train.name}: ` : "",
    otherwise: debugged.entry.span,
    member: (total, element) => debugging.memberAt(reference, total, element),
    hyper,
  });
}

/** A step's numbers, as the runtime has them. */
function hyperOf(
  exprs: Parameters<typeof evaluateHost>[0] extends infer E ? Readonly<Record<string, E>> : never,
  { step, totalSteps, hyper = {} }: StepNumbers,
): Record<string, number> {
  const names: Record<string, number | undefined> = { step, total_steps: totalSteps, ...hyper };
  return Object.fromEntries(
    Object.entries(exprs).map(([name, expr]) => {
      const value = hyper[name] ?? evaluateHost(expr as never, names);
      if (!Number.isFinite(Math.fround(value)))
        throw new InputFailure(`${name} is ${value} at step ${step}; it must be a finite number`);
      names[name] = value;
      return [name, value];
    }),
  );
}

interface Found {
  readonly origin: debugging.Origin;
  readonly dataOf: (v: Node) => Result | undefined;
  readonly nameOf: (v: Node) => string | undefined;
  readonly spanOf: (v: Node) => Span | undefined;
  readonly within: string;
  readonly otherwise: Span;
  readonly member: (total: number, element: number) => string | undefined;
  /** The numbers of the step. */
  readonly hyper: Readonly<Record<string, number>>;
}

const LEAVES: Readonly<Record<string, string>> = {
  input: "the input",
  param: "the parameter",
  state: "the buffer",
};

function say({ origin, dataOf, nameOf, spanOf, within, otherwise, member, hyper }: Found): Diagnostic {
  const { value } = origin;
  const { node } = value;
  const data = dataOf(value);
  const where = data && firstBad(data.data as ArrayLike<number>, data.shape);
  const bad = `${badText(origin)} in ${count(data?.data.length ?? 0, "element")}${where ? `, first at ${where}` : ""}`;
  const leaf = LEAVES[node.op.name];
  const gradient = node.origin.derived.find((d) => d.startsWith("gradient of "));
  const span = spanOf(value);
  const flat = span === undefined && data ? partOf(data, member) : undefined;
  const what = leaf
    ? `${leaf} ${String(node.attrs.path ?? node.attrs.name)} holds`
    : span === undefined
      ? `the update${flat ? ` of ${flat}` : ""} gives`
      : `${gradient ?? operatorOf(node)} gives`;
  const operands = leaf ? [] : [...new Set(node.inputs)];
  // Operands of the update are all parameters at once.
  const numbers = Object.entries(hyper)
    .filter(([name]) => /^\w+$/.test(name))
    .map(([name, x]) => `${name} = ${short(x)}`);
  const update = numbers.length ? [`with ${numbers.join(", ")}`] : [];
  const own = operands.flatMap((v, i) => {
    const of = dataOf(v);
    return of ? [`${nameOf(v) ?? `operand ${i + 1}`} is ${rangeText(of)}`] : [];
  });
  const name = nameOf(value);
  return {
    code: "E1201",
    severity: "error",
    message: `${within}${what} ${bad}`,
    primary: {
      span: span ?? otherwise,
      text: [gradient ? "" : name, typeText(value.type)].filter(Boolean).join(": "),
    },
    secondary: [],
    notes: span === undefined ? update : own,
    calls: node.origin.calls.slice(-3).reverse(),
    ...(node.origin.path === "" ? {} : { path: node.origin.path }),
    ...helpFor(
      operands.flatMap((v) => dataOf(v) ?? []),
      operatorOf(node),
      gradient?.slice("gradient of ".length),
    ),
  };
}

/** As the author called it. */
export const operatorOf = ({ op, attrs }: Node["node"]): string =>
  op.name === "custom" ? String(attrs.name) : op.name;

/** What to look at, where the operands say it. */
function helpFor(
  operands: readonly Result[],
  op: string,
  gradient: string | undefined,
): { readonly help?: string } {
  const numbers = operands.map((o) => Array.from(o.data as ArrayLike<number>));
  const last = numbers.at(-1) ?? [];
  const zero = numbers.some((list) => list.some((x) => x === 0));
  if (gradient && ["sqrt", "rsqrt", "log", "log2", "norm", "div", "pow"].includes(gradient) && zero)
    return { help: `${gradient} has no finite gradient at 0: add a little, such as ${gradient}(x + 1e-12)` };
  if (["log", "log2", "rsqrt", "sqrt"].includes(op) && last.some((x) => x <= 0))
    return { help: `keep what ${op} is taken of above 0: ${op}(maximum(x, 1e-6)), or x + 1e-6` };
  if (op === "div" && last.some((x) => x === 0))
    return { help: "keep the divisor away from 0: x / (y + 1e-6)" };
  if (op === "exp" && last.some((x) => x > 88))
    return { help: "exp overflows above 88: take the largest off first, or use softmax or log_softmax" };
  return {};
}

function partOf({ data }: Result, member: Found["member"]): string | undefined {
  const list = data as ArrayLike<number>;
  for (let i = 0; i < list.length; i++) if (!Number.isFinite(list[i])) return member(list.length, i);
  return undefined;
}

/** `f32[32, 10], 0 to 0.93, 12 of it 0`. */
export function rangeText({ dtype, shape, data }: Result): string {
  const list = data as ArrayLike<number>;
  const stats = statsOf(list);
  const type = shape.length ? `${dtype}[${shape.join(", ")}]` : dtype;
  const zero = Array.from(list).filter((x) => x === 0).length;
  const parts = [
    stats.min === undefined
      ? ""
      : stats.min === stats.max
        ? short(stats.min)
        : `${short(stats.min)} to ${short(stats.max)}`,
    zero && stats.count > 1 ? `${zero} of it 0` : "",
    badText(stats),
  ];
  return [type, ...parts].filter(Boolean).join(", ");
}
