// Initial values of parameters, by PyTorch's names. In: a call in a `param` or `buffer` declaration and the shape. Out: the
// Init of the program format, with fan-in and fan-out worked out. Separate because it is a table.
import type { Init } from "../../../../../runtime/core/program.ts";
import { asNumber, type Val } from "../values/values.ts";

type Make = (shape: readonly number[], given: (name: string) => number) => Init;
export interface Initializer {
  /** For `mdl ops`. Fan-in is the number of inputs of one output: axis 1 times the axes behind it. */
  readonly doc: string;
  readonly params: readonly { readonly name: string; readonly default?: number }[];
  readonly make: Make;
}

const fans = (shape: readonly number[]): { fanIn: number; fanOut: number } => {
  if (shape.length < 2) return { fanIn: shape[0] ?? 1, fanOut: shape[0] ?? 1 };
  const field = shape.slice(2).reduce((a, b) => a * b, 1);
  return { fanIn: shape[1] * field, fanOut: shape[0] * field };
};
const uniform = (bound: number): Init => ({ kind: "uniform", low: -bound, high: bound });
const normal = (std: number): Init => ({ kind: "normal", mean: 0, std });
const safe = (n: number): number => Math.max(n, 1);

export const INITIALIZERS: Readonly<Record<string, Initializer>> = {
  zeros: { doc: "Every element is 0.", params: [], make: () => ({ kind: "constant", value: 0 }) },
  ones: { doc: "Every element is 1.", params: [], make: () => ({ kind: "constant", value: 1 }) },
  full: {
    doc: "Every element is `value`.",
    params: [{ name: "value" }],
    make: (_s, g) => ({ kind: "constant", value: g("value") }),
  },
  constant: {
    doc: "Every element is `value`.",
    params: [{ name: "value" }],
    make: (_s, g) => ({ kind: "constant", value: g("value") }),
  },
  uniform: {
    doc: "Uniform between low and high; `uniform(b)` is between -b and b.",
    params: [{ name: "low" }, { name: "high", default: Number.NaN }],
    make: (_s, g) =>
      Number.isNaN(g("high")) ? uniform(g("low")) : { kind: "uniform", low: g("low"), high: g("high") },
  },
  normal: {
    doc: "Normal with this standard deviation and mean.",
    params: [
      { name: "std", default: 1 },
      { name: "mean", default: 0 },
    ],
    make: (_s, g) => ({ kind: "normal", mean: g("mean"), std: g("std") }),
  },
  he_normal: {
    doc: "kaiming_normal_ for relu: normal with std = sqrt(2 / fan-in).",
    params: [],
    make: (s) => normal(Math.sqrt(2 / safe(fans(s).fanIn))),
  },
  he_uniform: {
    doc: "kaiming_uniform_ for relu: uniform up to sqrt(6 / fan-in).",
    params: [],
    make: (s) => uniform(Math.sqrt(6 / safe(fans(s).fanIn))),
  },
  lecun_normal: {
    doc: "Normal with std = sqrt(1 / fan-in).",
    params: [],
    make: (s) => normal(Math.sqrt(1 / safe(fans(s).fanIn))),
  },
  xavier_normal: {
    doc: "xavier_normal_: normal with std = gain * sqrt(2 / (fan-in + fan-out)).",
    params: [{ name: "gain", default: 1 }],
    make: (s, g) => normal(g("gain") * Math.sqrt(2 / safe(fans(s).fanIn + fans(s).fanOut))),
  },
  xavier_uniform: {
    doc: "xavier_uniform_: uniform up to gain * sqrt(6 / (fan-in + fan-out)).",
    params: [{ name: "gain", default: 1 }],
    make: (s, g) => uniform(g("gain") * Math.sqrt(6 / safe(fans(s).fanIn + fans(s).fanOut))),
  },
};

/** A plain number as an initial value. */
export function constantInit(v: Val): Init | undefined {
  const n = v.kind === "bool" ? Number(v.value) : asNumber(v);
  return n === undefined ? undefined : { kind: "constant", value: n };
}
