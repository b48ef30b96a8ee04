// How the factors of a contraction come into workgroup memory: which axis of k is innermost, what a thread loads at once, and
// where it puts that. In: a segment of a nest, a tile, and which of the tiles a workgroup has. Out: statements, a turn of
// `depth` terms at a time.
import {
  asConst,
  ceilDiv,
  type Dim,
  exactQuotient,
  isConst,
  isMultipleOf,
  product,
} from "../../../dims/dim.ts";
import type { DType } from "../../../ir/types.ts";
import { bin, call, lit, part, type SharedArray, widen, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { lanesAlong } from "../../../kernel/facts.ts";
import { indexForm, resolved } from "../../../kernel/lowering.ts";
import { type Axis, loadsOf, type Scalar } from "../../../kernel/scalar.ts";
import { decode, laneX } from "../common.ts";
import type { Nest, Segment } from "./nest.ts";

/**
 * A tile: rows x columns by `depth` terms. A term's rows lie side by side in workgroup memory, the next term's `pitch` further; so
 * do columns, by `colPitch` (`cols` where it is not said). Where `rowPitch` is said, a row's terms lie side by side if they are
 * loaded so, and rows are `rowPitch` apart.
 */
export interface Sides {
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  readonly pitch: number;
  readonly colPitch?: number;
  readonly rowPitch?: number;
  readonly threads: number;
}
/** What of the first factor is loaded at once: four terms of k, four rows, or one element; and along what threads stand. */
interface Reading {
  readonly along: "k" | "rows";
  readonly width: 1 | 4;
  /** Axes of k; what lies side by side is last. */
  readonly k: readonly Axis[];
}

/** Four neighbours along an axis are one load, in every load that depends on it. */
function liesAlong(em: Emitter, x: Scalar, axis: Axis): boolean {
  const loads = loadsOf(x).filter((l) => l.free.includes(axis));
  return loads.length > 0 && loads.every((l) => lanesAlong(em.offset(l.value, l.at), axis) === "vector");
}
export function readingOf(em: Emitter, n: Nest, q: Segment, { depth }: Sides): Reading {
  const live = q.k.filter((x) => !isConst(x.extent, 1));
  const inner = [...live].reverse().find((x) => isMultipleOf(x.extent, 4) && liesAlong(em, q.a, x));
  const withLast = (last: Axis | undefined): readonly Axis[] =>
    last ? [...live.filter((x) => x !== last), last] : live;
  if (inner) return { along: "k", width: 4, k: withLast(inner) };
  // Else an axis that whole turns fit into: positions in a window, and so what is outside of an image, are a turn's.
  const k = withLast([...live].reverse().find((x) => isMultipleOf(x.extent, depth)));
  if (n.window === 1 && isMultipleOf(n.row.extent, 4) && liesAlong(em, q.a, n.row))
    return { along: "rows", width: 4, k };
  // One by one: neighbours along rows, where those are near each other, share what is worked out from k.
  const near = loadsOf(q.a).every((l) => {
    const own = indexForm(em.offset(l.value, l.at)).terms.find((t) => t.atom === n.s.axisValue(n.row));
    const step = own && asConst(resolved(n.s, own.coef));
    return step !== undefined && step <= NEAR;
  });
  return { along: near ? "rows" : "k", width: 1, k };
}
/** Elements between neighbours that one access to memory still reaches. */
const NEAR = 4;

/** How far the rows of the first factor lie apart in workgroup memory, and its terms: one of the two side by side. */
export interface Strides {
  readonly row: number;
  readonly term: number;
}
const stridesOf = (
  { along, width }: Pick<Reading, "along" | "width">,
  { pitch, rowPitch }: Sides,
): Strides =>
  along === "k" && width === 4 && rowPitch !== undefined
    ? { row: rowPitch, term: 1 }
    : { row: 1, term: pitch };

/** What a thread brings of a factor: how to load it, and where it goes. */
interface Slot {
  readonly x: Scalar;
  readonly lane: Axis | undefined;
  readonly width: 1 | 4;
  /** Its (first) term of k, by number. */
  readonly term: Scalar;
  readonly put: (x: X) => void;
  /** Of the last slot, where not every thread has one. */
  readonly only: X | undefined;
}

export class Staging {
  /** Turns over k; `turn` is to be bound to the number of one. */
  readonly turns: Dim;
  readonly turn: Axis;
  readonly strides: Strides;
  private readonly slots: readonly Slot[];
  private readonly em: Emitter;
  private readonly n: Nest;
  private readonly sides: Sides;
  /** What the factors are in workgroup memory. */
  private readonly dtype: DType;
  private readonly k: readonly Axis[];
  private readonly extent: Dim;
  /** The last axis of k is whole turns: the terms of one have the others in common. */
  private readonly whole: boolean;
  /** Terms of a turn by number, of which those past the last are the last. */
  private readonly terms = new Map<Scalar, Axis>();

  /** Emits what does not depend on k; `row` and `col` are where the tile begins. */
  constructor(
    em: Emitter,
    n: Nest,
    q: Segment,
    reading: Reading,
    sides: Sides,
    tileA: SharedArray,
    tileB: SharedArray,
    places: Places,
  ) {
    this.em = em;
    this.n = n;
    this.sides = sides;
    this.strides = stridesOf(reading, sides);
    this.dtype = tileA.dtype;
    this.k = reading.k;
    const { depth } = sides;
    this.extent = product(this.k.map((a) => a.extent));
    const inner = this.k.at(-1);
    this.whole = inner !== undefined && isMultipleOf(inner.extent, depth);
    this.turns = ceilDiv(this.extent, depth);
    this.turn = n.s.axis("turn", this.turns);
    this.slots = [...this.first(q, reading, tileA, places), ...this.second(q, tileB, places)];
    em.count(this.slots.map((s) => s.x));
    em.near(this.slots.map((s) => s.x));
  }

  private first(q: Segment, { along, width, k: _k }: Reading, tile: SharedArray, places: Places): Slot[] {
    const { em, n, sides } = this;
    const { s } = n;
    const { rows, depth } = sides;
    const inner = (along === "k" ? depth : rows) / width;
    return this.spread(inner, (rows * depth) / width, `a_${along}`, places).map(
      ({ near, far, step, only, key }) => {
        const fast =
          width === 1 ? near : places.once(`near4 ${key}`, () => em.let("at", bin("*", near, lit(4))));
        const [kX, rowX] = along === "k" ? [fast, far] : [far, fast];
        const rowStep = along === "k" ? step : 0;
        const row = places.row(
          `${key}+${rowStep}`,
          bin("+", rowX, lit(rowStep)),
          along === "rows" ? width : 1,
        );
        const within = places.within(`${key} ${along}`, kX, depth);
        const term = s.iadd(s.axisValue(within), along === "k" ? 0 : step);
        const { at, linear } = this.at(term, along === "k" && width === 4);
        const { row: byRow, term: byTerm } = this.strides;
        const base = places.once(`put ${key} ${along}`, () =>
          em.let(
            "to_a",
            byTerm === 1
              ? bin("+", bin("*", rowX, lit(byRow)), kX)
              : bin("+", bin("*", kX, lit(byTerm)), rowX),
          ),
        );
        const from = step * (along === "k" ? byRow : byTerm);
        return {
          x: s.substitute(this.rounded(q.a), new Map([...at, [n.row, s.axisValue(row)]])),
          lane: width === 1 ? undefined : along === "k" ? within : row,
          width,
          term: linear,
          only,
          put: (x) => {
            for (let u = 0; u < width; u++)
              em.put({
                k: "setShared",
                name: tile.name,
                index: bin("+", base, lit(from + u * (along === "k" ? byTerm : byRow))),
                x: part(x, u),
              });
          },
        };
      },
    );
  }
  /** A factor as what it is staged as; of what is chosen between, each by itself, so that what is stored so stays as it is. */
  private rounded(x: Scalar): Scalar {
    const { s } = this.n;
    if (x.dtype === this.dtype) return x;
    if (x.kind !== "call" || x.fn !== "select")
      return this.dtype === "f16" ? s.call("to_f16", x) : s.cast(x, this.dtype);
    const [cond, yes, no] = x.args;
    return s.select(cond, this.rounded(yes), this.rounded(no));
  }
  private second(q: Segment, tile: SharedArray, places: Places): Slot[] {
    const { em, n, sides } = this;
    const { s } = n;
    const quads = sides.cols / 4;
    const { colPitch = sides.cols } = sides;
    const one = (far: X, near: X, key: string, step: number) => {
      const base = places.once(`put ${key}`, () =>
        em.let("to_b", bin("+", bin("*", far, lit(colPitch)), bin("*", near, lit(4)))),
      );
      return (x: X): void => {
        for (let u = 0; u < 4; u++) {
          const index = bin("+", base, lit(step * colPitch + u));
          em.put({ k: "setShared", name: tile.name, index, x: part(x, u) });
        }
      };
    };
    return this.spread(quads, quads * sides.depth, "b", places).map(({ near, far, step, only, key, e }) => {
      const col = places.col(key, bin("*", near, lit(4)));
      const within = places.within(key, far, sides.depth);
      const { at, linear } = this.at(s.iadd(s.axisValue(within), step), false);
      return {
        x: s.substitute(this.rounded(q.b), new Map([...at, [n.col, s.axisValue(col)]])),
        lane: col,
        width: 4,
        term: linear,
        only,
        put:
          tile.width === 4
            ? (x) => em.put({ k: "setShared", name: tile.name, index: e, x })
            : one(far, near, key, step),
      };
    });
  }

  /** Elements 0 .. count, `inner` beside each other, dealt out to the threads: the first of each round, and steps from it. */
  private spread(inner: number, count: number, what: string, places: Places) {
    const { em } = this;
    const { threads } = this.sides;
    const rounds = Math.ceil(count / threads);
    const even = threads % inner === 0;
    return Array.from({ length: rounds }, (_, i) => {
      const e = bin("+", laneX(), lit(i * threads));
      const key = even ? `${what} ${inner}` : `${what} ${inner} ${i}`;
      const near = places.once(`near ${key}`, () => em.let("near", bin("%", even ? laneX() : e, lit(inner))));
      const far = places.once(`far ${key}`, () => em.let("far", bin("/", even ? laneX() : e, lit(inner))));
      const only = (i + 1) * threads > count ? bin("<", e, lit(count)) : undefined;
      return { near, far, step: even ? (i * threads) / inner : 0, only, key, e };
    });
  }
  /**
   * The axes of k at a term of the turn, and the number of the term among all; past the last one, where the last one is. Of `four`
   * terms side by side, past it is where counting on leads.
   */
  private at(within: Scalar, four: boolean): { readonly at: Map<Axis, Scalar>; readonly linear: Scalar } {
    const { n, k, sides, whole } = this;
    const { s } = n;
    const { depth } = sides;
    const turn = s.axisValue(this.turn);
    const linear = s.iadd(s.imul(turn, depth), within);
    const extents = k.map((a) => a.extent);
    if (!whole) {
      const term = four || !this.short ? linear : s.axisValue(this.bounded(linear));
      return { at: new Map(decode(s, term, extents).map((x, i) => [k[i], x])), linear };
    }
    const outer = extents.slice(0, -1);
    const last = exactQuotient(extents[outer.length], depth) as Dim;
    const places = decode(s, turn, [...outer, last]);
    const at = new Map(places.map((x, i) => [k[i], x]));
    at.set(k[outer.length], s.iadd(s.imul(places[outer.length], depth), within));
    return { at, linear };
  }

  /** The last turn has terms that are none. */
  private get short(): boolean {
    return !isMultipleOf(this.extent, this.sides.depth);
  }
  private bounded(linear: Scalar): Axis {
    const axis = this.terms.get(linear) ?? this.n.s.axis("term", this.extent);
    this.terms.set(linear, axis);
    return axis;
  }

  /** Loads what the thread brings of the bound turn. */
  load(): readonly X[] {
    const { em, extent, short } = this;
    for (const [linear, axis] of this.terms) {
      const last = bin("-", em.dim(extent), lit(1));
      em.bind(axis, em.let("term", call("min", [em.x(linear), last], "i32")));
    }
    return this.slots.map(({ x, lane, width, term }) => {
      const value = widen(em.x(x, lane), width);
      // Parts of it are asked for one by one.
      if (!short) return em.let("v", value);
      const inside = bin("<", em.x(term), em.dim(extent));
      const zero = widen(lit(0, this.dtype), width);
      return em.let("v", call("select", [widen(inside, width), value, zero], this.dtype));
    });
  }
  put(values: readonly X[]): void {
    const { em } = this;
    this.slots.forEach(({ put, only }, i) => {
      if (only) em.push();
      put(values[i]);
      if (only) em.put({ k: "if", cond: only, body: em.pop() });
    });
  }
  /** A loop over turns, each of which is staged for all threads before `multiply`. */
  loop(from: X, end: X, multiply: (turn: X) => void): void {
    const { em, turn } = this;
    em.loop(
      turn,
      "turn",
      end,
      (x) => {
        this.stage(this.load());
        multiply(x);
        em.put({ k: "barrier" });
      },
      from,
    );
  }
  /**
   * The same; what a turn loads waits in registers while the one before is multiplied, and the last is loaded twice. Before the first
   * there are zeros, unless somebody has staged before; where that is `guarded`, they are not multiplied, and no compiler moves
   * the loads behind what should hide them.
   */
  loopAhead(from: X, end: X, guarded: boolean, multiply: (turn: X) => void): void {
    const { em, turn } = this;
    em.loop(
      undefined,
      "turn",
      bin("+", end, lit(1)),
      (x) => {
        em.bind(turn, em.let("now", call("min", [x, bin("-", end, lit(1))], "i32")));
        const loaded = this.load();
        if (guarded) em.push();
        multiply(x);
        if (guarded) em.put({ k: "if", cond: bin("<", from, x), body: em.pop() });
        em.put({ k: "barrier" });
        this.stage(loaded);
      },
      from,
    );
  }
  private stage(loaded: readonly X[]): void {
    this.put(loaded);
    this.em.put({ k: "barrier" });
  }
  get widths(): readonly (1 | 4)[] {
    return this.slots.map((s) => s.width);
  }
}

/** What all segments of a tile share: places of a thread, each worked out once. */
export class Places {
  private readonly made = new Map<string, X>();
  private readonly axes = new Map<string, Axis>();
  private readonly em: Emitter;
  private readonly n: Nest;
  private readonly row0: X;
  private readonly col0: X;
  constructor(em: Emitter, n: Nest, row0: X, col0: X) {
    this.em = em;
    this.n = n;
    this.row0 = row0;
    this.col0 = col0;
  }
  once(key: string, make: () => X): X {
    const x = this.made.get(key) ?? make();
    this.made.set(key, x);
    return x;
  }
  private axis(key: string, extent: Dim | number, make: () => X): Axis {
    let axis = this.axes.get(key);
    if (!axis) {
      axis = this.n.s.axis("at", extent);
      this.em.bind(axis, make());
      this.axes.set(key, axis);
    }
    return axis;
  }
  /** A row of the tile; past the last, what is there does not matter, but it is not looked for outside the factor. */
  row(key: string, at: X, width: number): Axis {
    const { em, n, row0 } = this;
    const { extent } = n.row;
    return this.axis(`row ${key}`, extent, () => {
      const last = bin("-", em.dim(extent), lit(width));
      return em.let("row", call("min", [bin("+", row0, at), last], "i32"));
    });
  }
  col(key: string, at: X): Axis {
    const { em, n, col0 } = this;
    return this.axis(`col ${key}`, n.col.extent, () => em.let("col", bin("+", col0, at)));
  }
  within(key: string, at: X, depth: number): Axis {
    return this.axis(`within ${key}`, depth, () => at);
  }
}
