// Steps and stores of what was scheduled: an entry's graph, and in it the bodies of its loops.

import { InternalError } from "../../diagnostics/report.ts";
import { add, asConst, type Dim, dim, mod, mul, roundUp, sym } from "../../dims/dim.ts";
import type { Block } from "../../ir/blocks.ts";
import type { Node, Value } from "../../ir/types.ts";
import type { About, Launch, Memory, Routine, Step } from "../../kernel/launch.ts";
import { loopAttrs, outside } from "../../ops/scan.ts";
import type { Target } from "../../targets.ts";
import type { DerivedTable } from "./derived.ts";
import type { KernelTable } from "./kernels.ts";
import type { Places } from "./places.ts";
import { bufferOf, bytesOf, elementBytes, type Planned, type Store } from "./planned.ts";

/** What all entries of one program share. */
export interface ProgramContext {
  readonly target: Target;
  readonly kernels: KernelTable;
  readonly derived: DerivedTable;
  readonly places: Places;
}

/** The largest range of a known size that a dispatch binds, and what lies there. */
export interface Largest {
  readonly bytes: number;
  readonly name: string;
}

export class Planner {
  largest: Largest = { bytes: 0, name: "" };
  /** Bytes of each value that lies in the arena. */
  readonly tenants: Dim[] = [];
  readonly derivedUsed = new Set<number>();
  private readonly p: ProgramContext;
  private readonly stores = new Map<Value, Store>();
  private readonly unitAt = new Map<number, number>();
  /** Of what does not take the memory that it is. */
  private readonly memory = new Map<Value, Memory>();

  constructor(p: ProgramContext) {
    this.p = p;
  }

  private bytes(v: Value): Dim {
    return bytesOf(v, this.memory.get(v));
  }
  private tenant(bytes: Dim): Store {
    const t = this.tenants.length;
    this.tenants.push(bytes);
    return { kind: "arena", tenant: t, at: dim(0), bytes };
  }
  /** Says once where a value is stored: a second, different place would never be written by the value's kernel. */
  private assign(v: Value, store: Store): void {
    if (this.stores.has(v)) throw new InternalError("plan", `${v.node.op.name} is stored in two places`);
    this.stores.set(v, store);
  }
  /** The store of a value, made on first demand. */
  storeOf(v: Value, in_: Routine): Store {
    const base = in_.alias.get(v) ?? v;
    const known = this.stores.get(base);
    if (known) return base === v ? known : { ...known, bytes: this.bytes(v) };
    const fixed = this.p.places.of(base.node);
    const bytes = this.bytes(base);
    const made: Store = fixed
      ? { kind: "fixed", buffer: fixed.buffer, at: dim(fixed.place.offset), bytes }
      : this.tenant(bytes);
    this.stores.set(base, made);
    return made;
  }
  block(block: Block<Routine>): Planned[] {
    const l = block.own;
    const steps: Planned[] = [];
    for (const [v, memory] of l.memory) this.memory.set(v, memory);
    for (const [root, source] of l.inPlace) this.assign(root, this.storeOf(source, l));
    // Packed operands are written into their ranges.
    for (const step of l.steps) {
      if (step.kind !== "pack") continue;
      const whole = this.storeOf(step.whole, l);
      for (const { value, offset } of step.parts)
        this.assign(l.alias.get(value) ?? value, {
          ...whole,
          at: add(whole.at, offset * elementBytes(value, this.memory.get(value)?.dtype)),
          bytes: this.bytes(value),
        });
      steps.push({ kind: "clear", store: whole, label: "zero the gradients" });
    }
    for (const step of l.steps) {
      if (step.kind === "pack") continue;
      if (step.kind === "loop")
        steps.push(...this.loop(step.node, block.bodies.get(step.node) as Block<Routine>, l));
      else if (step.kind === "prepare") this.prepare(step, l);
      else {
        const { list, temporaries } = step.launches;
        for (const t of temporaries) this.assign(t, this.tenant(this.bytes(t)));
        for (const launch of list) steps.push(this.dispatch(launch, step.about, l));
      }
    }
    return steps;
  }

  private dispatch(
    launch: Launch,
    { site, label }: About,
    l: Routine,
  ): Extract<Planned, { kind: "dispatch" }> {
    const stores = launch.buffers.map((b) => this.storeOf(b.value, l));
    const writes = launch.buffers.map((b) => b.access === "read_write");
    stores.forEach((s, i) => {
      this.noteDerived(s);
      const bytes = asConst(s.bytes) ?? 0;
      const { node } = launch.buffers[i].value;
      if (bytes > this.largest.bytes)
        this.largest = { bytes, name: String(node.attrs.path ?? node.label ?? node.op.name) };
    });
    const access = this.p.target.backend.rules.access(
      stores.map((s, i) => ({ buffer: bufferOf(s), writes: writes[i] })),
    );
    const kernel = this.p.kernels.add(launch, access, site);
    return { kind: "dispatch", launch, kernel, stores, writes, site: label };
  }
  /** A derived weight that the entry reads, or gives as a result. */
  noteDerived(s: Store): void {
    if (s.kind !== "fixed" || s.buffer !== "derived") return;
    const unit = this.unitAt.get(asConst(s.at) as number);
    if (unit !== undefined) this.derivedUsed.add(unit);
  }

  /** Weights that parameters alone decide: a unit of the prepare program, which other entries may have made. */
  private prepare({ key, roots, launches, about }: Extract<Step, { kind: "prepare" }>, l: Routine): void {
    const table = this.p.derived;
    // There is no arena while weights are prepared: what launches leave for each other lies beside the roots.
    const stored = [...roots, ...(launches?.temporaries ?? [])];
    const { unit, offsets } =
      table.find(key) ??
      table.reserve(
        key,
        stored.map((v) => this.bytes(v)),
        roots.map((r) => r.node.label ?? String(r.node.attrs.path ?? r.node.op.name)).join("+"),
      );
    stored.forEach((r, i) => {
      this.assign(r, { kind: "fixed", buffer: "derived", at: dim(offsets[i]), bytes: this.bytes(r) });
      this.unitAt.set(offsets[i], unit);
    });
    if (!launches) return;
    const before = new Set(this.derivedUsed);
    const u = table.units[unit];
    const own = new Set(stored);
    for (const launch of launches.list) {
      u.steps.push(this.dispatch(launch, about, l));
      for (const b of launch.buffers) {
        if (own.has(b.value)) continue;
        const n = b.value.node;
        if (n.op.name === "param" || n.op.name === "state") u.sources.push(String(n.attrs.path));
        const s = this.storeOf(b.value, l);
        if (s.kind === "fixed" && s.buffer === "derived") {
          const dep = this.unitAt.get(asConst(s.at) as number);
          if (dep !== undefined && dep !== unit) {
            u.derived.push(dep);
            for (const src of table.units[dep].sources) if (!u.sources.includes(src)) u.sources.push(src);
          }
        }
      }
    }
    // Reading another unit while preparing is not reading it in the entry.
    for (const x of [...this.derivedUsed]) if (!before.has(x)) this.derivedUsed.delete(x);
  }

  /** A loop: copies of the initial carries, then the body with its counter as a size. */
  private loop(n: Node, body: Block<Routine>, l: Routine): Planned[] {
    const a = loopAttrs(n.attrs);
    const t = sym(a.symbol);
    const label = n.label ?? n.op.name;
    // Two copies of each carry: an iteration reads one and writes the other.
    const carries = a.begin.map((operand) => {
      const init = n.inputs[operand];
      const half = roundUp(this.bytes(init), this.p.target.backend.rules.alignment);
      return { init, store: this.tenant(mul(half, 2)), half, size: this.bytes(init) };
    });
    const steps: Planned[] = carries.map(({ init, store, size }) => {
      const from = this.storeOf(init, l);
      this.noteDerived(from);
      return { kind: "copy", from, to: { ...store, bytes: size }, label: `${label}: begin` };
    });
    for (const leaf of a.body.nodes) {
      if (leaf.op !== outside) continue;
      const index = leaf.attrs.index as number;
      const c = carries[a.begin.indexOf(index)];
      if (c) this.assign(leaf.outs[0], { ...c.store, at: mul(c.half, mod(t, 2)), bytes: c.size });
      else this.assign(leaf.outs[0], this.storeOf(n.inputs[index], l));
    }
    a.body.results.forEach(({ value }, i) => {
      const c = carries[i];
      if (c) this.assign(value, { ...c.store, at: mul(c.half, mod(add(t, 1), 2)), bytes: c.size });
      else this.storeOf(n.outs[i], l);
    });
    const inner = this.block(body);
    carries.forEach((c, i) => {
      this.assign(n.outs[i], { ...c.store, at: mul(c.half, mod(a.count, 2)), bytes: c.size });
    });
    steps.push({ kind: "loop", symbol: a.symbol, count: a.count, steps: inner, label });
    return steps;
  }
}
