// Initial values of parameters, by PyTorch's names. In: a call in a `param` or `buffer` declaration and the shape. Out: the
// Init of the program format, with fan-in and fan-out worked out. Separate because it is a table.
import type { Init } from "../../../../../runtime/core/program.ts";
import { sizeOf } from "../../../ops/dense.ts";
import { asNumber, type Val } from "../values/values.ts";

/** What an initialiser is called with: numbers and words by name. */
interface Given {
  (name: string): number;
  word(name: string): string;
}
/** Of a shape and arguments, or why not. */
type Make = (shape: readonly number[], given: Given) => Init | { readonly why: string };
export interface Initializer {
  /** For `mdl ops`. Fan-in is the number of inputs of one output: axis 1 times the axes behind it. */
  readonly doc: string;
  readonly params: readonly {
    readonly name: string;
    readonly default?: number | string;
    /** Of a word: those there are. */
    readonly among?: readonly string[];
  }[];
  readonly make: Make;
}

const fans = (shape: readonly number[]): { fanIn: number; fanOut: number } => {
  if (shape.length < 2) return { fanIn: shape[0] ?? 1, fanOut: shape[0] ?? 1 };
  const field = sizeOf(shape.slice(2));
  return { fanIn: shape[1] * field, fanOut: shape[0] * field };
};
const uniform = (bound: number): Init => ({ kind: "uniform", low: -bound, high: bound });
const normal = (std: number): Init => ({ kind: "normal", mean: 0, std });
const safe = (n: number): number => Math.max(n, 1);

const STD = { name: "std", default: 1 } as const;
const MEAN = { name: "mean", default: 0 } as const;
const GAIN = { name: "gain", default: 1 } as const;
const GAINS: Readonly<Record<string, (a: number) => number>> = {
  linear: () => 1,
  conv1d: () => 1,
  conv2d: () => 1,
  conv3d: () => 1,
  conv_transpose1d: () => 1,
  conv_transpose2d: () => 1,
  conv_transpose3d: () => 1,
  sigmoid: () => 1,
  tanh: () => 5 / 3,
  relu: () => Math.SQRT2,
  leaky_relu: (a) => Math.sqrt(2 / (1 + a * a)),
  selu: () => 3 / 4,
};
const KAIMING: Initializer["params"] = [
  { name: "a", default: 0 },
  { name: "mode", default: "fan_in", among: ["fan_in", "fan_out"] },
  { name: "nonlinearity", default: "leaky_relu", among: Object.keys(GAINS) },
];
/** The standard deviation of Kaiming's. */
const kaiming = (shape: readonly number[], given: Given): number => {
  const { fanIn, fanOut } = fans(shape);
  const gain = GAINS[given.word("nonlinearity")](given("a"));
  return gain / Math.sqrt(safe(given.word("mode") === "fan_in" ? fanIn : fanOut));
};

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
    doc: "Normal with this standard deviation and mean; row `zero_row`, where there is one, is zeros.",
    params: [STD, MEAN, { name: "zero_row", default: Number.NaN }],
    make: (s, g) => {
      const [mean, std, row] = [g("mean"), g("std"), g("zero_row")];
      if (Number.isNaN(row)) return { kind: "normal", mean, std };
      if (!(row >= 0 && row < (s[0] ?? 0))) return { why: `there is no row ${row}` };
      const length = sizeOf(s.slice(1));
      return { kind: "gap", mean, std, from: row * length, to: (row + 1) * length };
    },
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
    params: [GAIN],
    make: (s, g) => normal(g("gain") * Math.sqrt(2 / safe(fans(s).fanIn + fans(s).fanOut))),
  },
  xavier_uniform: {
    doc: "xavier_uniform_: uniform up to gain * sqrt(6 / (fan-in + fan-out)).",
    params: [GAIN],
    make: (s, g) => uniform(g("gain") * Math.sqrt(6 / safe(fans(s).fanIn + fans(s).fanOut))),
  },
  kaiming_normal: {
    doc: "kaiming_normal_: normal with std = gain / sqrt(fan), of the gain of a nonlinearity (`a`: leaky_relu's slope).",
    params: KAIMING,
    make: (s, g) => normal(kaiming(s, g)),
  },
  kaiming_uniform: {
    doc: "kaiming_uniform_: uniform up to sqrt(3) * gain / sqrt(fan), of the gain of a nonlinearity (`a`: leaky_relu's slope).",
    params: KAIMING,
    make: (s, g) => uniform(Math.sqrt(3) * kaiming(s, g)),
  },
  trunc_normal: {
    doc: "trunc_normal_: normal between a and b.",
    params: [STD, MEAN, { name: "a", default: -2 }, { name: "b", default: 2 }],
    make: (_s, g) => {
      const [mean, std, low, high] = [g("mean"), g("std"), g("a"), g("b")];
      if (!(std > 0) || !(low < high)) return { why: "trunc_normal has a std above 0, and a below b" };
      return { kind: "trunc_normal", mean, std, low, high };
    },
  },
  orthogonal: {
    doc: "orthogonal_: rows at right angles, of length `gain`; columns, where there are fewer. Axes behind the first are one.",
    params: [GAIN],
    make: (s, g) =>
      s.length < 2 ? { why: "orthogonal is of two axes and more" } : { kind: "orthogonal", gain: g("gain") },
  },
  eye: {
    doc: "eye_: ones on the diagonal of a matrix, and zeros.",
    params: [],
    make: (s) =>
      s.length !== 2
        ? { why: "eye is of two axes" }
        : { kind: "ones", first: 0, step: s[1] + 1, many: Math.min(s[0], s[1]), groups: 1, apart: 0 },
  },
  dirac: {
    doc: "dirac_: of a convolution's weight, what leaves as many channels as there are as they were, in each of `groups`.",
    params: [{ name: "groups", default: 1 }],
    make: (s, g) => {
      const groups = g("groups");
      if (s.length < 3 || s.length > 5) return { why: "dirac is of three to five axes" };
      if (!Number.isInteger(groups) || groups < 1 || s[0] % groups !== 0)
        return { why: `dirac: ${groups} groups of ${s[0]} channels` };
      const field = s.slice(2);
      const middle = field.reduce((at, n) => at * n + Math.floor(n / 2), 0);
      const own = s[0] / groups;
      const [channel, out] = [sizeOf(field), sizeOf(s.slice(1))];
      return {
        kind: "ones",
        first: middle,
        step: out + channel,
        many: Math.min(own, s[1]),
        groups,
        apart: own * out,
      };
    },
  },
  sparse: {
    doc: "sparse_: of a matrix, normal, but that share of each column, at random, is 0.",
    params: [{ name: "sparsity" }, { name: "std", default: 0.01 }],
    make: (s, g) => {
      const share = g("sparsity");
      if (s.length !== 2 || !(share >= 0 && share <= 1))
        return { why: "sparse is of two axes, and of a share between 0 and 1" };
      return { kind: "sparse", zeros: Math.ceil(share * s[0]), std: g("std") };
    },
  },
};

/** A plain number as an initial value. */
export function constantInit(v: Val): Init | undefined {
  const n = v.kind === "bool" ? Number(v.value) : asNumber(v);
  return n === undefined ? undefined : { kind: "constant", value: n };
}
