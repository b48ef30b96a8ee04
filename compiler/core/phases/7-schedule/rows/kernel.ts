// One kernel of rows. The threads of a workgroup stand in a grid: so many rows (or fours of rows, where rows are what lies
// side by side in memory), and so many threads that share each. Folds sit at row level: each thread folds its share, the
// shares are combined by subgroup operations or in workgroup memory, and every later value of the row sees the result.
// In: what rows compute, all of each or a part, and how the threads stand. Out: a launch.
import { add, asConst, ceilDiv, type Dim, isConst, isMultipleOf, mul } from "../../../dims/dim.ts";
import {
  bin,
  call,
  lit,
  part as partOf,
  type SharedArray,
  sharedAt,
  variable,
  vec,
  widen,
  type X,
} from "../../../kernel/code.ts";
import { COMBINE_NAME, combine, type Emitter, type Running } from "../../../kernel/emitter.ts";
import { identityOf, type ScalarContext } from "../../../kernel/lowering.ts";
import { type Axis, type Combine, loadsOf, type Scalar, type ScalarOf } from "../../../kernel/scalar.ts";
import { workOf } from "../../../kernel/work.ts";
import { emitterFor, extentOf, finish, groupName, groupX, laneX } from "../common.ts";
import type { Job, Launch } from "../family.ts";
import type { Late } from "./late.ts";
import { foldsIn, powersOf, type RowRoot, type Rows, spreadOf } from "./nest.ts";
import { Powers } from "./powers.ts";
import { Spreads } from "./spread.ts";

type Fold = ScalarOf<"fold">;

/** How the threads of a workgroup stand, and how they bring their shares together. */
export interface Shape {
  readonly threads: number;
  /** Rows, or fours of rows, of a workgroup; the threads are divided among them. */
  readonly rows: number;
  readonly combine: "subgroup" | "shared";
  /** Fours of numbers that a thread loads before it uses the first; 1 where memory is near. */
  readonly ahead: number;
  /** Sums of sums that a long sum of a thread has, at most, where many are at hand. */
  readonly levels?: number;
}
/** Places of a part along an axis: how many, and where in the whole they begin. */
export interface Places {
  readonly many: Scalar;
  readonly first: Scalar;
  readonly whole: Dim;
  /** Fours do not go over its end. */
  readonly even: boolean;
}
/** What of each row is here: a part by number. */
export interface Share {
  readonly part: Axis;
  readonly count: Dim;
  readonly places: ReadonlyMap<Axis, Places>;
  /** What a whole row has one of is stored with each part, not with the first alone. */
  readonly each: boolean;
}

/** Shares that everybody combines for itself, at most. */
const DIRECT = 16;
/** Turns of a row that are written out one by one, where what is loaded is read again. */
const MOST_TURNS = 16;
/** Bytes of workgroup memory that the shares of folds may take at a time. */
const ROOM = 8192;

/** A place along a row in one turn: the axis that stands for it, and whether it is one, where that is not certain. */
interface Turn {
  readonly axis: Axis;
  readonly ok: X | undefined;
}

export function rowsKernel(job: Job, rows: Rows, shape: Shape, suffix = "", share?: Share): Launch {
  return new RowsKernel(job, rows, shape, share).launch(suffix);
}

class RowsKernel {
  private readonly job: Job;
  private readonly rows: Rows;
  private readonly shape: Shape;
  private readonly share: Share | undefined;
  private readonly em: Emitter;
  private readonly s: ScalarContext;
  /** Which row of the workgroup a thread is in, which of its threads it is, and how many those are. */
  private readonly mine: X;
  private readonly nth: X;
  private readonly many: number;
  /** Fours of rows are computed four wide. */
  private readonly lane: Axis | undefined;
  /** False for rows beyond the last; undefined where there are none. */
  private live: X | undefined;
  private readonly folded = new Map<Fold, X>();
  private readonly spreads: Spreads;
  private readonly powers: Powers;
  private readonly kept = new Map<Axis, Turn[]>();
  private turn = 0;

  constructor(job: Job, rows: Rows, shape: Shape, share: Share | undefined) {
    this.job = job;
    this.rows = rows;
    this.shape = shape;
    this.share = share;
    this.s = rows.s;
    this.em = emitterFor(job.ctx, rows.s);
    this.spreads = new Spreads(this.em);
    this.powers = new Powers(this.em);
    this.many = shape.threads / shape.rows;
    this.lane = rows.side ? rows.row : undefined;
    const { em, many } = this;
    em.count(rows.roots.map((q) => q.x));
    // Neighbouring threads read what lies side by side: along the rows, or from row to row.
    const [quick, slow] = rows.side ? [shape.rows, many] : [many, shape.rows];
    const name = (what: string, x: X): X => (x.k === "lit" ? x : em.let(what, x));
    const first = quick === 1 ? lit(0) : slow === 1 ? laneX() : name("of", bin("%", laneX(), lit(quick)));
    const second = slow === 1 ? lit(0) : quick === 1 ? laneX() : name("of", bin("/", laneX(), lit(quick)));
    this.mine = rows.side ? first : second;
    this.nth = rows.side ? second : first;
    this.bindRow();
  }

  /** Rows of a workgroup. */
  private get block(): number {
    return this.shape.rows * (this.rows.side ? 4 : 1);
  }
  private get blocks(): Dim {
    return ceilDiv(this.rows.row.extent, this.block);
  }
  private bindRow(): void {
    const { em, rows, shape, share } = this;
    let group = groupX();
    if (share) {
      const blocks = em.dim(this.blocks);
      em.bind(share.part, isConst(this.blocks, 1) ? group : em.let("part", bin("/", group, blocks)));
      group = isConst(this.blocks, 1) ? lit(0) : em.let("block", bin("%", group, blocks));
    }
    const width = rows.side ? 4 : 1;
    const number = bin("+", bin("*", group, lit(shape.rows)), this.mine);
    const at = bin("*", number, lit(width));
    if (shape.rows === 1 || isMultipleOf(rows.row.extent, this.block)) {
      em.bind(rows.row, em.let("row", at));
      return;
    }
    // Threads of rows that there are not compute the last one along, and store nothing: all take part in barriers.
    const many = em.dim(ceilDiv(rows.row.extent, width));
    const wanted = em.let("row", number);
    this.live = bin("<", wanted, many);
    const there = call("min", [wanted, bin("-", many, lit(1))], "i32");
    em.bind(rows.row, em.let("row", width === 1 ? there : bin("*", there, lit(width))));
  }

  launch(suffix: string): Launch {
    const { em, rows, share, shape } = this;
    em.onFold = (fold, depth, lane) => this.fold(fold, depth, lane);
    const tail =
      rows.side && !isMultipleOf(rows.row.extent, 4)
        ? { at: this.s.axisValue(rows.row), extent: rows.row.extent }
        : undefined;
    // Row-level values first, all threads together; then one thread stores them.
    const own = rows.roots.filter((q) => !q.inner);
    const results = own.map((q) => em.x(q.x, this.lane));
    if (own.length > 0) {
      em.push();
      for (const [i, q] of own.entries()) em.store(q.value, q.at, results[i], this.lane, tail);
      const body = em.pop();
      const conditions: X[] = [];
      if (this.many > 1) conditions.push(call("eq", [this.nth, lit(0)], "bool"));
      if (this.live) conditions.push(this.live);
      if (share && !share.each)
        conditions.push(call("eq", [em.x(this.s.axisValue(share.part)), lit(0)], "bool"));
      this.putIf(conditions, body);
    }
    for (const inner of new Set(rows.roots.flatMap((q) => q.inner ?? []))) {
      const mine = rows.roots.filter((q) => q.inner === inner);
      // Row-level values of the expressions are computed before the loop, where all threads take part.
      for (const q of mine)
        for (const f of foldsIn(q.x))
          if (!f.free.includes(inner))
            em.x(f, this.lane && f.free.includes(this.lane) ? this.lane : undefined);
      this.storeAlong(inner, mine, tail);
    }
    const { groups, cost } = this.size();
    return finish(em, this.s, {
      name: `${groupName(this.job.group)}${suffix}`,
      family: "rows",
      workgroup: shape.threads,
      groups,
      cost,
      subgroups: shape.combine === "subgroup",
      nest: this.nest(),
    });
  }
  private putIf(conditions: readonly X[], body: ReturnType<Emitter["pop"]>): void {
    if (conditions.length === 0) for (const b of body) this.em.put(b);
    else this.em.put({ k: "if", cond: conditions.reduce((a, b) => bin("&&", a, b)), body });
  }

  private size(): { groups: Dim; cost: Dim } {
    const { rows, share } = this;
    const folds = new Set<Scalar>(rows.folds.keys());
    // Each fold once a row, and what reads it at each element of the row.
    const work = add(
      ...[...rows.folds.keys()].map((f) => mul(extentOf(f.axes), add(workOf([f.body], folds), 1))),
      ...rows.roots.map((q) => mul(q.inner?.extent ?? 1, add(workOf([q.x], folds), 1))),
    );
    const cost = mul(rows.row.extent, work, share?.count ?? 1);
    return { groups: share ? mul(this.blocks, share.count) : this.blocks, cost };
  }
  private nest(): string[] {
    const { rows, shape, share } = this;
    const wide = rows.side ? " by 4 lanes" : "";
    const several = shape.rows > 1 ? `, ${this.block} a workgroup` : "";
    return [
      `grid row in 0 .. ${rows.row.extent.key}${wide}${several}`,
      ...(share ? [`grid part in 0 .. ${share.count.key}`] : []),
      ...[...rows.folds].map(([f, k]) => {
        const pair = this.spreads.has(f) ? " with the sum" : this.powers.has(f) ? " with the largest" : "";
        return `  row    ${f.combine} over k in 0 .. ${k.extent.key}${pair}${this.kept.has(k) ? ", kept" : ""}`;
      }),
      ...rows.roots.map(
        (q) => `  ${q.inner ? "inline" : "row   "} ${q.value.node.label ?? q.value.node.op.name} (root)`,
      ),
    ];
  }

  // --- places along a row

  /** How many places of an axis are here. */
  private end(k: Axis): X {
    const share = this.share?.places.get(k);
    return share ? this.em.x(share.many) : this.em.dim(k.extent);
  }
  /** Fours do not go over the end. */
  private even(k: Axis): boolean {
    return this.share?.places.get(k)?.even ?? isMultipleOf(k.extent, 4);
  }
  /** Elements of a turn of all threads, four wide along the rows or along the row. */
  private span(lane: Axis | undefined): number {
    return this.many * (lane ? 1 : 4);
  }
  private from(lane: Axis | undefined): X {
    return lane ? this.nth : bin("*", this.nth, lit(4));
  }
  /** A turn at `at`; `sure`: all threads are inside. */
  private place(k: Axis, at: X, lane: Axis | undefined, sure: boolean): Turn {
    const { em } = this;
    const axis = this.s.axis("k", k.extent);
    if (sure) {
      em.bind(axis, em.let("k", at));
      return { axis, ok: undefined };
    }
    const end = this.end(k);
    const wanted = em.let("k", at);
    // Beyond the end the last place is read again.
    const last = lane
      ? bin("-", end, lit(1))
      : this.even(k)
        ? bin("-", end, lit(4))
        : em.let("last", bin("*", bin("/", bin("-", end, lit(1)), lit(4)), lit(4)));
    em.bind(axis, em.let("k", call("min", [wanted, last], "i32")));
    const ok =
      lane || this.even(k)
        ? bin("<", wanted, end)
        : call("inside", [bin("+", wanted, vec([lit(0), lit(1), lit(2), lit(3)])), end], "bool");
    return { axis, ok: em.let("ok", ok) };
  }
  /** Where the places of an axis are few enough to be loaded once and kept: its turns. */
  private turns(k: Axis, lane: Axis | undefined): readonly Turn[] | undefined {
    const known = this.kept.get(k);
    if (known) return known;
    const { em, rows, shape } = this;
    const long = asConst(k.extent);
    if (shape.ahead === 1 || long === undefined || long === 0 || this.share?.places.has(k)) return undefined;
    const span = this.span(lane);
    const count = Math.ceil(long / span);
    const all = [...[...rows.folds.keys()].map((f) => f.body), ...rows.roots.map((q) => q.x)];
    const loads = new Set(all.flatMap(loadsOf).filter((l) => l.free.includes(k)));
    if (count > MOST_TURNS || loads.size * count > shape.ahead * 4) return undefined;
    const made = em.atDepth(0, () =>
      Array.from({ length: count }, (_, j) => {
        const sure = (j + 1) * span <= long && (lane !== undefined || this.even(k));
        return this.place(k, bin("+", this.from(lane), lit(j * span)), lane, sure);
      }),
    );
    this.kept.set(k, made);
    // What several turns read is named as what the whole row reads is.
    em.count(made.flatMap((t) => all.map((x) => this.at(x, k, t.axis))));
    return made;
  }
  private at(x: Scalar, k: Axis, turn: Axis): Scalar {
    return turn === k ? x : this.s.substitute(x, new Map([[k, this.s.axisValue(turn)]]));
  }
  /** The turns of one pass of a loop that stands at `at`. */
  private ahead(k: Axis, at: X, lane: Axis | undefined): readonly Turn[] {
    const { em, shape } = this;
    const turns = this.inTurns(k, lane);
    if (turns === 1) {
      if (lane || this.even(k)) return [{ axis: k, ok: undefined }];
      const lanes = bin("+", at, vec([lit(0), lit(1), lit(2), lit(3)]));
      return [{ axis: k, ok: em.let("ok", call("inside", [lanes, this.end(k)], "bool")) }];
    }
    const span = this.span(lane);
    const sure =
      !this.share?.places.has(k) &&
      isMultipleOf(k.extent, span * turns) &&
      (lane !== undefined || this.even(k));
    return Array.from({ length: shape.ahead === 1 ? 1 : turns }, (_, j) =>
      this.place(k, bin("+", at, lit(j * span)), lane, sure),
    );
  }
  /** Turns of a pass: no more than the row has. */
  private inTurns(k: Axis, lane: Axis | undefined): number {
    const { ahead } = this.shape;
    const long = asConst(k.extent) ?? Number.POSITIVE_INFINITY;
    let turns = Math.min(ahead, 4);
    while (turns > 1 && (turns - 1) * this.span(lane) >= long) turns--;
    return turns;
  }

  // --- folds

  private laneOf(f: Scalar): Axis | undefined {
    return this.lane && f.free.includes(this.lane) ? this.lane : undefined;
  }
  private fold(fold: Fold, depth: number, lane: Axis | undefined): X | undefined {
    if (this.laneOf(fold) !== lane) return undefined;
    const known = this.folded.get(fold);
    if (known) return known;
    const k = this.rows.folds.get(fold);
    if (!k || depth > 0) return undefined;
    this.em.atDepth(0, () => {
      // What it waits for first: a spread may then be had from the loop over that.
      for (const f of foldsIn(fold.body)) if (!f.free.includes(k)) this.fold(f, 0, this.laneOf(f));
      const late = this.spreads.take(fold) ?? this.powers.take(fold);
      if (late) {
        const from = widen(this.em.x(late.from, lane), 4);
        this.settle([{ fold, x: late.value(from) }], lane);
        return;
      }
      const list = this.together(fold, k, lane);
      const values = this.foldAll(list, k, lane);
      this.settle(
        list.flatMap((f, i) => {
          const x = values[i];
          return x ? [{ fold: f, x }] : [];
        }),
        lane,
      );
    });
    return this.folded.get(fold) ?? this.fold(fold, depth, lane);
  }
  /** Folds that do not wait for each other share a loop: what they read is read once. */
  private together(fold: Fold, k: Axis, lane: Axis | undefined): Fold[] {
    const adds = (f: Fold): boolean => f.combine === "add" && (f.dtype === "f32" || f.dtype === "f16");
    const out = [fold];
    for (const [f, axis] of this.rows.folds) {
      if (f === fold || this.folded.has(f) || axis !== k || this.laneOf(f) !== lane) continue;
      if (adds(f) !== adds(fold)) continue;
      if (foldsIn(f.body).every((x) => this.folded.has(x) || x.free.includes(k))) out.push(f);
    }
    return out;
  }
  /** Four numbers a fold: this thread's share. Undefined for one that waits for what its row's values are. */
  private foldAll(list: readonly Fold[], k: Axis, lane: Axis | undefined): (X | undefined)[] {
    const { em } = this;
    const value = (x: Scalar, f: Fold, turn: Turn): X => {
      const term = this.at(x, k, turn.axis);
      const got = widen(lane ? em.x(term, lane) : em.x(term, turn.axis), 4);
      if (!turn.ok) return got;
      const identity = em.literal(identityOf(f.combine, f.dtype), f.dtype);
      return call("select", [widen(turn.ok, 4), got, widen(identity, 4)], got.dtype);
    };
    const kept = this.again(k) ? this.turns(k, lane) : undefined;
    if (kept) {
      const totals = list.map((f) => em.running(f.combine, f.dtype, 4));
      for (const turn of kept) for (const [n, f] of list.entries()) totals[n].add(value(f.body, f, turn));
      return totals.map((t) => t.value());
    }
    const pairs = this.shape.ahead === 1 ? [] : this.alongside(list, k, lane);
    const totals: Running[] = list.map((f) => em.running(f.combine, f.dtype, 4));
    const lates = pairs.map((p) => p.late.running(!lane && !this.even(k)));
    const turns = this.inTurns(k, lane);
    em.foldLoop(
      [...totals, ...lates],
      false,
      k,
      (runs, at) => {
        const here = this.ahead(k, at, lane);
        const terms = list.map((f) => here.map((turn) => value(f.body, f, turn)));
        for (const [n, f] of list.entries()) {
          const held = terms[n].map((x) => (pairs.some((p) => p.first === n) ? em.let("v", x) : x));
          terms[n] = held;
          if (f.combine === "add") runs[n].add(held.reduce((a, b) => bin("+", a, b)));
          else for (const x of held) runs[n].add(x);
        }
        for (const [n, p] of pairs.entries())
          p.late.add(
            runs[list.length + n],
            terms[p.first],
            here.map((t) => t.ok),
          );
      },
      this.from(lane),
      this.span(lane) * turns,
      this.end(k),
      // A part whose length a call says: one of many, with many threads.
      this.shape.levels ??
        (this.share && this.shape.ahead > 1 && asConst(k.extent) === undefined ? 2 : undefined),
    );
    for (const [n, p] of pairs.entries()) p.late.wait(p.fold, p.from, lates[n]);
    return totals.map((t) => t.value());
  }
  /**
   * Folds that go along with those of a loop, though they are taken from what one of these (`first`) will be: the spread of what
   * is summed; in rows that are known to be long, the sum of exponentials below the largest.
   */
  private alongside(list: readonly Fold[], k: Axis, lane: Axis | undefined) {
    const firstOf = (x: Scalar, how: Combine): number =>
      list.findIndex((f) => f.body === x && f.combine === how);
    return [...this.rows.folds].flatMap(([fold, axis]) => {
      if (axis !== k || this.folded.has(fold) || this.laneOf(fold) !== lane) return [];
      const spread = spreadOf(fold, k);
      const found = spread ?? (asConst(k.extent) === undefined ? undefined : powersOf(fold, k));
      if (!found) return [];
      const first = firstOf(found.x, spread ? "add" : "max");
      const late: Late = spread ? this.spreads : this.powers;
      return first < 0 ? [] : [{ fold, from: found.from, first, late }];
    });
  }
  /** What is loaded along an axis is wanted more than once. */
  private again(k: Axis): boolean {
    const { folds, roots } = this.rows;
    const along = [...folds].filter(([, axis]) => axis === k).map(([f]) => f);
    return (
      roots.some((q) => q.inner === k) || along.some((f) => foldsIn(f.body).some((x) => along.includes(x)))
    );
  }
  /** Brings the threads' shares together: the result is the same in each. */
  private settle(list: readonly { readonly fold: Fold; readonly x: X }[], lane: Axis | undefined): void {
    const { em } = this;
    const own = list.map(({ fold, x }) => {
      if (lane) return { how: fold.combine, x };
      const [a, b, c, d] = [0, 1, 2, 3].map((i) => partOf(x, i));
      const two = combine(fold.combine, combine(fold.combine, a, b), combine(fold.combine, c, d));
      return { how: fold.combine, x: em.let("part", two) };
    });
    const all = this.across(own);
    for (const [i, { fold }] of list.entries()) this.folded.set(fold, all[i]);
  }
  private across(list: readonly { readonly how: Combine; readonly x: X }[]): X[] {
    const { em, shape, many } = this;
    if (many === 1) return list.map(({ how, x }) => em.let(COMBINE_NAME[how], x));
    if (shape.combine === "subgroup") return list.map(({ how, x }) => this.bySubgroup(how, x));
    // Together, as far as they fit: a barrier waits for all threads.
    const bytes = 16 * shape.threads;
    const together = Math.max(1, Math.floor(ROOM / 2 / bytes));
    const out: X[] = [];
    for (let i = 0; i < list.length; i += together) out.push(...this.byMemory(list.slice(i, i + together)));
    return out;
  }
  private bySubgroup(how: Combine, x: X): X {
    const all = (combine: Combine, a: X): X => ({
      k: "subgroup",
      combine,
      a,
      dtype: a.dtype,
      width: a.width,
    });
    const out = all(how, x);
    const watched = (how === "max" || how === "min") && (x.dtype === "f32" || x.dtype === "f16");
    return this.em.let(
      COMBINE_NAME[how],
      watched ? call("unless_nan", [out, all("max", call("magnitude", [x], "u32"))], x.dtype) : out,
    );
  }
  private byMemory(list: readonly { readonly how: Combine; readonly x: X }[]): X[] {
    const { em, shape, many, rows } = this;
    const array = (what: string, n: number, x: X, size: number): SharedArray => {
      const dtype = x.dtype === "bool" ? "u32" : x.dtype;
      return em.shared(`${what}_${dtype}_${x.width}${n > 0 ? `_${n}` : ""}`, dtype, x.width, size);
    };
    /** Where the i-th of a row's `of` lies. */
    const slot = (i: X, of: number): X =>
      shape.rows === 1
        ? i
        : rows.side
          ? bin("+", bin("*", i, lit(shape.rows)), this.mine)
          : bin("+", bin("*", this.mine, lit(of)), i);
    const direct = many <= DIRECT;
    // Few are read by all, at once; what is read so is not written again before all have been at the next barrier.
    const turn = direct ? (this.turn++ % 2 === 0 ? "parts" : "others") : "parts";
    const parts = list.map(({ x }, n) => array(turn, n, x, shape.threads));
    for (const [n, { x }] of list.entries())
      em.put({ k: "setShared", name: parts[n].name, index: laneX(), x });
    em.put({ k: "barrier" });
    const read = (a: SharedArray, how: Combine, count: number): X =>
      em.let(
        COMBINE_NAME[how],
        Array.from({ length: count }, (_, i) => sharedAt(a, slot(lit(i), count))).reduce((a, b) =>
          combine(how, a, b),
        ),
      );
    if (direct) return list.map(({ how }, n) => read(parts[n], how, many));
    // In two steps: of many, eight threads combine an eighth of the parts each, then everybody those eight. Two barriers; a
    // tree would have one for each halving, and some compilers take seconds over them.
    const combiners = many > 128 ? 16 : 8;
    const groups = list.map(({ x }, n) => array("groups", n, x, combiners * shape.rows));
    const chunk = many / combiners;
    em.push();
    for (const [n, { how, x }] of list.entries()) {
      const at = (i: X): X => sharedAt(parts[n], slot(bin("+", bin("*", this.nth, lit(chunk)), i), many));
      const name = em.fresh("part");
      em.put({ k: "var", name, x: at(lit(0)) });
      const now = variable(name, x.dtype === "bool" ? "u32" : x.dtype, x.width);
      em.loop(
        undefined,
        "i",
        lit(chunk),
        (i) => em.put({ k: "set", name, x: combine(how, now, at(i)) }),
        lit(1),
      );
      em.put({ k: "setShared", name: groups[n].name, index: slot(this.nth, combiners), x: now });
    }
    const body = em.pop();
    em.put({ k: "if", cond: bin("<", this.nth, lit(combiners)), body });
    em.put({ k: "barrier" });
    return list.map(({ how }, n) => read(groups[n], how, combiners));
  }

  // --- elements

  private storeAlong(
    inner: Axis,
    mine: readonly RowRoot[],
    tail: { readonly at: Scalar; readonly extent: Dim } | undefined,
  ): void {
    const { em, s } = this;
    const along = this.lane;
    const places = this.share?.places.get(inner);
    const storeAt = (turn: Turn, values: readonly X[]): void => {
      const lane = along ?? turn.axis;
      // Lanes beyond the end of an uneven row; a whole four beyond it is not stored at all.
      const uneven = along || !turn.ok || this.even(inner);
      const guard = along
        ? tail
        : uneven
          ? undefined
          : { at: s.iadd(places?.first ?? 0, s.axisValue(turn.axis)), extent: places?.whole ?? inner.extent };
      em.push();
      for (const [i, q] of mine.entries())
        em.store(
          q.value,
          q.at.map((c) => this.at(c, inner, turn.axis)),
          values[i],
          lane,
          guard,
        );
      const body = em.pop();
      const conditions = this.live ? [this.live] : [];
      if (turn.ok && turn.axis !== inner) conditions.push(turn.ok.width === 4 ? partOf(turn.ok, 0) : turn.ok);
      this.putIf(conditions, body);
    };
    const valuesAt = (turn: Turn): X[] =>
      mine.map((q) => em.x(this.at(q.x, inner, turn.axis), along ?? turn.axis));
    const kept = this.turns(inner, along);
    if (kept) {
      for (const turn of kept) storeAt(turn, valuesAt(turn));
      return;
    }
    em.loop(
      inner,
      "e",
      this.end(inner),
      (at) => {
        const here = this.ahead(inner, at, along);
        const values = here.map(valuesAt);
        for (const [n, turn] of here.entries()) storeAt(turn, values[n]);
      },
      this.from(along),
      lit(this.span(along) * this.inTurns(inner, along)),
    );
  }
}
