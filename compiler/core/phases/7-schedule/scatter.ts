// Rows summed by index (the gradients of take and gather) in the time of terms plus rows: the terms are sorted by their row,
// stably, and each row adds up its own in index order. The order is fixed whatever the device, so are the bits.
// Sorting is by digits: a thread counts the digits of a block of terms, running sums of the counts say where each block's
// terms of each digit go, and the thread puts them there; nothing is atomic. A row with very many terms is summed in
// segments: those that hold nothing else are summed beforehand, each by a thread of its own.
// In: a scatter that the family claims. Out: three launches a digit, and three.
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  dim,
  isConst,
  isMultipleOf,
  max,
  min,
  mul,
  product,
  sub,
  substitute,
} from "../../dims/dim.ts";
import type { DType, Node, Value } from "../../ir/types.ts";
import { bin, call, lit, variable, type Width, widen, type X } from "../../kernel/code.ts";
import { rowMajor } from "../../kernel/coordinates.ts";
import type { Emitter } from "../../kernel/emitter.ts";
import type { ScalarContext } from "../../kernel/lowering.ts";
import type { Axis, Scalar } from "../../kernel/scalar.ts";
import { gatherGradOp, scatterAddOp } from "../../ops/lookup.ts";
import { decode, emitterFor, finish, groupLowering, groupX, laneX } from "./common.ts";
import { type Family, type Job, type Launch, type Launches, temporary } from "./family.ts";
import { sumsOfParts } from "./prefix.ts";

/** Bits of a digit; blocks whose digits are counted apart, at most; terms of a segment. */
type Choice = { readonly digit: number; readonly blocks: number; readonly segment: number };

/** Products of terms and elements up to which every element looks at every term: one launch, and no more work than these. */
const FEW = 262_144;
const NOMINAL = 32;
/** Terms of a block, at least. */
const BLOCK = 64;
const nominal = (d: Dim): number => asConst(substitute(d, () => NOMINAL)) ?? Number.POSITIVE_INFINITY;

export const scatterFamily: Family<Choice> = {
  name: "scatter",
  claims(node) {
    const of = scatterOf(node);
    return of !== undefined && nominal(mul(of.looks, product(node.outs[0].type.shape))) > FEW;
  },
  room: 4,
  choices({ group, ctx: { target } }) {
    if (!scatterOf(group.anchor)) return [];
    const blocks = target.fastShared ? 1024 : 256;
    return [
      { digit: 8, blocks, segment: 256 },
      { digit: 4, blocks, segment: 64 },
    ];
  },
  lower: (job, choice) => new Scatter(job, choice).launches(),
};

/** What goes where, said once for all operators of this kind. */
interface Shape {
  /** How many terms there are, and how many of them an element of the result would look at. */
  readonly terms: Dim;
  readonly looks: Dim;
  /** Rows of the result, and the axes around them. */
  readonly rows: Dim;
  readonly outer: readonly Dim[];
  readonly inner: readonly Dim[];
  /** The row of a term; any number outside the rows for none. */
  row(s: ScalarContext, term: Scalar): Scalar;
  /** An element of a term; of the result. */
  term(s: ScalarContext, outer: readonly Scalar[], term: Scalar, inner: readonly Scalar[]): Scalar;
  at(s: ScalarContext, outer: readonly Scalar[], row: Scalar, inner: readonly Scalar[]): readonly Scalar[];
}
function scatterOf(node: Node): Shape | undefined {
  if (node.op !== scatterAddOp && node.op !== gatherGradOp) return undefined;
  const [index, g] = node.inputs;
  const axis = node.attrs.axis as number;
  const { shape } = node.outs[0].type;
  const indices = index.type.shape;
  const terms = product(indices);
  if (node.op === scatterAddOp)
    return {
      terms,
      looks: terms,
      rows: shape[axis],
      outer: shape.slice(0, axis),
      inner: shape.slice(axis + 1),
      row: (s, term) => s.read(index, decode(s, term, indices)),
      term: (s, outer, term, inner) => s.read(g, [...outer, ...decode(s, term, indices), ...inner]),
      at: (_s, outer, row, inner) => [...outer, row, ...inner],
    };
  // Each line along the axis has rows of its own: an element is a row.
  return {
    terms,
    looks: indices[axis],
    rows: product(shape),
    outer: [],
    inner: [],
    row: (s, term) => {
      const at = decode(s, term, indices);
      const place = s.read(index, at);
      const inside = s.call("and", s.call("ge", place, s.dim(0)), s.call("lt", place, s.dim(shape[axis])));
      const there = at.map((c, i) => (i === axis ? place : c));
      return s.select(inside, rowMajor(s, there, shape), s.const("i32", -1));
    },
    term: (s, _outer, term) => s.read(g, decode(s, term, indices)),
    at: (s, _outer, row) => decode(s, row, shape),
  };
}

class Scatter {
  private readonly job: Job;
  private readonly choice: Choice;
  private readonly node: Node;
  private readonly of: Shape;
  private readonly threads: number;

  constructor(job: Job, choice: Choice) {
    this.job = job;
    this.choice = choice;
    this.node = job.group.anchor;
    this.of = scatterOf(this.node) as Shape;
    this.threads = job.ctx.target.mapThreads;
  }

  launches(): Launches {
    const { terms, rows } = this.of;
    const list: Launch[] = [];
    const temporaries: Value[] = [];
    const make = (name: string, dtype: DType, shape: readonly Dim[]): Value => {
      const made = temporary(name, dtype, shape, this.node);
      temporaries.push(made);
      return made;
    };
    // Rows and one more number, for what belongs to none.
    const most = asConst(rows);
    const bits = most === undefined ? 31 : Math.max(1, Math.ceil(Math.log2(most + 1)));
    const passes = Math.ceil(bits / this.choice.digit);
    const width = Math.ceil(bits / passes);
    const count = min(this.choice.blocks, ceilDiv(terms, BLOCK));
    let sorted: { keys: Value; order: Value } | undefined;
    for (let pass = 0; pass < passes; pass++) {
      const digits = { shift: pass * width, many: 2 ** width };
      const counts = make("counts", "i32", [dim(digits.many), count]);
      const places = make("places", "i32", [dim(digits.many), count]);
      list.push(this.counting(sorted?.keys, counts, digits));
      list.push(this.starting(counts, places));
      const next = { keys: make("keys", "i32", [terms]), order: make("order", "i32", [terms]) };
      list.push(this.placing(sorted, places, next, digits));
      sorted = next;
    }
    const { keys, order } = sorted as { keys: Value; order: Value };
    const starts = make("starts", "i32", [add(rows, 1)]);
    list.push(this.bounds(keys, starts));
    const segments = make("segments", this.sumType, [
      product(this.of.outer),
      ceilDiv(terms, this.choice.segment),
      product(this.of.inner),
    ]);
    list.push(this.wholes(keys, order, segments), this.rows(order, starts, segments));
    return { list, temporaries };
  }
  private get sumType(): DType {
    const { dtype } = this.node.outs[0].type;
    return dtype === "f16" ? "f32" : dtype;
  }

  // --- sorting -----------------------------------------------------------------------------------------------------------
  /** The row of each term as a number in 0 .. rows, the last for none. */
  private keyOf(s: ScalarContext, keys: Value | undefined, term: Scalar): Scalar {
    if (keys) return s.load(keys, [term]);
    const row = this.of.row(s, term);
    const rows = s.dim(this.of.rows);
    return s.select(s.call("and", s.call("ge", row, s.dim(0)), s.call("lt", row, rows)), row, rows);
  }
  /** A kernel of one thread a block; `each` runs for each of its terms, with its key and digit. */
  private blocks(
    name: string,
    keys: Value | undefined,
    table: Value,
    digits: { readonly shift: number; readonly many: number },
    before: (k: Thread, at: readonly Scalar[], digit: Axis) => void,
    each: (k: Thread, at: readonly Scalar[], term: Axis, key: X) => void,
  ): Launch {
    const { terms } = this.of;
    const count = table.type.shape[1];
    const k = new Thread(this.job, count, this.threads);
    const { s, em } = k;
    const block = s.axis("block", count);
    em.bind(block, k.index);
    const digit = s.axis("digit", digits.many);
    const at = [s.axisValue(digit), s.axisValue(block)];
    before(k, at, digit);
    const size = max(BLOCK, ceilDiv(terms, this.choice.blocks));
    const first = em.let("first", bin("*", k.index, em.dim(size)));
    const last = em.let("last", call("min", [bin("+", first, em.dim(size)), em.dim(terms)], "i32"));
    const term = s.axis("term", terms);
    em.loop(
      term,
      "term",
      last,
      () => {
        const key = em.let("key", em.x(this.keyOf(s, keys, s.axisValue(term))));
        const high = digits.shift === 0 ? key : bin(">>", key, lit(digits.shift));
        em.bind(digit, em.let("digit", bin("%", high, lit(digits.many))));
        each(k, at, term, key);
      },
      first,
    );
    return k.finish(name, mul(terms, 4), [
      `grid block in 0 .. ${count.key}`,
      `  thread term of the block, digit ${digits.shift / Math.log2(digits.many) + 1}`,
    ]);
  }
  private counting(
    keys: Value | undefined,
    counts: Value,
    digits: { readonly shift: number; readonly many: number },
  ): Launch {
    return this.blocks(
      "scatter_count",
      keys,
      counts,
      digits,
      ({ em }, at, digit) =>
        em.loop(digit, "digit", lit(digits.many), () => em.store(counts, at, lit(0), undefined)),
      ({ s, em }, at) =>
        em.store(counts, at, em.let("next", bin("+", em.x(s.load(counts, at)), lit(1))), undefined),
    );
  }
  /** Where each block's terms of each digit begin. */
  private starting(counts: Value, places: Value): Launch {
    const s = groupLowering(this.job.ctx, this.job.group);
    const { shape } = counts.type;
    const at = (k: Scalar): readonly Scalar[] => decode(s, k, shape);
    return sumsOfParts(
      this.job.ctx,
      { s, rows: [], size: product(shape), dtype: "i32", read: (_line, k) => s.load(counts, at(k)) },
      { name: "scatter_places", running: { value: places, before: true, at: (_p, k) => at(k) } },
    );
  }
  private placing(
    from: { readonly keys: Value; readonly order: Value } | undefined,
    places: Value,
    to: { readonly keys: Value; readonly order: Value },
    digits: { readonly shift: number; readonly many: number },
  ): Launch {
    return this.blocks(
      "scatter_sort",
      from?.keys,
      places,
      digits,
      () => {},
      ({ s, em }, at, term, key) => {
        const place = s.axis("place", this.of.terms);
        const here = em.let("place", em.x(s.load(places, at)));
        em.bind(place, here);
        em.store(places, at, bin("+", here, lit(1)), undefined);
        em.store(to.keys, [s.axisValue(place)], key, undefined);
        const order = from ? s.load(from.order, [s.axisValue(term)]) : s.axisValue(term);
        em.store(to.order, [s.axisValue(place)], em.x(order), undefined);
      },
    );
  }

  // --- sums --------------------------------------------------------------------------------------------------------------
  /** The first place of each row's terms, and behind the last row the end of all. */
  private bounds(keys: Value, starts: Value): Launch {
    const { terms, rows } = this.of;
    const k = new Thread(this.job, add(terms, 1), this.threads);
    const { s, em } = k;
    const place = s.axis("place", add(terms, 1));
    em.bind(place, k.index);
    const at = s.axisValue(place);
    const near = (x: Scalar): Scalar => s.load(keys, [x]);
    const last = s.call("max", s.call("min", at, s.dim(sub(terms, 1))), s.dim(0));
    const before = s.call("max", s.iadd(at, -1), s.dim(0));
    const from = s.select(s.call("eq", at, s.dim(0)), s.dim(0), s.iadd(near(before), 1));
    const to = s.select(s.call("eq", at, s.dim(terms)), s.dim(rows), near(last));
    const row = s.axis("row", add(rows, 1));
    em.loop(
      row,
      "row",
      em.let("below", bin("+", em.x(to), lit(1))),
      () => em.store(starts, [s.axisValue(row)], k.index, undefined),
      em.let("from", em.x(from)),
    );
    return k.finish("scatter_starts", add(terms, rows), [
      `grid place in 0 .. ${terms.key} + 1`,
      "  thread row that begins there",
    ]);
  }
  /** An element of the result, or of a segment, a thread: outer, then `between`, then four of the inner ones. */
  private elements(between: Dim): {
    k: Thread;
    outer: readonly Scalar[];
    middle: Scalar;
    inner: readonly Scalar[];
    flat: readonly Scalar[];
    lane: Axis | undefined;
    tail: { at: Scalar; extent: Dim } | undefined;
  } {
    const { outer, inner } = this.of;
    const many = product(inner);
    const wide = !isConst(many, 1);
    const quads = wide ? ceilDiv(many, 4) : many;
    const k = new Thread(this.job, mul(product(outer), between, quads), this.threads);
    const { s, em } = k;
    const lane = s.axis("inner", many);
    const rest = wide ? em.let("rest", bin("/", k.index, em.dim(quads))) : k.index;
    if (wide) em.bind(lane, em.let("inner", bin("*", bin("%", k.index, em.dim(quads)), lit(4))));
    else em.bind(lane, lit(0));
    const line = s.axis("outer", product(outer));
    const middle = s.axis("middle", between);
    if (outer.length === 0) {
      em.bind(line, lit(0));
      em.bind(middle, rest);
    } else {
      em.bind(line, em.let("outer", bin("/", rest, em.dim(between))));
      em.bind(middle, em.let("middle", bin("%", rest, em.dim(between))));
    }
    return {
      k,
      outer: decode(s, s.axisValue(line), outer),
      middle: s.axisValue(middle),
      inner: decode(s, s.axisValue(lane), inner),
      flat: [s.axisValue(line), s.axisValue(middle), s.axisValue(lane)],
      lane: wide ? lane : undefined,
      tail: wide && !isMultipleOf(many, 4) ? { at: s.axisValue(lane), extent: many } : undefined,
    };
  }
  /** The sum of a segment that is of one row. */
  private wholes(keys: Value, order: Value, segments: Value): Launch {
    const { segment } = this.choice;
    const { terms, rows } = this.of;
    const e = this.elements(ceilDiv(terms, segment));
    const { s, em } = e.k;
    const first = s.axis("first", terms);
    const from = em.let("from", bin("*", em.x(e.middle), lit(segment)));
    em.bind(first, from);
    const last = bin("+", from, lit(segment));
    const key = (at: Scalar): Scalar => s.load(keys, [at]);
    const end = s.call("min", s.iadd(s.axisValue(first), segment - 1), s.dim(sub(terms, 1)));
    const own = em.let("row", em.x(key(s.axisValue(first))));
    const whole = [
      call("eq", [own, em.x(key(end))], "bool"),
      bin("<", own, em.dim(rows)),
      bin("<", last, bin("+", em.dim(terms), lit(1))),
    ].reduce((a, b) => bin("&&", a, b));
    em.push();
    const sum = this.sum(e.k, e.lane, [{ from, to: last, each: (at) => this.termAt(e, order, at) }]);
    em.store(segments, e.flat, sum, e.lane, e.tail);
    const body = em.pop();
    em.put({ k: "if", cond: whole, body });
    return e.k.finish("scatter_segments", mul(terms, product(this.of.outer), product(this.of.inner)), [
      `grid segment of ${segment} terms`,
      "  thread its sum, where it is of one row",
    ]);
  }
  private termAt(e: ReturnType<Scatter["elements"]>, order: Value, at: Scalar): Scalar {
    const { s } = e.k;
    return s.cast(this.of.term(s, e.outer, s.load(order, [at]), e.inner), this.sumType);
  }
  private rows(order: Value, starts: Value, segments: Value): Launch {
    const { segment } = this.choice;
    const { rows } = this.of;
    const out = this.node.outs[0];
    const e = this.elements(rows);
    const { s, em } = e.k;
    const row = e.middle;
    const from = em.let("from", em.x(s.load(starts, [row])));
    const to = em.let("to", em.x(s.load(starts, [s.iadd(row, 1)])));
    // Whole segments lie between.
    const firstSegment = em.let("first_segment", bin("/", bin("+", from, lit(segment - 1)), lit(segment)));
    const lastSegment = em.let("last_segment", bin("/", to, lit(segment)));
    const head = em.let("head", call("min", [to, bin("*", firstSegment, lit(segment))], "i32"));
    const foot = em.let("foot", call("max", [head, bin("*", lastSegment, lit(segment))], "i32"));
    const term = (at: Scalar): Scalar => this.termAt(e, order, at);
    const sum = this.sum(e.k, e.lane, [
      { from, to: head, each: term },
      { from: firstSegment, to: lastSegment, each: (at) => s.load(segments, [e.flat[0], at, e.flat[2]]) },
      { from: foot, to, each: term },
    ]);
    const cast =
      out.type.dtype === this.sumType ? sum : call(`cast_${out.type.dtype}`, [sum], out.type.dtype);
    em.store(out, this.of.at(s, e.outer, row, e.inner), cast, e.lane, e.tail);
    return e.k.finish(
      "scatter_add",
      mul(add(this.of.terms, rows), product(this.of.outer), product(this.of.inner)),
      [
        `grid row in 0 .. ${rows.key}${e.lane ? ", inner by 4 lanes" : ""}`,
        "  thread its terms in index order, whole segments at once (root)",
      ],
    );
  }
  /** What runs of terms add up to, in order; sixteen are one term of the sum. */
  private sum(
    { s, em }: Thread,
    lane: Axis | undefined,
    runs: readonly { readonly from: X; readonly to: X; readonly each: (at: Scalar) => Scalar }[],
  ): X {
    const dtype = this.sumType;
    const width: Width = lane ? 4 : 1;
    const variableOf = (name: string): X => {
      const v = em.fresh(name);
      em.put({ k: "var", name: v, x: widen(em.literal(0, dtype), width) });
      return variable(v, dtype, width);
    };
    const addTo = (into: X, x: X): void => {
      if (into.k === "var") em.put({ k: "set", name: into.name, x: bin("+", into, x) });
    };
    const total = variableOf("total");
    // Most rows of a large table have no terms.
    const [first] = runs;
    const last = runs[runs.length - 1];
    em.push();
    for (const { from, to, each } of runs) {
      const at = s.axis("at", this.of.terms);
      em.loop(
        undefined,
        "block",
        to,
        (block) => {
          const part = variableOf("part");
          const end = em.let("end", call("min", [bin("+", block, lit(16)), to], "i32"));
          em.loop(at, "at", end, () => addTo(part, widen(em.x(each(s.axisValue(at)), lane), width)), block);
          addTo(total, part);
        },
        from,
        lit(16),
      );
    }
    const body = em.pop();
    em.put({ k: "if", cond: bin("<", first.from, last.to), body });
    return total;
  }
}

/** A kernel of one thread for each of so many. */
class Thread {
  readonly s: ScalarContext;
  readonly em: Emitter;
  readonly index: X;
  private readonly count: Dim;
  private readonly threads: number;

  constructor(job: Job, count: Dim, threads: number) {
    this.s = groupLowering(job.ctx, job.group);
    this.em = emitterFor(job.ctx, this.s);
    this.count = count;
    this.threads = threads;
    const { em } = this;
    this.index = em.let("i", bin("+", bin("*", groupX(), lit(threads)), laneX()));
    em.put({ k: "if", cond: bin(">=", this.index, em.dim(count)), body: [{ k: "return" }] });
  }
  finish(name: string, cost: Dim, nest: readonly string[]): Launch {
    return finish(this.em, this.s, {
      name,
      family: `scatter ${this.threads} threads`,
      workgroup: this.threads,
      groups: ceilDiv(this.count, this.threads),
      cost,
      nest,
    });
  }
}
