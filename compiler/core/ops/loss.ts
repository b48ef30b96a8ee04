// Losses the compiler knows: cross_entropy and mse_loss. In: predictions and targets. Out: composites; the other losses
// are written in mdl (std/loss).
import { type Dim, equal, surelyDiffer } from "../dims/dim.ts";
import type { Builder, OpDef, TensorType, Value } from "../ir/types.ts";
import { cast, reshape, sum } from "./axes.ts";
import {
  allowDtypes,
  axis,
  FLOATS,
  fail,
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
import { and, div, ge, log, lt, ne, square, sub, where } from "./elementwise.ts";
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
  doc: "Cross entropy of scores (before softmax) and class indices i32: the mean of -log_softmax(x)[class] over those whose class is not `ignore_index`. The class axis is the last, or 1 where only PyTorch's [N, C, ...] fits the target's shape. A class outside (in data that a call does not check) counts as ignored.",
  fuses: "composite",
  params: [
    tensor("x"),
    tensor("target"),
    reductionParam,
    axis("axis", { optional: true }),
    int("ignore_index", { default: -100, doc: "the class of elements that do not count" }),
  ],
  complete: ([x, target], attrs) => ({
    reduction: attrs.reduction ?? "mean",
    ignore_index: attrs.ignore_index ?? -100,
    axis:
      attrs.axis === undefined
        ? classAxis(x, target)
        : normalizeAxis("cross_entropy", numberAt(attrs, "axis"), x.shape.length),
  }),
  infer: ([x, target], attrs, b) => {
    allowDtypes("cross_entropy", [x], FLOATS);
    if (target.dtype !== "i32")
      fail("E0404", `cross_entropy: the target is ${target.dtype}, not class indices i32`, { operand: 1 });
    const along = numberAt(attrs, "axis");
    const expected = without(x.shape, along);
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
    return [{ dtype: x.dtype, shape: attrs.reduction === "none" ? shape : [] }];
  },
  indexes: ([x], attrs) => {
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
    const [x, target] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    const { shifted, total } = shiftedExp(b, x, [along]);
    const picked = sum(b, where(b, isClass(b, target, x.type.shape, along), shifted, 0), [along]);
    const normaliser = reshape(b, log(b, total), target.type.shape);
    const counts = counted(b, target, x.type.shape[along], numberAt(node.attrs, "ignore_index"));
    const each = where(b, counts, sub(b, normaliser, picked), 0);
    const { reduction } = node.attrs;
    const whole = reduction === "none" ? each : sum(b, each);
    // The mean over those that count; of none it is NaN, as PyTorch's.
    const result =
      reduction === "mean" ? div(b, whole, cast(b, sum(b, cast(b, counts, "i32")), "f32")) : whole;
    return [cast(b, result, x.type.dtype)];
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
  ],
};

/** True where a class is one of `classes` and not the one to be ignored. */
function counted(b: Builder, target: Value, classes: Dim, ignored: number): Value {
  const inside = and(b, ge(b, target, 0), lt(b, target, sizeValue(b, classes)));
  return and(b, ne(b, target, ignored), inside);
}

export const mseLossOp: OpDef = {
  name: "mse_loss",
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
