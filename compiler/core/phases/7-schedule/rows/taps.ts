// Few sums of very many terms, channels side by side: the gradient of a depthwise convolution towards its filters, where each
// channel has as many sums as a filter has taps, over all positions of all images. Four channels are four rows, and their taps
// are folds of these: a thread goes through positions with all sums at hand, so that what the taps have in common is loaded once.
// In: a map group that is such sums. Out: the launches of a reduction of rows.
import { asConst, isConst, isMultipleOf, product } from "../../../dims/dim.ts";
import { type Axis, foldsOf, loadsOf, type Scalar, type ScalarOf } from "../../../kernel/scalar.ts";
import { OfGroups } from "../asked.ts";
import { decode, groupLowering, lowerRoot } from "../common.ts";
import { type Family, type Job, oneLaunch, type ScheduleContext } from "../family.ts";
import { rowsKernel, type Shape } from "./kernel.ts";
import { orderBy, type RowRoot, type Rows } from "./nest.ts";
import { canBeCut, inParts } from "./rows.ts";

/** Threads of a workgroup, and how many fours of channels they are divided among; parts of the positions, at most. */
type Choice = {
  readonly threads: number;
  readonly rows: number;
  readonly ahead: number;
  readonly parts: number;
};

/** Sums that a thread has at hand, of four channels each, at most. */
const MOST_TAPS = 16;
/** Terms from which a thread for each sum has too much to do. */
const LONG = 1024;
/** Fours of channels of a workgroup, at most: whole lines of memory. */
const TOGETHER = 16;
/** Of a thread's sums: each level takes as many registers again. */
const LEVELS = 1;
/** Parts, at most. */
const MOST_PARTS = 128;

export const tapsFamily: Family<Choice> = {
  name: "taps",
  choices(job) {
    const { target } = job.ctx;
    if (job.group.kind !== "map") return [];
    const rows = tapsOf(job);
    // A software adapter has few cores, which a thread for each sum keeps busy, and takes long to compile this. Asked last: groups
    // whose schedules ask nothing that targets differ in are scheduled once for them.
    if (!rows || !target.fastShared) return [];
    const threads = target.rowThreads;
    const fours = Math.ceil((asConst(rows.row.extent) ?? 4 * TOGETHER) / 4);
    const together = Math.min(TOGETHER, 2 ** Math.ceil(Math.log2(fours)));
    const groups = Math.ceil(fours / together);
    const parts = Math.min(MOST_PARTS, Math.ceil(target.rows.groups / groups));
    const shapes = [1, 2, 4].map((ahead) => ({ threads, rows: together, ahead }));
    const cut = parts > 1 && canBeCut(job, rows) ? shapes.map((s): Choice => ({ ...s, parts })) : [];
    return [...cut, ...shapes.map((s): Choice => ({ ...s, parts: 1 }))];
  },
  lower(job, { parts, ...choice }) {
    const rows = tapsOf(job) as Rows;
    const shape: Shape = { ...choice, combine: "shared", levels: LEVELS };
    return parts === 1 ? oneLaunch(rowsKernel(job, rows, shape)) : inParts(job, rows, shape, parts);
  },
};

const described = new OfGroups<Rows | undefined>();
const known = new WeakMap<Job, Rows | undefined>();
function tapsOf(job: Job): Rows | undefined {
  if (known.has(job)) return known.get(job);
  const { ctx, group } = job;
  const made = described.of(group, "taps", ctx.target, (target) => describe({ ...ctx, target }, group));
  // What the kernels of one target are made of is not known to another's.
  const rows = made && { ...made, s: made.s.fork() };
  known.set(job, rows);
  return rows;
}

function describe(ctx: ScheduleContext, g: Job["group"]): Rows | undefined {
  const [value] = g.roots;
  if (g.roots.length !== 1 || g.derived) return undefined;
  // Taps are written out: what their places are made of is literal.
  const s = groupLowering(ctx, g, true);
  const { shape } = value.type;
  const axes = shape.map((d, i) => s.axis(`i${i}`, d));
  const x = lowerRoot(
    s,
    value,
    axes.map((a) => s.axisValue(a)),
  );
  const folds = foldsOf(x);
  const [fold] = folds;
  if (folds.length !== 1 || fold.combine !== "add" || fold.dtype !== "f32") return undefined;
  if (foldsOf(fold.body).length > 0) return undefined;
  const terms = product(fold.axes.map((a) => a.extent));
  if ((asConst(terms) ?? LONG) < LONG) return undefined;
  const channel = channelOf(ctx, fold);
  if (!channel || !axes.includes(channel) || !isMultipleOf(channel.extent, 4)) return undefined;
  const others = axes.filter((a) => a !== channel && !isConst(a.extent, 1));
  const taps = asConst(product(others.map((a) => a.extent)));
  if (taps === undefined || taps < 2 || taps > MOST_TAPS) return undefined;

  const row = s.axis("row", channel.extent);
  const k = s.axis("k", terms);
  const main = mainOf(fold) as ScalarOf<"load">;
  const order = orderBy(fold.axes, main, ctx.layouts.order(main.value));
  const at = new Map<Axis, Scalar>([[channel, s.axisValue(row)]]);
  const extents = order.map((a) => a.extent);
  decode(s, s.axisValue(k), extents).forEach((c, i) => void at.set(order[i], c));
  for (const a of axes) if (isConst(a.extent, 1)) at.set(a, s.dim(0));
  const own = new Map<ScalarOf<"fold">, Axis>();
  const roots = Array.from({ length: taps }, (_, tap): RowRoot => {
    let rest = tap;
    const here = new Map(at);
    for (const a of [...others].reverse()) {
      const extent = asConst(a.extent) as number;
      here.set(a, s.dim(rest % extent));
      rest = Math.floor(rest / extent);
    }
    const sum = s.foldOver("add", [k], s.substitute(fold.body, here));
    if (sum.kind === "fold") own.set(sum, k);
    const placed = s.rewrite(x, (y) => (y === fold ? sum : undefined));
    return {
      value,
      x: s.substitute(placed, here),
      at: axes.map((a) => here.get(a) as Scalar),
      inner: undefined,
    };
  });
  return own.size === taps ? { s, row, side: true, roots, folds: own } : undefined;
}

/** The load of most axes that runs with the terms. */
const mainOf = ({ body, axes }: ScalarOf<"fold">): ScalarOf<"load"> | undefined =>
  loadsOf(body)
    .sort((a, b) => b.value.type.shape.length - a.value.type.shape.length)
    .find((l) => l.free.some((a) => axes.includes(a)));
/** The axis along which all that runs with the terms lies side by side. */
function channelOf({ layouts }: ScheduleContext, fold: ScalarOf<"fold">): Axis | undefined {
  const loads = loadsOf(fold.body).filter((l) => l.free.some((a) => fold.axes.includes(a)));
  const inner = new Set(
    loads.map((l) => {
      const last = l.at[layouts.order(l.value).at(-1) as number];
      return last.free.length === 1 && !fold.axes.includes(last.free[0]) ? last.free[0] : undefined;
    }),
  );
  const [first] = inner;
  return inner.size === 1 ? first : undefined;
}
