// Sums of squares about a value that is known only at the end, in the same pass as the sum. In: what a thread has seen so
// far as three numbers (how many, their sum, their squares about their own mean), which two such triples are brought
// together by (Chan, Golub and LeVeque, 1979). Nothing is subtracted that is larger than what is left, so a variance beside a
// large mean keeps its digits. Out: the squares about whatever value the row turns out to have.
import { bin, call, lit, variable, widen, type X } from "../../../kernel/code.ts";
import type { Emitter, Running } from "../../../kernel/emitter.ts";
import type { Scalar, ScalarOf } from "../../../kernel/scalar.ts";
import type { Spread } from "./nest.ts";

type Fold = ScalarOf<"fold">;

interface Moments extends Running {
  take(count: X, sum: X, squares: X): void;
  readonly count: X;
  readonly sum: X;
  readonly squares: X;
}
const atLeastOne = (n: X): X => call("raw_max", [n, lit(1, "f32")], "f32");

export class Spreads {
  private readonly em: Emitter;
  private readonly waiting = new Map<Fold, { readonly spread: Spread; readonly moments: Moments }>();
  private readonly known = new Set<Fold>();

  constructor(em: Emitter) {
    this.em = em;
  }
  has(fold: Fold): boolean {
    return this.known.has(fold);
  }
  running(): Moments {
    const { em } = this;
    const make = (what: string): X => {
      const name = em.fresh(what);
      em.put({ k: "var", name, x: widen(lit(0, "f32"), 4) });
      return variable(name, "f32", 4);
    };
    const [count, sum, squares] = [make("count"), make("total"), make("squares")];
    const set = (v: X, x: X): void => {
      if (v.k === "var") em.put({ k: "set", name: v.name, x });
    };
    const take = (n: X, s: X, q: X): void => {
      const apart = em.let("apart", bin("-", bin("/", s, atLeastOne(n)), bin("/", sum, atLeastOne(count))));
      const both = em.let("both", bin("+", count, n));
      const weight = bin("/", bin("*", count, n), atLeastOne(both));
      set(squares, bin("+", bin("+", squares, q), bin("*", bin("*", apart, apart), weight)));
      set(sum, bin("+", sum, s));
      set(count, both);
    };
    const moments: Moments = {
      splits: true,
      start: () => this.running(),
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
  add(run: Running, terms: readonly X[], there: readonly (X | undefined)[]): void {
    const { em } = this;
    const moments = run as Moments;
    const one = widen(lit(1, "f32"), 4);
    const none = widen(lit(0, "f32"), 4);
    const counted = there.map((ok) => (ok ? call("select", [widen(ok, 4), one, none], "f32") : one));
    const count = em.let(
      "count",
      counted.every((x) => x === one) ? widen(lit(terms.length, "f32"), 4) : sumOf(counted),
    );
    const sum = em.let("total", sumOf(terms));
    const mean = em.let("mean", bin("/", sum, atLeastOne(count)));
    const squares = terms.map((x, i) => {
      const d = em.let("apart", bin("-", x, mean));
      const square = bin("*", d, d);
      const ok = there[i];
      return ok ? call("select", [widen(ok, 4), square, none], "f32") : square;
    });
    moments.take(count, sum, em.let("squares", sumOf(squares)));
  }
  wait(fold: Fold, spread: Spread, moments: Moments): void {
    this.known.add(fold);
    this.waiting.set(fold, { spread, moments });
  }
  /** What a fold waits for and, given that, is: of this thread, four wide. */
  take(fold: Fold): { readonly from: Scalar; readonly value: (from: X) => X } | undefined {
    const found = this.waiting.get(fold);
    if (!found) return undefined;
    this.waiting.delete(fold);
    const { spread, moments } = found;
    const { em } = this;
    return {
      from: spread.from,
      value: (from) => {
        const apart = em.let("apart", bin("-", bin("/", moments.sum, atLeastOne(moments.count)), from));
        const rest = bin("*", bin("*", apart, apart), moments.count);
        // A thread that saw nothing has no mean.
        const empty = bin("<", moments.count, lit(1, "f32"));
        const seen = call("select", [empty, widen(lit(0, "f32"), 4), rest], "f32");
        return em.let("squares", bin("+", moments.squares, seen));
      },
    };
  }
}
const blocks = new WeakMap<X, Moments>();
const sumOf = (xs: readonly X[]): X => xs.reduce((a, b) => bin("+", a, b));
