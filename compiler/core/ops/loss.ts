// Losses the compiler knows: cross_entropy and mse_loss. In: predictions and targets. Out: composites; the other losses
// are written in mdl (std/loss).
import { type Dim, equal, product, surelyDiffer } from "../dims/dim.ts";
import type { Attrs, Builder, OpDef, TensorType, Value } from "../ir/types.ts";
import { broadcastTo, cast, onAxis, reshape, sum } from "./axes.ts";
import {
  allowDtypes,
  axis,
  FLOATS,
  fail,
  float,
  int,
  normalizeAxis,
  numberAt,
  sameDtypes,
  sameShapes,
  sameSize,
  shapeText,
  sizeValue,
  tensor,
  typeText,
  word,
} from "./define.ts";
import { add, and, div, ge, log, lt, mul, ne, neg, square, sub, where } from "./elementwise.ts";
import { isClass } from "./lookup.ts";
import { mean, shiftedExp } from "./reduce.ts";

const REDUCTIONS = ["mean", "sum", "none"];
const reductionParam = word("reduction", { default: "mean", among: REDUCTIONS });
const reduced = (b: Builder, each: Value, how: unknown): Value =>
  how === "none" ? each : how === "sum" ? sum(b, each) : mean(b, each);
const without = (shape: readonly Dim[], along: number): readonly Dim[] => shape.filter((_, i) => i !== along);

/**
 * Note [class axis]. PyTorch has the classes in axis 1, [N, C, ...] with targets [N, ...]; sequence models have them last,
 * [..., C] with targets [...]. For matrices these are the same; beyond, the shapes decide, and where both fit the last
 * axis is taken. `axis` says it.
 */
function classAxis(x: TensorType, target: TensorType): number {
  const rank = x.shape.length;
  const fits = (along: number): boolean => without(x.shape, along).every((d, i) => equal(d, target.shape[i]));
  const excluded = (along: number): boolean =>
    without(x.shape, along).some((d, i) => surelyDiffer(d, target.shape[i]));
  if (rank <= 2 || target.shape.length !== rank - 1) return rank - 1;
  if (fits(rank - 1)) return rank - 1;
  if (fits(1)) return 1;
  return excluded(rank - 1) && !excluded(1) ? 1 : rank - 1;
}

export const crossEntropyOp: OpDef = {
  name: "cross_entropy",
  torch: "F.cross_entropy",
  doc: "Cross entropy of scores (before softmax) and class indices i32: the mean of -log_softmax(x)[class] over those whose class is not `ignore_index`. The class axis is the last, or 1 where only PyTorch's [N, C, ...] fits the target's shape. A class outside (in data that a call does not check) counts as ignored. A target of x's own dtype and shape holds probabilities instead; `weight` is a factor for each class, which the mean is divided by, too; `label_smoothing` shares that much of each target among all classes.",
  fuses: "composite",
  params: [
    tensor("x"),
    tensor("target"),
    tensor("weight", { optional: true, doc: "a factor for each class" }),
    reductionParam,
    axis("axis", { optional: true }),
    int("ignore_index", { default: -100, doc: "the class of elements that do not count" }),
    float("label_smoothing", { default: 0 }),
  ],
  complete: ([x, target], attrs) => ({
    reduction: attrs.reduction ?? "mean",
    ignore_index: attrs.ignore_index ?? -100,
    // Said only where it is asked for.
    label_smoothing: attrs.label_smoothing || undefined,
    axis:
      attrs.axis !== undefined
        ? normalizeAxis("cross_entropy", numberAt(attrs, "axis"), x.shape.length)
        : isProbability(x, target)
          ? Math.min(1, x.shape.length - 1)
          : classAxis(x, target),
  }),
  infer: ([x, target, weight], attrs, b) => {
    if (x.dtype === "i32" && FLOATS.includes(target.dtype))
      fail("E0404", "cross_entropy: the scores are i32", {
        operand: 0,
        help: "scores come first and classes behind them: cross_entropy(logits, y)",
      });
    allowDtypes("cross_entropy", [x], FLOATS);
    const along = numberAt(attrs, "axis");
    const probabilities = isProbability(x, target);
    if (!probabilities && target.dtype !== "i32")
      fail("E0404", `cross_entropy: the target is ${target.dtype}, not class indices i32`, {
        operand: 1,
        help: "declare the target y: i32[N]; one of the scores' shape holds probabilities",
      });
    const smoothing = smoothingOf(attrs);
    if (!(smoothing >= 0 && smoothing <= 1))
      fail("E0607", `cross_entropy: label_smoothing = ${smoothing} is not between 0 and 1`, {
        attr: "label_smoothing",
      });
    const rows = without(x.shape, along);
    const expected = probabilities ? x.shape : rows;
    const refuse = (): never =>
      fail(
        "E0302",
        `cross_entropy: scores ${shapeText(x.shape)} need a target ${shapeText(expected)}, given ${typeText(target)}`,
        { operand: 1 },
      );
    if (x.shape.length === 0 || target.shape.length !== expected.length) refuse();
    const shape = expected.map((d, i) =>
      sameSize(d, target.shape[i], `cross_entropy: axis ${i} of the target`, b, refuse),
    );
    if (weight) {
      sameDtypes("cross_entropy", [x, weight]);
      const wrong = (): never =>
        fail(
          "E0302",
          `cross_entropy: weights ${shapeText(weight.shape)} for ${x.shape[along].key} classes of ${shapeText(x.shape)}`,
          { operand: 2 },
        );
      if (weight.shape.length !== 1) wrong();
      sameSize(x.shape[along], weight.shape[0], "cross_entropy: weights", b, wrong);
    }
    const each = probabilities ? without(shape, along) : shape;
    return [{ dtype: x.dtype, shape: attrs.reduction === "none" ? each : [] }];
  },
  indexes: ([x, target], attrs) => {
    if (isProbability(x, target)) return [];
    const extent = x.shape[numberAt(attrs, "axis")];
    return [
      {
        operand: 1,
        extent,
        except: numberAt(attrs, "ignore_index"),
        use: `cross_entropy of ${extent.key} classes`,
      },
    ];
  },
  expand: (b, node) => {
    const [x, target, weight] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    const { shifted, total } = shiftedExp(b, x, [along]);
    const { reduction } = node.attrs;
    const smoothing = smoothingOf(node.attrs);
    const { shape } = x.type;
    const classes = shape[along];
    const factors = weight && onAxis(b, cast(b, weight, "f32"), shape, along);
    // The mean over those that count; of none it is NaN, as PyTorch's.
    const finished = (each: Value, counted: () => Value): readonly Value[] => {
      const whole = reduction === "none" ? each : sum(b, each);
      return [cast(b, reduction === "mean" ? div(b, whole, counted()) : whole, x.type.dtype)];
    };
    if (isProbability(x.type, target.type)) {
      const given = cast(b, target, "f32");
      const count = cast(b, sizeValue(b, classes), "f32");
      const smooth = smoothing === 0 ? given : add(b, mul(b, given, 1 - smoothing), div(b, smoothing, count));
      const weighted = factors ? mul(b, smooth, factors) : smooth;
      const logs = sub(b, shifted, log(b, total));
      const each = neg(b, sum(b, mul(b, weighted, logs), [along]));
      const rows = sizeValue(b, product(without(shape, along)));
      return finished(each, () => cast(b, rows, "f32"));
    }
    const isTarget = isClass(b, target, shape, along);
    const picked = sum(b, where(b, isTarget, shifted, 0), [along]);
    const normaliser = reshape(b, log(b, total), target.type.shape);
    const counts = counted(b, target, classes, numberAt(node.attrs, "ignore_index"));
    const own = weight && sum(b, where(b, isTarget, broadcastTo(b, factors as Value, shape), 0), [along]);
    const nll = sub(b, normaliser, picked);
    const weighted = own ? mul(b, own, nll) : nll;
    const many = (): Value =>
      own ? sum(b, where(b, counts, own, 0)) : cast(b, sum(b, cast(b, counts, "i32")), "f32");
    if (smoothing === 0) return finished(where(b, counts, weighted, 0), many);
    const logs = sub(b, log(b, total), shifted);
    const every = sum(b, factors ? mul(b, logs, factors) : logs, [along]);
    const share = div(b, smoothing, cast(b, sizeValue(b, classes), "f32"));
    const mixed = add(b, mul(b, weighted, 1 - smoothing), mul(b, every, share));
    return finished(where(b, counts, mixed, 0), many);
  },
  examples: [
    { shapes: [[4, 5], [4]], dtypes: ["f32", "i32"] },
    {
      shapes: [
        [2, 3, 5],
        [2, 3],
      ],
      dtypes: ["f32", "i32"],
      attrs: { reduction: "sum" },
    },
    {
      shapes: [
        [2, 5, 3, 2],
        [2, 3, 2],
      ],
      dtypes: ["f32", "i32"],
      attrs: { reduction: "none" },
    },
    { shapes: [[5, 4], [4]], dtypes: ["f32", "i32"], attrs: { axis: 0 } },
    { shapes: [[8, 5], [8]], dtypes: ["f32", "i32"], attrs: { ignore_index: 2 } },
    { shapes: [[8, 3], [8]], dtypes: ["f32", "i32"] },
    { shapes: [[6, 5], [6], [5]], dtypes: ["f32", "i32", "f32"], range: [0, 4] },
    {
      shapes: [[2, 5, 3], [2, 3], [5]],
      dtypes: ["f32", "i32", "f32"],
      range: [0, 4],
      attrs: { ignore_index: 1, label_smoothing: 0.1 },
    },
    {
      shapes: [[4, 5], [4]],
      dtypes: ["f32", "i32"],
      attrs: { label_smoothing: 0.2, reduction: "none" },
    },
    {
      shapes: [[4, 5], [4, 5], [5]],
      range: [0.1, 1],
      attrs: { label_smoothing: 0.1 },
    },
    {
      shapes: [
        [2, 5, 3],
        [2, 5, 3],
      ],
      range: [0.1, 1],
      attrs: { reduction: "sum" },
    },
  ],
};
/** Of scores and a target as large: the target holds probabilities. */
const isProbability = (x: TensorType, target: TensorType): boolean =>
  target.dtype === x.dtype && target.shape.length === x.shape.length;
const smoothingOf = (attrs: Attrs): number => (attrs.label_smoothing as number | undefined) ?? 0;

/** True where a class is one of `classes` and not the one to be ignored. */
function counted(b: Builder, target: Value, classes: Dim, ignored: number): Value {
  const inside = and(b, ge(b, target, 0), lt(b, target, sizeValue(b, classes)));
  return and(b, ne(b, target, ignored), inside);
}

export const mseLossOp: OpDef = {
  name: "mse_loss",
  torch: "F.mse_loss",
  doc: "The mean of (x - target)^2.",
  fuses: "composite",
  params: [tensor("x"), tensor("target"), reductionParam],
  complete: (_types, attrs) => ({ reduction: attrs.reduction ?? "mean" }),
  infer: (types, attrs, b) => {
    sameDtypes("mse_loss", types);
    allowDtypes("mse_loss", types, FLOATS);
    const shape = sameShapes("mse_loss", types, b);
    return [{ dtype: types[0].dtype, shape: attrs.reduction === "none" ? shape : [] }];
  },
  expand: (b, node) => {
    const [x, target] = node.inputs;
    return [reduced(b, square(b, sub(b, x, target)), node.attrs.reduction)];
  },
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
    },
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      attrs: { reduction: "none" },
    },
  ],
};

export const losses: readonly OpDef[] = [crossEntropyOp, mseLossOp];
