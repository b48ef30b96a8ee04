// The softmax of the attention kernels: which keys a query sees, and the weights of scores. A score that is hidden is the
// least finite number, MASKED, so that a row's scores say by themselves which of them count. In: indices and scores, vec4s
// over keys or queries. Out: expressions.
import { add, type Dim, mul, sub } from "../../../dims/dim.ts";
import type { Node } from "../../../ir/types.ts";
import { bin, call, lit, part, widen, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { MASKED } from "../../../ops/attention.ts";

/** Which keys are seen, but for what a mask hides. `T` queries, `S` keys; the last query sees the last key. */
export class Sight {
  private readonly em: Emitter;
  private readonly T: Dim;
  private readonly S: Dim;
  private readonly causal: boolean;

  constructor(em: Emitter, node: Node, T: Dim, S: Dim) {
    this.em = em;
    this.T = T;
    this.S = S;
    this.causal = node.attrs.causal === true;
  }
  private get late(): X {
    return this.em.dim(sub(this.S, this.T));
  }
  /** Whether a query sees a key: one of them is four neighbours, of which there are `count`. */
  sees(query: X, key: X, others: X, count: Dim): X {
    const there = bin("<", others, this.em.dim(count));
    if (!this.causal) return there;
    return call("and", [there, call("le", [key, bin("+", query, this.late)], "bool")], "bool");
  }
  /** The end of the keys that any of some queries sees. */
  end(first: X, rows: number): X {
    if (!this.causal) return this.em.dim(this.S);
    const behind = bin("+", first, this.em.dim(add(rows, this.S, mul(this.T, -1))));
    return this.em.let("end", call("min", [this.em.dim(this.S), behind], "i32"));
  }
  /** The first query that sees a key or those behind it. */
  start(key: X): X {
    if (!this.causal) return lit(0);
    return this.em.let("start", call("max", [bin("-", key, this.late), lit(0)], "i32"));
  }
}

const LEAST = lit(MASKED, "f32");
/** A score, or that of a hidden key. */
export const shownScore = (seen: X, score: X): X => call("select", [seen, score, widen(LEAST, 4)], "f32");
const isHidden = (score: X): X => call("eq", [score, LEAST], "bool");
/** x, or 0 where the score is that of a hidden key. */
export const unlessHidden = (score: X, x: X): X => call("select", [isHidden(score), lit(0, "f32"), x], "f32");
/** exp(score - top); 0 for a hidden key. */
export const weightOf = (score: X, top: X): X =>
  unlessHidden(score, call("exp", [bin("-", score, top)], "f32"));

/** The number above MASKED: what a score that is seen becomes where it is as low as hidden ones. */
const ABOVE = -3.4028232635611926e38;
/** A score with a mask's number added, and whether it is seen: -inf alone hides, the least finite number does not, nor NaN. */
export function addedMask(em: Emitter, score: X, mask: X): { readonly score: X; readonly seen: X } {
  const sum = em.let("added", bin("+", score, mask));
  const low = call("lt", [sum, lit(0, "f32")], "bool");
  return {
    score: call("select", [isHidden(sum), lit(ABOVE, "f32"), sum], "f32"),
    seen: call("or", [call("is_finite", [sum], "bool"), call("not", [low], "bool")], "bool"),
  };
}

/** The larger where NaN comes through without it: the weight of NaN is NaN. */
const larger = (a: X, b: X): X => call("raw_max", [a, b], "f32");
const parts = (x: X): X[] => [0, 1, 2, 3].map((c) => part(x, c));
const sumOf = (list: readonly X[]): X => list.reduce((a, b) => bin("+", a, b));
const mostOf = (list: readonly X[]): X => list.reduce(larger);
/** What several lanes or vec4s come to. */
export const most = { of: mostOf, within: (x: X): X => mostOf(parts(x)) };
export const total = { of: sumOf, within: (x: X): X => sumOf(parts(x)) };
