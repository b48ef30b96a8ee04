// Contractions as register tiles by subgroup broadcast: a subgroup owns rows x (lanes * 4) columns, with named accumulators
// and no barrier. For adapters whose subgroup size is known. In: a nest. Out: one launch, or two where k is cut.
import { InternalError } from "../../../diagnostics/index.ts";
import {
  asConst,
  ceilDiv,
  type Dim,
  exactQuotient,
  isConst,
  isMultipleOf,
  min,
  substitute,
  symbols,
} from "../../../dims/dim.ts";
import { bin, call, lit, part, variable, vec, widen, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { lanesAlong } from "../../../kernel/facts.ts";
import type { ScalarContext } from "../../../kernel/lowering.ts";
import type { Axis, Scalar, ScalarOf } from "../../../kernel/scalar.ts";
import { loadsOf } from "../../../kernel/scalar.ts";
import { LONG_PRODUCT, subgroupOf, type Target } from "../../../targets.ts";
import type { PanelsIn } from "../../6-layout/weights.ts";
import { emitterFor, finish, groupName, laneX } from "../common.ts";
import type { Family, Job, Launches } from "../family.ts";
import { type Lines, linedNest } from "./lines.ts";
import { isMinor, type Loop, linearLoops, mostAre, NOMINAL_ROWS, nominal } from "./minor.ts";
import { costOf, describe, type Nest, type Segment } from "./nest.ts";
import { Cut, Parts, splitsOf, tileCounts } from "./split.ts";
import { inBlocks, type LongSum, longSum, SERIAL } from "./sums.ts";

/**
 * `wide`: fours of columns that a lane owns. `split`: parts of k at most. `taps`: places of a window that share what is loaded of a line
 * (lines.ts).
 */
type Choice = {
  readonly lanes: number;
  readonly rows: number;
  readonly wide: number;
  readonly split: number;
  readonly taps?: number;
};
/** Fours of columns of a lane of the target's broader tile. */
const broadOf = ({ broad }: Target, lanes: number): number => (broad ? broad.tile.cols / (4 * lanes) : 1);

export const subgroupFamily: Family<Choice> = {
  name: "contraction.subgroup",
  version: 2,
  choices(job) {
    const { target } = job.ctx;
    const lanes = subgroupOf(target);
    const nest = job.group.kind === "contraction" ? job.nest() : undefined;
    if (lanes === undefined || !nest) return [];
    const { rows: most } = target.tile;
    const rows = isSmall(nest) || isHead(job, nest) ? most / 4 : most;
    const broad = broadOf(target, lanes);
    const wide = rows === most && isBroad(job, nest) ? broad : 1;
    const { all } = tilesOf({ lanes, rows, wide }, nest);
    const sizes = [
      ...(isMultipleOf(nest.col.extent, lanes * 4 * broad) ? [{ rows: most, wide: broad }] : []),
      ...[most, most / 2, most / 4].map((n) => ({ rows: n, wide: 1 })),
    ];
    const lined = rows === most && wide === 1 && !job.ctx.small ? linedNest(job, nest, most) : undefined;
    return [
      ...(lined ? sharedLines(job, lined, lanes) : []),
      ...splitsOf(job, nest, all, stepsOf(job, nest)).map((split) => ({ lanes, rows, wide, split })),
      ...sizes.filter((x) => x.rows !== rows || x.wide !== wide).map((x) => ({ lanes, ...x, split: 1 })),
    ];
  },
  lower(job, choice) {
    const nest = job.nest() as Nest;
    const lined = choice.taps === undefined ? undefined : linedNest(job, nest, job.ctx.target.tile.rows);
    return subgroupTiles(job, lined?.nest ?? nest, choice, { lines: lined?.lines });
  },
};
/** Tiles whose rows share lines. */
function sharedLines(
  job: Job,
  { nest, lines }: { nest: Nest; lines: Lines },
  lanes: number,
): readonly Choice[] {
  const tile = { lanes, rows: lines.rows, wide: 1, taps: lines.taps };
  return splitsOf(job, nest, tilesOf(tile, nest).all, stepsOf(job, nest, lines)).map((split) => ({
    ...tile,
    split,
  }));
}

/**
 * The loops over k, the last one innermost; of that, how many terms are in a turn (`KU`), whether the last turn may have fewer
 * (`ragged`), and whether the first factor comes along it (`alongK`), or one by one. Accumulators are more than registers: each
 * turn loads and stores them, so one term a turn is slow however it is loaded. With four a loop is as large as what a core keeps of
 * decoded instructions, and takes half again as long to compile as with two. Lines of 14 and of 7 columns have one text.
 */
function loopsOf(job: Job, em: Emitter, n: Nest, q: Segment, lines: Lines | undefined) {
  const others = (inner: Axis): Axis[] => q.k.filter((x) => x !== inner && !isConst(x.extent, 1));
  if (lines)
    return {
      aLoads: [],
      alongK: false,
      KU: lines.taps,
      ragged: false,
      loops: [...others(lines.k), lines.k],
    };
  const aLoads = loadsOf(q.a).filter((l) => l.free.some((x) => q.k.includes(x)));
  const along = (such: (extent: Dim) => boolean): Axis | undefined =>
    [...q.k].reverse().find((x) => such(x.extent) && accessAlong(em, x, aLoads));
  const long = (d: Dim): boolean => (asConst(d) ?? Number.POSITIVE_INFINITY) > 4;
  const evenK = along((d) => isMultipleOf(d, 4));
  const alongK = evenK ?? along(long);
  const inner = alongK ?? innermostK(n.s, q.k);
  const loops = [...others(inner), inner];
  const terms = termsOf(inner);
  const pairs = alongK !== undefined && !evenK;
  const ragged = pairs
    ? !isMultipleOf(inner.extent, 2)
    : !alongK && terms <= 2 && (asConst(inner.extent) ?? 0) > 4;
  const KU = pairs || ragged || (terms === 4 && !fallsTogether(job, n, q)) ? 2 : terms;
  return { aLoads, alongK: alongK !== undefined, KU, ragged, loops };
}
/**
 * Rows whose places in the first cache are the same, so that a turn brings again what the last one had: the fewer turns the better,
 * in a product that is known to run for longer than a text of its own is compiled. Layouts have moved the others apart.
 */
function fallsTogether(job: Job, n: Nest, { k, a }: Segment): boolean {
  const { target, layouts } = job.ctx;
  if (target.apart === undefined || k.length !== 1 || !isMultipleOf(k[0].extent, target.apart)) return false;
  const together = loadsOf(a).some((l) => l.free.includes(k[0]) && !layouts.pitch(l.value));
  return together && (asConst(costOf(n)) ?? 0) >= LONG_PRODUCT;
}
/** Four elements at once, in all loads that depend on the axis. */
function accessAlong(em: Emitter, x: Axis, loads: readonly ScalarOf<"load">[]): boolean {
  return (
    loads.length > 0 &&
    loads.every((l) => !l.free.includes(x) || lanesAlong(em.offset(l.value, l.at), x) === "vector") &&
    loads.some((l) => l.free.includes(x))
  );
}
/** Steps of the outermost loop over k, along which parts are cut. */
function stepsOf(job: Job, n: Nest, lines?: Lines): Dim {
  const em = emitterFor(job.ctx, n.s);
  return n.segments
    .map((q) => {
      const { KU, loops } = loopsOf(job, em, n, q, lines);
      return ceilDiv(loops[0].extent, loops.length === 1 ? KU : 1);
    })
    .reduce((a, d) => min(a, d));
}

function tilesOf(t: Pick<Choice, "lanes" | "rows" | "wide" | "taps">, n: Nest) {
  const TM = t.taps === undefined ? rowsPerTile(t.rows, n.window, n.row.extent) : t.rows;
  const TN = t.lanes * 4 * t.wide;
  return { TM, TN, ...tileCounts(n, TM, TN) };
}

/**
 * The launch, or two, of a product by such tiles. `few`: a tile of which no more than so many rows are there loads and sums those
 * alone, in a loop of its own. `lines`: what its rows share.
 */
export function subgroupTiles(
  job: Job,
  n: Nest,
  t: Choice,
  { few, lines }: { readonly few?: number; readonly lines?: Lines } = {},
): Launches {
  const { s, row, col, batch } = n;
  const em = emitterFor(job.ctx, n.s);
  const L = t.lanes;
  const { TM, TN, rowTiles, colTiles, all } = tilesOf(t, n);
  const parts = new Parts(job, n, Parts.countOf(job, n, t.split, all, stepsOf(job, n, lines)));
  const cut = new Cut(n, em, all, parts);
  const tiles = (d: Dim): X => (isConst(d, 1) ? lit(1) : em.sizeWord(d));
  const tileRow = em.let("tile_row", bin("%", cut.tile, tiles(rowTiles)));
  const rest = em.let("tile_rest", bin("/", cut.tile, tiles(rowTiles)));
  const tileCol = isConst(batch.extent, 1) ? rest : em.let("tile_col", bin("%", rest, tiles(colTiles)));
  em.bind(batch, isConst(batch.extent, 1) ? lit(0) : em.let("batch", bin("/", rest, tiles(colTiles))));
  const colX = em.let("col", bin("+", bin("*", tileCol, lit(TN)), bin("*", laneX(), lit(4))));
  em.bind(col, colX);
  // The fours of columns of a lane: as far from each other as all lanes of one are wide.
  const cols = [
    { axis: col, x: colX },
    ...Array.from({ length: t.wide - 1 }, (_, i) => {
      const axis = s.axis("col", col.extent);
      const x = em.let("col", bin("+", colX, lit((i + 1) * L * 4)));
      em.bind(axis, x);
      return { axis, x };
    }),
  ];
  const row0 = em.let("row_0", bin("*", tileRow, lit(TM)));

  const accs: string[] = [];
  for (let i = 0; i < TM * t.wide; i++) {
    const name = em.fresh("c");
    accs.push(name);
    em.put({ k: "var", name, x: widen(lit(0, n.dtype), 4) });
  }
  /** Row by row, the fours of a row one behind the other. */
  const acc = (row: number, four: number): string => accs[row * t.wide + four];
  // Row numbers of the rows a lane loads, shared by the segments that load alike.
  const rowNames = new Map<string, X>();
  const rowOf = (byRows: boolean, i: number): X => {
    const key = `${byRows}${i}`;
    let x = rowNames.get(key);
    if (!x) {
      x = em.let(
        "row",
        bin("+", row0, bin("+", byRows ? bin("*", laneX(), lit(4)) : laneX(), lit(i * L * (byRows ? 4 : 1)))),
      );
      rowNames.set(key, x);
    }
    return x;
  };
  const long = longSum(em, n, accs);
  const short = few === undefined || few >= TM ? undefined : { rows: few, is: isShort(em, row, row0, few) };
  for (const segment of n.segments)
    subgroupSegment(job, em, n, segment, {
      L,
      TM,
      cols: cols.map((c) => c.axis),
      acc,
      row0,
      rowOf,
      lines,
      long,
      cut,
      short,
    });
  long?.finish();
  const store = cut.store(batchX(em, batch));
  // A load costs what four to eight rows of a short sum do: what all rows read alike is loaded before them.
  const byColumn = cols.map(({ x }) => store.byColumn(x));
  const outRow0 = n.window === 1 ? row0 : em.let("out_row", bin("*", tileRow, lit(TM / n.window)));
  // The epilogue is a loop over the tile's rows, from and to what nobody knows: thirty-two copies of it take the device's
  // compiler longer than all the rest, and it unrolls a loop that counts from 0 to at most the length of what it indexes.
  const array = (what: string, parts: readonly X[]): ((index: X) => X) => {
    if (parts.length === 1) return () => parts[0];
    const name = em.fresh(what);
    em.put({ k: "array", name, parts });
    return (index) => ({ k: "element", name, index, dtype: parts[0].dtype, width: 4 });
  };
  const tile = array(
    "tile",
    accs.map((name) => variable(name, n.dtype, 4)),
  );
  const four = byColumn[0].map((_, i) =>
    array(
      "by_cols",
      byColumn.map((list) => list[i]),
    ),
  );
  const outRows = n.window === 1 ? row.extent : exactQuotient(row.extent, n.window);
  if (!outRows) throw new InternalError("schedule", "rows are no whole windows");
  const last = em.let("last", call("min", [bin("+", outRow0, lit(TM / n.window)), em.dim(outRows)], "i32"));
  const each = (r: X, f: X): void => {
    const i = bin("-", r, outRow0);
    const row = (p: number): X => bin("+", bin("*", i, lit(n.window)), lit(p));
    const values = Array.from({ length: n.window }, (_, p) =>
      tile(bin("+", bin("*", row(p), lit(t.wide)), f)),
    );
    const col = bin("+", colX, bin("*", f, lit(L * 4)));
    em.put({ k: "run", fn: store.name, args: [store.batch, r, col, ...values, ...four.map((of) => of(f))] });
  };
  // One loop over rows and fours: what calls the epilogue twice takes a fifth longer to compile.
  const wide = lit(t.wide);
  if (t.wide === 1) em.loop(undefined, "r", last, (r) => each(r, lit(0)), outRow0);
  else
    em.loop(
      undefined,
      "e",
      bin("*", last, wide),
      (e) => each(em.let("r", bin("/", e, wide)), em.let("four", bin("%", e, wide))),
      bin("*", outRow0, wide),
    );
  const launch = finish(em, s, {
    name: groupName(job.group),
    family: `contraction.subgroup ${TM}x${TN}`,
    workgroup: L,
    groups: cut.groups,
    cost: costOf(n),
    nest: describe(n, `tile ${TM} rows${lines ? " of lines" : ""} x ${TN} columns`),
    subgroups: true,
  });
  return parts.launches(launch);
}
const isShort = (em: Emitter, row: Axis, row0: X, few: number): X =>
  em.let("short", bin(">=", bin("+", row0, lit(few)), em.dim(row.extent)));
/** One product of the sum, added into the accumulators. */
function subgroupSegment(
  job: Job,
  em: Emitter,
  n: Nest,
  q: Segment,
  t: {
    readonly L: number;
    readonly TM: number;
    /** An axis for each four of columns of a lane. */
    readonly cols: readonly Axis[];
    /** The accumulator of a row and such a four. */
    readonly acc: (row: number, four: number) => string;
    readonly row0: X;
    readonly rowOf: (byRows: boolean, i: number) => X;
    readonly lines: Lines | undefined;
    readonly long: LongSum | undefined;
    readonly cut: Cut;
    /** Where a tile has few rows: how many it sums then, and whether it has. */
    readonly short: { readonly rows: number; readonly is: X } | undefined;
  },
): void {
  const { s, row, col } = n;
  const { L, TM, cols, acc } = t;
  /** The second factor of a four of columns. */
  const bOf = cols.map((axis) => ({
    axis,
    x: axis === col ? q.b : s.substitute(q.b, new Map([[col, s.axisValue(axis)]])),
  }));
  // The first factor comes four along k, four rows at once, or one by one.
  const { lines } = t;
  const { aLoads, alongK, KU, ragged, loops: kLoops } = loopsOf(job, em, n, q, lines);
  const inner = kLoops[kLoops.length - 1];
  const byRows =
    !lines && !alongK && TM % 4 === 0 && TM / 4 <= L * Math.ceil(TM / 4 / L) && accessAlong(em, row, aLoads);
  // One copy of the first factor per group of rows, or pixels, that a lane loads.
  const aOf: { x: Scalar; axis: Axis }[] = [];
  if (lines)
    for (let first = 0; first < lines.pixels; first += L) {
      const [axis, place] = [s.axis("row", row.extent), s.axis(lines.k.name, lines.k.extent)];
      const reader = lines.reader(em, first);
      em.bind(axis, em.let("row", bin("+", t.row0, reader.row)));
      em.bind(place, reader.tap);
      const to = new Map([
        [row, s.axisValue(axis)],
        [lines.k, s.axisValue(place)],
      ]);
      aOf.push({ x: s.substitute(q.a, to), axis });
    }
  else
    for (let i = 0; i < (byRows ? Math.ceil(TM / 4 / L) : Math.ceil(TM / L)); i++) {
      const axis = s.axis("row", row.extent);
      em.bind(axis, t.rowOf(byRows, i));
      aOf.push({ x: s.substitute(q.a, new Map([[row, s.axisValue(axis)]])), axis });
    }
  em.count([...aOf, ...bOf].map((f) => f.x));
  const bLoads = loadsOf(q.b);
  const transposeB =
    alongK &&
    !accessAlong(
      em,
      col,
      bLoads.filter((l) => l.free.includes(col)),
    ) &&
    accessAlong(em, inner, bLoads);
  const step = (rows: number) => (): void => {
    const loads = lines ? aOf.length : byRows ? Math.ceil(rows / 4 / L) : Math.ceil(rows / L);
    // An axis for each further term, so that what their places are made of is written once.
    const turn = Array.from({ length: KU }, (_, u) => {
      if (u === 0) return inner;
      const axis = s.axis(inner.name, inner.extent);
      em.bind(axis, bin("+", em.x(s.axisValue(inner)), lit(u)));
      return axis;
    });
    const at = (x: Scalar, k: Axis): Scalar =>
      k === inner ? x : s.substitute(x, new Map([[inner, s.axisValue(k)]]));
    const there = ragged
      ? em.let("there", bin("<", em.x(s.axisValue(turn[1])), em.dim(inner.extent)))
      : undefined;
    /** What is loaded for a term; nothing where there is none. */
    const loaded = (k: Axis, x: X): X =>
      there && k !== inner
        ? call("select", [widen(there, x.width), x, widen(lit(0, n.dtype), x.width)], n.dtype)
        : x;
    /** Terms of a turn of what lies side by side along k: one load for all. */
    const along = (x: Scalar): readonly X[] => {
      if (KU === 2) {
        em.loadPairs(x, inner, turn[1]);
        return turn.map((k) => loaded(k, em.x(at(x, k))));
      }
      const four = em.x(x, inner);
      const held = four.k === "var" ? four : em.let("four", four);
      return turn.map((_, u) => part(held, u));
    };
    // Of the rows of a group, the terms of a turn: one load along k, or one for each.
    const as = aOf.slice(0, loads).map((x): readonly X[] => {
      if (lines) return [em.let("a", em.x(x.x))];
      if (alongK) return along(x.x).map((a) => (a.k === "part" ? a : em.let("a", a)));
      return turn.map((k) =>
        em.let("a", loaded(k, byRows ? widen(em.x(at(x.x, k), x.axis), 4) : em.x(at(x.x, k)))),
      );
    });
    const bs = bOf.map(({ axis, x }): readonly X[] => {
      if (!transposeB) return turn.map((k) => em.let("b", loaded(k, widen(em.x(at(x, k), axis), 4))));
      const columns = [0, 1, 2, 3].map((j) => along(em.shift(x, axis, j)));
      return turn.map((_, u) => em.let("b", vec(columns.map((c) => c[u]))));
    });
    /** What a row reads at a term of the turn: in which lane it is. */
    const broadcastOf = (i: number, u: number): { readonly from: X; readonly lane: number } => {
      if (byRows) return { from: part(as[Math.floor(i / 4 / L)][u], i % 4), lane: Math.floor(i / 4) % L };
      const at = lines ? lines.pixel(i, u) : i;
      return { from: as[Math.floor(at / L)][lines ? 0 : u], lane: at % L };
    };
    for (const [i, four] of rowsAndFours(rows, cols.length)) {
      let sum = variable(acc(i, four), n.dtype, 4);
      for (let u = 0; u < KU; u++) {
        const { from, lane } = broadcastOf(i, u);
        sum = {
          k: "bin",
          op: "+",
          a: sum,
          b: {
            k: "bin",
            op: "*",
            a: { k: "broadcast", a: from, lane, dtype: n.dtype, width: 1 },
            b: bs[four][u],
            dtype: n.dtype,
            width: 4,
          },
          dtype: n.dtype,
          width: 4,
        };
      }
      em.put({ k: "set", name: acc(i, four), x: sum });
    }
  };
  const outerK = kLoops.slice(0, -1);
  // The innermost loop one turn of which is a block, or nearly.
  const terms = (i: number): number =>
    [...outerK.slice(i + 1), inner].reduce((p, x) => p * (asConst(x.extent) ?? NOMINAL_ROWS), 1);
  let flushed = outerK.length - 1;
  while (flushed > 0 && terms(flushed) < SERIAL / 2) flushed--;
  // Parts are cut along the outermost loop.
  const range = t.cut.range(kLoops[0].extent, kLoops.length === 1 ? KU : 1);
  /** The turns of the innermost loop: where a tile has few rows, none of this and all of the other. */
  const turns = (from: X, end: X): void => {
    const { short } = t;
    let begin = from;
    if (short) {
      const either = (yes: X, no: X): X => em.let("k", call("select", [short.is, yes, no], "i32"));
      em.loop(inner, inner.name, either(end, from), step(short.rows), from, lit(KU));
      begin = either(end, from);
    }
    em.loop(inner, inner.name, end, step(TM), begin, lit(KU));
  };
  const loops = (i: number): void => {
    const { from, end } = i === 0 ? range : { from: lit(0), end: em.dim((outerK[i] ?? inner).extent) };
    if (i < outerK.length) {
      em.loop(
        outerK[i],
        outerK[i].name,
        end,
        () => {
          loops(i + 1);
          if (i === flushed) t.long?.flush();
        },
        from,
      );
      return;
    }
    if (!t.long || (outerK.length > 0 && (asConst(inner.extent) ?? 0) <= 4 * SERIAL)) {
      turns(from, end);
      return;
    }
    inBlocks(em, t.long, `${inner.name}_block`, end, turns, from);
  };
  loops(0);
}
const rowsAndFours = (rows: number, fours: number): readonly (readonly [number, number])[] =>
  Array.from({ length: rows * fours }, (_, i) => [Math.floor(i / fours), i % fours]);
const batchX = (em: Emitter, batch: Axis): X => em.stack[0].bound.get(batch) ?? lit(0);

/**
 * Operations that take no time worth speaking of, with any tile: what counts is that a tile of 32 rows is compiled for 0.4 s and
 * one of 8 for 0.1 s, and that there are tiles for all cores.
 */
const SMALL = 2 ** 21;
const isSmall = (n: Nest): boolean => nominal(costOf(n)) < SMALL;
/**
 * The layer behind what was pooled: an example is a row, and calls of one are as usual as calls of many; a tile of few rows takes
 * half the time there, and for many twice what is next to nothing of the whole.
 */
function isHead({ ctx, group }: Job, { row, col, batch, segments }: Nest): boolean {
  const open = (d: Dim): boolean => symbols(d).size > 0;
  const others = [col, batch, ...segments.flatMap((q) => q.k)];
  const examples = symbols(row.extent).size === 1 && asConst(substitute(row.extent, () => 1)) === 1;
  return examples && !others.some((x) => open(x.extent)) && isMinor(ctx.fused, group);
}
/**
 * Whether a lane has twice the columns: half as many loads of the first factor, for a tile that takes twice as long to compile. For
 * linear layers that columns fill, of long known sums and many tiles, where nearly all that the graph computes is such: the text
 * takes the place of the other, then, and does not come on top of it. (Convolutions have a text for whatever is behind them.)
 */
function isBroad(job: Job, n: Nest): boolean {
  const { target, fused } = job.ctx;
  const { broad } = target;
  if (!broad) return false;
  const { rows, cols } = broad.tile;
  const fits = fillsBroad(broad);
  return (
    n.segments.every(
      (q) =>
        q.k.length === 1 && fits({ cols: n.col.extent, terms: q.k[0].extent }) && !fallsTogether(job, n, q),
    ) &&
    nominal(tileCounts(n, rows, cols).all) >= broad.from &&
    mostAre(fused, fits)
  );
}
const fillsBroad =
  ({ tile }: NonNullable<Target["broad"]>) =>
  ({ cols, terms }: Loop): boolean =>
    isMultipleOf(cols, tile.cols) && (asConst(terms) ?? 0) >= LONG_SUM;
const LONG_SUM = 256;
/**
 * The panels in which such layers want their weights: as many columns as a tile has, so that it reads them from one end to the other.
 * Where one of them has no more columns than that, its text would be another than that of the others: none has panels.
 */
export function panelsFor(target: Target): PanelsIn | undefined {
  const { broad } = target;
  if (!broad || target.fastShared || subgroupOf(target) === undefined) return undefined;
  const { cols } = broad.tile;
  const fits = fillsBroad(broad);
  return (fused) => {
    const broadOnes = [...linearLoops(fused)].filter(([, loop]) => fits(loop));
    const single = broadOnes.some(([, loop]) => isConst(loop.cols, cols));
    return new Map(single || !mostAre(fused, fits) ? [] : broadOnes.map(([g]) => [g, cols]));
  };
}
/** Rows of a register tile: whole windows, not many more than there are. */
function rowsPerTile(most: number, window: number, rows: Dim): number {
  let tile = Math.max(window, Math.floor(most / window) * window);
  // A literal row count smaller than the tile, or few rows per unit of the symbols, take a smaller tile.
  while (tile > 8 && tile % (2 * window) === 0 && tile / 2 >= nominal(rows)) tile /= 2;
  return tile;
}
/**
 * Where nothing is contiguous, what gives most terms a turn goes innermost; of those the last, whose neighbours lie near each
 * other (columns of an image rather than examples), window-like ones outside.
 */
function innermostK(s: ScalarContext, k: readonly Axis[]): Axis {
  const live = k.filter((a) => !isConst(a.extent, 1));
  if (live.length === 0) return k[0] ?? s.axis("k", 1);
  const long = (a: Axis): number => ((asConst(a.extent) ?? NOMINAL_ROWS) > 4 ? 1 : 0);
  return [...live].sort((a, b) => termsOf(a) - termsOf(b) || long(a) - long(b)).at(-1) as Axis;
}
/** Terms of a turn of the loop over an axis: as many as divide it, four at most. */
const termsOf = (k: Axis): number => [4, 3, 2].find((n) => isMultipleOf(k.extent, n)) ?? 1;
