// Attention as one kernel with a running maximum (for targets that gain by it): a workgroup owns a block of query rows and
// walks over tiles of keys: scores first, then one rescale of what came together, then the values. What q, k and v are made
// of (slices of a packed projection, head transposes) is inlined in the loads. In: a claimed attention node. Out: a kernel.
import { asConst, isConst, mul, product } from "../../../dims/dim.ts";
import type { Node } from "../../../ir/types.ts";
import { bin, call, lit, part, widen, type X } from "../../../kernel/code.ts";
import { functionCost } from "../../../kernel/functions.ts";
import type { Scalar } from "../../../kernel/scalar.ts";
import { attentionOp } from "../../../ops/attention.ts";
import type { Target } from "../../../targets.ts";
import { finish } from "../common.ts";
import { type Family, type Job, type Launches, oneLaunch } from "../family.ts";
import { countOf, Parts, partsOf, rangeOf } from "./parts.ts";
import { addedMask, Sight, shownScore } from "./softmax.ts";
import { type Cut, cutsFor, inF32, isFloat, lengthOf, quadsOf, Running, Tiles } from "./tiles.ts";

/** `split`: parts of the keys, at most. */
type Choice = Cut & { readonly split: number };

function cutsOf(node: Node, target: Target): readonly Cut[] {
  if (node.op !== attentionOp || !isFloat(node.outs[0].type.dtype)) return [];
  const [q, , v] = node.inputs;
  return cutsFor(target, [q], [v], [v], 6);
}

export const attentionFamily: Family<Choice> = {
  name: "attention",
  claims: (node, target) => target.fastShared && cutsOf(node, target).length > 0,
  // What parts of the keys leave behind.
  room: 1,
  choices(job) {
    const cuts = cutsOf(job.group.anchor, job.ctx.target);
    if (cuts.length === 0) return [];
    // A few queries are a few rows.
    const T = asConst(lengthOf(job.group.anchor.inputs[0]));
    const best = T !== undefined && T <= 8 ? cuts.toReversed() : cuts;
    return best.flatMap((cut) => partsOf(job, cut).map((split) => ({ ...cut, split })));
  },
  lower: attend,
};

function attend(job: Job, cut: Choice): Launches {
  const node = job.group.anchor;
  const [q, k, v, mask] = node.inputs;
  const out = node.outs[0];
  const [T, S] = [lengthOf(q), lengthOf(k)];
  const parts = countOf(job, cut, cut.split);
  const t = new Tiles(job, cut, T, [q], [v], parts);
  const { em, s } = t;
  const running = new Running(t);
  const accs = t.sums("acc", quadsOf(v));
  const scale = em.literal(Number(node.attrs.scale), "f32");
  const sight = new Sight(em, node, T, S);
  const { from, end } = rangeOf(t, S, sight.end(t.row0, cut.rows), parts);
  em.loop(
    undefined,
    "k0",
    end,
    (k0) => {
      const products = t.products({ v: q, first: t.row0 }, { v: k, first: k0 });
      const others = t.othersAt(k0);
      const scores = products.map((name, i) => {
        const key = s.axis("key", S);
        em.bind(key, part(others, 0));
        let seen = sight.sees(bin("+", t.rowX, lit(i)), others, others, S);
        let score: X = bin("*", t.at(name), scale);
        if (mask) {
          // Right-aligned broadcast over [batch..., row, key].
          const full: Scalar[] = [...t.batchAt, s.iadd(s.axisValue(t.row), i), s.axisValue(key)];
          const at = mask.type.shape.map((dim, a) =>
            asConst(dim) === 1 ? s.dim(0) : full[full.length - mask.type.shape.length + a],
          );
          const m = inF32(em.x(s.read(mask, at), key));
          const added = mask.type.dtype === "bool" ? undefined : addedMask(em, score, m);
          score = added?.score ?? score;
          seen = call("and", [seen, added?.seen ?? widen(m, 4)], "bool");
        }
        return em.let("score", shownScore(seen, score));
      });
      t.spread(running.add(scores, accs));
      t.gather(accs, { v, first: k0 }, S);
    },
    from,
    lit(t.others),
  );
  // A row that saw no key is zeros.
  const total = running.sum();
  const over = em.let(
    "over",
    call("select", [call("eq", [total, lit(0, "f32")], "bool"), lit(1, "f32"), total], "f32"),
  );
  const split = isConst(parts, 1) ? undefined : new Parts(job, t, out, parts);
  if (split) split.leave(accs, running.most(), total);
  t.store(out, accs, (x, i) => bin("/", x, part(over, i)), T);
  const launch = finish(em, s, {
    name: "attention",
    family: `attention ${cut.rows} rows x ${t.others} keys`,
    workgroup: t.threads,
    groups: t.groups,
    cost: mul(product(q.type.shape.slice(0, -2)), T, S, 4 * (quadsOf(q) + quadsOf(v)) + functionCost("exp")),
    nest: [
      `grid batch, row in 0 .. ${T.key} by ${cut.rows} rows, ${cut.lanes} threads for four`,
      `  tile   keys and values, ${t.others} at a time`,
      "  register running maximum, sum, weighted values",
      "  root   attention",
    ],
  });
  return split ? split.launches(launch) : oneLaunch(launch);
}
