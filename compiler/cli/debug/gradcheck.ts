// Gradients compared: on a device against the reference evaluator, and that against finite differences. In: a call. Out: errors by
// parameter, and the first line that differs: of a device, the first value in the order of the graph whose operands agree; of a
// rule, the operator behind which the gradient is right, and before which it is not.
import { drawKey, randomBits, uniformFromBits } from "../../../runtime/core/threefry.ts";
import {
  type CheckedEntry,
  type Dense,
  type Diagnostic,
  debugging,
  dense,
  type Value as Node,
  typeText,
} from "../../core/index.ts";
import type { Result } from "../print-tensor.ts";
import type { SourceModel } from "../runnable.ts";
import type { Opened } from "./call.ts";
import { operatorOf } from "./explain.ts";
import { byReference, type Call, evaluator, observe, type Where } from "./observe.ts";
import { indexOf, short } from "./stats.ts";

export interface GradcheckOptions extends Where {
  /** Elements of each gradient that finite differences are taken by. */
  readonly samples: number;
  /** Of errors, as parts of the largest element. */
  readonly tolerance?: number;
}
export interface CheckedGradient {
  readonly name: string;
  readonly of: "parameter" | "input" | "value";
  /** By the reference. */
  readonly result: Result;
  readonly largest: number;
  /** Errors as parts of the largest element: of the device, and of the reference against finite differences. */
  readonly device?: number;
  readonly deviceFine?: boolean;
  readonly differences: number;
  readonly differencesFine: boolean;
  readonly fine: boolean;
}
export interface Checked {
  /** The target that was compared, where there was one. */
  readonly by: string | undefined;
  readonly loss: number;
  readonly gradients: readonly CheckedGradient[];
  /** How many finite differences were taken. */
  readonly samples: number;
  readonly right: boolean;
  readonly problem: Diagnostic | undefined;
}

/** What single precision may lose, and half; of finite differences in double precision. */
const DEVICE = { f32: 2e-3, f16: 5e-2 };
const DIFFERENCES = 1e-4;

export async function checkGradients(
  source: SourceModel,
  { model, call: given, debugged }: Opened,
  entry: string,
  options: GradcheckOptions,
): Promise<Checked> {
  const own = debugging.gradientEntry(model, entry);
  const weighed = weights(source, own, given, debugging.alone(model, debugged.entry), debugged.entry);
  const call: Call = { ...given, inputs: { ...given.inputs, ...weighed } };
  const { entry: kept, outputs } = debugging.keeping(
    own.entry,
    own.gradients.map((g) => g.gradient),
  );
  const exact = byReference(source, debugging.alone(model, kept), kept, call, false);
  const wanted = (g: debugging.Gradient): string => outputs.get(g.gradient) as string;
  const onDevice = options.device === "cpu" ? undefined : await observe(source, model, kept, call, options);
  const by = onDevice?.by === "reference" ? undefined : onDevice?.by;

  const evaluate = evaluator(source, debugging.alone(model, own.entry), own.entry, call, false);
  const lossAt = (instead: Readonly<Record<string, Dense>>): number => Number(evaluate(instead).loss.data[0]);
  const loss = Number(exact.loss?.data[0] ?? 0);
  let samples = 0;
  const gradients = own.gradients.map((g): CheckedGradient => {
    const result = exact[wanted(g)];
    const data = result.data as ArrayLike<number>;
    const half = g.value.type.dtype === "f16";
    const scale = largestOf(data);
    const tolerance = options.tolerance ?? (half ? DEVICE.f16 : DEVICE.f32);
    const there = by === undefined ? undefined : onDevice?.results[wanted(g)];
    const device = there && errorOf(there.data as ArrayLike<number>, data);
    const held = heldAt(g.name, given, result);
    const at = samplesOf(data, options.samples, g.name);
    samples += at.length;
    const off = at.map((i) => differenceAt(lossAt, g.name, held, i, data[i], loss, scale));
    const differences = Math.max(0, ...off.map((o) => o.error));
    const deviceFine = device === undefined ? undefined : device <= tolerance;
    const differencesFine = off.every((o) => o.fine);
    return {
      name: g.name,
      of: g.of,
      result,
      largest: scale,
      ...(device === undefined ? {} : { device, deviceFine: deviceFine as boolean }),
      differences,
      differencesFine,
      fine: deviceFine !== false && differencesFine,
    };
  });
  const right = gradients.every((g) => g.fine);
  let problem: Diagnostic | undefined;
  if (gradients.some((g) => !g.differencesFine)) problem = wrongRule(source, own, model, call, loss);
  else if (!right) problem = await wrongValue(source, own, model, call, options);
  return { by, loss, gradients, samples, right, problem };
}

/** Weights of an entry's results, drawn: as many as these have elements. */
function weights(
  source: SourceModel,
  own: debugging.GradientEntry,
  call: Call,
  plain: Parameters<typeof byReference>[1],
  entry: CheckedEntry,
): Record<string, { readonly data: Float32Array; readonly shape: readonly number[] }> {
  if (own.weights.length === 0) return {};
  const results = byReference(source, plain, entry, call, true);
  return Object.fromEntries(
    own.weights.map(({ name }, k) => {
      const { data, shape } = results[name.slice("weight of ".length)];
      const key = drawKey([7, 0], k, 0);
      return [
        name,
        {
          data: Float32Array.from(
            data as ArrayLike<number>,
            (_, i) => 0.25 + uniformFromBits(randomBits(key, i)),
          ),
          shape,
        },
      ];
    }),
  );
}

/** What a parameter or an input holds. */
function heldAt(name: string, { inputs, tensors }: Call, { dtype, shape }: Result): Dense {
  const value = inputs[name];
  const data = value === undefined ? tensors.get(name) : "shape" in value ? value.data : value;
  return dense(dtype as Dense["dtype"], shape, data as never);
}

const largestOf = (data: ArrayLike<number>): number => {
  let most = 0;
  for (let i = 0; i < data.length; i++)
    most = Math.max(most, Number.isFinite(data[i]) ? Math.abs(data[i]) : 0);
  return most;
};

/** The largest difference, as a part of the largest element; NaN agrees with NaN only. */
export function errorOf(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const scale = Math.max(largestOf(y), 1e-20);
  let most = 0;
  for (let i = 0; i < y.length; i++) {
    if (Object.is(x[i], y[i]) || x[i] === y[i]) continue;
    const off = Math.abs(x[i] - y[i]) / scale;
    most = Math.max(most, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
  }
  return most;
}

/** The largest element, and others by chance; always the same. */
function samplesOf(data: ArrayLike<number>, count: number, name: string): number[] {
  const found = new Set<number>();
  let most = 0;
  for (let i = 1; i < data.length; i++) if (Math.abs(data[i]) > Math.abs(data[most])) most = i;
  if (data.length > 0) found.add(most);
  const key = drawKey([3, 0], name.length, 0);
  for (let k = 0; k < 4 * count && found.size < Math.min(count, data.length); k++)
    found.add(Math.floor(uniformFromBits(randomBits(key, k)) * data.length));
  return [...found];
}

/**
 * How far a gradient is from finite differences, as a part of `scale`. Where the loss has a kink (a relu at 0) there is a slope on
 * either side, and what lies between is right.
 */
function differenceAt(
  lossAt: (instead: Readonly<Record<string, Dense>>) => number,
  name: string,
  held: Dense,
  i: number,
  gradient: number,
  loss: number,
  scale: number,
): { readonly error: number; readonly fine: boolean; readonly slope: number } {
  const step = 1e-5 * Math.max(1, Math.abs(held.data[i]));
  const moved = (by: number): number => {
    const data = held.data.slice();
    data[i] += by;
    return lossAt({ [name]: { ...held, data } });
  };
  const [low, high] = [moved(-step), moved(step)];
  const slopes = [(loss - low) / step, (high - loss) / step, (high - low) / (2 * step)];
  // A difference of two losses is known to their last places.
  const known = (8 * Number.EPSILON * Math.max(Math.abs(loss), 1e-3)) / step;
  const size = Math.max(scale, 1e-20);
  const [least, most] = [Math.min(...slopes), Math.max(...slopes)];
  const kink = most - least > 1e-3 * size;
  const off = kink ? Math.max(0, least - gradient, gradient - most) : Math.abs(gradient - slopes[2]);
  return { error: off / size, fine: off - known <= DIFFERENCES * size, slope: slopes[2] };
}

/** The operator whose rule is wrong: its result's gradient is right, an operand's is not. */
function wrongRule(
  source: SourceModel,
  own: debugging.GradientEntry,
  model: Opened["model"],
  call: Call,
  loss: number,
): Diagnostic | undefined {
  const all = [...own.gradients, ...own.between];
  const { entry: kept, outputs } = debugging.keeping(
    own.entry,
    all.map((g) => g.gradient),
  );
  const exact = byReference(source, debugging.alone(model, kept), kept, call, false);
  const { entry: pushedEntry, inputs } = debugging.pushed(
    own.entry,
    all.map((g) => g.value),
  );
  const zeros = Object.fromEntries(
    all.map((g) => {
      const { shape, data } = exact[outputs.get(g.gradient) as string];
      return [inputs.get(g.value) as string, { data: new Float32Array(data.length), shape }];
    }),
  );
  const evaluate = evaluator(
    source,
    debugging.alone(model, pushedEntry),
    pushedEntry,
    { ...call, inputs: { ...call.inputs, ...zeros } },
    false,
  );
  const lossAt = (instead: Readonly<Record<string, Dense>>): number => Number(evaluate(instead).loss.data[0]);
  // From the loss backwards: the first that is wrong.
  const order = [...all].sort((x, y) => y.value.node.id - x.value.node.id);
  for (const g of order) {
    const result = exact[outputs.get(g.gradient) as string];
    const data = result.data as ArrayLike<number>;
    const name = inputs.get(g.value) as string;
    const held = dense(result.dtype as Dense["dtype"], result.shape, new Float64Array(data.length));
    const scale = largestOf(data);
    for (const i of samplesOf(data, 3, name)) {
      const { fine, slope } = differenceAt(lossAt, name, held, i, data[i], loss, scale);
      if (fine) continue;
      const user = usersOf(own.entry, g.value)[0] ?? g.value.node;
      const at = held.shape.length ? ` at [${indexOf(i, held.shape).join(", ")}]` : "";
      return problemAt(
        own,
        user,
        `the gradient of ${operatorOf(user)} is ${short(data[i])}${at}, by finite differences ${short(slope)}`,
        ["gradients of all that is computed from it are right"],
      );
    }
  }
  return undefined;
}

/** What is computed of a value, views looked through. */
function usersOf({ graph }: CheckedEntry, value: Node): Node["node"][] {
  return graph.nodes
    .filter((n) => n.inputs.includes(value))
    .flatMap((n) =>
      n.op.fuses === "view" ? n.outs.flatMap((v) => usersOf({ graph } as CheckedEntry, v)) : [n],
    );
}

/** The first value that a device computes otherwise than the reference, of operands that agree. */
async function wrongValue(
  source: SourceModel,
  own: debugging.GradientEntry,
  model: Opened["model"],
  call: Call,
  options: GradcheckOptions,
): Promise<Diagnostic | undefined> {
  const values = debugging.computed([
    own.entry.graph.results[0].value,
    ...own.gradients.map((g) => g.gradient),
  ]);
  const { entry, outputs } = debugging.keeping(own.entry, values);
  const exact = byReference(source, debugging.alone(model, entry), entry, call, false);
  const { results, by } = await observe(source, model, entry, call, options);
  const found = firstDiffering(
    values,
    (v) => [results[outputs.get(v) as string], exact[outputs.get(v) as string]],
    options.tolerance,
  );
  if (!found) return undefined;
  const { value, error } = found;
  const gradient = value.node.origin.derived.find((d) => d.startsWith("gradient of "));
  return problemAt(
    own,
    value.node,
    `${gradient ?? operatorOf(value.node)} differs on ${by} by ${error.toExponential(1)} of its largest element`,
    ["what it is computed from agrees"],
  );
}

/** Values in order, and what two sides have of each. */
export function firstDiffering(
  values: readonly Node[],
  sides: (v: Node) => readonly [Result, Result],
  tolerance?: number,
): { readonly value: Node; readonly error: number } | undefined {
  for (const value of values) {
    const [x, y] = sides(value);
    const error = errorOf(x.data as ArrayLike<number>, y.data as ArrayLike<number>);
    const allowed = tolerance ?? (value.type.dtype === "f16" ? DEVICE.f16 : DEVICE.f32);
    if (error > allowed) return { value, error };
  }
  return undefined;
}

function problemAt(
  own: debugging.GradientEntry,
  node: Node["node"],
  message: string,
  notes: readonly string[],
): Diagnostic {
  const { span, calls, path } = node.origin;
  return {
    code: "E1202",
    severity: "error",
    message,
    primary: { span: span ?? own.entry.span, text: typeText(node.outs[0].type) },
    secondary: [],
    notes,
    calls: calls.slice(-3).reverse(),
    ...(path === "" ? {} : { path }),
  };
}
