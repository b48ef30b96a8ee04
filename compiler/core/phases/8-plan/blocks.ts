// Steps and stores of one graph: an entry, or the body of a loop.

import { InternalError } from "../../diagnostics/report.ts";
import { add, asConst, type Dim, dim, mod, mul, roundUp, sub, sym } from "../../dims/dim.ts";
import { createBuilder, finishGraph, reachable } from "../../ir/build.ts";
import { transform } from "../../ir/transform.ts";
import type { Graph, Node, Value } from "../../ir/types.ts";
import { verifyKernel } from "../../kernel/verify.ts";
import { reshape } from "../../ops/axes.ts";
import { copy } from "../../ops/copy.ts";
import { outer, pick, scanAttrs } from "../../ops/scan.ts";
import { limitOf, rulesOf, type Target } from "../../targets.ts";
import { decode, type Fused, fuse, type Group, rowMajor } from "../5-fuse/groups.ts";
import { inPlaceWrites, overfull } from "../6-layout/in-place.ts";
import { chooseLayouts, type Layouts } from "../6-layout/layouts.ts";
import { packWeights } from "../6-layout/weights.ts";
import { roomFor, scheduleGroup } from "../7-schedule/choose.ts";
import type { Launch, ScheduleContext } from "../7-schedule/family.ts";
import type { DerivedTable } from "./derived.ts";
import type { KernelTable } from "./kernels.ts";
import {
  bufferOf,
  bytesOf,
  elementBytes,
  type Place,
  type Planned,
  type Store,
  type TenantDraft,
} from "./planned.ts";
/** What all entries of one program share. */
export interface ProgramContext {
  readonly target: Target;
  readonly kernels: KernelTable;
  readonly derived: DerivedTable;
  readonly params: ReadonlyMap<string, Place>;
  readonly state: ReadonlyMap<string, Place>;
  /** Paths that stand for several buffers, and theirs. */
  readonly members: ReadonlyMap<string, readonly string[]>;
  /** Offset of literal data. */
  readonly constant: (node: Node) => Place;
  readonly describe: (g: Group) => { site: string; label: string };
  readonly claims?: (node: Node) => boolean;
  /** Looks at every kernel (kernel/verify.ts). */
  readonly verify?: boolean;
  readonly pick?: ScheduleContext["pick"];
}

export interface PlannedBlock {
  readonly fused: Fused;
  readonly layouts: Layouts;
  readonly steps: readonly Planned[];
  readonly home: ReadonlyMap<Value, Group>;
}

export class Planner {
  readonly tenants: TenantDraft[] = [];
  readonly derivedUsed = new Set<number>();
  clock = 0;
  private readonly p: ProgramContext;
  private readonly derive: boolean;
  private readonly stores = new Map<Value, Store>();
  private loops = 0;

  constructor(p: ProgramContext, derive: boolean) {
    this.p = p;
    this.derive = derive;
  }

  private tenant(bytes: Dim): Store {
    const t = this.tenants.length;
    this.tenants.push({ bytes, from: this.clock, to: this.clock });
    return { kind: "arena", tenant: t, at: dim(0), bytes };
  }
  /** Says once where a value is stored: a second, different place would never be written by the value's kernel. */
  private assign(v: Value, store: Store): void {
    if (this.stores.has(v)) throw new InternalError("plan", `${v.node.op.name} is stored in two places`);
    this.stores.set(v, store);
  }
  /** The store of a value, made on first demand. */
  storeOf(v: Value, in_: { readonly fused: Fused }): Store {
    const base = in_.fused.alias.get(v) ?? v;
    const known = this.stores.get(base);
    if (known) return base === v ? known : { ...known, bytes: bytesOf(v) };
    const n = base.node;
    let made: Store;
    const bytes = bytesOf(base);
    if (n.op.name === "param" || n.op.name === "state") {
      const path = String(n.attrs.path);
      const place = n.op.name === "param" ? this.p.params.get(path) : this.p.state.get(path);
      if (!place) throw new InternalError("plan", `${n.op.name} ${path} has no place`);
      made = {
        kind: "fixed",
        buffer: n.op.name === "param" ? "params" : "state",
        at: dim(place.offset),
        bytes,
      };
    } else if (n.op.name === "constant")
      made = { kind: "fixed", buffer: "constants", at: dim(this.p.constant(n).offset), bytes };
    else made = this.tenant(bytes);
    // Inputs are there from the beginning.
    if (made.kind === "arena" && n.op.fuses === "source") this.tenants[made.tenant].from = 0;
    this.stores.set(base, made);
    return made;
  }
  touch(v: Value, in_: { readonly fused: Fused }, at = this.clock): void {
    const s = this.storeOf(v, in_);
    if (s.kind !== "arena") return;
    const t = this.tenants[s.tenant];
    t.to = Math.max(t.to, at);
    t.from = Math.min(t.from, at);
  }

  /** Plans a graph: the entry itself, or the body of a loop (`placing` says where its results go). */
  block(
    graph: Graph,
    body:
      | {
          readonly place: ReadonlyMap<
            Value,
            { readonly value: Value; readonly axis: number; readonly index: Dim } | undefined
          >;
        }
      | undefined,
  ): PlannedBlock {
    const { target } = this.p;
    const derive = this.derive && !body;
    const maxBindings = limitOf(target, "maxStorageBuffersPerShaderStage");
    const notInPlace = new Set<string>();
    const attempt = () => {
      const fused = fuse(graph, {
        maxBindings,
        derive,
        claims: this.p.claims,
        room: (n) => roomFor(n, target),
        notInPlace,
      });
      const layouts = chooseLayouts(fused);
      const packing = packWeights(fused, layouts, derive);
      const ctxFused: Fused = { ...fused, groups: packing.groups, home: packing.home };
      const writes = body ? undefined : inPlaceWrites(ctxFused, layouts);
      return { fused, layouts, packing, ctxFused, writes };
    };
    let made = attempt();
    // An update in place shares a binding. Where it turns out not to be one, and the kernel counted on it, it is cut anew.
    for (let again = true; again; ) {
      again = false;
      for (const path of made.writes ? overfull(made.ctxFused, made.writes.sources, maxBindings) : []) {
        again ||= !notInPlace.has(path);
        notInPlace.add(path);
      }
      if (again) made = attempt();
    }
    const { fused, layouts, packing, ctxFused, writes } = made;
    const inPlace = writes?.sources ?? new Map<Value, Value>();
    const ctx: ScheduleContext = {
      fused: ctxFused,
      layouts,
      target,
      packed: packing.packed,
      pick: this.p.pick,
      placing: {
        buffer: (v) => inPlace.get(v) ?? body?.place.get(v)?.value ?? v,
        coordinates: (v, at, s) => {
          const source = inPlace.get(v);
          if (source) return decode(s, rowMajor(s, at, v.type.shape), source.type.shape);
          const place = body?.place.get(v);
          return place ? [...at.slice(0, place.axis), s.dim(place.index), ...at.slice(place.axis)] : at;
        },
      },
    };
    const block: PlannedBlock = { fused: ctxFused, layouts, steps: [], home: packing.home };
    const steps = block.steps as Planned[];
    for (const [root, source] of inPlace) this.assign(root, this.storeOf(source, block));
    // Packed operands are written into their ranges.
    for (const g of ctxFused.groups) {
      if (g.kind !== "pack") continue;
      const whole = this.storeOf(g.roots[0], block);
      const offsets = g.anchor.attrs.offsets as readonly number[];
      g.anchor.inputs.forEach((v, i) => {
        const base = fused.alias.get(v) ?? v;
        this.assign(base, {
          ...whole,
          at: add(whole.at, offsets[i] * elementBytes(v)),
          bytes: bytesOf(v),
        });
      });
      steps.push({ kind: "clear", store: whole, label: "zero the gradients" });
    }
    for (const g of writes?.order ?? ctxFused.groups) {
      this.clock++;
      if (g.kind === "pack") {
        for (const v of [...g.anchor.inputs, ...g.roots]) this.touch(v, block);
        continue;
      }
      if (g.kind === "control") {
        steps.push(...this.scan(g, block));
        continue;
      }
      if (g.derived) this.derivedGroup(g, ctx, block);
      else {
        const { list, temporaries } = scheduleGroup(ctx, g);
        for (const t of temporaries) this.assign(t, this.tenant(bytesOf(t)));
        list.forEach((launch, i) => {
          if (i > 0) this.clock++;
          const d = this.dispatch(launch, g, block);
          for (const b of launch.buffers) this.touch(b.value, block);
          steps.push(d);
        });
      }
    }
    return block;
  }

  private dispatch(launch: Launch, g: Group, block: PlannedBlock): Extract<Planned, { kind: "dispatch" }> {
    if (launch.buffers.length > limitOf(this.p.target, "maxStorageBuffersPerShaderStage"))
      throw new InternalError(
        "plan",
        `the kernel of ${g.anchor.op.name} binds ${launch.buffers.length} buffers`,
      );
    const stores = launch.buffers.map((b) => this.storeOf(b.value, block));
    const writes = launch.buffers.map((b) => b.access === "read_write");
    for (const s of stores) this.noteDerived(s);
    if (this.p.verify) verifyKernel(launch.code, rulesOf(this.p.target));
    const access = this.p.target.backend.rules.access(
      stores.map((s, i) => ({ buffer: bufferOf(s), writes: writes[i] })),
    );
    const { site, label } = this.p.describe(g);
    const kernel = this.p.kernels.add(launch.code, access, site, launch.groups, launch.uniforms);
    return {
      kind: "dispatch",
      launch,
      kernel,
      stores,
      writes,
      site: label,
    };
  }
  /** A derived weight that the entry reads, or gives as a result. */
  noteDerived(s: Store): void {
    if (s.kind !== "fixed" || s.buffer !== "derived") return;
    const unit = this.unitAt.get(asConst(s.at) as number);
    if (unit !== undefined) this.derivedUsed.add(unit);
  }
  private readonly unitAt = new Map<number, number>();

  private derivedGroup(g: Group, ctx: ScheduleContext, block: PlannedBlock): void {
    const table = this.p.derived;
    const key = g.roots.map((r) => `${table.key(r)}@${ctx.layouts.order(r).join()}`).join("|");
    const found = table.find(key);
    const launches = found ? { list: [], temporaries: [] } : scheduleGroup(ctx, g);
    // There is no arena while weights are prepared: what launches leave for each other lies beside the roots.
    const stored = [...g.roots, ...launches.temporaries];
    const { unit, offsets } =
      found ??
      table.reserve(
        key,
        stored,
        g.roots.map((r) => r.node.label ?? String(r.node.attrs.path ?? r.node.op.name)).join("+"),
      );
    stored.forEach((r, i) => {
      this.assign(r, { kind: "fixed", buffer: "derived", at: dim(offsets[i]), bytes: bytesOf(r) });
      this.unitAt.set(offsets[i], unit);
    });
    if (found) return;
    const before = new Set(this.derivedUsed);
    const u = table.units[unit];
    const own = new Set(stored);
    for (const launch of launches.list) {
      u.steps.push(this.dispatch(launch, g, block));
      for (const b of launch.buffers) {
        if (own.has(b.value)) continue;
        const n = b.value.node;
        if (n.op.name === "param" || n.op.name === "state") u.sources.push(String(n.attrs.path));
        const s = this.storeOf(b.value, block);
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
  private scan(g: Group, block: PlannedBlock): Planned[] {
    const n = g.anchor;
    const a = scanAttrs(n.attrs);
    const symbol = `$t${this.loops++}`;
    const t = sym(symbol);
    const index = a.reverse ? sub(sub(a.count, 1), t) : t;
    const b = createBuilder(
      1 + Math.max(0, ...block.fused.graph.nodes.map((x) => x.id)) + 1_000_000 * this.loops,
    );
    const label = n.label ?? "scan";
    // One leaf for one place: a kernel may not bind the same range twice.
    const leaves = new Map<Value, Value>();
    const leaf = (v: Value): Value => {
      const base = block.fused.alias.get(v) ?? v;
      let made = leaves.get(base);
      if (!made) {
        const { node, type } = base;
        made = b.make(
          outer,
          [],
          { dtype: type.dtype, shape: type.shape },
          node.label ?? String(node.attrs.path ?? node.attrs.name ?? node.op.name),
        );
        this.assign(made, this.storeOf(base, block));
        leaves.set(base, made);
      }
      this.touch(v, block);
      return base === v ? made : reshape(b, made, v.type.shape);
    };
    // Two copies of each carry: an iteration reads one and writes the other.
    const carries = Array.from({ length: a.carries }, (_, i) => {
      const type = a.body.inputs[a.xs + i].outs[0];
      const bytes = roundUp(bytesOf(type), this.p.target.backend.rules.alignment);
      return { store: this.tenant(mul(bytes, 2)), half: bytes, size: bytesOf(type), type };
    });
    const steps: Planned[] = carries.map((c, i) => {
      const init = n.inputs[a.xs + i];
      this.touch(init, block);
      this.noteDerived(this.storeOf(init, block));
      return {
        kind: "copy",
        from: this.storeOf(init, block),
        to: { ...c.store, bytes: c.size },
        label: `${label}: begin`,
      };
    });
    this.clock++;
    const bound = a.body.inputs.map((input, i) => {
      if (i < a.xs)
        return b.make(
          pick,
          [leaf(n.inputs[i])],
          { axis: a.axes[i], index },
          String(input.label ?? input.attrs.name),
        );
      if (i < a.xs + a.carries) {
        const c = carries[i - a.xs];
        const made = b.make(
          outer,
          [],
          { dtype: c.type.type.dtype, shape: c.type.type.shape },
          input.label ?? String(input.attrs.name),
        );
        this.assign(made, { ...c.store, at: mul(c.half, mod(t, 2)), bytes: c.size });
        return made;
      }
      return leaf(n.inputs[i]);
    });
    const byInput = new Map(a.body.inputs.map((x, i) => [x, bound[i]]));
    const { map } = transform(
      a.body,
      (_b, node) => (byInput.has(node) ? [byInput.get(node) as Value] : undefined),
      b,
    );
    // A result is a value of its own that a kernel of the body stores where the loop wants it. What else reads the value
    // reads it where it lies otherwise: a slice of the whole is no place to read from (a copy is one more root of the same
    // kernel); the next carry is one.
    const values = a.body.results.map((r) => map.get(r.value) as Value);
    const read = new Set(reachable(values).flatMap((x) => x.inputs));
    const taken = new Set<Value>();
    const results = a.body.results.map((r, i) => {
      let v = values[i];
      // Sources and what views show have no kernel; a loop in the loop stores its results where it likes.
      const kernel = !["source", "view", "control"].includes(v.node.op.fuses);
      if (!kernel || taken.has(v) || (i >= a.carries && read.has(v))) v = b.make(copy, [v], {}, r.name);
      taken.add(v);
      return { name: r.name, value: v };
    });
    const place = new Map<Value, { value: Value; axis: number; index: Dim }>();
    const emitted = n.outs.slice(a.carries);
    results.forEach((r, i) => {
      if (i < a.carries) {
        const c = carries[i];
        this.assign(r.value, { ...c.store, at: mul(c.half, mod(add(t, 1), 2)), bytes: c.size });
      } else {
        const whole = emitted[i - a.carries];
        place.set(r.value, { value: whole, axis: a.emitAxes[i - a.carries], index });
        this.touch(whole, block);
      }
    });
    const graph = finishGraph({
      name: `${label} body`,
      inputs: [],
      results,
      symbols: [...block.fused.graph.symbols, symbol],
    });
    const inner = this.block(graph, { place });
    this.clock++;
    // What the body reads from outside, and the carries, live to the end of the loop.
    for (const v of n.inputs) this.touch(v, block);
    for (const v of emitted) this.touch(v, block);
    carries.forEach((c, i) => {
      if (c.store.kind === "arena") this.tenants[c.store.tenant].to = this.clock;
      this.assign(n.outs[i], { ...c.store, at: mul(c.half, mod(a.count, 2)), bytes: c.size });
    });
    steps.push({ kind: "loop", symbol, count: a.count, steps: inner.steps, label });
    return steps;
  }
}
