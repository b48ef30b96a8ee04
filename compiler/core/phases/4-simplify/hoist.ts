// What need not be computed pass by pass is outside its loop. In: primitives, bodies too. Out: the same values, to rounding:
//   - products and reductions of what the loop does not change are computed once, before it;
//   - those of slices alone are computed for all slices at once, before it, and picked (x[t] @ w of all t is one product);
//   - sums of products over all passes (weights' gradients) are one product over all passes, after it, of what the passes
//     leave; so are products that are emitted and that no pass reads.
// Loops in loops are first. Element-wise functions and views of what is hoisted stay where they are read: they are free there,
// and would be stored outside. It costs memory: a row for each pass.
import { type Dim, dim, evaluateAll, exactQuotient, mul, NOMINAL, product } from "../../dims/dim.ts";
import { createBuilder, finishGraph, isGraph, sameType } from "../../ir/build.ts";
import { transform } from "../../ir/transform.ts";
import type { Builder, Graph, Node, Value } from "../../ir/types.ts";
import { broadcastTo, reshape, sum } from "../../ops/axes.ts";
import { dotOp } from "../../ops/dot.ts";
import { addOp } from "../../ops/elementwise.ts";
import { transpose } from "../../ops/movement.ts";
import { makeScan, type ScanAttrs, scan, scanAttrs } from "../../ops/scan.ts";
import { full, input } from "../../ops/source.ts";

export function hoist(graph: Graph, bodies = new Map<Graph, Graph>()): Graph {
  if (!graph.nodes.some((n) => n.op === scan)) return graph;
  return transform(graph, (b, n, inputs) => {
    const body = n.attrs.body;
    if (n.op !== scan || !isGraph(body)) return undefined;
    let inner = bodies.get(body);
    if (!inner) {
      inner = hoist(body, bodies);
      bodies.set(body, inner);
    }
    return new Hoisting(b, n, inputs, { ...scanAttrs(n.attrs), body: inner }).run();
  }).graph;
}

/** What a value of a body depends on: nothing that changes, the slices of its pass alone, or what passes hand on. */
type Kind = "fixed" | "each" | "carried";

/** Kernels of their own: worth moving. */
const isHeavy = (n: Node): boolean => ["fold", "algorithm", "composite", "control"].includes(n.op.fuses);
const elements = (v: Value): Dim => product(v.type.shape);
const nominal = (v: Value): number => evaluateAll(elements(v), NOMINAL);

class Hoisting {
  private readonly b: Builder;
  private readonly node: Node;
  private readonly inputs: readonly Value[];
  private readonly a: ScanAttrs;
  private readonly kinds = new Map<Value, Kind>();
  /** Who reads a value in the body; results count. */
  private readonly uses = new Map<Value, number>();
  private readonly once = new Map<Value, Value>();
  private readonly ahead = new Map<Value, boolean>();
  private readonly always = new Map<Value, Value | undefined>();
  /** Values that passes leave for after the loop, in order, and where they are then. */
  private readonly left = new Map<Value, Value | undefined>();

  constructor(b: Builder, node: Node, inputs: readonly Value[], a: ScanAttrs) {
    this.b = b;
    this.node = node;
    this.inputs = inputs;
    this.a = a;
    const use = (v: Value): void => void this.uses.set(v, (this.uses.get(v) ?? 0) + 1);
    for (const n of a.body.nodes) n.inputs.forEach(use);
    for (const r of a.body.results) use(r.value);
    const formal = new Map(a.body.inputs.map((n, i) => [n, i]));
    for (const n of a.body.nodes) {
      const i = formal.get(n);
      let kind: Kind = i === undefined || i >= a.xs + a.carries ? "fixed" : i < a.xs ? "each" : "carried";
      for (const v of n.inputs) {
        const k = this.kinds.get(v) as Kind;
        if (k === "carried" || (k === "each" && kind === "fixed")) kind = k;
      }
      for (const v of n.outs) this.kinds.set(v, kind);
    }
    a.body.inputs.forEach((n, i) => {
      if (i < a.xs) this.always.set(n.outs[0], this.first(inputs[i], a.axes[i]));
      else if (i >= a.xs + a.carries) this.once.set(n.outs[0], inputs[i]);
    });
  }

  run(): readonly Value[] {
    const { a, b } = this;
    const results = a.body.results.map((r) => r.value);
    // After the loop: sums of products, then sums of what those leave anyway; emitted products.
    const summed = new Map<number, readonly Value[]>();
    for (const light of [false, true])
      for (let i = 0; i < a.carries; i++) {
        const terms = summed.has(i) ? undefined : this.terms(i);
        if (!terms?.every((t) => this.canSum(t, light))) continue;
        summed.set(i, terms);
        for (const t of terms) this.leave(t);
      }
    const emitted = results.slice(a.carries);
    const before = emitted.map((v) => (this.kinds.get(v) === "carried" ? undefined : this.forAll(v)));
    const after = emitted.map((v, i) => before[i] === undefined && this.canWait(v));
    emitted.forEach((v, i) => {
      if (after[i]) this.leave(v);
    });
    // What is left of the loop.
    const carries = Array.from({ length: a.carries }, (_, i) => i).filter((i) => !summed.has(i));
    const emits = emitted.map((_, i) => i).filter((i) => before[i] === undefined && !after[i]);
    const lefts = [...this.left.keys()];
    const kept = [...carries.map((i) => results[i]), ...emits.map((i) => emitted[i]), ...lefts];
    const outs = kept.length === 0 ? [] : this.loop(kept, carries, emits);
    lefts.forEach((v, i) => {
      this.left.set(v, outs[carries.length + emits.length + i]);
    });
    return this.node.outs.map((_, k) => {
      const i = k - a.carries;
      if (i < 0) {
        const terms = summed.get(k);
        if (!terms) return outs[carries.indexOf(k)];
        const begin = this.inputs[a.xs + k];
        const zero = begin.node.op === full && begin.node.attrs.value === 0;
        return terms
          .map((t) => this.sumOf(t))
          .reduce((x, y) => (x ? b.make(addOp, [x, y]) : y), zero ? undefined : begin) as Value;
      }
      const whole = after[i] ? this.stack(emitted[i]) : before[i];
      return whole ? this.last(whole, a.emitAxes[i]) : outs[carries.length + emits.indexOf(i)];
    });
  }

  // --- before the loop -----------------------------------------------------------------------------------------------
  /** A fixed value, outside. */
  private outside(v: Value): Value {
    let out = this.once.get(v);
    if (!out) {
      const n = v.node;
      const inputs = n.inputs.map((x) => this.outside(x));
      const outs = this.b.at(n.origin, () => this.b.node(n.op, inputs, n.attrs, n.label));
      n.outs.forEach((x, i) => void this.once.set(x, outs[i]));
      out = outs[v.index];
    }
    return out;
  }
  /** A value that no carry decides, for all passes: passes are its first axis. Undefined where an operator does not say how. */
  private forAll(v: Value): Value | undefined {
    if (this.always.has(v)) return this.always.get(v);
    const made =
      this.kinds.get(v) === "fixed" ? this.repeated(this.outside(v)) : this.along(v, (x) => this.forAll(x));
    this.always.set(v, made);
    return made;
  }
  /**
   * Computed for all passes before the loop: a kernel of its own that no carry decides; and what alone reads such values,
   * element by element, which is stored in their place.
   */
  private isAhead(v: Value): boolean {
    let is = this.ahead.get(v);
    if (is === undefined) {
      is =
        this.kinds.get(v) === "each" && (isHeavy(v.node) || this.follows(v)) && this.forAll(v) !== undefined;
      this.ahead.set(v, is);
    }
    return is;
  }
  private follows(v: Value): boolean {
    const { op, inputs } = v.node;
    if (op.fuses !== "map") return false;
    const each = inputs.filter((x) => this.kinds.get(x) === "each");
    return each.every((x) => this.isAhead(x) && this.uses.get(x) === 1);
  }
  /** The node of v over passes, where its operands are. */
  private along(v: Value, operand: (x: Value) => Value | undefined): Value | undefined {
    const { op, attrs, inputs, label, origin } = v.node;
    const { b } = this;
    const own = v.node.outs[0].type;
    if (v.node.outs.length !== 1 || inputs.length === 0 || this.grows(v)) return undefined;
    const plain = op.fuses === "map" && inputs.every((x) => sameShape(x, v));
    const { reduction } = op;
    if (!op.along && !reduction && !plain) return undefined;
    const given: Value[] = [];
    for (const x of inputs) {
      const all = operand(x);
      if (!all) return undefined;
      given.push(all);
    }
    const want = { dtype: own.dtype, shape: [this.a.count, ...own.shape] };
    const made = b.at(origin, () => {
      if (op.along) return op.along(b, v.node, given, this.a.count);
      if (!reduction) return b.make(op, given, attrs, label);
      const over = reduction.axes(attrs).map((axis) => axis + 1);
      return reshape(b, reduction.over(b, given[0], over, attrs), want.shape);
    });
    return sameType(made.type, want) ? made : undefined;
  }
  /** A product of slices that is larger than they are: not for all passes at once. */
  private grows(v: Value): boolean {
    const { op, inputs } = v.node;
    if (op.fuses !== "fold" || inputs.length < 2 || inputs.some((x) => this.kinds.get(x) === "fixed"))
      return false;
    return nominal(v) > Math.max(...inputs.map(nominal));
  }
  private repeated(v: Value): Value {
    const { shape } = v.type;
    const one = reshape(this.b, v, [dim(1), ...shape]);
    return broadcastTo(this.b, one, [this.a.count, ...shape]);
  }
  /** The axis of passes first; and back where it was. */
  private first(v: Value, axis: number): Value {
    const others = v.type.shape.map((_, i) => i).filter((i) => i !== axis);
    return transpose(this.b, v, [axis, ...others]);
  }
  private last(v: Value, axis: number): Value {
    const perm = v.type.shape.map((_, i) => (i < axis ? i + 1 : i === axis ? 0 : i));
    return transpose(this.b, v, perm);
  }

  // --- after the loop ------------------------------------------------------------------------------------------------
  /** What is added to a carry in each pass, if that is all that happens to it. */
  private terms(i: number): readonly Value[] | undefined {
    const carry = this.a.body.inputs[this.a.xs + i].outs[0];
    const terms: Value[] = [];
    let v = this.a.body.results[i].value;
    while (v !== carry) {
      const [x, y] = v.node.inputs;
      if (v.node.op !== addOp || this.uses.get(v) !== 1) return undefined;
      const next = this.leadsTo(x, carry) ? x : this.leadsTo(y, carry) ? y : undefined;
      if (!next) return undefined;
      terms.push(next === x ? y : x);
      v = next;
    }
    return this.uses.get(carry) === 1 && terms.length > 0 ? terms : undefined;
  }
  private leadsTo(v: Value, carry: Value): boolean {
    return v === carry || (v.node.op === addOp && v.node.inputs.some((x) => this.leadsTo(x, carry)));
  }
  /** The sum over all passes can be had from what passes leave; `light`: without another value left. */
  private canSum(v: Value, light: boolean): boolean {
    const n = v.node;
    if (this.kinds.get(v) === "fixed") return false;
    if (this.isView(n)) return this.canSum(n.inputs[0], light);
    if (n.op === dotOp) return light ? n.inputs.every((x) => this.isThere(x)) : true;
    return light && this.isThere(v);
  }
  private sumOf(v: Value): Value {
    const { b } = this;
    const n = v.node;
    const at = <T>(make: () => T): T => b.at(n.origin, make);
    if (this.isView(n)) {
      const x = this.sumOf(n.inputs[0]);
      return at(() => b.make(n.op, [x], n.attrs, n.label));
    }
    const { count } = this.a;
    if (n.op !== dotOp) return sum(b, this.stack(v), [0]);
    // Passes are part of what is summed over: [passes, …, m, k] x [passes, …, k, n] -> [m, (passes, k)] x [(passes, k), n].
    const [x, y] = n.inputs.map((o) => this.stack(o));
    const rank = v.type.shape.length;
    const batch = Array.from({ length: rank - 2 }, (_, i) => i + 1);
    const k = mul(count, n.inputs[0].type.shape[rank - 1]);
    const shape = v.type.shape;
    return at(() => {
      const left = reshape(b, transpose(b, x, [...batch, rank - 1, 0, rank]), [...shape.slice(0, -1), k]);
      const right = reshape(b, transpose(b, y, [...batch, 0, rank - 1, rank]), [
        ...shape.slice(0, -2),
        k,
        shape[rank - 1],
      ]);
      return b.make(dotOp, [left, right], n.attrs, n.label);
    });
  }
  /** A product, or a view of one, that is emitted and that no pass reads. */
  private canWait(v: Value): boolean {
    if (this.uses.get(v) !== 1) return false;
    if (this.isView(v.node)) return this.canWait(v.node.inputs[0]);
    return v.node.op === dotOp && !this.grows(v);
  }
  /** Has passes leave what a sum, or a product after the loop, is made of. */
  private leave(v: Value): void {
    if (this.isView(v.node)) this.leave(v.node.inputs[0]);
    else if (v.node.op === dotOp && !this.left.has(v)) for (const x of v.node.inputs) this.leaveOperand(x);
  }
  private leaveOperand(v: Value): void {
    if (this.isThere(v)) return;
    if (this.isView(v.node)) this.leaveOperand(v.node.inputs[0]);
    else this.left.set(v, undefined);
  }
  /** Known for all passes, without another value left. */
  private isThere(v: Value): boolean {
    if (this.left.has(v)) return true;
    if (this.kinds.get(v) !== "carried") return this.forAll(v) !== undefined;
    return this.isView(v.node) && this.isThere(v.node.inputs[0]);
  }
  /** A value of all passes, first axis: what they left, or made of it. */
  private stack(v: Value): Value {
    const known = this.left.get(v) ?? (this.kinds.get(v) === "carried" ? undefined : this.forAll(v));
    const made = known ?? this.along(v, (x) => this.stack(x));
    if (!made) throw new Error(`${v.node.op.name} is not left by its loop`);
    return made;
  }
  /** Movement of one operand that is no larger than what it shows: taken after the loop as well as in it. */
  private isView(n: Node): boolean {
    return (
      n.op.fuses === "view" &&
      n.op.along !== undefined &&
      n.inputs.length === 1 &&
      exactQuotient(elements(n.outs[0]), elements(n.inputs[0])) !== undefined
    );
  }

  // --- the loop ------------------------------------------------------------------------------------------------------
  /** The loop that computes these values of the body; its results. */
  private loop(
    kept: readonly Value[],
    carries: readonly number[],
    emits: readonly number[],
  ): readonly Value[] {
    const { a, b, inputs } = this;
    const formal = new Map(a.body.inputs.map((n, i) => [n, i]));
    const slices: { old: Value; whole: Value; axis: number }[] = [];
    const captured: { old: Value; whole: Value }[] = [];
    const needed = new Set<Node>();
    const seen = new Set<Value>();
    const stack = [...kept];
    for (let v = stack.pop(); v; v = stack.pop()) {
      if (seen.has(v)) continue;
      seen.add(v);
      const n = v.node;
      const i = formal.get(n);
      if (i !== undefined) {
        if (i < a.xs) slices.push({ old: v, whole: inputs[i], axis: a.axes[i] });
        else if (i >= a.xs + a.carries) captured.push({ old: v, whole: inputs[i] });
        continue;
      }
      const kind = this.kinds.get(v);
      if (isHeavy(n) && kind === "fixed") {
        captured.push({ old: v, whole: this.outside(v) });
        continue;
      }
      const all = this.isAhead(v) ? this.forAll(v) : undefined;
      if (all) {
        slices.push({ old: v, whole: all, axis: 0 });
        continue;
      }
      needed.add(n);
      stack.push(...n.inputs);
    }
    // In the order of the body, whatever the way here.
    const place = new Map(a.body.nodes.map((n, i) => [n, i]));
    const byPlace = (x: { old: Value }, y: { old: Value }): number =>
      (place.get(x.old.node) as number) - (place.get(y.old.node) as number) || x.old.index - y.old.index;
    slices.sort(byPlace);
    captured.sort(byPlace);
    const into = createBuilder();
    const map = new Map<Value, Value>();
    const formals: Node[] = [];
    const take = (old: Value): void => {
      const { attrs, label } = old.node;
      const name = `in${formals.length}`;
      const { dtype, shape } = old.type;
      const v = into.make(
        input,
        [],
        { name, dtype, shape: [...shape], place: formals.length },
        label ?? String(attrs.name ?? old.node.op.name),
      );
      formals.push(v.node);
      map.set(old, v);
    };
    for (const s of slices) take(s.old);
    for (const i of carries) take(a.body.inputs[a.xs + i].outs[0]);
    for (const c of captured) take(c.old);
    for (const n of a.body.nodes) {
      if (!needed.has(n)) continue;
      const operands = n.inputs.map((v) => map.get(v) as Value);
      const outs = into.at(n.origin, () => into.node(n.op, operands, n.attrs, n.label));
      n.outs.forEach((v, i) => {
        if (!map.has(v)) map.set(v, outs[i]);
      });
    }
    const names = [
      ...carries.map((i) => a.body.results[i].name),
      ...emits.map((i) => a.body.results[a.carries + i].name),
      ...[...this.left.keys()].map((_, i) => `left${i}`),
    ];
    const body = finishGraph({
      name: a.body.name,
      inputs: formals,
      results: kept.map((v, i) => ({ name: names[i], value: map.get(v) as Value })),
      symbols: a.body.symbols,
      constraints: a.body.constraints,
    });
    return makeScan(
      b,
      [
        ...slices.map((s) => s.whole),
        ...carries.map((i) => inputs[a.xs + i]),
        ...captured.map((c) => c.whole),
      ],
      {
        body,
        xs: slices.length,
        carries: carries.length,
        axes: slices.map((s) => s.axis),
        emitAxes: [...emits.map((i) => a.emitAxes[i]), ...[...this.left.keys()].map(() => 0)],
        count: a.count,
        reverse: a.reverse,
      },
    );
  }
}
const sameShape = (a: Value, b: Value): boolean =>
  a.type.shape.length === b.type.shape.length && a.type.shape.every((d, i) => d.key === b.type.shape[i].key);
