// Contractions with the same left operand are one (q, k and v; gate and up), with their biases:
//   x @ a + s, x @ b + t  ->  y = x @ [a | b] + [s | t], slices of y
// for right operands and biases that depend on parameters alone, so that the joined ones are made once, ahead. In:
// primitives of an inference graph. Out: fewer contractions; the slices are movement and cost nothing.
import { asConst, type Dim, add as dAdd, dim, isConst, mul, ZERO } from "../../dims/dim.ts";
import { usersOf } from "../../ir/build.ts";
import { transform } from "../../ir/transform.ts";
import type { Graph, Node, Value } from "../../ir/types.ts";
import { broadcastTo, reshape } from "../../ops/axes.ts";
import { copy } from "../../ops/copy.ts";
import { dotOp } from "../../ops/dot.ts";
import { add } from "../../ops/elementwise.ts";
import { concat } from "../../ops/joins.ts";
import { sliceOp } from "../../ops/movement.ts";
import { derivedTest, writtenBy } from "./derived.ts";

interface Member {
  /** What is replaced by a slice: the dot, or the addition of its bias. */
  readonly whole: Node;
  readonly right: Value;
  readonly bias?: Value;
  readonly from: Dim;
  readonly size: Dim;
}

/** Of what would be more than `most` bytes side by side, which no kernel could bind, each stays by itself. */
export function shareOperands(graph: Graph, most = Number.POSITIVE_INFINITY): Graph {
  const isDerived = derivedTest(writtenBy(graph));
  const users = usersOf(graph.nodes);
  const sinks = new Set([...graph.results, ...graph.writes].map((s) => s.value));
  const byLeft = new Map<Value, Node[]>();
  for (const n of graph.nodes) {
    if (n.op !== dotOp) continue;
    const right = unbatched(n.inputs[1]);
    if (!isDerived(right) || right.type.shape.length !== 2) continue;
    byLeft.set(n.inputs[0], [...(byLeft.get(n.inputs[0]) ?? []), n]);
  }
  const families: Member[][] = [];
  for (const list of byLeft.values()) {
    if (list.length < 2) continue;
    let from: Dim = ZERO;
    const members = list.map((n): Member => {
      const size = n.outs[0].type.shape.at(-1) as Dim;
      const mine = users.get(n.outs[0]) ?? [];
      const bias =
        mine.length === 1 && !sinks.has(n.outs[0]) ? biasOf(mine[0], n.outs[0], isDerived) : undefined;
      const member = { whole: bias ? mine[0] : n, right: unbatched(n.inputs[1]), bias, from, size };
      from = dAdd(from, size);
      return member;
    });
    const rows = members[0].right.type.shape[0];
    if (4 * (asConst(mul(rows, from)) ?? 0) > most) continue;
    // All with a bias or none: a bias of one alone would become a kernel of its own.
    if (members.every((m) => m.bias) || members.every((m) => !m.bias)) families.push(members);
  }
  if (families.length === 0) return graph;
  const familyOf = new Map(families.flatMap((f) => f.map((m) => [m.whole, f] as const)));
  const made = new Map<readonly Member[], Value>();
  const rebuilt = new Map<Value, Value>();
  return transform(graph, (b, n, inputs) => {
    n.inputs.forEach((v, i) => void rebuilt.set(v, inputs[i]));
    const family = familyOf.get(n);
    const me = family?.find((m) => m.whole === n);
    if (!family || !me) return undefined;
    // Derived values can be built again at any time, whatever order the graph has them in.
    const rebuild = (v: Value): Value => {
      let out = rebuilt.get(v);
      if (!out) {
        out = b.node(v.node.op, v.node.inputs.map(rebuild), v.node.attrs, v.node.label)[v.index];
        rebuilt.set(v, out);
      }
      return out;
    };
    let whole = made.get(family);
    if (!whole) {
      const left =
        n.op === dotOp ? n.inputs[0] : (n.inputs.find((v) => v.node.op === dotOp) as Value).node.inputs[0];
      const x = rebuild(left);
      // A copy is computed, so it is stored: once, among the derived weights.
      const joined = b.make(copy, [
        concat(
          b,
          family.map((m) => rebuild(m.right)),
          1,
        ),
      ]);
      const batch = x.type.shape.slice(0, -2);
      whole = b.make(dotOp, [x, broadcastTo(b, joined, [...batch, ...joined.type.shape])], {}, n.label);
      if (family[0].bias) {
        const parts = family.map((m) => reshape(b, rebuild(m.bias as Value), [m.size]));
        whole = add(b, whole, broadcastTo(b, b.make(copy, [concat(b, parts, 0)]), whole.type.shape));
      }
      made.set(family, whole);
    }
    const last = whole.type.shape.length - 1;
    return [
      b.make(sliceOp, [whole], {
        starts: whole.type.shape.map((_, i) => (i === last ? me.from : dim(0))),
        sizes: whole.type.shape.map((d, i) => (i === last ? me.size : d)),
        steps: whole.type.shape.map(() => 1),
      }),
    ];
  }).graph;
}

/** The vector of parameters that `n` adds along the last axis of `y`. */
function biasOf(n: Node, y: Value, isDerived: (v: Value) => boolean): Value | undefined {
  if (n.op.name !== "add") return undefined;
  const other = n.inputs[0] === y ? n.inputs[1] : n.inputs[0];
  if (other === y || other.node.op.name !== "broadcast_to") return undefined;
  const base = other.node.inputs[0];
  const { shape } = base.type;
  const ok =
    shape.length > 0 &&
    shape.slice(0, -1).every((d) => isConst(d, 1)) &&
    shape.at(-1)?.key === y.type.shape.at(-1)?.key;
  return ok && isDerived(base) ? base : undefined;
}
/** The matrix behind a broadcast over batch axes. */
const unbatched = (v: Value): Value =>
  v.node.op.name === "broadcast_to" && v.node.inputs[0].type.shape.length === 2 ? v.node.inputs[0] : v;
