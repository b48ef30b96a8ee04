// How tensors begin, of every kind: what few-inits.ts has, and what few models ask for (torch.nn.init's trunc_normal_,
// orthogonal_, dirac_, eye_, sparse_). In: a tensor's declaration and the seed. Out: its elements.
import { initial as plain } from "./few-inits.ts";
import type { Init, RareInit, TensorSpec } from "./program.ts";
import { type AnyArray, arrayOf, sizeOf } from "./tensor.ts";
import { drawKey, fnv1a, normal, randomBits, uniformFromBits, type Words } from "./threefry.ts";

type Fill<Of> = (data: AnyArray, init: Of, key: Words, shape: readonly number[]) => void;

/** Standard deviations beyond which nothing is drawn where a bound is infinite, or as good as that. */
const FAR = 10;

const fills: {
  readonly [Kind in RareInit["kind"]]: Fill<Extract<RareInit, { readonly kind: Kind }>>;
} = {
  /**
   * Uniform values of the interval, each kept as often as the density says (Robert, 1995): exact however far out the interval
   * lies, where values of a normal distribution that are drawn again until one is inside would never end.
   */
  trunc_normal(data, { mean, std, low, high }, key) {
    const [a, b] = [low, high].map((x) => (x - mean) / std);
    // The place of the interval where the density is the largest.
    const near = Math.min(Math.max(0, a), b);
    const from = Math.max(a, near - FAR);
    const to = Math.min(b, near + FAR);
    for (let i = 0; i < data.length; i++)
      for (let turn = 0; ; turn += 2) {
        const z = from + (to - from) * uniformFromBits(randomBits(key, i, turn));
        if (uniformFromBits(randomBits(key, i, turn + 1)) > Math.exp((near * near - z * z) / 2)) continue;
        data[i] = mean + std * z;
        break;
      }
  },
  gap(data, { mean, std, from, to }, key) {
    for (let i = 0; i < data.length; i++) data[i] = i >= from && i < to ? 0 : mean + std * normal(key, i);
  },
  /** The Q of a normal matrix whose R has a positive diagonal, by Gram and Schmidt's way, each row twice. */
  orthogonal(data, { gain }, key, shape) {
    const rows = shape[0];
    const cols = data.length / rows;
    const long = Math.max(rows, cols);
    const across = rows < cols;
    const done: Float64Array[] = [];
    for (let r = 0; r < Math.min(rows, cols); r++) {
      const v = Float64Array.from({ length: long }, (_, k) =>
        normal(key, across ? r * cols + k : k * cols + r),
      );
      for (let twice = 0; twice < 2; twice++)
        for (const u of done) {
          let along = 0;
          for (let k = 0; k < long; k++) along += u[k] * v[k];
          for (let k = 0; k < long; k++) v[k] -= along * u[k];
        }
      const length = Math.hypot(...chunks(v));
      for (let k = 0; k < long; k++) v[k] /= length;
      done.push(v);
    }
    done.forEach((v, r) => {
      v.forEach((x, k) => {
        data[across ? r * cols + k : k * cols + r] = gain * x;
      });
    });
  },
  ones(data, { first, step, many, groups, apart }) {
    for (let g = 0; g < groups; g++) for (let i = 0; i < many; i++) data[g * apart + first + i * step] = 1;
  },
  sparse(data, { zeros, std }, key, [rows, cols]) {
    for (let c = 0; c < cols; c++) {
      const at = Array.from({ length: rows }, (_, r) => r * cols + c);
      for (const i of at) data[i] = std * normal(key, i);
      const drawn = new Map(at.map((i) => [i, randomBits(key, i, 1)]));
      at.sort((i, j) => (drawn.get(i) as number) - (drawn.get(j) as number) || i - j);
      for (const i of at.slice(0, zeros)) data[i] = 0;
    }
  },
};

/** Norms of parts, each short enough to be arguments of a call. */
function chunks(v: Float64Array): number[] {
  const out: number[] = [];
  for (let i = 0; i < v.length; i += 1024) out.push(Math.hypot(...v.subarray(i, i + 1024)));
  return out;
}

/** A tensor as it begins. */
export function initial(spec: TensorSpec, seed: Words): AnyArray {
  const { init, shape } = spec;
  if (!Object.hasOwn(fills, init.kind)) return plain(spec, seed);
  const fill = fills[init.kind as RareInit["kind"]] as Fill<Init>;
  const data = arrayOf(spec.dtype, sizeOf(shape));
  fill(data, init, drawKey(seed, fnv1a(spec.path), 0), shape);
  return data;
}
