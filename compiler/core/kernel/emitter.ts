// From scalar expressions to kernel code: every value is computed at the outermost block that binds all its axes (its
// compute level), once, and named where it is shared or hoisted. Lanes: an expression may be asked for four wide along
// one axis; contiguity decides vec4 or four scalar loads.
// In: Scalars and the blocks a schedule opens. Out: statements. Separate from the schedules because all of them share it.

import { InternalError } from "../diagnostics/index.ts";
import {
  asConst,
  type Dim,
  type DimLike,
  dim,
  equal,
  isConst,
  isMultipleOf,
  literalDivisor,
  mul,
  ONE,
  product,
} from "../dims/dim.ts";
import type { DType, Value } from "../ir/types.ts";
import {
  type BufferSlot,
  bin,
  type CodeFunction,
  call,
  depthOf,
  lit,
  part,
  type SharedArray,
  type Stmt,
  type UniformSlot,
  variable,
  vec,
  type Width,
  widen,
  type X,
} from "./code.ts";
import { lanesAlong, strideAlong } from "./facts.ts";
import { functionTakesLiterals, overflowed } from "./functions.ts";
import type { Binding } from "./launch.ts";
import { identityOf, indexForm, type ScalarContext } from "./lowering.ts";
import { Names, type Words } from "./names.ts";
import type { Axis, Combine, Scalar, ScalarOf } from "./scalar.ts";
import { children, loadsOf } from "./scalar.ts";

/** Expressions within one another: compilers of kernels read them by recursion, and stop at about a hundred brackets. */
const DEEPEST = 16;

export interface Block {
  readonly stmts: Stmt[];
  readonly bound: Map<Axis, X>;
  readonly memo: Map<string | number, X>;
}
const newBlock = (): Block => ({ stmts: [], bound: new Map(), memo: new Map() });

export type FoldHook = (fold: ScalarOf<"fold">, depth: number, lane: Axis | undefined) => X | undefined;

/** How values lie in their buffers: where an element is, and what it is there. */
export interface Lying {
  order(v: Value): readonly number[];
  pitch(v: Value): Dim | undefined;
  offset(s: ScalarContext, v: Value, at: readonly Scalar[]): Scalar;
  dtype(v: Value): DType;
}

/** Where a lane is along an axis of what is stored, and where that ends. */
interface Tail {
  readonly at: Scalar;
  readonly extent: Dim;
}

/** Where a root is really stored: in place of another value (updates), or inside a larger one (a scan's results). */
export interface Placing {
  /** The value whose buffer a value shares; itself where it has its own. */
  buffer(v: Value): Value;
  /** Coordinates in that buffer's value. */
  coordinates(v: Value, at: readonly Scalar[], s: ScalarContext): readonly Scalar[];
}

export class Emitter {
  readonly s: ScalarContext;
  private readonly lying: Lying;
  readonly buffers: BufferSlot[] = [];
  /** What each buffer is bound to. */
  private readonly bound: Value[] = [];
  readonly uniforms: UniformSlot[] = [];
  readonly functions: CodeFunction[] = [];
  private readonly uniformByKey = new Map<string, UniformSlot>();
  /** Of everything in the kernel: the author's buffers, and what a schedule calls its variables, functions and arrays. */
  private readonly names: Names;
  /** Of the words of the uniform block, a scope of its own. */
  private readonly members: Names;
  private readonly arrays = new Map<string, SharedArray>();
  private readonly depths = new Map<X, number>();
  private uses = new Map<Scalar, number>();
  /** What loads that are near each other have in common. */
  private readonly places = new Set<Scalar>();
  stack: Block[] = [newBlock()];
  /** A schedule's way of computing folds at given depths (cooperatively, by tiles). */
  onFold: FoldHook | undefined;
  /** Folds that are no loops in a thread, by their terms. */
  readonly written = new Map<Scalar, readonly Scalar[]>();

  private readonly placing: Placing | undefined;

  constructor(s: ScalarContext, lying: Lying, words: Words, placing?: Placing) {
    this.s = s;
    this.lying = lying;
    this.names = new Names(words);
    this.members = new Names(words);
    this.placing = placing;
  }

  get top(): Block {
    return this.stack[this.stack.length - 1];
  }
  fresh(base: string): string {
    return this.names.fresh(base);
  }
  /** An array in workgroup memory, by what it is for: made at the first call. */
  shared(what: string, dtype: DType, width: Width, size: number): SharedArray {
    const made = this.arrays.get(what) ?? { name: this.fresh(what), dtype, width, size };
    this.arrays.set(what, made);
    return made;
  }
  get sharedArrays(): readonly SharedArray[] {
    return [...this.arrays.values()];
  }
  push(): Block {
    const b = newBlock();
    this.stack.push(b);
    return b;
  }
  pop(): readonly Stmt[] {
    const b = this.stack.pop();
    if (!b) throw new InternalError("schedule", "block stack is empty");
    return b.stmts;
  }
  bind(axis: Axis, x: X): void {
    this.top.bound.set(axis, x);
  }
  put(stmt: Stmt): void {
    this.top.stmts.push(stmt);
  }
  /** Names a value in the innermost block. */
  let(base: string, x: X): X {
    if (x.k === "var") return x;
    const name = this.fresh(base);
    this.put({ k: "let", name, x });
    return variable(name, x.dtype, x.width);
  }
  /** Counts uses, so that shared values get names. Call with all roots first. */
  count(roots: readonly Scalar[]): void {
    const seen = new Set<Scalar>();
    const visit = (x: Scalar): void => {
      this.uses.set(x, (this.uses.get(x) ?? 0) + 1);
      if (seen.has(x)) return;
      seen.add(x);
      for (const c of children(x)) visit(c);
    };
    roots.forEach(visit);
  }

  /**
   * Loads that lie a size apart have the rest of their place in common: it is summed once where it changes, and each adds what
   * it is off by. A register for each, held through a loop, costs more than the addition.
   */
  near(roots: readonly Scalar[]): void {
    const offsets = new Map<Scalar, Set<Scalar>>();
    for (const load of new Set(roots.flatMap(loadsOf))) {
      const offset = this.offset(load.value, load.at);
      if (offset.kind !== "index") continue;
      const place = this.placeOf(offset);
      offsets.set(place, (offsets.get(place) ?? new Set()).add(offset));
    }
    for (const [place, { size }] of offsets) if (size > 1) this.places.add(place);
  }
  private placeOf({ terms }: ScalarOf<"index">): Scalar {
    return this.s.isum(
      terms.map((t) => t.atom),
      terms.map((t) => t.coef),
      0,
    );
  }

  buffer(value: Value, access: "read" | "read_write"): BufferSlot {
    const at = this.bound.indexOf(value);
    let slot = this.buffers[at];
    if (!slot) {
      const dtype = this.lying.dtype(value);
      slot = { type: value.type, dtype, name: this.fresh(bufferName(value)), access, wide: false };
      this.buffers.push(slot);
      this.bound.push(value);
    }
    if (access === "read_write") slot.access = access;
    return slot;
  }
  /** What the kernel reads and writes, once it is all there. */
  get bindings(): readonly Binding[] {
    return this.buffers.map(({ access }, i) => ({ value: this.bound[i], access }));
  }
  /** A size as an expression: small literals are text, everything else a word of the uniform block. */
  dim(d: Dim): X {
    const n = asConst(d);
    if (n !== undefined && Math.abs(n) <= 4) return lit(n);
    return this.sizeWord(d);
  }
  /** A size as a word of the uniform block, also where it is small: layers that differ in it alone have one kernel. */
  sizeWord(d: Dim): X {
    return { k: "uniform", slot: this.uniformFor(d), dtype: "i32", width: 1 };
  }
  private uniformFor(d: Dim): UniformSlot {
    let slot = this.uniformByKey.get(d.key);
    if (!slot) {
      slot = { dim: d, name: this.uniformName(d) };
      this.uniforms.push(slot);
      this.uniformByKey.set(d.key, slot);
    }
    return slot;
  }
  /** A symbol's own name where the size is one, else a number in order of use. */
  private uniformName(d: Dim): string {
    const atom =
      d.terms.length === 1 && d.terms[0].coef === 1 && d.terms[0].atoms.length === 1
        ? d.terms[0].atoms[0]
        : undefined;
    return this.members.fresh(
      atom?.kind === "symbol" ? atom.name.replace(/[^A-Za-z0-9_]/g, "") : `d${this.uniforms.length}`,
    );
  }
  literal(value: number, dtype: DType): X {
    const v = overflowed(dtype, value);
    // Compilers of kernels may assume infinities and the sign of zero away, and their languages may not spell the former.
    return isFloat(dtype) && (!Number.isFinite(v) || Object.is(v, -0)) ? this.word(v, dtype) : lit(v, dtype);
  }
  /** A float as a word of the uniform block, by its bits: what no compiler may reason about. */
  private word(value: number, dtype: DType): X {
    const bits = new Int32Array(Float32Array.of(value).buffer)[0];
    const x: X = { k: "uniform", slot: this.uniformFor(dim(bits)), dtype: "f32", width: 1, bits: true };
    return dtype === "f32" ? x : call(`cast_${dtype}`, [x], dtype);
  }

  private depthOf(x: Scalar): number {
    let depth = 0;
    for (const a of x.free) depth = Math.max(depth, this.depthOfAxis(a));
    return depth;
  }
  private depthOfAxis(a: Axis): number {
    for (let i = this.stack.length - 1; i >= 0; i--) if (this.stack[i].bound.has(a)) return i;
    throw new InternalError("schedule", `axis ${a.name} is not bound`);
  }
  private boundTo(a: Axis): X {
    for (let i = this.stack.length - 1; i >= 0; i--) {
      const x = this.stack[i].bound.get(a);
      if (x) return x;
    }
    throw new InternalError("schedule", `axis ${a.name} is not bound`);
  }
  /** Gives a scalar its value in the innermost block (accumulators of a tile). */
  define(x: Scalar, as: X, lane?: Axis): void {
    this.top.memo.set(memoKey(x, lane), as);
  }

  /**
   * The value of x in the innermost block. With `lane`, four wide along that axis, whose bound variable holds the
   * group's first coordinate; where x does not depend on it the result is scalar.
   */
  x(x: Scalar, lane?: Axis): X {
    // Four neighbours that have a coordinate in common share it: it is divided out once.
    const step = lane && stepAlong(x, lane);
    if (lane && (!x.free.includes(lane) || (step && isConst(step, 0)))) lane = undefined;
    const key = memoKey(x, lane);
    // A value defined by the schedule may sit deeper than its axes say.
    for (let i = this.stack.length - 1; i >= 0; i--) {
      const known = this.stack[i].memo.get(key);
      if (known) return known;
    }
    const depth = this.depthOf(x);
    const made =
      lane && step && x.kind !== "axis" ? this.steps(this.x(x), step) : this.compute(x, depth, lane);
    const block = this.stack[depth];
    let out = made;
    const hoisted = depth < this.stack.length - 1;
    if (
      !isAtomic(made) &&
      (hoisted ||
        (this.uses.get(x) ?? 1) > 1 ||
        this.places.has(x) ||
        x.kind === "load" ||
        x.kind === "div" ||
        depthOf(made, this.depths) >= DEEPEST)
    ) {
      const name = this.fresh(nameOf(x));
      block.stmts.push({ k: "let", name, x: made });
      out = variable(name, made.dtype, made.width);
    }
    block.memo.set(key, out);
    return out;
  }

  private compute(x: Scalar, depth: number, lane: Axis | undefined): X {
    switch (x.kind) {
      case "const":
        return this.literal(x.value, x.dtype);
      case "axis": {
        const base = this.boundTo(x.axis);
        return lane ? this.steps(base, ONE) : base;
      }
      case "div":
        return bin("/", this.x(x.arg, lane), this.dim(x.by));
      case "index": {
        const place = this.places.size > 0 ? this.placeOf(x) : x;
        if (place !== x && this.places.has(place)) {
          const [at, off] = [this.x(place, lane), asConst(x.offset)];
          return off !== undefined && off < 0
            ? bin("-", at, this.dim(dim(-off)))
            : bin("+", at, this.dim(x.offset));
        }
        // What changes in outer loops only is summed there, once.
        const deep = x.terms.filter((t) => this.depthOf(t.atom) === depth);
        if (deep.length < x.terms.length && depth > 0) {
          const outer = x.terms.filter((t) => !deep.includes(t));
          const sum = (terms: typeof outer, offset: DimLike): Scalar =>
            this.s.isum(
              terms.map((t) => t.atom),
              terms.map((t) => t.coef),
              offset,
            );
          const shallow = sum(outer, x.offset);
          const rest = sum(deep, 0);
          return bin("+", this.x(shallow, lane), this.x(rest, lane));
        }
        let sum: X | undefined;
        const positive = x.terms.filter((t) => (asConst(t.coef) ?? 1) >= 0);
        const negative = x.terms.filter((t) => !positive.includes(t));
        for (const t of positive) {
          const term = bin("*", this.x(t.atom, lane), this.dim(t.coef));
          sum = sum ? bin("+", sum, term) : term;
        }
        const n = asConst(x.offset);
        if (n === undefined || n > 0 || !sum)
          sum = sum ? bin("+", sum, this.dim(x.offset)) : this.dim(x.offset);
        for (const t of negative)
          sum = bin("-", sum, bin("*", this.x(t.atom, lane), this.dim(mul(t.coef, -1))));
        if (n !== undefined && n < 0 && x.terms.some((t) => positive.includes(t)))
          sum = bin("-", sum, this.dim(dim(-n)));
        return sum;
      }
      case "load":
        return this.load(x, lane);
      case "call": {
        if (x.fn === "inside") return this.inside(x, lane);
        // What is kept as that type has nothing to be converted.
        if (x.fn === `cast_${x.dtype}` && x.args[0].kind === "load") {
          const [load] = x.args;
          if (this.lying.dtype(load.value) === x.dtype) return this.load(load, lane, x.dtype);
        }
        // By a literal 0: compilers fold x / 0 and x * 0 to what suits them.
        if (BY_ZERO.has(x.fn) && isFloat(x.dtype) && x.args[1].kind === "const" && x.args[1].value === 0)
          return call(x.fn, [this.x(x.args[0], lane), this.word(x.args[1].value, x.dtype)], x.dtype);
        return call(
          x.fn,
          x.args.map((a) => (functionTakesLiterals(x.fn) ? knownText(a) : undefined) ?? this.x(a, lane)),
          x.dtype,
        );
      }
      case "fold": {
        const special = this.onFold?.(x, depth, lane);
        if (special) return special;
        return this.serialFold(x, depth, lane);
      }
    }
  }
  /** Four numbers from `base` on, so far apart. */
  private steps(base: X, step: Dim): X {
    const by = this.dim(step);
    const at = vec([0, 1, 2, 3].map((u) => lit(by.k === "lit" ? u * by.value : u)));
    return bin("+", base, by.k === "lit" ? at : bin("*", at, by));
  }
  private inside(x: ScalarOf<"call">, lane: Axis | undefined): X {
    const [at, extent] = x.args;
    return call("inside", [this.x(at, lane), this.x(extent)], "bool");
  }

  /** The linear offset of an element in its buffer. */
  offset(value: Value, at: readonly Scalar[]): Scalar {
    return this.lying.offset(this.s, value, at);
  }
  private load(x: ScalarOf<"load">, lane: Axis | undefined, dtype = x.dtype): X {
    const slot = this.buffer(x.value, "read");
    const offset = this.offset(x.value, x.at);
    const loaded = (index: X, width: Width): X =>
      converted({ k: "load", buffer: slot, index, dtype: slot.dtype, width }, dtype);
    if (!lane) return loaded(this.x(offset), 1);
    const how = lanesAlong(offset, lane);
    if (how === "same") return loaded(this.x(offset), 1);
    if (how === "vector") {
      slot.wide = true;
      return loaded(quarter(this.x(offset)), 4);
    }
    return vec(
      [0, 1, 2, 3].map((u) => {
        const shifted = this.inLane(offset, lane, u);
        const key = `l${slot.name}@${shifted.id}${dtype === x.dtype ? "" : dtype}`;
        const depth = this.depthOf(shifted);
        const known = this.stack[depth].memo.get(key);
        if (known) return known;
        const held = loaded(this.x(shifted), 1);
        const name = this.fresh(slot.name);
        this.stack[depth].stmts.push({ k: "let", name, x: held });
        const out = variable(name, dtype);
        this.stack[depth].memo.set(key, out);
        return out;
      }),
    );
  }
  /** What is loaded of x at even numbers of an axis, and at the next, which is `next`: neighbours, as one load of two. */
  loadPairs(x: Scalar, axis: Axis, next: Axis): void {
    for (const one of loadsOf(x)) {
      if (!one.free.includes(axis)) continue;
      const slot = this.buffer(one.value, "read");
      slot.pairs = true;
      const offset = this.x(this.offset(one.value, one.at));
      const index = bin(">>", offset, lit(1));
      const two = this.let("pair", { k: "load", buffer: slot, index, dtype: slot.dtype, width: 2 });
      const other = this.s.substitute(one, new Map([[axis, this.s.axisValue(next)]]));
      this.define(one, converted(part(two, 0), one.dtype));
      this.define(other, converted(part(two, 1), one.dtype));
    }
  }
  shift(x: Scalar, axis: Axis, by: number): Scalar {
    return by === 0 ? x : this.s.substitute(x, new Map([[axis, this.s.iadd(this.s.axisValue(axis), by)]]));
  }
  /** The same for one of four lanes, of which the first is at a multiple of four: they share what they can. */
  private inLane(x: Scalar, lane: Axis, u: number): Scalar {
    if (u === 0) return x;
    return this.s.rewrite(x, (y) => {
      if (!y.free.includes(lane)) return y;
      const step = stepAlong(y, lane);
      return step && this.s.iadd(y, this.s.imul(this.s.dim(step), u));
    });
  }
  /** Stores a value computed at `width` along `lane`; `guard` limits lanes where the extent is not a multiple of 4. */
  store(value: Value, at: readonly Scalar[], computed: X, lane: Axis | undefined, tail?: Tail): void {
    const target = this.placing?.buffer(value) ?? value;
    const slot = this.buffer(target, "read_write");
    const x = converted(computed, slot.dtype);
    const place = this.placing?.coordinates(value, at, this.s) ?? at;
    const offset = this.offset(target, place);
    if (!lane) {
      this.put({ k: "store", buffer: slot, index: this.x(offset), x });
      return;
    }
    const how = lanesAlong(offset, lane);
    const masked =
      tail !== undefined &&
      literalDivisor(tail.extent) % 4 !== 0 &&
      !(how === "vector" && this.hasRoom(target, place, tail));
    const wide = widen(x, 4);
    if (how === "vector" && !masked) {
      slot.wide = true;
      this.put({ k: "store", buffer: slot, index: quarter(this.x(offset)), x: wide });
      return;
    }
    const held = wide.k === "var" || wide.k === "vec" || wide.k === "splat" ? wide : this.let("v", wide);
    for (let u = 0; u < 4; u++) {
      // Offsets of masked lanes are computed inside the guard's block, where they are used.
      const shifted = this.inLane(offset, lane, u);
      if (masked) {
        const ok = call("inside", [this.x(this.inLane(tail.at, lane, u)), this.dim(tail.extent)], "bool");
        this.push();
        this.put({ k: "store", buffer: slot, index: this.x(shifted), x: part(held, u) });
        const then = this.pop();
        this.put({ k: "if", cond: ok, body: then });
      } else this.put({ k: "store", buffer: slot, index: this.x(shifted), x: part(held, u) });
    }
  }

  /** Whether lanes beyond the end of a row, along which they are, lie in the room behind it. */
  private hasRoom(value: Value, at: readonly Scalar[], { at: lane, extent }: Tail): boolean {
    const inner = this.lying.order(value).at(-1) as number;
    const pitch = this.lying.pitch(value);
    return (
      pitch !== undefined &&
      isMultipleOf(pitch, 4) &&
      at[inner] === lane &&
      equal(value.type.shape[inner], extent)
    );
  }

  /** A loop `for name in from .. below`, with `axis` bound, around what `body` emits. */
  loop(
    axis: Axis | undefined,
    name: string,
    below: X,
    body: (i: X) => void,
    from: X = lit(0),
    step: X = lit(1),
  ): void {
    const v = this.fresh(name);
    this.push();
    const i = variable(v, "i32");
    if (axis) this.bind(axis, i);
    body(i);
    const stmts = this.pop();
    this.put({ k: "for", name: v, from, below, step, body: stmts });
  }

  /**
   * A loop over an axis from 0 to a number that is known, counted from what only a thread knows: a compiler that knew its bounds
   * would write its turns out.
   */
  uncounted(axis: Axis, count: number, from: X, body: (i: X) => void): void {
    const end = this.let("end", bin("+", from, lit(count)));
    this.loop(
      undefined,
      "at",
      end,
      (at) => {
        const i = this.let(axis.name, bin("-", at, from));
        this.bind(axis, i);
        body(i);
      },
      from,
    );
  }

  /** Runs `body` with the block stack cut to `depth` (code lands at that level). */
  atDepth<T>(depth: number, body: () => T): T {
    const saved = this.stack;
    this.stack = saved.slice(0, depth + 1);
    try {
      return body();
    } finally {
      this.stack = saved;
    }
  }

  /** A fold as loops in one thread. */
  private serialFold(x: ScalarOf<"fold">, depth: number, lane: Axis | undefined): X {
    return this.atDepth(depth, () => {
      const total = this.running(x.combine, x.dtype, lane ? 4 : 1);
      const terms = this.written.get(x);
      for (const term of terms ?? []) total.add(this.x(term, lane));
      if (terms) return total.value();
      const nest = (i: number, into: Running): void => {
        if (i === x.axes.length) {
          into.add(this.x(x.body, lane));
          return;
        }
        const inner = product(x.axes.slice(i + 1).map((a) => a.extent));
        const few = (asConst(mul(inner, x.axes[i].extent)) ?? Number.POSITIVE_INFINITY) <= WINDOW;
        this.foldLoop([into], few, x.axes[i], ([part]) => {
          // What a whole inner loop adds up to is one term of the outer one.
          if (few || isConst(inner, 1) || !part.splits) nest(i + 1, part);
          else {
            const own = this.running(x.combine, x.dtype, lane ? 4 : 1);
            nest(i + 1, own);
            part.add(own.value());
          }
        });
      };
      nest(0, total);
      return total.value();
    });
  }

  /** A fold's running value in the innermost block. */
  running(how: Combine, dtype: DType, width: Width): Running {
    const acc = this.fresh(COMBINE_NAME[how]);
    this.put({ k: "var", name: acc, x: widen(this.literal(identityOf(how, dtype), dtype), width) });
    const now = variable(acc, dtype, width);
    if (!isFloat(dtype) || (how !== "max" && how !== "min"))
      return {
        splits: how === "add" && isFloat(dtype),
        start: () => this.running(how, dtype, width),
        add: (x) => this.put({ k: "set", name: acc, x: combine(how, now, x) }),
        value: () => now,
      };
    // The largest magnitude goes along: it alone tells whether there was a NaN.
    const bits = this.fresh("bits");
    this.put({ k: "var", name: bits, x: widen(lit(0, "u32"), width) });
    const magnitude = variable(bits, "u32", width);
    return {
      splits: false,
      start: () => this.running(how, dtype, width),
      add: (x) => {
        const held = isAtomic(x) ? x : this.let("v", x);
        this.put({ k: "set", name: acc, x: call(`raw_${how}`, [now, held], dtype) });
        this.put({
          k: "set",
          name: bits,
          x: call("max", [magnitude, call("magnitude", [held], "u32")], "u32"),
        });
      },
      value: () => this.let(COMBINE_NAME[how], call("unless_nan", [now, magnitude], dtype)),
    };
  }

  /**
   * A loop over an axis that adds to running values, all of which add up in parts or none. A long sum of floats is a cascade,
   * in a fixed order: every BLOCK terms are one term of the next level, so that the error grows with the levels and not with
   * the terms.
   */
  foldLoop(
    into: readonly Running[],
    few: boolean,
    axis: Axis,
    each: (into: readonly Running[], i: X) => void,
    from: X = lit(0),
    step = 1,
    below: X = this.dim(axis.extent),
    most = LEVELS,
  ): void {
    const count = asConst(axis.extent);
    const turns = count === undefined ? Number.POSITIVE_INFINITY : count / step;
    const levels =
      few || !into.some((run) => run.splits)
        ? 0
        : Math.min(most, Math.ceil(Math.log(turns) / Math.log(BLOCK)) - 1);
    const nest = (level: number, runs: readonly Running[], start: X, end: X): void => {
      if (level <= 0) {
        this.loop(axis, axis.name, end, (i) => each(runs, i), start, lit(step));
        return;
      }
      const span = step * BLOCK ** level;
      this.loop(
        undefined,
        `${axis.name}_block`,
        end,
        (i) => {
          const parts = runs.map((run) => run.start());
          nest(level - 1, parts, i, this.let("end", call("min", [bin("+", i, lit(span)), end], "i32")));
          for (const [n, run] of runs.entries()) run.add(parts[n].value());
        },
        start,
        lit(span),
      );
    };
    nest(levels, into, from, below);
  }
}

/** A fold under way: `add` takes a term, `value` is what came together, `start` begins one of the same kind. */
export interface Running {
  /** Whether long loops add up in parts: sums of floats do. */
  readonly splits: boolean;
  readonly start: () => Running;
  readonly add: (x: X) => void;
  readonly value: () => X;
}
/** Terms of one level of a long sum, and the most levels above the first: 16 ** 5 terms and more. */
const BLOCK = 16;
const LEVELS = 4;
/** Terms that are simply added up one after the other: a window. */
const WINDOW = 64;
const BY_ZERO: ReadonlySet<string> = new Set(["mul", "div", "rem", "floor_div"]);
const isFloat = (t: DType): boolean => t === "f32" || t === "f16";

/** Between what a value is in kernels and what it is in memory. */
const converted = (x: X, dtype: DType): X => (x.dtype === dtype ? x : call(`cast_${dtype}`, [x], dtype));

export const COMBINE_NAME = { add: "sum", mul: "prod", max: "most", min: "least" } as const;
/** An integer that is known, as text. */
function knownText(x: Scalar): X | undefined {
  if (x.dtype !== "i32") return undefined;
  const { terms, offset } = indexForm(x);
  const n = terms.length === 0 ? asConst(offset) : undefined;
  return n === undefined ? undefined : lit(n);
}
/** The vec4 that holds an element: offsets are not negative, and a shift is cheaper than a signed division. */
const quarter = (offset: X): X => bin(">>", offset, lit(2));
/** acc combined with x. */
export const combine = (how: keyof typeof COMBINE_NAME, acc: X, x: X): X =>
  how === "add" ? bin("+", acc, x) : how === "mul" ? bin("*", acc, x) : call(how, [acc, x], acc.dtype);

/** How far apart a coordinate is in four neighbouring lanes, from a multiple of four on, where that is one number. */
const stepAlong = (x: Scalar, lane: Axis): Dim | undefined =>
  x.kind === "axis" || x.kind === "index" || x.kind === "div" ? strideAlong(x, lane, 4) : undefined;
/** Of one number for each scalar, and for each that is asked for four wide along an axis. */
const memoKey = (x: Scalar, lane: Axis | undefined): number =>
  lane ? -1 - (x.id * MOST_AXES + lane.id) : x.id;
const MOST_AXES = 2 ** 20;
const isAtomic = (x: X): boolean =>
  x.k === "var" ||
  x.k === "lit" ||
  x.k === "uniform" ||
  (x.k === "splat" && isAtomic(x.a)) ||
  (x.k === "vec" && x.parts.every(isAtomic));

/** The author's name for a value. */
export function bufferName(value: Value): string {
  const n = value.node;
  return String(
    n.label ?? (n.attrs.path as string | undefined) ?? (n.attrs.name as string | undefined) ?? n.op.name,
  );
}
function nameOf(x: Scalar): string {
  if (x.kind === "load") return `${bufferName(x.value)}_at`;
  if (x.kind === "call") return /^[a-z]\w*$/.test(x.fn) ? `v_${x.fn}` : "v";
  if (x.kind === "index" || x.kind === "div") return "i";
  return "v";
}

export { indexForm };
