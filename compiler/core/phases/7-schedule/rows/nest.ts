// What a region of rows computes, apart from how: its rows, the folds along each, and the roots over both. In: a region.
// Out: a Rows, in the physical order of what is reduced.
import { InternalError } from "../../../diagnostics/index.ts";
import { type Dim, isConst, product } from "../../../dims/dim.ts";
import type { Value } from "../../../ir/types.ts";
import { rowMajor } from "../../../kernel/coordinates.ts";
import { foldOf, type ScalarContext } from "../../../kernel/lowering.ts";
import { type Axis, children, loadsOf, type Scalar, type ScalarOf } from "../../../kernel/scalar.ts";
import type { Region } from "../../../regions/region.ts";
import { OfGroups } from "../asked.ts";
import { decode, groupLowering, lowerRoot } from "../common.ts";
import type { Job, ScheduleContext } from "../family.ts";

type Fold = ScalarOf<"fold">;

export interface RowRoot {
  readonly value: Value;
  readonly x: Scalar;
  readonly at: readonly Scalar[];
  /** What runs along the row; a value of the row itself where undefined. */
  readonly inner: Axis | undefined;
}
export interface Rows {
  readonly s: ScalarContext;
  /** Rows by number. */
  readonly row: Axis;
  /** Neighbouring elements belong to neighbouring rows: four rows go together. */
  readonly side: boolean;
  readonly roots: readonly RowRoot[];
  /** The folds of a row, each over one axis: its elements in physical order. */
  readonly folds: ReadonlyMap<Fold, Axis>;
}

const described = new OfGroups<Rows>();
const known = new WeakMap<Job, Rows>();
export function rowsOf(job: Job): Rows {
  let rows = known.get(job);
  if (!rows) {
    const { ctx, group } = job;
    const made = described.of(group, "rows", ctx.target, (target) => describe({ ...ctx, target }, group));
    // What the kernels of one target are made of is not known to another's.
    rows = { ...made, s: made.s.fork() };
    known.set(job, rows);
  }
  return rows;
}

function describe(ctx: ScheduleContext, g: Region): Rows {
  const { layouts } = ctx;
  const s = groupLowering(ctx, g);
  // The anchor says what a row is.
  const anchorAt = g.anchor.outs[0].type.shape.map((d, i) => s.axis(`i${i}`, d));
  const anchor = foldOf(
    lowerRoot(
      s,
      g.anchor.outs[0],
      anchorAt.map((a) => s.axisValue(a)),
    ),
  );
  if (!anchor) throw new InternalError("schedule", "a row reduction is not a fold");
  const rowAxes = anchorAt.filter((a) => !isConst(a.extent, 1));
  // Where neighbouring elements belong to neighbouring rows, four rows go together.
  const lying = loadsOf(anchor.body).sort((a, b) => b.value.type.shape.length - a.value.type.shape.length);
  const main = lying.find((l) => l.free.some((a) => anchor.axes.includes(a)));
  const innermost = main ? main.at[layouts.order(main.value).at(-1) as number] : undefined;
  const side =
    innermost !== undefined &&
    rowAxes.length > 0 &&
    innermost.free.length > 0 &&
    innermost.free.every((a) => rowAxes.includes(a));
  // Rows in the physical order of what they are reduced from.
  const rowOrder = main ? orderBy(rowAxes, main, layouts.order(main.value)) : rowAxes;
  const row = s.axis("row", product(rowAxes.map((a) => a.extent)));
  const rowAt = new Map<Axis, Scalar>();
  decode(
    s,
    s.axisValue(row),
    rowOrder.map((a) => a.extent),
  ).forEach((x, i) => void rowAt.set(rowOrder[i], x));
  const rowNumber = rowMajor(
    s,
    rowAxes.map((a) => rowAt.get(a) as Scalar),
    rowAxes.map((a) => a.extent),
  );
  const foldOrder = main ? orderBy(anchor.axes, main, layouts.order(main.value)) : anchor.axes;

  /** One axis for what runs over these extents: the same fold in two roots becomes one, and they share a loop. */
  const lines = new Map<string, Axis>();
  const lineOf = (extents: readonly Dim[]): Axis => {
    const key = extents.map((d) => d.key).join();
    const line = lines.get(key) ?? s.axis("k", product(extents));
    lines.set(key, line);
    return line;
  };
  const folds = new Map<Fold, Axis>();
  const linearFolds = new Map<Scalar, Scalar>();
  const linear = (x: Scalar): Scalar =>
    s.rewrite(x, (y) => {
      if (y.kind !== "fold") return undefined;
      const made = linearFolds.get(y);
      if (made) return made;
      // Each fold's axes correspond to the anchor's by position.
      const axes =
        y.axes.length === anchor.axes.length ? foldOrder.map((a) => y.axes[anchor.axes.indexOf(a)]) : y.axes;
      const k = lineOf(axes.map((a) => a.extent));
      const at = new Map<Axis, Scalar>();
      decode(
        s,
        s.axisValue(k),
        axes.map((a) => a.extent),
      ).forEach((c, i) => void at.set(axes[i], c));
      const out = s.foldOver(y.combine, [k], s.substitute(linear(y.body), at));
      if (out.kind === "fold") folds.set(out, k);
      linearFolds.set(y, out);
      return out;
    });

  const roots: RowRoot[] = g.roots.map((value) => {
    const axes = value.type.shape.map((d, i) => s.axis(`i${i}`, d));
    const x = lowerRoot(
      s,
      value,
      axes.map((a) => s.axisValue(a)),
    );
    const numbers = g.rows?.get(value);
    if (!numbers) throw new InternalError("schedule", `${value.node.op.name} has no rows`);
    const rows = numbers.map((i) => axes[i]);
    // The same rows, perhaps under another shape of the same order.
    const at = new Map<Axis, Scalar>();
    const alike =
      rows.length === rowAxes.length && rows.every((a, i) => a.extent.key === rowAxes[i].extent.key);
    const own = alike
      ? rowAxes.map((a) => rowAt.get(a) as Scalar)
      : decode(
          s,
          rowNumber,
          rows.map((a) => a.extent),
        );
    rows.forEach((a, i) => void at.set(a, own[i]));
    const rest = axes.filter((a) => !at.has(a) && !isConst(a.extent, 1));
    let inner: Axis | undefined;
    if (rest.length > 0) {
      const physical = layouts
        .order(value)
        .map((i) => axes[i])
        .filter((a) => rest.includes(a));
      inner = lineOf(physical.map((a) => a.extent));
      decode(
        s,
        s.axisValue(inner),
        physical.map((a) => a.extent),
      ).forEach((c, i) => void at.set(physical[i], c));
    }
    const where = axes.map((a) => (isConst(a.extent, 1) ? s.dim(0) : s.substitute(s.axisValue(a), at)));
    return { value, x: linear(s.substitute(x, at)), at: where, inner };
  });
  return { s, row, side, roots, folds };
}

/** The folds that an expression is made of, innermost first. */
export function foldsIn(x: Scalar): Fold[] {
  const out: Fold[] = [];
  const seen = new Set<Scalar>();
  const visit = (y: Scalar): void => {
    if (seen.has(y)) return;
    seen.add(y);
    for (const c of children(y)) visit(c);
    if (y.kind === "fold") out.push(y);
  };
  visit(x);
  return out;
}
/** Axes sorted as they appear in the physical order of a load. */
export function orderBy(axes: readonly Axis[], load: ScalarOf<"load">, order: readonly number[]): Axis[] {
  const place = (a: Axis): number => order.findIndex((axis) => load.at[axis].free.includes(a));
  return [...axes].sort((a, b) => place(a) - place(b));
}

/** A fold of what something lies from a value of its row. */
export interface Spread {
  readonly x: Scalar;
  readonly from: Scalar;
}
/** The sum of (x - from)², where `from` is the row's: it can be had in one pass with the sum of x. */
export function spreadOf(fold: Fold, k: Axis): Spread | undefined {
  const { body } = fold;
  if (fold.combine !== "add" || fold.dtype !== "f32" || body.kind !== "call" || body.fn !== "mul")
    return undefined;
  const [a, b] = body.args;
  if (a !== b || a.kind !== "call" || a.fn !== "sub") return undefined;
  const [x, from] = a.args;
  return x.free.includes(k) && !from.free.includes(k) && foldsIn(x).length === 0 ? { x, from } : undefined;
}
/** A sum of exponentials below the largest of a row. */
export interface Power extends Spread {
  readonly largest: Fold;
}
const LEAST = -3.4028234663852886e38;
/** What stands for the largest of a part of a row where it has none but -inf: it adds nothing to the others, then. */
export const atLeast = (s: ScalarContext, largest: Scalar): Scalar =>
  s.call("max", largest, s.const("f32", LEAST));
function raised(x: Scalar): Scalar | undefined {
  if (x.kind !== "call" || x.fn !== "max") return undefined;
  const [largest, least] = x.args;
  return least.kind === "const" && least.value === LEAST ? largest : undefined;
}
/** The sum of exp(x - from), where `from` is the largest x of the row: it can be had in one pass with that. */
export function powersOf(fold: Fold, k: Axis): Power | undefined {
  const { body } = fold;
  if (fold.combine !== "add" || fold.dtype !== "f32" || body.kind !== "call" || body.fn !== "exp")
    return undefined;
  const [apart] = body.args;
  if (apart.kind !== "call" || apart.fn !== "sub") return undefined;
  const [x, from] = apart.args;
  const largest = raised(from) ?? from;
  return largest.kind === "fold" &&
    largest.combine === "max" &&
    largest.body === x &&
    x.free.includes(k) &&
    foldsIn(x).length === 0
    ? { x, from, largest }
    : undefined;
}
