// Operands of a drawn call as weights that are stored in few bits (storage.ts). In: a graph, and which of its inputs a parameter
// is to be in the place of. Out: the graph with parameters, the same graph with what stores them decoded where it is read, and
// numbers for both; nothing where no weight of it would be stored.
import { dim } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import { transform } from "../../compiler/core/ir/transform.ts";
import type { Builder, Dense, Graph, Value } from "../../compiler/core/ir/types.ts";
import { graphModel } from "../../compiler/core/model.ts";
import { reshape } from "../../compiler/core/ops/axes.ts";
import { slice, transpose } from "../../compiler/core/ops/movement.ts";
import { input, param } from "../../compiler/core/ops/source.ts";
import { dequantizeWeight, quantizeWeight } from "../../compiler/core/quantize.ts";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { type Storage, storageText, storedModel } from "../../compiler/core/storage.ts";
import { allclose } from "./allclose.ts";
import { checkLowering, drawDense, randomFrom } from "./opcheck.ts";

type Tensors = Readonly<Record<string, Dense>>;

export interface StoredCase {
  /** With parameters as they are declared, and what they are by what is stored. */
  readonly plain: Graph;
  readonly decoded: Tensors;
  /** With parameters of words and scales, and these. */
  readonly graph: Graph;
  readonly words: Tensors;
  /** Of the inputs that are left. */
  readonly data: Tensors;
  readonly text: string;
}

const STORAGES: readonly Storage[] = [
  { bits: 16 },
  { bits: 8 },
  { bits: 4 },
  { bits: 4, group: 8 },
  { bits: 4, group: 16 },
];
/** A drawn weight is as small as any operand: all are worth it. */
const ALL = { elements: 1, part: Number.POSITIVE_INFINITY };

/** A parameter's shape, and the views of it that have the shape which is asked for. */
interface Lying {
  readonly shape: readonly number[];
  readonly view: (b: Builder, x: Value) => Value;
  readonly text: string;
}
const asIs = (shape: readonly number[]): Lying => ({ shape, view: (_b, x) => x, text: "" });
/** As it is, or else turned, cut out of a larger one, or with axes that are one axis of another. */
function drawLying(shape: readonly number[], random: () => number): Lying {
  const int = (n: number): number => Math.floor(random() * n);
  switch (int(4)) {
    case 0: {
      const perm = shape.map((_, i) => i);
      for (let i = perm.length - 1; i > 0; i--) {
        const k = int(i + 1);
        [perm[i], perm[k]] = [perm[k], perm[i]];
      }
      const turned: number[] = [];
      perm.forEach((p, i) => {
        turned[p] = shape[i];
      });
      return { shape: turned, view: (b, x) => transpose(b, x, perm), text: ` turned by ${perm}` };
    }
    case 1: {
      const before = shape.map(() => int(3));
      const whole = shape.map((d, i) => d + before[i] + int(3));
      return {
        shape: whole,
        view: (b, x) => slice(b, x, before, [...shape]),
        text: ` cut out of ${whole} at ${before}`,
      };
    }
    case 2: {
      const at = int(shape.length);
      // An axis in two, or two in one.
      const part = [2, 3, 4].find((n) => shape[at] % n === 0 && shape[at] > n);
      const other =
        part !== undefined
          ? [...shape.slice(0, at), shape[at] / part, part, ...shape.slice(at + 1)]
          : at > 0
            ? [...shape.slice(0, at - 1), shape[at - 1] * shape[at], ...shape.slice(at + 1)]
            : [1, ...shape];
      return { shape: other, view: (b, x) => reshape(b, x, shape.map(dim)), text: ` lying as ${other}` };
    }
    default:
      return asIs(shape);
  }
}

export interface Drawing {
  readonly seed: number;
  /** Operands may be views of parameters. */
  readonly views: boolean;
  readonly range?: readonly [number, number];
  /** What paths begin with. */
  readonly path?: string;
}
/** The graph with parameters instead of inputs, and these stored: as many as are. */
export function storedCase(
  given: Graph,
  data: Tensors,
  names: readonly string[],
  { seed, views, range, path = "w" }: Drawing,
): StoredCase | undefined {
  const random = randomFrom(seed ^ 0x570a6e);
  const storage = STORAGES[Math.floor(random() * STORAGES.length)];
  const numbers = new Map<string, Dense>();
  const text: string[] = [];
  const from = transform(
    given,
    (b, n) => {
      const name = String(n.attrs.name);
      if (n.op !== input || !names.includes(name)) return undefined;
      const { shape } = data[name];
      const lying = views ? drawLying(shape, random) : asIs(shape);
      const own = `${path}_${name}`;
      const drawn = drawDense("f32", lying.shape, random, range);
      numbers.set(own, { ...drawn, data: drawn.data.map(Math.fround) });
      text.push(`${name} of [${shape.join(", ")}]${lying.text}`);
      const attrs = { path: own, dtype: "f32" as const, shape: lying.shape.map((d) => dim(d)) };
      return [lying.view(b, b.make(param, [], attrs, "weight"))];
    },
    createBuilder(),
  ).graph;
  const plain = finishGraph({ ...from, inputs: from.inputs.filter((n) => n.op === input) });
  const { model, weights } = storedModel(graphModel("Case", [plain]), storage, ALL);
  if (weights.length === 0) return undefined;
  const decoded: Record<string, Dense> = Object.fromEntries(numbers);
  const words: Record<string, Dense> = Object.fromEntries(numbers);
  for (const w of weights) {
    const q = quantizeWeight(w, decoded[w.path].data);
    decoded[w.path] = dense("f32", w.shape, dequantizeWeight(w, q));
    delete words[w.path];
    words[w.words.path] = dense("u32", w.words.shape, q.words);
    if (w.scale && q.scale) words[w.scale.path] = dense("f32", w.scale.shape, q.scale);
  }
  return {
    plain,
    decoded,
    graph: model.entries[0].graph,
    words,
    data: Object.fromEntries(Object.entries(data).filter(([name]) => !names.includes(name))),
    text: `${text.join(", ")} as ${storageText(storage)}`,
  };
}

/** What is computed of words, by reference and by lowering, is what the numbers give that they stand for. */
export function checkStored(c: StoredCase): void {
  const expected = evaluate(c.plain, c.data, { params: c.decoded }).results;
  const found = evaluate(c.graph, c.data, { params: c.words }).results;
  for (const [name, { data, shape }] of Object.entries(expected)) {
    const most = data.reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 0);
    allclose(found[name].data, data, { name: `${name} of ${c.text}`, shape, rtol: 1e-6, atol: 1e-6 * most });
  }
  checkLowering(c.graph, c.data, c.words);
}
