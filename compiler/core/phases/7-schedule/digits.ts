// Lines sorted by digits of a key, stably, in the time of their elements: a thread counts the digits of a block of elements,
// running sums of the counts say where each block's elements of each digit go, and the thread puts them there; nothing is
// atomic, and the order is one whatever the device. In: keys of lines. Out: three launches a digit; which element of its line
// stands where, and its key.
import { ceilDiv, type Dim, dim, max, min, mul, product } from "../../dims/dim.ts";
import type { DType, Value } from "../../ir/types.ts";
import { bin, call, lit, type X } from "../../kernel/code.ts";
import type { ScalarContext } from "../../kernel/lowering.ts";
import type { Axis, Scalar } from "../../kernel/scalar.ts";
import { decode, groupLowering } from "./common.ts";
import { type Job, type Launch, temporary } from "./family.ts";
import { sumsOfParts } from "./prefix.ts";
import { Thread } from "./thread.ts";

/** Bits of a digit; blocks of a line whose digits are counted apart, at most. */
export interface Digits {
  readonly digit: number;
  readonly blocks: number;
}
/** Elements of a block, at least. */
const BLOCK = 64;

/** What is sorted. */
export interface Keyed {
  /** Whose kernels these are, as their names begin. */
  readonly name: string;
  /** Extents that number the lines; none where there is one line. */
  readonly lines: readonly Dim[];
  /** Elements of a line. */
  readonly size: Dim;
  /** The low bits of the key that count, as of a number without sign. */
  readonly bits: number;
  /** An i32. */
  key(s: ScalarContext, line: readonly Scalar[], at: Scalar): Scalar;
  /** Where the order goes, in place of a value of its own: the place of a line's k-th element. Keys are not kept then. */
  readonly into?: {
    readonly value: Value;
    at(s: ScalarContext, line: readonly Scalar[], k: Scalar): readonly Scalar[];
  };
}
export interface Sorted {
  readonly list: readonly Launch[];
  readonly temporaries: readonly Value[];
  /** Line after line: the keys in order, and which element of its line has that key. */
  readonly keys: Value;
  readonly order: Value;
}
/** One digit of a key. */
interface Digit {
  readonly shift: number;
  readonly many: number;
}

export function sortByDigits(job: Job, choice: Digits, what: Keyed): Sorted {
  const sort = new DigitSort(job, choice, what);
  return sort.launches();
}

class DigitSort {
  private readonly job: Job;
  private readonly choice: Digits;
  private readonly what: Keyed;
  /** How many lines there are. */
  private readonly many: Dim;
  private readonly total: Dim;

  constructor(job: Job, choice: Digits, what: Keyed) {
    this.job = job;
    this.choice = choice;
    this.what = what;
    this.many = product(what.lines);
    this.total = mul(this.many, what.size);
  }
  private get alone(): boolean {
    return this.what.lines.length === 0;
  }

  launches(): Sorted {
    const { bits, size, into } = this.what;
    const list: Launch[] = [];
    const temporaries: Value[] = [];
    const make = (name: string, dtype: DType, shape: readonly Dim[]): Value => {
      const made = temporary(name, dtype, shape, this.job.group.anchor);
      temporaries.push(made);
      return made;
    };
    const passes = Math.ceil(bits / this.choice.digit);
    const width = Math.ceil(bits / passes);
    const count = min(this.choice.blocks, ceilDiv(size, BLOCK));
    const lines = this.alone ? [] : [this.many];
    let sorted: { keys: Value; order: Value } | undefined;
    for (let pass = 0; pass < passes; pass++) {
      const digits = { shift: pass * width, many: 2 ** width };
      const counts = make("counts", "i32", [...lines, dim(digits.many), count]);
      const places = make("places", "i32", [...lines, dim(digits.many), count]);
      list.push(this.counting(sorted?.keys, counts, digits));
      list.push(this.starting(counts, places));
      const last = into !== undefined && pass === passes - 1;
      const next = last
        ? { keys: into.value, order: into.value }
        : { keys: make("keys", "i32", [this.total]), order: make("order", "i32", [this.total]) };
      list.push(this.placing(sorted, places, next, digits, last));
      sorted = next;
    }
    return { list, temporaries, ...(sorted as { keys: Value; order: Value }) };
  }

  /** A kernel of one thread a block; `each` runs for each of its elements, with its key and digit. */
  private blocks(
    name: string,
    keys: Value | undefined,
    table: Value,
    digits: Digit,
    before: (k: Thread, at: readonly Scalar[], digit: Axis) => void,
    each: (k: Thread, at: readonly Scalar[], element: Axis, key: X, line: Scalar) => void,
  ): Launch {
    const { size, lines } = this.what;
    const count = table.type.shape[table.type.shape.length - 1];
    const k = new Thread(this.job, mul(this.many, count));
    const { s, em } = k;
    const block = s.axis("block", count);
    const line = s.axis("line", this.many);
    em.bind(line, this.alone ? lit(0) : em.let("line", bin("/", k.index, em.dim(count))));
    const index = this.alone ? k.index : em.let("block", bin("%", k.index, em.dim(count)));
    em.bind(block, index);
    const digit = s.axis("digit", digits.many);
    const own = this.alone ? [] : [s.axisValue(line)];
    const at = [...own, s.axisValue(digit), s.axisValue(block)];
    before(k, at, digit);
    const each_ = max(BLOCK, ceilDiv(size, this.choice.blocks));
    const first = em.let("first", bin("*", index, em.dim(each_)));
    const last = em.let("last", call("min", [bin("+", first, em.dim(each_)), em.dim(size)], "i32"));
    const term = s.axis("term", size);
    const flat = s.iadd(s.imul(s.axisValue(line), size), s.axisValue(term));
    const coordinates = decode(s, s.axisValue(line), lines);
    const key = keys ? s.load(keys, [flat]) : this.what.key(s, coordinates, s.axisValue(term));
    em.loop(
      term,
      "term",
      last,
      () => {
        const here = em.let("key", em.x(key));
        const high = digits.shift === 0 ? here : bin(">>", here, lit(digits.shift));
        em.bind(digit, em.let("digit", bin("%", high, lit(digits.many))));
        each(k, at, term, here, s.axisValue(line));
      },
      first,
    );
    return k.finish(this.what.name, name, mul(this.total, 4), [
      `grid block in 0 .. ${count.key}${this.alone ? "" : `, line in 0 .. ${this.many.key}`}`,
      `  thread term of the block, digit ${digits.shift / Math.log2(digits.many) + 1}`,
    ]);
  }
  private counting(keys: Value | undefined, counts: Value, digits: Digit): Launch {
    return this.blocks(
      `${this.what.name}_count`,
      keys,
      counts,
      digits,
      ({ em }, at, digit) =>
        em.loop(digit, "digit", lit(digits.many), () => em.store(counts, at, lit(0), undefined)),
      ({ s, em }, at) =>
        em.store(counts, at, em.let("next", bin("+", em.x(s.load(counts, at)), lit(1))), undefined),
    );
  }
  /** Where each block's elements of each digit begin. */
  private starting(counts: Value, places: Value): Launch {
    const s = groupLowering(this.job.ctx, this.job.group);
    const shape = counts.type.shape.slice(this.alone ? 0 : 1);
    const rows = this.alone ? [] : [this.many];
    const at = (line: readonly Scalar[], k: Scalar): readonly Scalar[] => [...line, ...decode(s, k, shape)];
    return sumsOfParts(
      this.job.ctx,
      { s, rows, size: product(shape), dtype: "i32", read: (line, k) => s.load(counts, at(line, k)) },
      {
        name: `${this.what.name}_places`,
        running: { value: places, before: true, at: (p, k) => at(p.line, k) },
      },
    );
  }
  private placing(
    from: { readonly keys: Value; readonly order: Value } | undefined,
    places: Value,
    to: { readonly keys: Value; readonly order: Value },
    digits: Digit,
    last: boolean,
  ): Launch {
    const { size, lines, into } = this.what;
    return this.blocks(
      `${this.what.name}_sort`,
      from?.keys,
      places,
      digits,
      () => {},
      ({ s, em }, at, term, key, line) => {
        const place = s.axis("place", size);
        const here = em.let("place", em.x(s.load(places, at)));
        em.bind(place, here);
        em.store(places, at, bin("+", here, lit(1)), undefined);
        const start = s.imul(line, size);
        const flat = s.iadd(start, s.axisValue(place));
        const order = from ? s.load(from.order, [s.iadd(start, s.axisValue(term))]) : s.axisValue(term);
        if (last && into) {
          const there = into.at(s, decode(s, line, lines), s.axisValue(place));
          em.store(into.value, there, em.x(order), undefined);
          return;
        }
        em.store(to.keys, [flat], key, undefined);
        em.store(to.order, [flat], em.x(order), undefined);
      },
    );
  }
}
/** Bits that number `count` things and one more. */
export const bitsFor = (count: number): number => Math.max(1, Math.ceil(Math.log2(count + 1)));
