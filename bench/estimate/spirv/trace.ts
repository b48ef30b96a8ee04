// SPIR-V to JavaScript that is run for the lanes of one subgroup: turns of loops, and addresses of every access to storage and
// workgroup memory. In: a module, a grid and what small buffers hold. Out: loops and places (patterns.ts), for each kind of
// workgroup that there is. What is loaded from elsewhere counts as 0 (of floats 0.5), so control flow that depends on it is
// followed for that.
import { type Pattern, patternOf, type Site } from "../patterns.ts";
import {
  BINARY,
  BUILTIN,
  bytesOf,
  Decoration,
  GLSL,
  type Id,
  type Instruction,
  numberOf,
  Op,
  partOf,
  pointee,
  type SpirvFunction,
  type SpirvModule,
  Storage,
} from "./module.ts";
import { bodyOf, calleesFirst, type Language } from "./structure.ts";

export interface TracedLoop {
  readonly id: number;
  readonly parent: number | undefined;
  /** How far it counts by its text alone, roughly; 0: only the call says. */
  readonly literal: number;
  /** Of one lane. */
  readonly entries: number;
  readonly turns: number;
  /** Turns of an entry. */
  readonly trips: number;
}
/** What workgroups of a kind do: a kernel may do several things, each workgroup one of them. */
export interface Trace {
  /** Workgroups of the kind. */
  readonly groups: number;
  readonly lanes: number;
  /** All loops of the program, in its order, also those that are not entered: the same in all kinds. */
  readonly loops: readonly TracedLoop[];
  readonly sites: readonly (Site & Pattern)[];
}
export interface TraceOptions {
  readonly grid: readonly number[];
  /** What a small buffer holds. */
  readonly bytes: (group: number, binding: number) => Uint8Array | undefined;
}

const LANES = 64;
const TURNS_MOST = 1 << 23;
/** Calls of a place whose addresses are kept. */
const KEEP = 3;
/** Of workgroups that are looked at to find kinds, and of kinds. */
const SAMPLES_MOST = 48;
const KINDS_MOST = 6;

// ---------------------------------------------------------------- what the program is run with

type Value = number | boolean | Value[];
/** How a value lies in a buffer. */
type Layout =
  | { readonly kind: "many"; readonly length: number; readonly step: number; readonly of: Layout }
  | { readonly kind: "struct"; readonly at: readonly number[]; readonly of: readonly Layout[] }
  | { readonly kind: "i32" | "u32" | "f32" | "f16" | "bool" };

interface MutableSite {
  readonly info: PlaceInfo;
  readonly loop: number | undefined;
  calls: number;
  readonly seen: (number | undefined)[][];
  n: number;
  lane: number;
}
/** A loop or a call of the text, with those inside. */
interface Part {
  readonly key: string;
  /** Of a loop how far it counts; of a call none. */
  readonly literal?: number;
  readonly kids: Part[];
}
/** The same, where it is come to from the entry. */
interface Node {
  readonly kids: Map<string, Node>;
  readonly sites: Map<number, MutableSite>;
  /** The loop around it, or that it is. */
  readonly loop: number | undefined;
  entries: number;
  turns: number;
}
interface PlaceInfo {
  readonly name: string;
  readonly space: Site["space"];
  readonly bytes: number;
  readonly write: boolean;
}

const copy = (x: Value): Value => (Array.isArray(x) ? x.map(copy) : x);
const zeroOf = (l: Layout): Value => {
  if (l.kind === "many") return Array.from({ length: l.length }, () => zeroOf(l.of));
  if (l.kind === "struct") return l.of.map(zeroOf);
  return l.kind === "f32" || l.kind === "f16" ? 0.5 : l.kind === "bool" ? false : 0;
};
function load(data: DataView, at: number, l: Layout): Value {
  if (l.kind === "many") return Array.from({ length: l.length }, (_, i) => load(data, at + i * l.step, l.of));
  if (l.kind === "struct") return l.of.map((of, i) => load(data, at + l.at[i], of));
  if (!(at >= 0 && at + 4 <= data.byteLength)) return 0;
  if (l.kind === "f32") return data.getFloat32(at, true);
  return l.kind === "i32" ? data.getInt32(at, true) : data.getUint32(at, true);
}

const FUNCTIONS: Readonly<Record<string, (...x: number[]) => number>> = {
  fract: (x) => x - Math.floor(x),
  inverseSqrt: (x) => 1 / Math.sqrt(x),
  exp2: (x) => 2 ** x,
  clamp: (x, a, b) => Math.min(Math.max(x, a), b),
  fma: (a, b, c) => a * b + c,
  mix: (a, b, c) => a * (1 - c) + b * c,
  step: (a, b) => (b < a ? 0 : 1),
  ldexp: (a, b) => a * 2 ** b,
};
const functionNamed = (name: string): ((...x: number[]) => number) =>
  FUNCTIONS[name] ?? (Math as unknown as Record<string, (...x: number[]) => number>)[name];

/** Counts what the program does. */
class Recorder {
  readonly loops: { readonly parent: number | undefined; readonly literal: number; readonly node: Node }[] =
    [];
  readonly sites: MutableSite[] = [];
  private readonly places: readonly PlaceInfo[];
  private readonly data: ReadonlyMap<Id, DataView>;
  private readonly root: Node;
  private now: Node;
  private stack: Node[] = [];
  private steps = 0;
  private lane = 0;
  private readonly scratch = new DataView(new ArrayBuffer(8));

  constructor({ places, parts }: Program, data: ReadonlyMap<Id, DataView>) {
    this.places = places;
    this.data = data;
    this.root = this.node(parts, undefined);
    this.now = this.root;
  }
  private node(parts: readonly Part[], loop: number | undefined): Node {
    const node: Node = { kids: new Map(), sites: new Map(), loop, entries: 0, turns: 0 };
    for (const { key, literal, kids } of parts) {
      if (literal === undefined) node.kids.set(key, this.node(kids, loop));
      else {
        // Its number is there before those of the loops inside.
        const id = this.loops.length;
        this.loops.length++;
        const own = this.node(kids, id);
        this.loops[id] = { parent: loop, literal, node: own };
        node.kids.set(key, own);
      }
    }
    return node;
  }

  begin(lane: number): void {
    this.lane = lane;
    this.now = this.root;
    this.stack = [];
    this.steps = 0;
  }

  // What the program calls.
  enter(key: string): void {
    this.stack.push(this.now);
    this.now = this.now.kids.get(key)!;
    this.now.entries++;
  }
  turn(): void {
    this.now.turns++;
    if (++this.steps > TURNS_MOST) throw new Error("its loops turn too often to be traced");
  }
  leave(): void {
    this.now = this.stack.pop()!;
  }
  /** Gives the depth that `done` goes back to: a function may return out of loops. */
  call(key: string): number {
    this.stack.push(this.now);
    this.now = this.now.kids.get(key)!;
    return this.stack.length - 1;
  }
  done(depth: number): void {
    this.now = this.stack[depth];
    this.stack.length = depth;
  }
  touch(place: number, offset: number): void {
    let site = this.now.sites.get(place);
    if (!site) {
      site = { info: this.places[place], loop: this.now.loop, calls: 0, seen: [], n: 0, lane: -1 };
      this.now.sites.set(place, site);
      this.sites.push(site);
    }
    if (site.lane !== this.lane) {
      site.lane = this.lane;
      site.n = 0;
    }
    site.calls++;
    if (site.n < KEEP) {
      const seen = site.seen[site.n] ?? [];
      seen[this.lane] = offset / site.info.bytes;
      site.seen[site.n] = seen;
    }
    site.n++;
  }
  load(buffer: Id, offset: number, layout: Layout): Value {
    const data = this.data.get(buffer);
    return data ? load(data, offset, layout) : zeroOf(layout);
  }
  readonly some = zeroOf;
  readonly copy = copy;
  readonly length = (): number => 1 << 24;
  readonly zip = (f: (a: Value, b: Value) => Value, a: Value[], b: Value[]): Value[] =>
    a.map((x, i) => f(x, b[i]));
  readonly each = (f: (a: Value) => Value, a: Value): Value => (Array.isArray(a) ? a.map(f) : f(a));
  readonly dot = (a: number[], b: number[]): number => a.reduce((n, x, i) => n + x * b[i], 0);
  cast(from: string, to: string, x: number): number {
    if (from === "bool") return Number(x);
    if (from === "f32") this.scratch.setFloat32(0, x);
    else this.scratch.setInt32(0, x | 0);
    if (to === "f32") return this.scratch.getFloat32(0);
    return to === "i32" ? this.scratch.getInt32(0) : this.scratch.getUint32(0);
  }
  math(name: string, ...a: Value[]): Value {
    const f = functionNamed(name);
    const first = a[0];
    if (!Array.isArray(first)) return f(...(a as number[]));
    return first.map((_, i) => f(...a.map((q) => (q as number[])[i])));
  }
}

// ---------------------------------------------------------------- the program

/** Where a pointer points: a variable of the program's own, or bytes of a buffer. */
type Place =
  | { readonly js: string }
  | {
      readonly buffer: Id;
      readonly space: "uniform" | Site["space"];
      readonly name: string;
      readonly at: string;
    };

const wrap = (kind: string, text: string): string =>
  kind === "i32" ? `(${text} | 0)` : kind === "u32" ? `(${text} >>> 0)` : `(${text})`;

interface Program {
  readonly source: string;
  readonly places: readonly PlaceInfo[];
  /** Loops and calls of the entry. */
  readonly parts: readonly Part[];
}
function programOf(m: SpirvModule): Program {
  const typeOf = (id: Id): Id => m.typeOf.get(id)!;
  const kindOf = (type: Id): string => {
    const t = m.types.get(type)!;
    return t.kind === "vector" ? m.types.get(t.of)!.kind : t.kind;
  };
  const isMany = (id: Id): boolean => ["vector", "array", "struct"].includes(m.types.get(typeOf(id))!.kind);
  const infos: PlaceInfo[] = [];
  const places = new Map<Id, Place>();
  const inputs = new Map<Id, string>();
  let locals = new Set<string>();
  /** Of functions, and of what is being written, from the outside in. */
  const partsOf = new Map<Id, Part[]>();
  let around: Part[][] = [];
  const inside = (part: Part): void => {
    around[around.length - 1].push(part);
  };

  const zero = (type: Id): string => {
    const t = m.types.get(type)!;
    if (t.kind === "bool") return "false";
    if (t.kind === "vector" || t.kind === "array")
      return `Array.from({ length: ${t.length} }, () => (${zero(t.of)}))`;
    return t.kind === "struct" ? `[${t.members.map(zero).join()}]` : "0";
  };
  const layoutOf = (type: Id): Layout => {
    const t = m.types.get(type)!;
    if (t.kind === "vector" || t.kind === "array") {
      const step = m.decorations.get(type)?.[Decoration.ArrayStride] ?? bytesOf(m, t.of);
      return { kind: "many", length: t.length, step, of: layoutOf(t.of) };
    }
    if (t.kind === "struct")
      return {
        kind: "struct",
        at: t.members.map((_, i) => m.members.get(type)?.[i]?.[Decoration.Offset] ?? 0),
        of: t.members.map(layoutOf),
      };
    return { kind: t.kind as "f32" };
  };

  const value = (id: Id): string => {
    const c = m.constants.get(id);
    if (!c) return `v${id}`;
    if ("zero" in c) return `(${zero(c.type)})`;
    if ("parts" in c) return `[${c.parts.map(value).join()}]`;
    const text = String(c.value);
    return text.startsWith("-") ? `(${text})` : text;
  };

  const chain = (x: Instruction): Place => {
    const base = places.get(x.args[0])!;
    const path = x.args.slice(1);
    if ("js" in base) return { js: base.js + path.map((id) => `[${value(id)}]`).join("") };
    let type = pointee(m, typeOf(x.args[0]));
    let at = base.at;
    for (const id of path) {
      const t = m.types.get(type)!;
      if (t.kind === "struct") {
        const n = numberOf(m.constants, id);
        const before = t.members.slice(0, n).reduce((sum, of) => sum + bytesOf(m, of), 0);
        at += ` + ${m.members.get(type)?.[n]?.[Decoration.Offset] ?? before}`;
        type = t.members[n];
      } else {
        const of = partOf(m, type, 0);
        const own = t.kind === "vector" ? undefined : m.decorations.get(type)?.[Decoration.ArrayStride];
        at += ` + ${own ?? bytesOf(m, of)} * ${value(id)}`;
        type = of;
      }
    }
    return { ...base, at };
  };
  const touch = (place: Exclude<Place, { js: string }>, write: boolean, type: Id): string => {
    const space = place.space === "workgroup" ? "workgroup" : "storage";
    infos.push({ name: place.name, space, bytes: Math.min(16, bytesOf(m, type)), write });
    return `$.touch(${infos.length - 1}, ${place.at});`;
  };
  const loaded = (out: string[], x: Instruction): string => {
    const input = inputs.get(x.args[0]);
    if (input !== undefined) return input;
    const place = places.get(x.args[0])!;
    if ("js" in place) return isMany(x.id) ? `$.copy(${place.js})` : place.js;
    const layout = JSON.stringify(layoutOf(x.type));
    if (place.space !== "uniform") out.push(touch(place, false, x.type));
    return place.space === "workgroup"
      ? `$.some(${layout})`
      : `$.load(${place.buffer}, ${place.at}, ${layout})`;
  };
  const stored = (out: string[], to: Id, what: Id): void => {
    const place = places.get(to)!;
    if (!("js" in place)) out.push(touch(place, true, typeOf(what)));
    else out.push(`${place.js} = ${isMany(what) ? `$.copy(${value(what)})` : value(what)};`);
  };

  const binary = (x: Instruction): string => {
    const [a, b] = x.args;
    const kind = kindOf(x.type);
    const float = kind === "f32" || kind === "f16";
    const op = BINARY[x.op];
    const text = (p: string, q: string): string => {
      switch (op) {
        case "*":
          return float ? `(${p} * ${q})` : wrap(kind, `Math.imul(${p}, ${q})`);
        case "/":
        case "%":
          return float ? `(${p} ${op} ${q})` : wrap(kind, `(${q} ? ${p} ${op} ${q} : 0)`);
        case ">>":
          return wrap(kind, `(${p} ${x.op === Op.ShiftRightLogical ? ">>>" : ">>"} ${q})`);
        case "<<":
        case "|":
        case "&":
        case "^":
        case "+":
        case "-":
          return wrap(kind, `(${p} ${op} ${q})`);
        case "==":
        case "!=":
          return kindOf(typeOf(a)) === "bool" ? `(!!${p} ${op} !!${q})` : `(${p} ${op} ${q})`;
        default:
          return `(${p} ${op} ${q})`;
      }
    };
    return isMany(a)
      ? `$.zip((p, q) => ${text("p", "q")}, ${value(a)}, ${value(b)})`
      : text(value(a), value(b));
  };

  const each = (text: string, of: Id): string => `$.each((p) => ${text}, ${value(of)})`;
  const expression = (x: Instruction, out: string[]): string => {
    const { op, args: a } = x;
    if (BINARY[op]) return binary(x);
    const kind = x.type ? kindOf(x.type) : "void";
    switch (op) {
      case Op.Load:
      case Op.AtomicLoad:
        return loaded(out, x);
      case Op.ArrayLength:
        return "$.length()";
      case Op.Undef:
        return zero(x.type);
      case Op.ExtInst:
        return `$.math(${JSON.stringify(GLSL[a[1]])}, ${a.slice(2).map(value).join()})`;
      case Op.VectorExtractDynamic:
        return `${value(a[0])}[${value(a[1])}]`;
      case Op.VectorInsertDynamic:
        return `${value(a[0])}.with(${value(a[2])}, ${value(a[1])})`;
      case Op.VectorShuffle:
        return `((all) => [${a
          .slice(2)
          .map((i) => `all[${i}]`)
          .join()}])([...${value(a[0])}, ...${value(a[1])}])`;
      case Op.CompositeConstruct: {
        const vector = m.types.get(x.type)!.kind === "vector";
        return `[${a.map((id) => (vector && isMany(id) ? `...${value(id)}` : value(id))).join()}]`;
      }
      case Op.CompositeExtract:
        return `${value(a[0])}${a
          .slice(1)
          .map((i) => `[${i}]`)
          .join("")}`;
      case Op.CopyObject:
      case Op.CopyLogical:
        return value(a[0]);
      case Op.ConvertFToU:
      case Op.ConvertFToS:
        return each(`(${wrap(kind, "Math.trunc(p)")})`, a[0]);
      case Op.ConvertSToF:
      case Op.ConvertUToF:
      case Op.FConvert:
        return each("Number(p)", a[0]);
      case Op.UConvert:
      case Op.SConvert:
        return each(wrap(kind, "p"), a[0]);
      case Op.Bitcast:
        return each(`$.cast("${kindOf(typeOf(a[0]))}", "${kind}", p)`, a[0]);
      case Op.SNegate:
        return each(wrap(kind, "(-p)"), a[0]);
      case Op.FNegate:
        return each("-p", a[0]);
      case Op.VectorTimesScalar:
        return each(`p * ${value(a[1])}`, a[0]);
      case Op.Dot:
        return wrap(kind, `$.dot(${value(a[0])}, ${value(a[1])})`);
      case Op.Any:
        return `${value(a[0])}.some(Boolean)`;
      case Op.All:
        return `${value(a[0])}.every(Boolean)`;
      case Op.IsNan:
      case Op.IsInf:
        return each("false", a[0]);
      case Op.LogicalNot:
        return each("!p", a[0]);
      case Op.Select: {
        const [c, yes, no] = a.map(value);
        return isMany(a[0]) ? `${c}.map((c, i) => c ? ${yes}[i] : ${no}[i])` : `(${c} ? ${yes} : ${no})`;
      }
      case Op.Not:
        return each(wrap(kind, "(~p)"), a[0]);
      case Op.BitCount:
        return "0";
      case Op.AtomicIAdd: {
        const place = places.get(a[0])!;
        if (!("js" in place)) out.push(touch(place, true, x.type));
        return "0";
      }
      case Op.SubgroupBroadcast:
      case Op.SubgroupBroadcastFirst:
      case Op.SubgroupShuffle:
      case Op.SubgroupShuffleXor:
        return value(a[1]);
      case Op.SubgroupIAdd:
      case Op.SubgroupFAdd:
      case Op.SubgroupSMin:
      case Op.SubgroupUMin:
      case Op.SubgroupFMin:
      case Op.SubgroupSMax:
      case Op.SubgroupUMax:
      case Op.SubgroupFMax:
        return value(a[2]);
      default:
        throw new Error(`no trace of SPIR-V operation ${op}`);
    }
  };

  const lang: Language = {
    value,
    instruction(out, x) {
      const { op, args: a } = x;
      const set = (text: string): void => {
        locals.add(`v${x.id}`);
        out.push(`v${x.id} = ${text};`);
      };
      if (op === Op.Variable) {
        set(a[1] === undefined ? zero(pointee(m, x.type)) : `$.copy(${value(a[1])})`);
        places.set(x.id, { js: `v${x.id}` });
      } else if (op === Op.AccessChain || op === Op.InBoundsAccessChain) places.set(x.id, chain(x));
      else if (op === Op.Store) stored(out, a[0], a[1]);
      else if (op === Op.AtomicStore) stored(out, a[0], a[3]);
      else if (op === Op.ControlBarrier || op === Op.MemoryBarrier) return;
      else if (op === Op.CompositeInsert) {
        set(`$.copy(${value(a[1])})`);
        out.push(
          `v${x.id}${a
            .slice(2)
            .map((i) => `[${i}]`)
            .join("")} = ${value(a[0])};`,
        );
      } else if (op === Op.FunctionCall) {
        const { params } = m.functions.get(a[0])!;
        const given = a.slice(1).map((id, i) => {
          if (m.types.get(params[i].type)!.kind !== "pointer") return value(id);
          const place = places.get(id)!;
          if (!("js" in place)) throw new Error("no trace of a pointer to a buffer as an argument");
          return `{ get p() { return ${place.js}; }, set p(x) { ${place.js} = x; } }`;
        });
        locals.add(`d${x.id}`);
        inside({ key: `${x.id}`, kids: partsOf.get(a[0])! });
        out.push(`d${x.id} = $.call("${x.id}");`);
        set(`F${a[0]}(${given.join()})`);
        out.push(`$.done(d${x.id});`);
      } else set(expression(x, out));
    },
    loop(out, _f, label, literal, merge) {
      const kids: Part[] = [];
      inside({ key: `${label}`, literal, kids });
      around.push(kids);
      out.push(`$.enter("${label}"); L${merge}: while (true) {`);
    },
    turn(out) {
      out.push("$.turn();");
    },
    left(out) {
      around.pop();
      out.push("$.leave();");
    },
    open(out, label) {
      out.push(`L${label}: {`);
    },
    close(out) {
      out.push("}");
    },
    leave: (label) => `break L${label};`,
    unreachable: () => "return 0;",
  };

  const top: string[] = [];
  for (const v of m.variables) {
    const own = m.decorations.get(v.id);
    const name = m.names.get(v.id) ?? `v${v.id}`;
    if (v.storage === Storage.Input) inputs.set(v.id, `role.${BUILTIN[own?.[Decoration.BuiltIn] ?? -1]}`);
    else if (v.storage === Storage.Private) {
      top.push(`let v${v.id} = ${v.init ? `$.copy(${value(v.init)})` : zero(pointee(m, v.type))};`);
      places.set(v.id, { js: `v${v.id}` });
    } else {
      const space =
        v.storage === Storage.Uniform ? "uniform" : v.storage === Storage.Workgroup ? "workgroup" : "storage";
      places.set(v.id, { buffer: v.id, space, name, at: "0" });
    }
  }
  const functionText = (f: SpirvFunction): string => {
    locals = new Set();
    const parts: Part[] = [];
    partsOf.set(f.id, parts);
    around = [parts];
    for (const p of f.params)
      if (m.types.get(p.type)!.kind === "pointer") places.set(p.id, { js: `v${p.id}.p` });
    const { text, phis } = bodyOf(m, f, lang);
    for (const x of phis) locals.add(`v${x.id}`).add(`p${x.id}`);
    const declared = locals.size > 0 ? `let ${[...locals].join()};` : "";
    return `function F${f.id}(${f.params.map((p) => `v${p.id}`).join()}) { ${declared}\n${text}\n}`;
  };
  const functions = calleesFirst(m).map(functionText);
  return {
    source: [...top, ...functions, `F${m.entry}();`].join("\n"),
    places: infos,
    parts: partsOf.get(m.entry)!,
  };
}

/** What each kind of workgroup does. Throws where the text is outside of what is known here. */
export function traceSpirv(m: SpirvModule, { grid, bytes }: TraceOptions): Trace[] {
  const program = programOf(m);
  const data = new Map<Id, DataView>();
  const numbers = new Set<number>();
  for (const v of m.variables) {
    const own = m.decorations.get(v.id);
    if (v.storage !== Storage.Uniform && v.storage !== Storage.Buffer) continue;
    const held = bytes(own?.[Decoration.Set] ?? 0, own?.[Decoration.Binding] ?? 0);
    if (!held) continue;
    const view = new DataView(held.buffer, held.byteOffset, held.byteLength);
    data.set(v.id, view);
    for (let at = 0; at + 4 <= view.byteLength; at += 4) numbers.add(view.getInt32(at, true));
  }
  for (const c of m.constants.values()) if ("value" in c) numbers.add(Number(c.value));
  const run = new Function("$", "role", program.source) as (recorder: Recorder, role: object) => void;
  const [sx, sy, sz] = m.size;
  const threads = sx * sy * sz;
  const [gx, gy, gz] = grid;

  const record = (group: number, lanes: number): Recorder => {
    const at = [group % gx, Math.floor(group / gx) % gy, Math.floor(group / gx / gy)];
    const recorder = new Recorder(program, data);
    for (let lane = 0; lane < lanes; lane++) {
      const local = [lane % sx, Math.floor(lane / sx) % sy, Math.floor(lane / sx / sy)];
      recorder.begin(lane);
      run(recorder, {
        workgroup_id: at,
        num_workgroups: [...grid],
        local_invocation_id: local,
        global_invocation_id: at.map((g, i) => g * m.size[i] + local[i]),
        local_invocation_index: lane,
        subgroup_size: 32,
        subgroup_invocation_id: lane % 32,
        subgroup_id: Math.floor(lane / 32),
        num_subgroups: Math.ceil(threads / 32),
      });
    }
    return recorder;
  };

  const lanes = Math.min(LANES, threads);
  return kindsOf(gx * gy * gz, numbers, (group) => {
    const { loops, sites } = record(group, 1);
    return [...loops.map((l) => l.node.turns), "", ...sites.map((s) => s.calls)].join();
  }).map(({ groups, one }): Trace => {
    const { loops, sites } = record(one, lanes);
    return {
      groups,
      lanes,
      loops: loops.map(({ parent, literal, node }, id) => ({
        id,
        parent,
        literal,
        entries: node.entries / lanes,
        turns: node.turns / lanes,
        trips: node.entries ? node.turns / node.entries : 0,
      })),
      sites: sites.map(({ info, loop, calls, seen }) => {
        const site: Site = { ...info, loop, calls: calls / lanes, seen };
        return { ...site, ...patternOf(site, lanes) };
      }),
    };
  });
}

/**
 * The kinds of workgroups of a grid, by what `signature` says of one; the largest first. Where one kind ends and another begins
 * is a number that the kernel is given or has in its text, so one workgroup between each two of those numbers is looked at.
 */
function kindsOf(
  groups: number,
  numbers: ReadonlySet<number>,
  signature: (group: number) => string,
): { readonly groups: number; readonly one: number }[] {
  const inside = [...numbers].filter((n) => Number.isInteger(n) && n > 0 && n < groups);
  const bounds = [0, ...inside.sort((a, b) => a - b).slice(-SAMPLES_MOST), groups];
  const kinds = new Map<string, { groups: number; one: number; most: number }>();
  for (let i = 0; i + 1 < bounds.length; i++) {
    const count = bounds[i + 1] - bounds[i];
    // The middle one: those at the ends may have less to do.
    const one = bounds[i] + Math.floor(count / 2);
    const key = signature(one);
    const kind = kinds.get(key) ?? { groups: 0, one, most: 0 };
    kind.groups += count;
    if (count > kind.most) Object.assign(kind, { one, most: count });
    kinds.set(key, kind);
  }
  const sorted = [...kinds.values()].sort((a, b) => b.groups - a.groups);
  // Too many to tell apart: the rest counts as the largest.
  for (const rest of sorted.splice(KINDS_MOST)) sorted[0].groups += rest.groups;
  return sorted;
}
