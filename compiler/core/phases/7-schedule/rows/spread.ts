// Sums of squares about a value that is known only at the end, in the same pass as the sum. In: what a thread has seen so
// far as three numbers (how many, their sum, their squares about their own mean), which two such triples are brought
// together by (Chan, Golub and LeVeque, 1979). Nothing is subtracted that is larger than what is left, so a variance beside a
// large mean keeps its digits. Out: the squares about whatever value the row turns out to have.
import { bin, call, lit, variable, type Width, widen, type X } from "../../../kernel/code.ts";
import type { Running } from "../../../kernel/emitter.ts";
import { Late } from "./late.ts";

interface Moments extends Running {
  take(count: X, sum: X, squares: X): void;
  readonly count: X;
  readonly sum: X;
  readonly squares: X;
}
/** One by n, where something was counted. */
const share = (n: X): X =>
  n.k === "lit"
    ? lit(1 / n.value, "f32")
    : bin("/", widen(lit(1, "f32"), n.width), call("raw_max", [n, lit(1, "f32")], "f32"));

export class Spreads extends Late<Moments> {
  running(each: boolean): Moments {
    const { em } = this;
    const make = (what: string, width: Width): X => {
      const name = em.fresh(what);
      em.put({ k: "var", name, x: widen(lit(0, "f32"), width) });
      return variable(name, "f32", width);
    };
    const count = make("count", each ? 4 : 1);
    const [sum, squares] = [make("total", 4), make("squares", 4)];
    const set = (v: X, x: X): void => {
      if (v.k === "var") em.put({ k: "set", name: v.name, x });
    };
    const take = (n: X, s: X, q: X): void => {
      const apart = em.let("apart", bin("-", bin("*", s, share(n)), bin("*", sum, share(count))));
      const both = em.let("both", bin("+", count, n));
      const weight = bin("*", bin("*", count, n), share(both));
      set(squares, bin("+", bin("+", squares, q), bin("*", bin("*", apart, apart), weight)));
      set(sum, bin("+", sum, s));
      set(count, both);
    };
    const moments: Moments = {
      splits: true,
      start: () => this.running(each),
      // A block within a longer one: what it came to.
      add: (x) => {
        const block = blocks.get(x);
        if (block) take(block.count, block.sum, block.squares);
      },
      value: () => {
        blocks.set(squares, moments);
        return squares;
      },
      take,
      count,
      sum,
      squares,
    };
    return moments;
  }
  /** What a thread sees at a time: terms, 0 where there is none. */
  add(moments: Moments, terms: readonly X[], there: readonly (X | undefined)[]): void {
    const { em } = this;
    const { width } = moments.count;
    const none = widen(lit(0, "f32"), 4);
    const [zero, one] = [widen(lit(0, "f32"), width), widen(lit(1, "f32"), width)];
    const counted = there.map((ok) => (ok ? call("select", [widen(ok, width), one, zero], "f32") : one));
    const count = there.some((ok) => ok) ? em.let("count", sumOf(counted)) : lit(terms.length, "f32");
    const sum = em.let("total", sumOf(terms));
    const mean = em.let("mean", bin("*", sum, share(count)));
    const squares = terms.map((x, i) => {
      const d = em.let("apart", bin("-", x, mean));
      const square = bin("*", d, d);
      const ok = there[i];
      return ok ? call("select", [widen(ok, 4), square, none], "f32") : square;
    });
    moments.take(count, sum, em.let("squares", sumOf(squares)));
  }
  protected about(moments: Moments, from: X): X {
    const { em } = this;
    const apart = em.let("apart", bin("-", bin("*", moments.sum, share(moments.count)), from));
    const rest = bin("*", bin("*", apart, apart), moments.count);
    // A thread that saw nothing has no mean.
    const empty = widen(bin("<", moments.count, lit(1, "f32")), 4);
    const seen = call("select", [empty, widen(lit(0, "f32"), 4), rest], "f32");
    return em.let("squares", bin("+", moments.squares, seen));
  }
}
const blocks = new WeakMap<X, Moments>();
const sumOf = (xs: readonly X[]): X => xs.reduce((a, b) => bin("+", a, b));
