// The artefact as a module holds it (`Packed` in runtime/core/program.ts, which `unpack` reads back). In: an artefact. Out:
// the same, with what targets, entries and layers share said once. Plain data to plain data.
import {
  type Artefact,
  type Block,
  BUFFERS,
  type EntryPlan,
  type Expr,
  type ExprId,
  type Kernel,
  type Packed,
  type PackedHead,
  type PackedKernel,
  type PackedPath,
  type PackedPlace,
  type PackedStep,
  type PackedTensor,
  type Program,
  type Range,
  type Step,
  type TensorSpec,
} from "../../../../runtime/core/program.ts";
import { flatData } from "./text.ts";

/** Values in order of their first use; equal ones are one. */
class Table<T> {
  readonly rows: T[] = [];
  private readonly known = new Map<string, number>();
  private readonly key: (value: T) => string;

  constructor(key: (value: T) => string = flatData) {
    this.key = key;
  }
  clear(): void {
    this.rows.length = 0;
    this.known.clear();
  }
  id(value: T): number {
    const key = this.key(value);
    let id = this.known.get(key);
    if (id === undefined) {
      id = this.rows.push(value) - 1;
      this.known.set(key, id);
    }
    return id;
  }
}

/**
 * Rows as text, or the numbers they are; `from` is the id of the first. What is computed, of these rows, is said by how far
 * back it is: layers that are alike compute alike.
 */
const rowsOf = (rows: readonly Expr[], from = 0): (number | string)[] =>
  rows.map((e, i) => {
    if (typeof e !== "object") return e;
    const [op, ...operands] = e;
    const [a, b] = operands.map((id) => (typeof rows[id - from] === "object" ? id - from - i : id));
    return `${a}${op}${b}`;
  });

/** Differences: of what is counted, to the last one. */
class Coder {
  private last = 0;
  code(n: number): number {
    const d = n - this.last;
    this.last = n;
    return d;
  }
}
const below = (d: number): number => (d < 0 ? 2 * d : -1 - 2 * d);
const above = (d: number): number => -1 - below(d);

const coded = (list: readonly number[]): number[] => {
  const coder = new Coder();
  return list.map((n) => coder.code(n));
};

type Place = Packed["places"][number];
const isLiteral = (place: Place): boolean => place.length === 2;

/** What is counted through the blocks of a program. */
interface Writer extends Readonly<Record<"call" | "site" | "place" | "path" | "slot", Coder>> {
  /** By the program's own numbers. */
  readonly kernelAt: readonly number[];
}

/** Renumbers a block's ExprIds. */
interface Ids {
  (id: ExprId): ExprId;
  /** As it was. */
  row(id: ExprId): Expr;
  readonly end: number;
}
function renumbered(rows: readonly Expr[], add: (e: Expr) => ExprId, outer?: Ids): Ids {
  const from = outer?.end ?? 0;
  const to: ExprId[] = [];
  const ids = (id: ExprId): ExprId => {
    if (outer && id < from) return outer(id);
    const e = rows[id - from];
    to[id - from] ??= add(typeof e === "object" ? [e[0], ids(e[1]), ids(e[2])] : e);
    return to[id - from];
  };
  const row = (id: ExprId): Expr => (outer && id < from ? outer.row(id) : rows[id - from]);
  return Object.assign(ids, { row, end: from + rows.length });
}

export function pack(artefact: Artefact): Packed {
  const exprs = new Table<Expr>((e) => (typeof e === "string" ? `$${e}` : String(e)));
  const accesses = new Table<Kernel["access"]>(String);
  const kernels = new Table<PackedKernel>();
  const calls = new Table<readonly number[]>(String);
  const sites = new Table<string>(String);
  const places = new Table<Place>(String);
  const heads = new Table<PackedHead>();
  const inits = new Table<TensorSpec["init"]>();

  // Rows are numbered as they are asked for.
  const top = (rows: readonly Expr[]): Ids => renumbered(rows, (e) => exprs.id(e));
  const idsOf = new Map<readonly Expr[], Ids>();
  const idsIn = (rows: readonly Expr[]): Ids => {
    const ids = idsOf.get(rows) ?? top(rows);
    idsOf.set(rows, ids);
    return ids;
  };
  exprs.id(0);
  /** Where the rows of loops begin. */
  let inLoops = 0;

  const specs = [...artefact.params, ...artefact.state];
  const indexOf = new Map(specs.map(({ path }, i) => [path, i]));
  const paths = (list: readonly string[], coder = new Coder()): PackedPath[] =>
    list.map((path) => {
      const i = indexOf.get(path);
      return i === undefined ? path : coder.code(i);
    });

  // Parameters and state have a place each, before the others.
  const placeOf = new Map(
    specs.map(({ offset }, i) => [`${i < artefact.params.length ? "params" : "state"} ${offset}`, i]),
  );
  const placeIn = (w: Writer, { buffer, slot, offset }: Range, ids: Ids): PackedPlace => {
    const literal = ids.row(offset);
    if (slot !== undefined && buffer === "arena" && literal === 0) return above(w.slot.code(slot));
    const known = slot === undefined ? placeOf.get(`${buffer} ${literal}`) : undefined;
    if (known !== undefined) return below(w.place.code(known));
    const where = BUFFERS.indexOf(buffer);
    const plain = slot === undefined && typeof literal === "number";
    const place: Place = plain ? [where, literal] : [where, ids(offset), slot ?? -1];
    return below(w.place.code(specs.length + places.id(place)));
  };

  const steps = (
    list: readonly Step[],
    ids: Ids,
    w: Writer,
    /** The row after the last one in force. */
    end = inLoops,
  ): PackedStep[] => {
    const place = (range: Range): PackedPlace => placeIn(w, range, ids);
    const head = (row: readonly number[], label: string): [number, number] => [
      w.call.code(calls.id(row)),
      w.site.code(sites.id(label)),
    ];
    // biome-ignore lint/suspicious/useIterableCallbackReturn: every kind of step returns
    return list.map((s: Step): PackedStep => {
      switch (s.kind) {
        case "dispatch": {
          const { kernel, groups, cost, bind, uniforms, site: label } = s;
          const row = [
            3 + w.kernelAt[kernel],
            ids(groups),
            cost === undefined ? -1 : ids(cost),
            ...bind.map((r) => ids(r.bytes)),
            ...uniforms.map(ids),
          ];
          return [...head(row, label), ...bind.map(place)];
        }
        case "copy":
          return [...head([0, ids(s.from.bytes), ids(s.to.bytes)], s.label), place(s.from), place(s.to)];
        case "clear":
          return [...head([1, ids(s.range.bytes)], s.label), place(s.range)];
        case "loop": {
          const { count, label, symbol, body } = s;
          const begin = head([2, ids(count)], label);
          const own: Expr[] = [];
          const inner = renumbered(body.exprs, (e) => end + own.push(e) - 1, ids);
          // All of them now: a loop in the loop counts on.
          for (let id = ids.end; id < inner.end; id++) inner(id);
          const nested = steps(body.steps, inner, w, end + own.length);
          return [...begin, symbol, rowsOf(own, end), nested];
        }
      }
    });
  };
  const block = (b: Block, w: Writer): PackedStep[] => steps(b.steps, idsIn(b.exprs), w);

  const entry = (e: EntryPlan, w: Writer) => {
    const { symbols, solve, checks, body, inputs, outputs, slots, implicit, derived, ...rest } = e;
    const { writesParams, writesState, ...head } = rest;
    const ids = idsIn(body.exprs);
    const sized = <T extends { readonly range: Range }>({ range, ...port }: T) => ({
      ...port,
      bytes: ids(range.bytes),
    });
    const port = (p: EntryPlan["inputs"][number]) => ({
      ...sized(p),
      shape: p.shape.map(ids),
      indexes: p.indexes?.map((x) => ({
        ...x,
        extent: ids(x.extent),
        part: x.part?.map(([a, b, c]) => [ids(a), ids(b), ids(c)] as const),
      })),
    });
    const id = heads.id({
      ...head,
      symbols: symbols.map(({ name, value }) => ({ name, value: idsIn(solve)(value) })),
      checks: checks.map((c) => ({ ...c, left: ids(c.left), right: ids(c.right) })),
      inputs: inputs.map(port),
      outputs: outputs.map(port),
      implicit: implicit.map(sized),
      writesParams: paths(writesParams),
      writesState: paths(writesState),
    });
    const packed = block(body, w);
    const ports = [...inputs, ...outputs, ...implicit].map((p) => placeIn(w, p.range, ids));
    return [id, slots.map(ids), packed, ports, coded(derived)] as const;
  };

  const kernelRow = ({ name, text, access, uniformWords, ...rest }: Kernel): PackedKernel =>
    [name, text, accesses.id(access), uniformWords, ...unusual(rest, {})] as unknown as PackedKernel;

  const program = (p: Program): Packed["programs"][number] => {
    const { kernels: own, entries, derived, ...rest } = p;
    const w: Writer = {
      kernelAt: own.map((k) => kernels.id(kernelRow(k))),
      call: new Coder(),
      site: new Coder(),
      place: new Coder(),
      path: new Coder(),
      slot: new Coder(),
    };
    const unit = (u: Program["derived"][number]) =>
      [
        u.name,
        paths(u.sources, w.path),
        u.slots.map(idsIn(u.body.exprs)),
        block(u.body, w),
        coded(u.derived),
      ] as const;
    return { ...rest, derived: derived.map(unit), entries: entries.map((e) => entry(e, w)) };
  };

  const tensors = (list: readonly TensorSpec[], usual: TensorSpec["role"]): PackedTensor[] => {
    let end = 0;
    return list.map((spec) => {
      const { path, shape, init, ...rest } = spec;
      const bytes = shape.reduce((n, d) => n * d, 1) * (spec.dtype === "f16" ? 2 : 4);
      const usually = { aliases: [], dtype: "f32", offset: end, bytes, role: usual };
      end = Math.ceil((spec.offset + spec.bytes) / 256) * 256;
      return [path, shape, inits.id(init), ...unusual(rest, usually)] as unknown as PackedTensor;
    });
  };

  // Twice, because rows of loops are numbered from where those of all blocks end.
  artefact.programs.forEach(program);
  inLoops = exprs.rows.length + specs.length + places.rows.filter(isLiteral).length;
  for (const table of [calls, sites, places, heads]) table.clear();
  const programs = artefact.programs.map(program);
  const { params, state, ...rest } = artefact;
  const kinds = new Coder();
  const offsets = new Coder();
  return {
    ...rest,
    params: tensors(params, "param"),
    state: tensors(state, "buffer"),
    inits: inits.rows,
    exprs: rowsOf(exprs.rows),
    accesses: accesses.rows,
    kernels: kernels.rows,
    calls: calls.rows.map(([kind, ...row]) => [kinds.code(kind), ...row]),
    sites: sites.rows,
    places: places.rows.map((p) => (isLiteral(p) ? [p[0], offsets.code(p[1])] : p)),
    heads: heads.rows,
    programs,
  };
}

/** The fields that are not as usual, as a list of none or one. */
function unusual(value: object, usual: Readonly<Record<string, unknown>>): object[] {
  const odd = Object.entries(value).filter(
    ([name, v]) => v !== undefined && !(Object.hasOwn(usual, name) && flatData(v) === flatData(usual[name])),
  );
  return odd.length > 0 ? [Object.fromEntries(odd)] : [];
}
