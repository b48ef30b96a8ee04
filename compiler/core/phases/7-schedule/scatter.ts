// Rows summed by index (the gradients of take and gather; products and extrema likewise) in the time of terms plus rows: the
// terms are sorted by their row, stably (digits.ts), and each row adds up its own in index order. The order is fixed whatever
// the device, so are the bits. A row with very many terms is summed in segments: those that hold nothing else are summed
// beforehand, each by a thread of its own. Where the last term of each row is asked for (a scatter that overwrites), that is
// the last of its run.
// In: a scatter that the family claims. Out: three launches a digit, and three, or two.
import { add, asConst, ceilDiv, type Dim, isConst, isMultipleOf, mul, product, sub } from "../../dims/dim.ts";
import type { DType, Node, OpDef, Value } from "../../ir/types.ts";
import { bin, call, lit, variable, type Width, widen, type X } from "../../kernel/code.ts";
import { rowMajor } from "../../kernel/coordinates.ts";
import { COMBINE_NAME, combine } from "../../kernel/emitter.ts";
import { identityOf, type ScalarContext } from "../../kernel/lowering.ts";
import type { Axis, Combine, Scalar } from "../../kernel/scalar.ts";
import { gatherGradOp, scatterFoldOp, scatterLastOp, takeGradOp } from "../../ops/lookup.ts";
import { decode, nominal } from "./common.ts";
import { bitsFor, sortByDigits } from "./digits.ts";
import { type Family, type Job, type Launch, type Launches, temporary } from "./family.ts";
import { Thread } from "./thread.ts";

/** Bits of a digit; blocks whose digits are counted apart, at most; terms of a segment. */
type Choice = { readonly digit: number; readonly blocks: number; readonly segment: number };

/** Products of terms and elements up to which every element looks at every term: one launch, and no more work than these. */
const FEW = 262_144;

export const scatterFamily: Family<Choice> = {
  name: "scatter",
  claims(node) {
    const of = scatterOf(node);
    if (!of) return false;
    // Where the call alone knows how many terms there are, and how many places, no product of them is few.
    if (asConst(of.looks) === undefined && asConst(of.places) === undefined) return true;
    return nominal(mul(of.looks, product(node.outs[0].type.shape))) > FEW;
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
  /** How many places of a line, or of the result, an index may name. */
  readonly places: Dim;
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
const SCATTERS: ReadonlySet<OpDef> = new Set([takeGradOp, gatherGradOp, scatterFoldOp, scatterLastOp]);
function scatterOf(node: Node): Shape | undefined {
  if (!SCATTERS.has(node.op)) return undefined;
  const [index, g] = node.inputs;
  const axis = node.attrs.axis as number;
  const { shape } = node.outs[0].type;
  const indices = index.type.shape;
  const terms = product(indices);
  if (node.op === takeGradOp)
    return {
      terms,
      looks: terms,
      places: shape[axis],
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
    places: shape[axis],
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
    // The last of them says where along the axis it stands, a sum what it is.
    term: (s, _outer, term) => {
      const at = decode(s, term, indices);
      return node.op === scatterLastOp ? at[axis] : s.read(g, at);
    },
    at: (s, _outer, row) => decode(s, row, shape),
  };
}

class Scatter {
  private readonly job: Job;
  private readonly choice: Choice;
  private readonly node: Node;
  private readonly of: Shape;
  /** What the terms of a row are combined by. */
  private readonly how: Combine;

  constructor(job: Job, choice: Choice) {
    this.job = job;
    this.choice = choice;
    this.node = job.group.anchor;
    this.of = scatterOf(this.node) as Shape;
    this.how = (this.node.attrs.combine as Combine | undefined) ?? "add";
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
    const bits = most === undefined ? 31 : bitsFor(most);
    const sorted = sortByDigits(this.job, this.choice, {
      name: "scatter",
      lines: [],
      size: terms,
      bits,
      key: (s, _line, term) => this.keyOf(s, term),
    });
    list.push(...sorted.list);
    temporaries.push(...sorted.temporaries);
    const { keys, order } = sorted;
    const starts = make("starts", "i32", [add(rows, 1)]);
    list.push(this.bounds(keys, starts));
    if (this.node.op === scatterLastOp) {
      list.push(this.lasts(order, starts));
      return { list, temporaries };
    }
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

  /** The row of each term as a number in 0 .. rows, the last for none. */
  private keyOf(s: ScalarContext, term: Scalar): Scalar {
    const row = this.of.row(s, term);
    const rows = s.dim(this.of.rows);
    return s.select(s.call("and", s.call("ge", row, s.dim(0)), s.call("lt", row, rows)), row, rows);
  }

  // --- sums --------------------------------------------------------------------------------------------------------------
  /** The first place of each row's terms, and behind the last row the end of all. */
  private bounds(keys: Value, starts: Value): Launch {
    const { terms, rows } = this.of;
    const k = new Thread(this.job, add(terms, 1));
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
    return k.finish("scatter", "scatter_starts", add(terms, rows), [
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
    const k = new Thread(this.job, mul(product(outer), between, quads));
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
    return e.k.finish(
      "scatter",
      "scatter_segments",
      mul(terms, product(this.of.outer), product(this.of.inner)),
      [`grid segment of ${segment} terms`, "  thread its sum, where it is of one row"],
    );
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
      "scatter",
      this.how === "add" ? "scatter_add" : `scatter_${COMBINE_NAME[this.how]}`,
      mul(add(this.of.terms, rows), product(this.of.outer), product(this.of.inner)),
      [
        `grid row in 0 .. ${rows.key}${e.lane ? ", inner by 4 lanes" : ""}`,
        "  thread its terms in index order, whole segments at once (root)",
      ],
    );
  }
  /** Where the last term of each row stands, or -1. */
  private lasts(order: Value, starts: Value): Launch {
    const { rows, terms } = this.of;
    const [out] = this.node.outs;
    const k = new Thread(this.job, rows);
    const { s, em } = k;
    const row = s.axis("row", rows);
    em.bind(row, k.index);
    const at = s.axisValue(row);
    const [from, to] = [s.load(starts, [at]), s.load(starts, [s.iadd(at, 1)])];
    const last = s.call("max", s.iadd(to, -1), s.dim(0));
    const place = this.of.term(s, [], s.load(order, [last]), []);
    const found = s.select(s.call("lt", from, to), place, s.const("i32", -1));
    em.count([found]);
    em.store(out, this.of.at(s, [], at, []), em.x(found), undefined);
    return k.finish("scatter", "scatter_last", add(terms, rows), [
      `grid row in 0 .. ${rows.key}`,
      "  thread its last term (root)",
    ]);
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
      em.put({ k: "var", name: v, x: widen(em.literal(identityOf(this.how, dtype), dtype), width) });
      return variable(v, dtype, width);
    };
    const addTo = (into: X, x: X): void => {
      if (into.k === "var") em.put({ k: "set", name: into.name, x: combine(this.how, into, x) });
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
