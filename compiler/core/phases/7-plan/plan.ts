// From fused graphs to entry plans: order, storage, uniforms, grids. In: the graphs of a model and a target. Out: a
// Program. Activations share the arena by liveness; parameters, state, derived weights and literals live in flat buffers of
// their own. A write is stored in place where nobody can tell, and copied at the end otherwise.

import type {
  Block,
  BufferName,
  Check,
  Dispatch,
  EntryPlan,
  HostExpr,
  Port,
  PortIndexes,
  Range,
  Step,
} from "../../../../runtime/core/program.ts";
import { InternalError } from "../../diagnostics/index.ts";
import {
  add,
  asConst,
  type Dim,
  dim,
  floorDiv,
  linearIn,
  max,
  mod,
  mul,
  product,
  roundUp,
  sub,
  substitute,
  sym,
  symbols,
} from "../../dims/dim.ts";
import { attrsText, createBuilder, finishGraph, opKey, reachable, typeText } from "../../ir/build.ts";
import { transform } from "../../ir/transform.ts";
import type { Graph, IndexRange, Node, Value } from "../../ir/types.ts";
import { children } from "../../kernel/emitter.ts";
import type { Scalar } from "../../kernel/scalar.ts";
import { verifyKernel } from "../../kernel/verify.ts";
import { reshape } from "../../ops/axes.ts";
import { copy } from "../../ops/copy.ts";
import { outer, pick, scanAttrs } from "../../ops/scan.ts";
import { RANDOM_STEP, RUN } from "../../ops/source.ts";
import { limitOf, type Target } from "../../targets.ts";
import {
  type FuseBudget,
  type Fused,
  fuse,
  type Group,
  loweringFor,
  lowerValue,
  rowMajor,
} from "../5-fuse/groups.ts";
import { decode, type ScheduleContext, type Scheduled } from "../6-schedule/common.ts";
import { chooseLayouts, type Layouts } from "../6-schedule/layout.ts";
import { packWeights } from "../6-schedule/pack.ts";
import { scheduleGroup } from "../6-schedule/schedule.ts";
import { ExprTable } from "./exprs.ts";
import type { KernelTable } from "./kernels.ts";
import { assignArena } from "./memory.ts";

/** Where a value of the model lives for good. */
export interface Place {
  readonly offset: number;
  readonly bytes: number;
}
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
  /** Shared by all of a program. */
  readonly budget?: FuseBudget;
}

export const elementBytes = (v: Value): number => (v.type.dtype === "f16" ? 2 : 4);
export const bytesOf = (v: Value): Dim => mul(product(v.type.shape), elementBytes(v));

/** A byte range before offsets are known: a tenant of the arena, or a fixed place. */
type Store =
  | { readonly kind: "arena"; readonly tenant: number; readonly at: Dim; readonly bytes: Dim }
  | { readonly kind: "fixed"; readonly buffer: BufferName; readonly at: Dim; readonly bytes: Dim };

type Planned =
  | {
      readonly kind: "dispatch";
      readonly scheduled: Scheduled;
      readonly kernel: number;
      readonly stores: readonly Store[];
      /** Which of them it writes. */
      readonly writes: readonly boolean[];
      readonly label: string;
    }
  | { readonly kind: "copy"; readonly from: Store; readonly to: Store; readonly label: string }
  | { readonly kind: "clear"; readonly store: Store; readonly label: string }
  | {
      readonly kind: "loop";
      readonly symbol: string;
      readonly count: Dim;
      readonly steps: readonly Planned[];
      readonly label: string;
    };

interface TenantDraft {
  bytes: Dim;
  from: number;
  to: number;
}

/** Derived weights by what they compute, so that entries share them. */
export class DerivedTable {
  readonly units: {
    name: string;
    sources: string[];
    steps: Planned[];
    derived: number[];
  }[] = [];
  bytes = 0;
  private readonly ids = new Map<string, number>();
  private readonly byKey = new Map<string, { unit: number; offsets: number[] }>();

  /** A number that is equal for equal computations on equal parameters. */
  key(v: Value, memo = new Map<Value, number>()): number {
    const known = memo.get(v);
    if (known !== undefined) return known;
    const n = v.node;
    const inputs = n.inputs.map((i) => this.key(i, memo)).join();
    const text = `${opKey(n.op)}#${v.index}(${inputs})${attrsText(n.attrs)}:${typeText(v.type)}`;
    let id = this.ids.get(text);
    if (id === undefined) {
      id = this.ids.size;
      this.ids.set(text, id);
    }
    memo.set(v, id);
    return id;
  }
  find(key: string): { unit: number; offsets: number[] } | undefined {
    return this.byKey.get(key);
  }
  reserve(key: string, roots: readonly Value[], name: string): { unit: number; offsets: number[] } {
    const offsets = roots.map((r) => {
      const at = this.bytes;
      this.bytes += Math.ceil((asConst(bytesOf(r)) as number) / 256) * 256;
      return at;
    });
    const made = { unit: this.units.length, offsets };
    this.units.push({ name, sources: [], steps: [], derived: [] });
    this.byKey.set(key, made);
    return made;
  }
}

export interface EntryInput {
  readonly name: string;
  readonly doc?: string;
  readonly graph: Graph;
  readonly derive: boolean;
  readonly shapeText: Readonly<Record<string, readonly string[]>>;
  /** Values of host-side scalars by name. */
  readonly hyper?: Readonly<Record<string, HostExpr>>;
  readonly train?: EntryPlan["train"];
}

/** What `--emit` and the summary say about an entry. */
export interface EntryReport {
  readonly fused: Fused;
  readonly layouts: Layouts;
  readonly peak: number;
  readonly bound: number;
  /** What a call runs: a loop's as often as it runs. */
  readonly dispatches: Dim;
  readonly nodes: number;
}

export function planEntry(p: ProgramContext, e: EntryInput): { plan: EntryPlan; report: EntryReport } {
  const planner = new Planner(p, e.derive);
  const { graph } = e;
  const top = planner.block(graph, undefined);
  const end = planner.clock;
  // Results live to the end; writes that could not be done in place are copied after everything.
  const steps: Planned[] = [...top.steps];
  for (const w of graph.writes) {
    const place = placeOfWrite(p, w.path);
    const from = planner.storeOf(w.value, top);
    planner.noteDerived(from);
    if (from.kind === "fixed" && from.buffer === place.buffer && asConst(from.at) === place.offset) continue;
    planner.touch(w.value, top, end);
    steps.push({
      kind: "copy",
      from: { ...from, bytes: dim(place.bytes) },
      to: { kind: "fixed", buffer: place.buffer, at: dim(place.offset), bytes: dim(place.bytes) },
      label: `write ${w.path}`,
    });
  }
  for (const r of graph.results) {
    planner.touch(r.value, top, end);
    planner.noteDerived(planner.storeOf(r.value, top));
  }
  // An input that nothing reads has a place, too.
  for (const n of graph.inputs) planner.storeOf(n.outs[0], top);
  const given = graph.nodes
    .filter((n) => n.op.fuses === "source")
    .map((n) => planner.storeOf(n.outs[0], top));
  checkWritten(
    steps,
    given,
    graph.results.map((r) => planner.storeOf(r.value, top)),
  );
  const arena = assignArena(planner.tenants);
  const table = new ExprTable();
  const range = (t: ExprTable, s: Store): Range => ({
    buffer: s.kind === "arena" ? "arena" : s.buffer,
    offset: t.id(s.kind === "arena" ? add(arena.offsets[s.tenant], s.at) : s.at),
    bytes: t.id(s.bytes),
  });
  // Inputs, results, checks. A name may be one that every object has.
  const textOf = new Map(Object.entries(e.shapeText));
  const port = (name: string, v: Value, store: Store): Port => ({
    name,
    dtype: v.type.dtype,
    shape: v.type.shape.map((d) => table.id(d)),
    shapeText: textOf.get(name) ?? v.type.shape.map((d) => d.key),
    range: range(table, store),
  });
  const inputs = graph.inputs.map((n) => {
    const name = String(n.attrs.name);
    const indexes = (graph.indexes ?? []).filter((r) => r.input === name);
    return {
      ...port(name, n.outs[0], planner.storeOf(n.outs[0], top)),
      ...(indexes.length === 0 ? {} : { indexes: indexes.map((r) => indexRange(r, table)) }),
    };
  });
  const outputs = graph.results.map((r) => port(r.name, r.value, planner.storeOf(r.value, top)));
  const implicit: EntryPlan["implicit"][number][] = [];
  for (const n of graph.nodes) {
    if (n.op.name === "seed")
      implicit.push({
        name: "seed",
        dtype: "u32",
        range: range(table, planner.storeOf(n.outs[0], top)),
        counter: p.state.get(RANDOM_STEP)?.offset,
      });
    if (n.op.name === "hyper") {
      const whole = planner.storeOf(n.outs[0], top);
      (n.attrs.names as readonly string[]).forEach((name, i) => {
        implicit.push({
          name,
          dtype: "f32",
          range: range(table, { ...whole, at: add(whole.at, 4 * i), bytes: dim(4) }),
          value: e.hyper?.[name],
        });
      });
    }
  }
  const { solve, values } = solveSymbols(graph);
  const checks: Check[] = [];
  for (const n of graph.inputs)
    n.outs[0].type.shape.forEach((d, i) => {
      const actual = `${String(n.attrs.name)}.${i}`;
      if (d.key === values.get(d.key)?.text) return;
      checks.push({
        left: table.id(sym(actual)),
        relation: "==",
        right: table.id(d),
        message: `axis ${i} of ${String(n.attrs.name)} is ${d.key}`,
      });
    });
  for (const c of graph.constraints)
    checks.push({
      left: table.id(c.left),
      relation: c.relation,
      right: table.id(c.right),
      message: c.message,
    });
  const arenaBytes = table.id(max(arena.bytes, 256));
  const body = emitBlock(steps, table, range);
  const plan: EntryPlan = {
    name: e.name,
    doc: e.doc,
    symbols: graph.symbols.map((name) => ({ name, value: solve.id((values.get(name) as { dim: Dim }).dim) })),
    solve: solve.rows,
    checks,
    body,
    inputs,
    outputs,
    arenaBytes,
    implicit,
    derived: [...planner.derivedUsed].sort((a, b) => a - b),
    writesParams: graph.writes.some((w) => isFlat(w.path))
      ? [...p.params.keys()].filter((k) => !isFlat(k))
      : [],
    writesState: graph.writes.flatMap((w) => (isFlat(w.path) ? [] : (p.members.get(w.path) ?? [w.path]))),
    train: e.train,
  };
  return {
    plan,
    report: {
      fused: top.fused,
      layouts: top.layouts,
      peak: arena.peak,
      bound: arena.bound,
      dispatches: dispatchesOf(steps),
      nodes: graph.nodes.length,
    },
  };
}

/** No step, and no result, reads a place of the arena that nothing has written. */
function checkWritten(steps: readonly Planned[], given: readonly Store[], results: readonly Store[]): void {
  const written = new Set<number>();
  const write = (s: Store): void => {
    if (s.kind === "arena") written.add(s.tenant);
  };
  const read = (s: Store, label: string): void => {
    if (s.kind === "arena" && !written.has(s.tenant))
      throw new InternalError("plan", `${label} reads what nothing has written`);
  };
  const visit = (list: readonly Planned[]): void => {
    for (const s of list) {
      if (s.kind === "loop") visit(s.steps);
      else if (s.kind === "clear") write(s.store);
      else if (s.kind === "copy") {
        read(s.from, s.label);
        write(s.to);
      } else {
        for (const [i, x] of s.stores.entries()) if (!s.writes[i]) read(x, s.label);
        for (const [i, x] of s.stores.entries()) if (s.writes[i]) write(x);
      }
    }
  };
  for (const s of given) write(s);
  visit(steps);
  for (const s of results) read(s, "a result");
}

const dispatchesOf = (steps: readonly Planned[]): Dim =>
  add(
    ...steps.map((s) =>
      s.kind === "loop" ? mul(s.count, dispatchesOf(s.steps)) : s.kind === "dispatch" ? 1 : 0,
    ),
  );

function indexRange({ extent, except, part, use }: IndexRange, table: ExprTable): PortIndexes {
  const places = part?.map((p) => [table.id(p.start), table.id(p.size), table.id(dim(p.step))] as const);
  return {
    extent: table.id(extent),
    ...(except === undefined ? {} : { except }),
    ...(places ? { part: places } : {}),
    use,
  };
}

/** The path of all parameters of a dtype at once, for the update of a training step: this, and `.f16` behind it. */
export const PARAMS = "$params";
const isFlat = (path: unknown): boolean => String(path).startsWith(PARAMS);
const isRun = (path: unknown): boolean => String(path).startsWith(RUN);

function placeOfWrite(
  p: ProgramContext,
  path: string,
): { buffer: BufferName; offset: number; bytes: number } {
  const param = p.params.get(path);
  if (param) return { buffer: "params", ...param };
  const state = p.state.get(path);
  if (!state) throw new InternalError("plan", `a write to unknown state ${path}`);
  return { buffer: "state", ...state };
}

/** Each symbol from the actual sizes (names `input.axis`): a bare axis first, else a linear one. */
function solveSymbols(graph: Graph): { solve: ExprTable; values: Map<string, { dim: Dim; text: string }> } {
  const values = new Map<string, { dim: Dim; text: string }>();
  const axes = graph.inputs.flatMap((n) =>
    n.outs[0].type.shape.map((d, i) => ({ d, name: `${String(n.attrs.name)}.${i}` })),
  );
  for (const { d, name } of axes) {
    const bare =
      d.terms.length === 1 &&
      d.terms[0].coef === 1 &&
      d.terms[0].atoms.length === 1 &&
      d.terms[0].atoms[0].kind === "symbol";
    if (bare && !values.has(d.key)) values.set(d.key, { dim: sym(name), text: name });
  }
  for (let again = true; again; ) {
    again = false;
    for (const { d, name } of axes) {
      const open = [...symbols(d)].filter((s) => !values.has(s));
      if (open.length !== 1) continue;
      const line = linearIn(d, open[0]);
      const c = line && asConst(line.coef);
      if (!line || c === undefined || c === 0) continue;
      const rest = sub(
        sym(name),
        substitute(line.rest, (s) => values.get(s)?.dim),
      );
      // The check of the axis refuses what does not divide.
      values.set(open[0], { dim: floorDiv(rest, c), text: "" });
      again = true;
    }
  }
  const missing = graph.symbols.find((s) => !values.has(s));
  if (missing)
    throw new InternalError("plan", `the size ${missing} cannot be found from the inputs of ${graph.name}`);
  return { solve: new ExprTable(), values };
}
/** Rows and steps; loops come last, when the parent's table is complete. */
function emitBlock(
  steps: readonly Planned[],
  table: ExprTable,
  range: (t: ExprTable, s: Store) => Range,
): Block {
  const out: (Step | undefined)[] = [];
  const loops: { at: number; step: Extract<Planned, { kind: "loop" }>; count: number }[] = [];
  for (const s of steps) {
    if (s.kind === "loop") {
      loops.push({ at: out.length, step: s, count: table.id(s.count) });
      out.push(undefined);
    } else if (s.kind === "copy")
      out.push({ kind: "copy", from: range(table, s.from), to: range(table, s.to), label: s.label });
    else if (s.kind === "clear") out.push({ kind: "clear", range: range(table, s.store), label: s.label });
    else {
      const d: Dispatch = {
        kind: "dispatch",
        kernel: s.kernel,
        bind: s.stores.map((x) => range(table, x)),
        uniforms: s.scheduled.uniforms.map((u) => table.id(u)),
        groups: table.id(s.scheduled.groups),
        cost: table.id(s.scheduled.cost),
        label: s.label,
      };
      out.push(d);
    }
  }
  for (const l of loops) {
    const child = table.child();
    out[l.at] = {
      kind: "loop",
      symbol: l.step.symbol,
      count: l.count,
      body: emitBlock(l.step.steps, child, range),
      label: l.step.label,
    };
  }
  return { exprs: table.rows, steps: out as Step[] };
}

interface PlannedBlock {
  readonly fused: Fused;
  readonly layouts: Layouts;
  readonly steps: readonly Planned[];
  readonly home: ReadonlyMap<Value, Group>;
}

class Planner {
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
        notInPlace,
        budget: this.p.budget,
      });
      const layouts = chooseLayouts(fused);
      const packing = packWeights(fused, layouts, derive);
      const ctxFused: Fused = { ...fused, groups: packing.groups, home: packing.home };
      const writes = body ? undefined : this.inPlaceWrites(ctxFused, layouts);
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
        const d = this.dispatch(scheduleGroup(ctx, g), g, block);
        for (const b of d.scheduled.buffers) this.touch(b.value, block);
        steps.push(d);
      }
    }
    return block;
  }

  private dispatch(
    scheduled: Scheduled,
    g: Group,
    block: PlannedBlock,
  ): Extract<Planned, { kind: "dispatch" }> {
    if (scheduled.buffers.length > limitOf(this.p.target, "maxStorageBuffersPerShaderStage"))
      throw new InternalError(
        "plan",
        `the kernel of ${g.anchor.op.name} binds ${scheduled.buffers.length} buffers`,
      );
    const stores = scheduled.buffers.map((b) => this.storeOf(b.value, block));
    const writes = scheduled.buffers.map((b) => b.access === "read_write");
    // One buffer may not be bound for reading and for writing in one dispatch; two read-write ranges may.
    const written = new Set(
      scheduled.buffers.flatMap((b, i) => (b.access === "read_write" ? [bufferOf(stores[i])] : [])),
    );
    scheduled.buffers.forEach((b, i) => {
      const buffer = bufferOf(stores[i]);
      if (buffer === "arena" || written.has(buffer)) b.access = "read_write";
    });
    for (const s of stores) this.noteDerived(s);
    if (this.p.verify) verifyKernel(scheduled.code, (name) => limitOf(this.p.target, name));
    const { site, label } = this.p.describe(g);
    const kernel = this.p.kernels.add(scheduled.code, site, scheduled.groups, scheduled.uniforms);
    return {
      kind: "dispatch",
      scheduled,
      kernel,
      stores,
      writes,
      label: `${this.p.kernels.name(kernel)} ${label}`.trim(),
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
    const { unit, offsets } =
      found ??
      table.reserve(
        key,
        g.roots,
        g.roots.map((r) => r.node.label ?? String(r.node.attrs.path ?? r.node.op.name)).join("+"),
      );
    g.roots.forEach((r, i) => {
      this.assign(r, { kind: "fixed", buffer: "derived", at: dim(offsets[i]), bytes: bytesOf(r) });
      this.unitAt.set(offsets[i], unit);
    });
    if (found) return;
    const before = new Set(this.derivedUsed);
    const d = this.dispatch(scheduleGroup(ctx, g), g, block);
    const u = table.units[unit];
    u.steps.push(d);
    const own = new Set(g.roots);
    for (const b of d.scheduled.buffers) {
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
    // Reading another unit while preparing is not reading it in the entry.
    for (const x of [...this.derivedUsed]) if (!before.has(x)) this.derivedUsed.delete(x);
  }

  /**
   * Writes that may go straight to their state: made by a pointwise kernel that reads the old value at the same place only,
   * where nobody who comes after needs the old value.
   */
  private inPlaceWrites(
    fused: Fused,
    layouts: Layouts,
  ): { readonly sources: Map<Value, Value>; readonly order: readonly Group[] } {
    const sources = new Map<Value, Value>();
    for (const w of fused.graph.writes) {
      const root = fused.alias.get(w.value) ?? w.value;
      const home = fused.home.get(root);
      if (home?.kind !== "map" || !layouts.order(root).every((a, i) => a === i)) continue;
      const source = fused.graph.nodes.find(
        (n) => (n.op.name === "state" || n.op.name === "param") && n.attrs.path === w.path,
      )?.outs[0];
      if (!source || fused.graph.results.some((r) => r.value === source)) continue;
      if (fused.graph.writes.filter((o) => (fused.alias.get(o.value) ?? o.value) === root).length > 1)
        continue;
      if (readsAtItsOwnPlace(fused, home, source)) sources.set(root, source);
    }
    const reads = new Map(fused.groups.map((g) => [g, groupReads(fused, g)] as const));
    for (;;) {
      // Kernels that overwrite, and whoever reads what they make, come last, in their order.
      const late = new Set([...sources.keys()].map((r) => fused.home.get(r) as Group));
      for (const g of fused.groups)
        if ([...(reads.get(g) as Set<Value>)].some((v) => late.has(fused.home.get(v) as Group))) late.add(g);
      const order = [...fused.groups.filter((g) => !late.has(g)), ...fused.groups.filter((g) => late.has(g))];
      const wrong = [...sources].find(([root, source]) => {
        const home = fused.home.get(root) as Group;
        return order
          .slice(order.indexOf(home) + 1)
          .some((g) => [...(reads.get(g) as Set<Value>)].some((v) => overlaps(v, source)));
      });
      if (!wrong) return { sources, order };
      sources.delete(wrong[0]);
    }
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
      const bytes = roundUp(bytesOf(type), 256);
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
const bufferOf = (s: Store): BufferName => (s.kind === "arena" ? "arena" : s.buffer);

/** Stored values and sources that a group's kernel (or loop) reads. */
function groupReads(fused: Fused, g: Group): Set<Value> {
  const out = new Set<Value>();
  const seen = new Set<Value>();
  const visit = (v: Value, top: boolean): void => {
    if (seen.has(v)) return;
    seen.add(v);
    const home = fused.home.get(v);
    if (v.node.op.fuses === "source" || (!top && home !== undefined && home !== g)) {
      out.add(v);
      return;
    }
    for (const i of v.node.inputs) visit(i, false);
  };
  for (const r of g.roots) visit(r, true);
  return out;
}
/** Paths whose update is not in place, in a kernel that would have to be smaller then. */
function overfull(fused: Fused, inPlace: ReadonlyMap<Value, Value>, max: number): string[] {
  return fused.graph.writes.flatMap(({ path, value }) => {
    const root = fused.alias.get(value) ?? value;
    const home = fused.home.get(root);
    if (home?.kind !== "map" || inPlace.has(root)) return [];
    const bound = new Set([...groupReads(fused, home), ...home.roots.filter((r) => !inPlace.has(r))]);
    return bound.size > max ? [path] : [];
  });
}
/** Two sources whose bytes may be the same: one path, or a parameter or buffer and several at once. */
function overlaps(a: Value, b: Value): boolean {
  if (a.node.op !== b.node.op || a.node.op.fuses !== "source") return false;
  const [x, y] = [a.node.attrs.path, b.node.attrs.path];
  return x === y || (a.node.op.name === "param" ? isFlat(x) !== isFlat(y) : isRun(x) !== isRun(y));
}
/** The kernel reads `source` at the element it writes, nowhere else. */
function readsAtItsOwnPlace(fused: Fused, home: Group, source: Value): boolean {
  for (const root of home.roots) {
    const s = loweringFor((v) => fused.home.has(v) && fused.home.get(v) !== home);
    const { at, x } = lowerValue(s, root);
    const own = rowMajor(
      s,
      at.map((q) => s.axisValue(q)),
      root.type.shape,
    );
    let ok = true;
    const seen = new Set<Scalar>();
    const visit = (y: Scalar): void => {
      if (seen.has(y) || !ok) return;
      seen.add(y);
      if (y.kind === "load" && y.value === source && rowMajor(s, y.at, source.type.shape) !== own) ok = false;
      for (const c of children(y)) visit(c);
    };
    visit(x);
    if (!ok) return false;
  }
  return true;
}

/** The prepare program of a finished derived table. */
export function planDerived(
  table: DerivedTable,
): { name: string; sources: string[]; body: Block; arenaBytes: number; derived: number[] }[] {
  return table.units.map((u) => {
    const exprs = new ExprTable();
    const range = (t: ExprTable, s: Store): Range => ({
      buffer: bufferOf(s),
      offset: t.id(s.at),
      bytes: t.id(s.bytes),
    });
    const arenaBytes = exprs.id(0);
    return {
      name: u.name,
      sources: u.sources,
      body: emitBlock(u.steps, exprs, range),
      arenaBytes,
      derived: u.derived,
    };
  });
}
