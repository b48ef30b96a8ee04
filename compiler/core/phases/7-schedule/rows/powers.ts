// Sums of exp(x - m), where m is the largest x of the row, in the same pass as m (Milakov and Gimelshein, 2018). In: what a
// thread has seen so far as two numbers, the largest and the sum about it, which is scaled when a larger one comes. Out: the
// sum about whatever the row's largest turns out to be. What is above nothing is about the least finite number, so that -inf
// adds 0 to a row that has other numbers, and NaN to one that has none, as the two passes do.
import { bin, call, lit, variable, widen, type X } from "../../../kernel/code.ts";
import type { Running } from "../../../kernel/emitter.ts";
import { Late } from "./late.ts";

interface Power extends Running {
  take(top: X, sum: X): void;
  readonly top: X;
  readonly sum: X;
}
const LEAST = lit(-3.4028234663852886e38, "f32");
const exp = (x: X): X => call("exp", [x], "f32");
const larger = (a: X, b: X): X => call("raw_max", [a, b], "f32");

export class Powers extends Late<Power> {
  running(): Power {
    const { em } = this;
    const make = (what: string, x: X): X => {
      const name = em.fresh(what);
      em.put({ k: "var", name, x: widen(x, 4) });
      return variable(name, "f32", 4);
    };
    const [top, sum] = [make("top", LEAST), make("powers", lit(0, "f32"))];
    const set = (v: X, x: X): void => {
      if (v.k === "var") em.put({ k: "set", name: v.name, x });
    };
    const power: Power = {
      splits: true,
      start: () => this.running(),
      add: (x) => {
        const block = this.blocks.get(x);
        if (!block) return;
        const both = em.let("both", larger(top, block.top));
        power.take(both, bin("*", block.sum, exp(bin("-", block.top, both))));
      },
      value: () => {
        this.blocks.set(sum, power);
        return sum;
      },
      /** Of terms, whose sum is about a number that is not below what was seen. */
      take: (now, more) => {
        set(sum, bin("+", bin("*", sum, exp(bin("-", top, now))), more));
        set(top, now);
      },
      top,
      sum,
    };
    return power;
  }
  /** A block within a longer one: what it came to. */
  private readonly blocks = new Map<X, Power>();

  /** What a thread sees at a time: -inf where there is none. */
  add(power: Power, terms: readonly X[]): void {
    const { em } = this;
    const now = em.let("now", terms.reduce(larger, power.top));
    power.take(
      now,
      terms.map((x) => exp(bin("-", x, now))).reduce((a, b) => bin("+", a, b)),
    );
  }
  protected about({ top, sum }: Power, most: X): X {
    return this.em.let("powers", bin("*", sum, exp(bin("-", top, most))));
  }
}
