// Contractions as tiles in workgroup memory: both factors are staged, each thread owns a few rows x four columns.
// In: a nest. Out: one launch, or two where k is cut.
import { ceilDiv, isConst, mul, product } from "../../../dims/dim.ts";
import { bin, call, lit, sharedAt, variable, widen, type X } from "../../../kernel/code.ts";
import type { Axis, Scalar } from "../../../kernel/scalar.ts";
import { limitOf, type Target } from "../../../targets.ts";
import { decode, emitterFor, finish, groupName, laneX } from "../common.ts";
import type { Family, Job, Launches } from "../family.ts";
import { costOf, describe, type Nest } from "./nest.ts";
import { Cut, splitsOf } from "./split.ts";
import { inBlocks, longSum } from "./sums.ts";

/** `split`: parts of k at most. */
type Choice = {
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  readonly split: number;
};
type Tile = Omit<Choice, "split">;

export const tileFamily: Family<Choice> = {
  name: "contraction.tile",
  choices(job) {
    const nest = job.group.kind === "contraction" ? job.nest() : undefined;
    if (!nest) return [];
    const { target } = job.ctx;
    const others = [
      { rows: 64, cols: 64, depth: 16 },
      { rows: 64, cols: 32, depth: 16 },
      { rows: 32, cols: 32, depth: 16 },
      { rows: 16, cols: 64, depth: 16 },
    ].filter((c) => Object.entries(c).some(([what, n]) => n !== target.tile[what as keyof Tile]));
    const splits = splitsOf(job, nest, tilesOf(target.tile, nest, target).all);
    return [
      ...splits.map((split) => ({ ...target.tile, split })),
      ...others.filter((c) => fits(c, nest, target)).map((c) => ({ ...c, split: 1 })),
    ];
  },
  lower: (job, choice) => workgroupTiles(job, job.nest() as Nest, choice),
};

/** Threads along both sides, and the rows of a thread: whole windows. */
function shapeOf(t: Tile, n: Nest, target: Target) {
  const RM = n.window > 4 ? n.window : 4 - (4 % n.window === 0 ? 0 : 4 % n.window);
  const threadsX = t.cols / 4;
  // A window that does not divide four takes fewer rows a thread, and must not take more threads than there may be.
  const most = Math.floor(limitOf(target, "maxComputeInvocationsPerWorkgroup") / threadsX);
  const threadsY = Math.min(most, Math.max(1, Math.floor(t.rows / RM)));
  return { RM, threadsX, threadsY };
}
function fits(t: Tile, n: Nest, target: Target): boolean {
  const { RM, threadsY } = shapeOf(t, n, target);
  const bytes = (threadsY * RM + t.cols) * t.depth * 4;
  return bytes <= limitOf(target, "maxComputeWorkgroupStorageSize");
}

function tilesOf(t: Tile, n: Nest, target: Target) {
  const { RM, threadsY } = shapeOf(t, n, target);
  const rowTiles = ceilDiv(n.row.extent, threadsY * RM);
  const colTiles = ceilDiv(n.col.extent, t.cols);
  return { rowTiles, colTiles, all: mul(rowTiles, colTiles, n.batch.extent) };
}

function workgroupTiles(job: Job, n: Nest, t: Choice): Launches {
  const { s, row, col, batch } = n;
  const em = emitterFor(job.ctx, n.s);
  const { RM, threadsX, threadsY } = shapeOf(t, n, job.ctx.target);
  const BM = threadsY * RM;
  const BK = t.depth;
  const T = threadsX * threadsY;
  const { rowTiles, colTiles, all } = tilesOf(t, n, job.ctx.target);
  const cut = new Cut(job, n, em, t.split, all);
  const tileRow = em.let("tile_row", bin("%", cut.tile, em.dim(rowTiles)));
  const rest = em.let("tile_rest", bin("/", cut.tile, em.dim(rowTiles)));
  const tileCol = isConst(batch.extent, 1) ? rest : em.let("tile_col", bin("%", rest, em.dim(colTiles)));
  const batchV = isConst(batch.extent, 1) ? lit(0) : em.let("batch", bin("/", rest, em.dim(colTiles)));
  em.bind(batch, batchV);
  const row0 = em.let("row_0", bin("*", tileRow, lit(BM)));
  const col0 = em.let("col_0", bin("*", tileCol, lit(t.cols)));
  const tx = em.let("tx", bin("%", laneX(), lit(threadsX)));
  const ty = em.let("ty", bin("/", laneX(), lit(threadsX)));

  // load_a(row, k) and load_b(k, col) as functions: fused producers land there.
  const loader = (
    base: string,
    x: Scalar,
    axes: readonly [Axis, string][],
    lane: Axis | undefined,
  ): string => {
    const saved = em.stack;
    em.stack = [];
    em.push();
    const name = em.fresh(base);
    const params: { name: string; dtype: "i32"; width: 1 }[] = [];
    for (const [axis, label] of [...axes, [batch, "batch"] as [Axis, string]]) {
      const p = em.fresh(label);
      params.push({ name: p, dtype: "i32", width: 1 });
      em.bind(axis, variable(p, "i32"));
    }
    em.count([x]);
    const result = lane ? widen(em.x(x, lane), 4) : em.x(x);
    const body = em.pop();
    em.stack = saved;
    em.functions.push({ name, params, body, result });
    return name;
  };
  const tileA = em.shared("tile_a", n.dtype, 1, BM * BK);
  const tileB = em.shared("tile_b", n.dtype, 4, (t.cols / 4) * BK);
  const accs = Array.from({ length: RM }, () => em.fresh("c"));
  for (const name of accs) em.put({ k: "var", name, x: widen(lit(0, n.dtype), 4) });
  const long = longSum(em, n, accs);
  for (const q of n.segments) {
    const kLinear = s.axis("k", product(q.k.map((x) => x.extent)));
    const toK = new Map<Axis, Scalar>();
    decode(
      s,
      s.axisValue(kLinear),
      q.k.map((x) => x.extent),
    ).forEach((x, i) => void toK.set(q.k[i], x));
    const loadA = loader(
      "load_a",
      s.substitute(q.a, toK),
      [
        [row, "row"],
        [kLinear, "k"],
      ],
      undefined,
    );
    const loadB = loader(
      "load_b4",
      s.substitute(q.b, toK),
      [
        [kLinear, "k"],
        [col, "col"],
      ],
      col,
    );
    const kExtent = em.dim(kLinear.extent);
    const tiles = (from: X, end: X): void =>
      em.loop(
        undefined,
        "k0",
        end,
        (k0) => {
          em.loop(
            undefined,
            "e",
            lit(BM * BK),
            (e) => {
              const kk = em.let("k", bin("+", k0, bin("%", e, lit(BK))));
              const m = em.let("row", bin("+", row0, bin("/", e, lit(BK))));
              const inside = bin("&&", bin("<", kk, kExtent), bin("<", m, em.dim(row.extent)));
              const value: X = call(
                "select",
                [
                  inside,
                  { k: "call", fn: `fn:${loadA}`, args: [m, kk, batchV], dtype: n.dtype, width: 1 },
                  lit(0, n.dtype),
                ],
                n.dtype,
              );
              em.put({
                k: "setShared",
                name: tileA.name,
                index: bin("+", bin("*", bin("%", e, lit(BK)), lit(BM)), bin("/", e, lit(BK))),
                x: value,
              });
            },
            laneX(),
            lit(T),
          );
          em.loop(
            undefined,
            "e",
            lit((t.cols / 4) * BK),
            (e) => {
              const kk = em.let("k", bin("+", k0, bin("/", e, lit(t.cols / 4))));
              const c4 = em.let("col", bin("+", col0, bin("*", bin("%", e, lit(t.cols / 4)), lit(4))));
              const inside = bin("<", kk, kExtent);
              const value: X = call(
                "select",
                [
                  widen(inside, 4),
                  { k: "call", fn: `fn:${loadB}`, args: [kk, c4, batchV], dtype: n.dtype, width: 4 },
                  widen(lit(0, n.dtype), 4),
                ],
                n.dtype,
              );
              em.put({ k: "setShared", name: tileB.name, index: e, x: value });
            },
            laneX(),
            lit(T),
          );
          em.put({ k: "barrier" });
          em.loop(undefined, "kk", lit(BK), (kk) => {
            const bv = em.let("b", sharedAt(tileB, bin("+", bin("*", kk, lit(t.cols / 4)), tx)));
            accs.forEach((name, i) => {
              const av = sharedAt(
                tileA,
                bin("+", bin("+", bin("*", kk, lit(BM)), bin("*", ty, lit(RM))), lit(i)),
              );
              em.put({
                k: "set",
                name,
                x: {
                  k: "bin",
                  op: "+",
                  a: variable(name, n.dtype, 4),
                  b: { k: "bin", op: "*", a: av, b: bv, dtype: n.dtype, width: 4 },
                  dtype: n.dtype,
                  width: 4,
                },
              });
            });
          });
          em.put({ k: "barrier" });
        },
        from,
        lit(BK),
      );
    // A block of k at a time, where it is long.
    const { from, end } = cut.range(kLinear.extent, BK);
    if (long) inBlocks(em, long, "k_block", end, tiles, from);
    else tiles(from, end);
  }
  long?.finish();
  const store = cut.store(batchV);
  const outRow = em.let("out_row", bin("/", bin("+", row0, bin("*", ty, lit(RM))), lit(n.window)));
  const outCol = em.let("out_col", bin("+", col0, bin("*", tx, lit(4))));
  for (let i = 0; i < RM; i += n.window)
    em.put({
      k: "run",
      fn: store.name,
      args: [
        store.batch,
        bin("+", outRow, lit(i / n.window)),
        outCol,
        ...Array.from({ length: n.window }, (_, p) => variable(accs[i + p], n.dtype, 4)),
      ],
    });
  const launch = finish(em, s, {
    name: groupName(job.group),
    family: `contraction.tile ${BM}x${t.cols}x${BK}`,
    workgroup: T,
    groups: cut.groups,
    cost: costOf(n),
    nest: describe(n, `workgroup tile ${BM} rows x ${t.cols} columns x ${BK}`),
  });
  return cut.launches(launch);
}
