// The gradient of attention as two kernels (for targets that gain by it): one a query row, which passes over the keys
// twice (statistics, then the gradient) and leaves the row's figures behind (largest score, 1 / sum of exponentials,
// weighted gradient: not a log of the sum, which a large score would swallow); one a key row, which
// passes over the queries once. Nothing of size T x S is stored. In: a claimed node. Out: a kernel.
import { ceilDiv, type Dim, mul, product, sub } from "../../../dims/dim.ts";
import type { Node, Value } from "../../../ir/types.ts";
import {
  bin,
  call,
  lit,
  part,
  type SharedArray,
  sharedAt,
  variable,
  widen,
  type X,
} from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import type { ScalarContext } from "../../../kernel/lowering.ts";
import type { Axis, Scalar } from "../../../kernel/scalar.ts";
import { attentionGradKeyOp, attentionGradQueryOp, MASKED } from "../../../ops/attention.ts";
import { decode, emitterFor, finish, groupLowering, groupX, laneX } from "../common.ts";
import { type Family, type Job, type Launch, oneLaunch } from "../family.ts";
import { featureSize } from "./forward.ts";

const ROWS = 64;
const TILE = 16;
/** Two operands and up to two accumulators of this width live in registers. */
const WIDEST = 64;

function attentionGradFits(node: Node): boolean {
  if (node.op !== attentionGradQueryOp && node.op !== attentionGradKeyOp) return false;
  const [q, , v] = node.inputs;
  return (
    node.outs[0].type.dtype === "f32" &&
    [featureSize(q), featureSize(v)].every((d) => d !== undefined && d % 4 === 0 && d > 0 && d <= WIDEST)
  );
}

type Choice = { readonly rows: number; readonly others: number };

export const attentionGradFamily: Family<Choice> = {
  name: "attention gradient",
  claims: (node, target) => target.fastShared && attentionGradFits(node),
  choices: ({ group }) => (attentionGradFits(group.anchor) ? [{ rows: ROWS, others: TILE }] : []),
  lower: (job) => oneLaunch(job.group.anchor.op === attentionGradQueryOp ? queryKernel(job) : keyKernel(job)),
};

/** What passes through workgroup memory: whole rows, or one column of a value. */
interface Staged {
  readonly name: string;
  readonly v: Value;
  readonly column?: number;
}
/** The columns of the figures that the query kernel leaves behind. */
const ROW = ["tops", "inverses", "deltas"] as const;

/** What both kernels stand on: a row a thread, the other side in tiles. */
class Tiles {
  readonly s: ScalarContext;
  readonly em: Emitter;
  readonly batchAt: Scalar[];
  readonly row: Axis;
  readonly rowX: X;
  readonly rowCount: Dim;
  readonly groups: Dim;

  constructor({ ctx, group: g }: Job, rowCount: Dim) {
    const q = g.anchor.inputs[0];
    this.s = groupLowering(ctx, g);
    this.em = emitterFor(ctx, this.s);
    const { s, em } = this;
    const batchShape = q.type.shape.slice(0, -2);
    const tiles = ceilDiv(rowCount, ROWS);
    const batch = s.axis("batch", product(batchShape));
    this.batchAt = decode(s, s.axisValue(batch), batchShape);
    em.bind(batch, em.let("batch", bin("/", groupX(), em.dim(tiles))));
    this.row = s.axis("row", rowCount);
    this.rowX = em.let("row", bin("+", bin("*", bin("%", groupX(), em.dim(tiles)), lit(ROWS)), laneX()));
    em.bind(this.row, this.rowX);
    this.rowCount = rowCount;
    this.groups = mul(product(batchShape), tiles);
  }
  /** The thread's own row of a value, in named registers. */
  own(name: string, v: Value): X[] {
    const { s, em } = this;
    const wide = (featureSize(v) as number) / 4;
    return Array.from({ length: wide }, (_, i) => {
      const e = s.axis("e", wide * 4);
      em.bind(e, lit(4 * i));
      return em.let(
        name,
        widen(em.x(s.read(v, [...this.batchAt, s.axisValue(this.row), s.axisValue(e)]), e), 4),
      );
    });
  }
  accumulators(name: string, count: number): string[] {
    const names = Array.from({ length: count }, () => this.em.fresh(name));
    for (const n of names) this.em.put({ k: "var", name: n, x: widen(lit(0, "f32"), 4) });
    return names;
  }
  /** Passes over `count` rows of the other side: `staged` come into workgroup memory tile by tile. */
  pass(
    count: Dim,
    staged: readonly Staged[],
    body: (at: X, index: X, ok: X, tile: (name: string, i: number) => X) => void,
  ): void {
    const { s, em } = this;
    const countX = em.dim(count);
    const widthOf = ({ v, column }: Staged): number =>
      column === undefined ? (featureSize(v) as number) / 4 : 0;
    const arrayOf = (of: Staged): SharedArray => {
      const wide = widthOf(of);
      return em.shared(of.name, "f32", wide ? 4 : 1, TILE * (wide || 1));
    };
    em.loop(
      undefined,
      "k0",
      countX,
      (k0) => {
        for (const of of staged) {
          const { v, column } = of;
          const wide = widthOf(of);
          em.loop(
            undefined,
            "i",
            lit(TILE * (wide || 1)),
            (i) => {
              const other = s.axis("other", count);
              const at = em.let("at", bin("+", k0, wide ? bin("/", i, lit(wide)) : i));
              em.bind(other, at);
              let x: X;
              if (wide) {
                const e = s.axis("e", wide * 4);
                em.bind(e, em.let("e", bin("*", bin("%", i, lit(wide)), lit(4))));
                x = widen(em.x(s.read(v, [...this.batchAt, s.axisValue(other), s.axisValue(e)]), e), 4);
              } else x = em.x(s.read(v, [...this.batchAt, s.axisValue(other), s.dim(column ?? 0)]));
              // Past the end lies anything.
              const ok = widen(bin("<", at, countX), x.width);
              em.put({
                k: "setShared",
                name: arrayOf(of).name,
                index: i,
                x: call("select", [ok, x, widen(lit(0, "f32"), x.width)], "f32"),
              });
            },
            laneX(),
            lit(ROWS),
          );
        }
        em.put({ k: "barrier" });
        em.loop(undefined, "j", lit(TILE), (j) => {
          const at = em.let("at", bin("+", k0, j));
          const tile = (name: string, i: number): X => {
            const of = staged.find((q) => q.name === name) as Staged;
            const wide = widthOf(of);
            return sharedAt(arrayOf(of), wide ? bin("+", bin("*", j, lit(wide)), lit(i)) : j);
          };
          body(at, j, bin("<", at, countX), tile);
        });
        em.put({ k: "barrier" });
      },
      lit(0),
      lit(TILE),
    );
  }
  dot(own: readonly X[], other: (i: number) => X): X {
    const d = this.em.let(
      "d",
      own.map((x, i) => bin("*", x, other(i))).reduce((a, b) => bin("+", a, b)),
    );
    return bin("+", bin("+", part(d, 0), part(d, 1)), bin("+", part(d, 2), part(d, 3)));
  }
  /** acc += weight * other, register by register. */
  gather(accs: readonly string[], weight: X, other: (i: number) => X): void {
    accs.forEach((name, i) => {
      this.em.put({
        k: "set",
        name,
        x: bin("+", variable(name, "f32", 4), bin("*", widen(weight, 4), other(i))),
      });
    });
  }
  storeRow(out: Value, accs: readonly string[], scale: number): void {
    const { s, em } = this;
    accs.forEach((name, i) => {
      const e = s.axis("e", accs.length * 4);
      em.bind(e, lit(4 * i));
      em.store(
        out,
        [...this.batchAt, s.axisValue(this.row), s.axisValue(e)],
        bin("*", variable(name, "f32", 4), em.literal(scale, "f32")),
        e,
      );
    });
  }
  finish(name: string, cost: Dim, nest: readonly string[]): Launch {
    return finish(this.em, this.s, {
      name,
      family: `attention ${ROWS} rows x ${TILE}`,
      workgroup: ROWS,
      groups: this.groups,
      cost,
      nest,
    });
  }
}

function queryKernel(job: Job): Launch {
  const g = job.group;
  const [q, k, v, dOut] = g.anchor.inputs;
  const rank = q.type.shape.length;
  const T = q.type.shape[rank - 2];
  const S = k.type.shape[rank - 2];
  const scale = Number(g.anchor.attrs.scale);
  const causal = g.anchor.attrs.causal === true;
  const t = new Tiles(job, T);
  const { em } = t;
  const qs = t.own("q", q);
  const gs = t.own("g", dOut);
  const f32 = (name: string): X => variable(name, "f32");
  const scalarVar = (name: string, value: number): string => {
    const n = em.fresh(name);
    em.put({ k: "var", name: n, x: lit(value, "f32") });
    return n;
  };
  const most = scalarVar("most", MASKED);
  const sum = scalarVar("sum", 0);
  const weighted = scalarVar("weighted", 0);
  const seenX = (at: X, ok: X): X =>
    causal ? bin("&&", ok, call("le", [at, bin("+", t.rowX, em.dim(sub(S, T)))], "bool")) : ok;
  const scoreOf = (tile: (name: string, i: number) => X): X =>
    bin(
      "*",
      t.dot(qs, (i) => tile("keys", i)),
      em.literal(scale, "f32"),
    );
  const staged = [
    { name: "keys", v: k },
    { name: "values", v },
  ];
  t.pass(S, staged, (at, _j, ok, tile) => {
    const score = em.let("score", scoreOf(tile));
    const seen = em.let("seen", seenX(at, ok));
    const dp = em.let(
      "dp",
      t.dot(gs, (i) => tile("values", i)),
    );
    // A hidden key leaves maximum and sums as they are.
    const next = em.let(
      "next",
      call("select", [seen, call("max", [f32(most), score], "f32"), f32(most)], "f32"),
    );
    const shrink = em.let("shrink", call("exp", [bin("-", f32(most), next)], "f32"));
    const weight = em.let(
      "weight",
      call("select", [seen, call("exp", [bin("-", score, next)], "f32"), lit(0, "f32")], "f32"),
    );
    em.put({ k: "set", name: most, x: next });
    em.put({ k: "set", name: sum, x: bin("+", bin("*", f32(sum), shrink), weight) });
    em.put({ k: "set", name: weighted, x: bin("+", bin("*", f32(weighted), shrink), bin("*", weight, dp)) });
  });
  // A row that saw no key has no gradient.
  const none = call("eq", [f32(sum), lit(0, "f32")], "bool");
  const over = call("select", [none, lit(1, "f32"), f32(sum)], "f32");
  const inverse = em.let(
    "inverse",
    call("select", [none, lit(0, "f32"), bin("/", lit(1, "f32"), over)], "f32"),
  );
  const delta = em.let("delta", bin("*", f32(weighted), inverse));
  const dq = t.accumulators("dq", qs.length);
  t.pass(S, staged, (at, _j, ok, tile) => {
    const score = em.let("score", scoreOf(tile));
    const seen = em.let("seen", seenX(at, ok));
    const dp = em.let(
      "dp",
      t.dot(gs, (i) => tile("values", i)),
    );
    const p = bin("*", call("exp", [bin("-", score, f32(most))], "f32"), inverse);
    const ds = bin("*", p, bin("-", dp, delta));
    const weight = em.let("ds", call("select", [seen, ds, lit(0, "f32")], "f32"));
    t.gather(dq, weight, (i) => tile("keys", i));
  });
  em.push();
  t.storeRow(g.anchor.outs[0], dq, scale);
  const at = [...t.batchAt, t.s.axisValue(t.row)];
  [f32(most), inverse, delta].forEach((x, i) => {
    em.store(g.anchor.outs[1], [...at, t.s.dim(i)], x, undefined);
  });
  const body = em.pop();
  em.put({ k: "if", cond: bin("<", t.rowX, em.dim(T)), body });
  return t.finish("attention_grad_query", mul(t.groups, ROWS, S, 20 * qs.length), [
    `grid batch, row in 0 .. ${T.key} by ${ROWS} threads`,
    "  tile   keys and values, twice",
    "  register maximum, sums, the query's gradient (roots)",
  ]);
}

function keyKernel(job: Job): Launch {
  const g = job.group;
  const [q, k, v, dOut, figures] = g.anchor.inputs;
  const rank = q.type.shape.length;
  const T = q.type.shape[rank - 2];
  const S = k.type.shape[rank - 2];
  const scale = Number(g.anchor.attrs.scale);
  const causal = g.anchor.attrs.causal === true;
  const t = new Tiles(job, S);
  const { em } = t;
  const ks = t.own("k", k);
  const vs = t.own("v", v);
  const dk = t.accumulators("dk", ks.length);
  const dv = t.accumulators("dv", vs.length);
  const staged = [
    { name: "queries", v: q },
    { name: "grads", v: dOut },
    ...ROW.map((name, i) => ({ name, v: figures, column: i })),
  ];
  t.pass(T, staged, (at, _j, ok, tile) => {
    const score = bin(
      "*",
      t.dot(ks, (i) => tile("queries", i)),
      em.literal(scale, "f32"),
    );
    const seen = em.let(
      "seen",
      causal ? bin("&&", ok, call("le", [t.rowX, bin("+", at, em.dim(sub(S, T)))], "bool")) : ok,
    );
    const [top, inverse, delta] = ROW.map((name) => tile(name, 0));
    const weight = bin("*", call("exp", [bin("-", score, top)], "f32"), inverse);
    const p = em.let("p", call("select", [seen, weight, lit(0, "f32")], "f32"));
    t.gather(dv, p, (i) => tile("grads", i));
    const dp = t.dot(vs, (i) => tile("grads", i));
    const ds = em.let("ds", call("select", [seen, bin("*", p, bin("-", dp, delta)), lit(0, "f32")], "f32"));
    t.gather(dk, ds, (i) => tile("queries", i));
  });
  em.push();
  t.storeRow(g.anchor.outs[0], dk, scale);
  t.storeRow(g.anchor.outs[1], dv, 1);
  const body = em.pop();
  em.put({ k: "if", cond: bin("<", t.rowX, em.dim(S)), body });
  return t.finish("attention_grad_key", mul(t.groups, ROWS, T, 20 * ks.length), [
    `grid batch, row in 0 .. ${S.key} by ${ROWS} threads`,
    "  tile   queries and their gradients",
    "  register the key's and value's gradients (roots)",
  ]);
}
