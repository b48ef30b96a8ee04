// Attention as one kernel with a running maximum (for targets that gain by it): a workgroup owns a block of query rows, one
// row a thread; keys and values pass through workgroup memory in tiles. What q, k and v are made of (slices of a packed
// projection, head transposes) is inlined in the loads. In: a claimed attention node. Out: a kernel.
import { asConst, ceilDiv, mul, product, sub } from "../../../dims/dim.ts";
import type { Node, Value } from "../../../ir/types.ts";
import { bin, call, lit, type SharedArray, sharedAt, variable, widen, type X } from "../../../kernel/code.ts";
import { functionCost } from "../../../kernel/functions.ts";
import type { Scalar } from "../../../kernel/scalar.ts";
import { attentionOp, MASKED } from "../../../ops/attention.ts";
import { decode, emitterFor, finish, groupLowering, groupX, laneX } from "../common.ts";
import { type Family, type Job, type Launch, oneLaunch } from "../family.ts";

const ROWS = 64;
const KEYS = 16;
const WIDEST = 128;

/** The last size of a value, where it is a number. */
export const featureSize = (v: Value): number | undefined => asConst(v.type.shape[v.type.shape.length - 1]);

/** Features come in whole vec4s and fit into registers. */
function attentionFits(node: Node): boolean {
  if (node.op !== attentionOp || node.outs[0].type.dtype !== "f32") return false;
  const [q, , v] = node.inputs;
  return [featureSize(q), featureSize(v)].every(
    (d) => d !== undefined && d % 4 === 0 && d > 0 && d <= WIDEST,
  );
}

type Choice = { readonly rows: number; readonly keys: number };

export const attentionFamily: Family<Choice> = {
  name: "attention",
  claims: (node, target) => target.fastShared && attentionFits(node),
  choices: ({ group }) => (attentionFits(group.anchor) ? [{ rows: ROWS, keys: KEYS }] : []),
  lower: (job) => oneLaunch(scheduleAttention(job)),
};

function scheduleAttention({ ctx, group: g }: Job): Launch {
  const node = g.anchor;
  const [q, k, v, mask] = node.inputs;
  const out = node.outs[0];
  const s = groupLowering(ctx, g);
  const em = emitterFor(ctx, s);
  const rank = q.type.shape.length;
  const batchShape = q.type.shape.slice(0, -2);
  const T = q.type.shape[rank - 2];
  const S = k.type.shape[rank - 2];
  const D4 = (featureSize(q) as number) / 4;
  const V4 = (featureSize(v) as number) / 4;
  const scale = Number(node.attrs.scale);
  const causal = node.attrs.causal === true;

  const batch = s.axis("batch", product(batchShape));
  const row = s.axis("row", T);
  const batchAt = decode(s, s.axisValue(batch), batchShape);
  const rowTiles = ceilDiv(T, ROWS);
  em.bind(batch, em.let("batch", bin("/", groupX(), em.dim(rowTiles))));
  const rowX = em.let("row", bin("+", bin("*", bin("%", groupX(), em.dim(rowTiles)), lit(ROWS)), laneX()));
  em.bind(row, rowX);
  const queries: X[] = [];
  for (let i = 0; i < D4; i++) {
    const e = s.axis("e", D4 * 4);
    em.bind(e, lit(4 * i));
    queries.push(em.let("q", widen(em.x(s.read(q, [...batchAt, s.axisValue(row), s.axisValue(e)]), e), 4)));
  }
  const most = em.fresh("most");
  const sum = em.fresh("sum");
  em.put({ k: "var", name: most, x: lit(MASKED, "f32") });
  em.put({ k: "var", name: sum, x: lit(0, "f32") });
  const accs = Array.from({ length: V4 }, () => em.fresh("acc"));
  for (const name of accs) em.put({ k: "var", name, x: widen(lit(0, "f32"), 4) });
  const f32 = (name: string): X => variable(name, "f32");
  const acc4 = (name: string): X => variable(name, "f32", 4);

  const keys = em.shared("keys", "f32", 4, KEYS * D4);
  const values = em.shared("values", "f32", 4, KEYS * V4);
  const sizeX = em.dim(S);
  em.loop(
    undefined,
    "k0",
    sizeX,
    (k0) => {
      const stage = (to: SharedArray, from: Value, wide: number): void => {
        em.loop(
          undefined,
          "i",
          lit(KEYS * wide),
          (i) => {
            const key = s.axis("key", S);
            const e = s.axis("e", wide * 4);
            const keyX = em.let("key", bin("+", k0, bin("/", i, lit(wide))));
            em.bind(key, keyX);
            em.bind(e, em.let("e", bin("*", bin("%", i, lit(wide)), lit(4))));
            const x = widen(em.x(s.read(from, [...batchAt, s.axisValue(key), s.axisValue(e)]), e), 4);
            // Past the end lies anything, and 0 * anything need not be 0.
            const ok = bin("<", keyX, sizeX);
            em.put({
              k: "setShared",
              name: to.name,
              index: i,
              x: call("select", [widen(ok, 4), x, widen(lit(0, "f32"), 4)], "f32"),
            });
          },
          laneX(),
          lit(ROWS),
        );
      };
      stage(keys, k, D4);
      stage(values, v, V4);
      em.put({ k: "barrier" });
      em.loop(undefined, "j", lit(KEYS), (j) => {
        let dot4: X | undefined;
        for (let i = 0; i < D4; i++) {
          const key = sharedAt(keys, bin("+", bin("*", j, lit(D4)), lit(i)));
          const term = bin("*", queries[i], key);
          dot4 = dot4 ? bin("+", dot4, term) : term;
        }
        const d = em.let("d", dot4 as X);
        const part = (i: number): X => ({ k: "part", a: d, i, dtype: "f32", width: 1 });
        let score: X = bin(
          "*",
          bin("+", bin("+", part(0), part(1)), bin("+", part(2), part(3))),
          em.literal(scale, "f32"),
        );
        const key = s.axis("key", S);
        const keyX = em.let("key", bin("+", k0, j));
        em.bind(key, keyX);
        const seen: X[] = [bin("<", keyX, sizeX)];
        // The last query sees the last key.
        if (causal) seen.push(call("le", [keyX, bin("+", rowX, em.dim(sub(S, T)))], "bool"));
        if (mask) {
          // Right-aligned broadcast over [batch..., row, key].
          const full: Scalar[] = [...batchAt, s.axisValue(row), s.axisValue(key)];
          const at = mask.type.shape.map((dim, i) =>
            asConst(dim) === 1 ? s.dim(0) : full[full.length - mask.type.shape.length + i],
          );
          const m = em.x(s.read(mask, at));
          if (mask.type.dtype === "bool") seen.push(m);
          else {
            score = em.let("score", bin("+", score, m));
            // Hidden is -inf alone: NaN is seen, and makes its row NaN.
            const low = call("lt", [score, lit(0, "f32")], "bool");
            seen.push(call("or", [call("is_finite", [score], "bool"), call("not", [low], "bool")], "bool"));
          }
        }
        const ok = em.let(
          "ok",
          seen.reduce((x, y) => bin("&&", x, y)),
        );
        const shown = em.let("shown", score);
        // A hidden key leaves maximum, sum and values as they are.
        const next = em.let(
          "next",
          call("select", [ok, call("max", [f32(most), shown], "f32"), f32(most)], "f32"),
        );
        const kept = em.let("kept", call("exp", [bin("-", f32(most), next)], "f32"));
        const weight = em.let(
          "weight",
          call("select", [ok, call("exp", [bin("-", shown, next)], "f32"), lit(0, "f32")], "f32"),
        );
        em.put({ k: "set", name: most, x: next });
        em.put({ k: "set", name: sum, x: bin("+", bin("*", f32(sum), kept), weight) });
        accs.forEach((name, i) => {
          const value = sharedAt(values, bin("+", bin("*", j, lit(V4)), lit(i)));
          em.put({
            k: "set",
            name,
            x: bin("+", bin("*", acc4(name), kept), bin("*", widen(weight, 4), value)),
          });
        });
      });
      em.put({ k: "barrier" });
    },
    lit(0),
    lit(KEYS),
  );
  em.push();
  // A row that saw no key is zeros.
  const none = call("eq", [f32(sum), lit(0, "f32")], "bool");
  const over = em.let("over", call("select", [none, lit(1, "f32"), f32(sum)], "f32"));
  accs.forEach((name, i) => {
    const e = s.axis("e", V4 * 4);
    em.bind(e, lit(4 * i));
    em.store(out, [...batchAt, s.axisValue(row), s.axisValue(e)], bin("/", acc4(name), over), e);
  });
  const then = em.pop();
  em.put({ k: "if", cond: bin("<", rowX, em.dim(T)), body: then });
  return finish(em, s, {
    name: "attention",
    family: `attention ${ROWS} rows x ${KEYS} keys`,
    workgroup: ROWS,
    groups: mul(product(batchShape), rowTiles),
    cost: mul(product(batchShape), T, S, 4 * (D4 + V4) + functionCost("exp")),
    nest: [
      `grid batch in 0 .. ${batch.extent.key}, row in 0 .. ${T.key} by ${ROWS} threads`,
      `  tile   keys and values, ${KEYS} at a time`,
      "  register running maximum, sum, weighted values",
      "  root   attention",
    ],
  });
}
