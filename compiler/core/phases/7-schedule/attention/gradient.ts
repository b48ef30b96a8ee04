// The gradient of attention as two kernels (for targets that gain by it): one a block of queries, which passes over the keys
// with a running maximum, as attention does, and leaves the rows' figures behind (largest score, 1 / sum of exponentials,
// weighted gradient: not a log of the sum, which a large score would swallow); one a block of keys, which passes over the
// queries. Nothing of size T x S is stored. In: a claimed node. Out: a kernel.
import { mul, product } from "../../../dims/dim.ts";
import type { Node } from "../../../ir/types.ts";
import { bin, call, lit, part, widen } from "../../../kernel/code.ts";
import { attentionGradKeyOp, attentionGradQueryOp } from "../../../ops/attention.ts";
import type { Target } from "../../../targets.ts";
import { finish } from "../common.ts";
import { type Family, type Job, type Launch, oneLaunch } from "../family.ts";
import { Sight, shownScore, total as totalOf, unlessHidden } from "./softmax.ts";
import { type Cut, cutsFor, isFloat, lengthOf, quadsOf, Running, Tiles } from "./tiles.ts";

function cutsOf(node: Node, target: Target): readonly Cut[] {
  if (!isFloat(node.outs[0].type.dtype)) return [];
  const [q, k, v, g] = node.inputs;
  if (node.op === attentionGradQueryOp) return cutsFor(target, [q, v], [k], [q], 10);
  return node.op === attentionGradKeyOp ? cutsFor(target, [k, v], [q, g], [k, v], 8) : [];
}

export const attentionGradFamily: Family<Cut> = {
  name: "attention gradient",
  claims: (node, target) => target.fastShared && cutsOf(node, target).length > 0,
  choices: ({ ctx, group }) => cutsOf(group.anchor, ctx.target),
  lower: (job, cut) =>
    oneLaunch(job.group.anchor.op === attentionGradQueryOp ? queryKernel(job, cut) : keyKernel(job, cut)),
};

function queryKernel(job: Job, cut: Cut): Launch {
  const node = job.group.anchor;
  const [q, k, v, g, o] = node.inputs;
  const [dq, figures] = node.outs;
  const [T, S] = [lengthOf(q), lengthOf(k)];
  const t = new Tiles(job, cut, T, [q, v], [k]);
  const { em, s } = t;
  const scale = em.literal(Number(node.attrs.scale), "f32");
  // What the weighted gradient of a row comes to is known from its result.
  const delta = em.let("delta", totalOf.of(t.exchange(t.own([g, o], ([x, y]) => bin("*", x, y)))));
  const running = new Running(t);
  const sums = t.sums("dq", quadsOf(q));
  const sight = new Sight(em, node, T, S);
  em.loop(
    undefined,
    "k0",
    sight.end(t.row0, cut.rows),
    (k0) => {
      const products = t.products({ v: q, first: t.row0 }, { v: k, first: k0 });
      const back = t.products({ v: g, first: t.row0 }, { v, first: k0 });
      const others = t.othersAt(k0);
      const scores = products.map((name, i) => {
        const seen = sight.sees(bin("+", t.rowX, lit(i)), others, others, S);
        return em.let("score", shownScore(seen, bin("*", t.at(name), scale)));
      });
      const weights = running.add(scores, sums);
      // Hidden keys have no gradient, whatever their values are.
      t.spread(
        weights.map((w, i) => unlessHidden(scores[i], bin("*", w, bin("-", t.at(back[i]), part(delta, i))))),
      );
      t.gather(sums, { v: k, first: k0 }, S, true);
    },
    lit(0),
    lit(t.others),
  );
  t.barrier();
  const sum = running.sum();
  // A row that saw no key has no gradient.
  const none = call("eq", [sum, lit(0, "f32")], "bool");
  const over = call("select", [none, lit(1, "f32"), sum], "f32");
  const inverse = em.let(
    "inverse",
    call("select", [none, lit(0, "f32"), bin("/", widen(lit(1, "f32"), 4), over)], "f32"),
  );
  const factor = em.let("factor", bin("*", inverse, scale));
  t.store(dq, sums, (x, i) => bin("*", x, part(factor, i)), T);
  t.eachRow(T, (i) => {
    const at = [...t.batchAt, s.iadd(s.axisValue(t.row), i)];
    [running.most(), inverse, delta].forEach((x, f) => {
      em.store(figures, [...at, s.dim(f)], part(x, i), undefined);
    });
  });
  return done(job, t, cut, "attention_grad_query", [
    `grid batch, row in 0 .. ${T.key} by ${cut.rows} rows, ${cut.lanes} threads for four`,
    `  tile   keys and values, ${t.others} at a time`,
    "  register running maximum, sum, the query's gradient (roots)",
  ]);
}

function keyKernel(job: Job, cut: Cut): Launch {
  const node = job.group.anchor;
  const [q, k, v, g, figures] = node.inputs;
  const [dk, dv] = node.outs;
  const [T, S] = [lengthOf(q), lengthOf(k)];
  const t = new Tiles(job, cut, S, [k, v], [q, g]);
  const { em, s } = t;
  const scale = em.literal(Number(node.attrs.scale), "f32");
  const [keySums, valueSums] = [t.sums("dk", quadsOf(k)), t.sums("dv", quadsOf(v))];
  const sight = new Sight(em, node, T, S);
  em.loop(
    undefined,
    "q0",
    em.dim(T),
    (q0) => {
      const others = t.othersAt(q0);
      const query = s.axis("query", T);
      em.bind(query, part(others, 0));
      const [top, inverse, delta] = [0, 1, 2].map((f) =>
        em.let(
          "figure",
          widen(em.x(s.read(figures, [...t.batchAt, s.axisValue(query), s.dim(f)]), query), 4),
        ),
      );
      const weights = t.products({ v: k, first: t.row0 }, { v: q, first: q0 }).map((name, i) => {
        const seen = sight.sees(others, bin("+", t.rowX, lit(i)), others, T);
        const w = call("exp", [bin("-", bin("*", t.at(name), scale), top)], "f32");
        return em.let("p", call("select", [seen, bin("*", w, inverse), lit(0, "f32")], "f32"));
      });
      t.spread(weights);
      t.gather(valueSums, { v: g, first: q0 }, T);
      const back = t.products({ v, first: t.row0 }, { v: g, first: q0 });
      t.spread(
        back.map((name, i) => {
          const seen = sight.sees(others, bin("+", t.rowX, lit(i)), others, T);
          const ds = bin("*", weights[i], bin("-", t.at(name), delta));
          return call("select", [seen, ds, lit(0, "f32")], "f32");
        }),
      );
      t.gather(keySums, { v: q, first: q0 }, T);
    },
    sight.start(t.row0),
    lit(t.others),
  );
  t.store(dk, keySums, (x) => bin("*", x, scale), S);
  t.store(dv, valueSums, (x) => x, S);
  return done(job, t, cut, "attention_grad_key", [
    `grid batch, row in 0 .. ${S.key} by ${cut.rows} rows, ${cut.lanes} threads for four`,
    `  tile   queries and their gradients, ${t.others} at a time`,
    "  register the key's and value's gradients (roots)",
  ]);
}

function done(job: Job, t: Tiles, cut: Cut, name: string, nest: readonly string[]): Launch {
  const [q, k, v] = job.group.anchor.inputs;
  return finish(t.em, t.s, {
    name,
    family: `attention ${cut.rows} rows x ${t.others}`,
    workgroup: t.threads,
    groups: t.groups,
    cost: mul(product(q.type.shape.slice(0, -2)), lengthOf(q), lengthOf(k), 10 * (quadsOf(q) + quadsOf(v))),
    nest,
  });
}
