// Rows of a register tile that are neighbours in lines of an image, under a window that slides by one: what one row reads at a place
// of the window its neighbour reads at the next, so that a line of pixels is loaded once for all places. In: a nest. Out: how rows
// and places of the window share what lanes load, or nothing, where they do not.
import { asConst, type Dim, equal, isMultipleOf, mul, ZERO } from "../../../dims/dim.ts";
import { bin, call, lit, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { indexForm, resolved } from "../../../kernel/lowering.ts";
import { type Axis, children, type Scalar } from "../../../kernel/scalar.ts";
import { laneX } from "../common.ts";
import type { Job } from "../family.ts";
import { type Nest, nestOf } from "./nest.ts";

/** Pixels of a line, or results of a pool, that are neighbours in a tile: as many as divide lines, 7 for all that halve 224. */
const SIDES = [7, 8];
/** Places of a window along a line. */
const MOST_TAPS = 4;

/** Lines of pixels that the rows of a tile read. */
export interface Lines {
  /** The axis of k along which the window slides. */
  readonly k: Axis;
  readonly taps: number;
  /** Rows of a tile. */
  readonly rows: number;
  /** Pixels that it reads at one place of all other axes of k. */
  readonly pixels: number;
  /** Which of them a row of the tile reads at a place of the window. */
  pixel(row: number, tap: number): number;
  /** A row, from the first of the tile on, and a place, that read the lane's pixel of those from `first` on. */
  reader(em: Emitter, first: number): { readonly row: X; readonly tap: X };
}

/** Part of lines that may be added to fill a tile, at most. */
const WASTE = 1 / 8;
/**
 * The nest whose rows are whole sides of lines, and what its tiles share: the one of the job where lines have as many pixels, else one
 * with room behind them. An open line is as long as one of 224 halved.
 */
export function linedNest(
  { ctx, group }: Job,
  n: Nest,
  most: number,
): { nest: Nest; lines: Lines } | undefined {
  const lines = linesOf(n, most);
  if (lines) return { nest: n, lines };
  const across = n.epilogue.rows.at(-1);
  if (!across || group.kind !== "contraction") return undefined;
  const width = asConst(resolved(n.s, across.extent)) ?? OPEN;
  const side = SIDES.find((m) => Math.ceil(width / m) * m <= width * (1 + WASTE));
  const nest = side === undefined ? undefined : nestOf(ctx, group, side);
  const found = nest && linesOf(nest, most);
  return found && { nest, lines: found };
}
const OPEN = 224;

function linesOf(n: Nest, most: number): Lines | undefined {
  const [q] = n.segments;
  const { rows, extents, windowExtents } = n.epilogue;
  const across = rows.at(-1);
  if (n.segments.length > 1 || !across || (windowExtents.length !== 0 && windowExtents.length !== 2))
    return undefined;
  const [high, wide] = windowExtents.length === 2 ? windowExtents : [1, 1];
  const width = resolved(n.s, extents[rows.length - 1]);
  const side = SIDES.find((m) => isMultipleOf(width, m) && m * n.window <= most);
  if (side === undefined) return undefined;
  const found = q.k.flatMap((k) => {
    const taps = asConst(resolved(n.s, k.extent)) ?? 0;
    const way = taps > 1 && taps <= MOST_TAPS ? slides(n, q.a, k, high, wide) : undefined;
    return way === undefined ? [] : [{ k, taps, way }];
  })[0];
  if (!found) return undefined;
  const { k, taps, way } = found;
  // Without a pool, as many pieces of lines as there is room for; with one, its lines.
  const pooled = n.window > 1;
  const lines = pooled ? high : Math.floor(most / side);
  const length = side * wide;
  const span = length + taps - 1;
  return {
    k,
    taps,
    rows: pooled ? side * n.window : lines * side,
    pixels: lines * span,
    pixel(row, tap) {
      const within = row % n.window;
      const line = pooled ? Math.floor(within / wide) : Math.floor(row / side);
      const at = pooled ? Math.floor(row / n.window) * wide + (within % wide) : row % side;
      return line * span + (way > 0 ? at + tap : tap - at + length - 1);
    },
    reader(em, first) {
      const pixel = em.let("pixel", bin("+", laneX(), lit(first)));
      const line = em.let("line", bin("/", pixel, lit(span)));
      const place = em.let("place", bin("%", pixel, lit(span)));
      // The first place of the window that reads it, or the last row.
      const edge = lit(length - 1);
      const tap = em.let("tap", call("max", [bin("-", place, edge), lit(0)], "i32"));
      const at = way > 0 ? bin("-", place, tap) : bin("-", bin("+", edge, tap), place);
      if (!pooled) return { row: bin("+", bin("*", line, lit(side)), at), tap };
      const [window, along] = [bin("/", at, lit(wide)), bin("%", at, lit(wide))];
      return { row: bin("+", bin("*", bin("+", bin("*", window, lit(high)), line), lit(wide)), along), tap };
    },
  };
}

/** 1 or -1 where what a row reads depends on its place in a line and on that in the window by their sum, or difference, alone. */
function slides(n: Nest, a: Scalar, k: Axis, high: number, wide: number): 1 | -1 | undefined {
  const { s, row, window } = n;
  const width = n.epilogue.extents[n.epilogue.rows.length - 1];
  const axes = {
    line: s.axis("line", row.extent),
    x: s.axis("x", width),
    down: s.axis("down", high),
    along: s.axis("along", wide),
  };
  const value = (axis: Axis): Scalar => s.axisValue(axis);
  const place = s.isum([s.imul(value(axes.line), width), value(axes.x)], [window, window]);
  const within = s.isum([value(axes.down), value(axes.along)], [wide, 1]);
  const x = s.substitute(a, new Map([[row, s.iadd(place, within)]]));
  const moves = [axes.x, axes.along, k];
  const depends = (y: Scalar): boolean => y.free.some((axis) => moves.includes(axis));
  const ways = [1, -1] as const;
  return ways.find((way) => {
    const seen = new Set<Scalar>();
    const ok = (y: Scalar): boolean => {
      if (seen.has(y) || !depends(y)) return true;
      seen.add(y);
      if (y.kind === "index" || y.kind === "axis") {
        const { terms } = indexForm(y);
        const coef = (axis: Axis): Dim =>
          resolved(s, terms.find((t) => t.atom.kind === "axis" && t.atom.axis === axis)?.coef ?? ZERO);
        const by = coef(k);
        if (!equal(coef(axes.x), mul(by, way * wide))) return false;
        if (wide > 1 && !equal(coef(axes.along), mul(by, way))) return false;
        return terms.every((t) => t.atom.kind === "axis" || !depends(t.atom));
      }
      return (y.kind === "load" || y.kind === "call") && children(y).every(ok);
    };
    return ok(x);
  });
}
