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
import { accessOf } from "../../../../runtime/core/unfold.ts";
import { bytesPer } from "../../ir/data.ts";
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
/** From 0 on. */
const above = (d: number): number => (d < 0 ? -1 - 2 * d : 2 * d);

const coded = (list: readonly number[]): number[] => {
  const coder = new Coder();
  return list.map((n) => coder.code(n));
};

type Place = Packed["places"][number];
const isLiteral = (place: Place): boolean => place.length === 3;

/** What is counted through the blocks of a program. */
interface Writer extends Readonly<Record<"site" | "slot", Coder>> {
  /** Of parameters, of state, of others. */
  readonly place: readonly Coder[];
  /** Of parameters, of state. */
  readonly path: readonly Coder[];
  /** By the program's own numbers. */
  readonly kernelAt: readonly number[];
  /** In the order in which they are said: of the program before, and of this one; and how they are said. */
  readonly before: readonly number[];
  readonly calls: number[];
  readonly codes: number[];
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
  /** Where the rows of loops begin: first beyond all others, so that none of theirs is taken for one of a loop's. */
  let inLoops = 2 ** 40;

  const specs = [...artefact.params, ...artefact.state];
  /** Whether it is state (0, 1), and its index there. */
  const told = (i: number): readonly [number, number] =>
    i < artefact.params.length ? [0, i] : [1, i - artefact.params.length];
  const indexOf = new Map(specs.map(({ path }, i) => [path, told(i)]));
  const paths = (
    list: readonly string[],
    coders: readonly Coder[] = [new Coder(), new Coder()],
  ): PackedPath[] =>
    list.map((path) => {
      const [of, i] = indexOf.get(path) ?? [];
      return of === undefined ? path : 2 * above(coders[of].code(i as number)) + of;
    });

  // Parameters and state have a place each, before the others.
  const placeOf = new Map(
    specs.map(({ offset, bytes }, i) => [`${BUFFERS[told(i)[0]]} ${offset} ${bytes}`, told(i)]),
  );
  const placeIn = (
    w: Writer,
    { buffer, slot, offset, bytes }: Range,
    ids: Ids,
    slots: readonly ExprId[],
  ): PackedPlace => {
    const literal = ids.row(offset);
    const code = (of: number, i: number): PackedPlace => -1 - (3 * above(w.place[of].code(i)) + of);
    if (slot === undefined) {
      const known = placeOf.get(`${buffer} ${literal} ${ids.row(bytes)}`);
      if (known) return code(...known);
    } else if (buffer === "arena" && literal === 0 && ids(bytes) === slots[slot])
      return above(w.slot.code(slot));
    const where = BUFFERS.indexOf(buffer);
    const plain = slot === undefined && typeof literal === "number";
    const place: Place = plain ? [where, ids(bytes), literal] : [where, ids(bytes), ids(offset), slot ?? -1];
    return code(2, places.id(place));
  };

  const steps = (
    list: readonly Step[],
    ids: Ids,
    w: Writer,
    /** Bytes of slots. */
    slots: readonly ExprId[],
    /** The row after the last one in force. */
    end = inLoops,
  ): PackedStep[] => {
    const place = (range: Range): PackedPlace => placeIn(w, range, ids, slots);
    const head = (row: readonly number[], label: string): number => {
      const id = calls.id(row);
      const by = id - (w.calls.at(-1) ?? 0);
      w.codes.push(w.before[w.calls.length] === id ? 0 : by < 0 ? by : by + 1);
      w.calls.push(id);
      return w.site.code(sites.id(label));
    };
    // biome-ignore lint/suspicious/useIterableCallbackReturn: every kind of step returns
    return list.map((s: Step): PackedStep => {
      switch (s.kind) {
        case "dispatch": {
          const { kernel, groups, cost, bind, uniforms, site: label } = s;
          const row = [
            3 + w.kernelAt[kernel],
            ids(groups),
            cost === undefined ? -1 : ids(cost),
            ...uniforms.map(ids),
          ];
          return [head(row, label), ...bind.map(place)];
        }
        case "copy":
          return [head([0], s.label), place(s.from), place(s.to)];
        case "clear":
          return [head([1], s.label), place(s.range)];
        case "loop": {
          const { count, label, symbol, body } = s;
          const begin = head([2, ids(count)], label);
          const own: Expr[] = [];
          const inner = renumbered(body.exprs, (e) => end + own.push(e) - 1, ids);
          // All of them now: a loop in the loop counts on.
          for (let id = ids.end; id < inner.end; id++) inner(id);
          const nested = steps(body.steps, inner, w, slots, end + own.length);
          return [begin, symbol, rowsOf(own, end), nested];
        }
      }
    });
  };
  /** Slots and steps. */
  const block = (b: Block, bytes: readonly ExprId[], w: Writer) => {
    const ids = idsIn(b.exprs);
    const slots = bytes.map(ids);
    return [slots, steps(b.steps, ids, w, slots)] as const;
  };

  const entry = (e: EntryPlan, w: Writer) => {
    const { symbols, solve, checks, body, inputs, outputs, slots, implicit, derived, ...rest } = e;
    const { writesParams, writesState, ...head } = rest;
    const ids = idsIn(body.exprs);
    const port = ({ range: _, ...p }: EntryPlan["inputs"][number]) => ({
      ...p,
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
      implicit: implicit.map(({ range: _, ...i }) => i),
      writesParams: paths(writesParams),
      writesState: paths(writesState),
    });
    const packed = block(body, slots, w);
    const ports = [...inputs, ...outputs, ...implicit].map((p) => placeIn(w, p.range, ids, packed[0]));
    return [id, ...packed, ports, coded(derived)] as const;
  };

  /** Kernels that are dispatched with as many words as they say. */
  const called = new Set<string>();
  for (const { kernels, derived, entries } of artefact.programs) {
    const visit = (list: readonly Step[]): void => {
      for (const s of list) {
        if (s.kind === "dispatch" && kernels[s.kernel].uniformWords === s.uniforms.length + 2)
          called.add(flatData(kernels[s.kernel]));
        if (s.kind === "loop") visit(s.body.steps);
      }
    };
    for (const { body } of [...derived, ...entries]) visit(body.steps);
  }
  const kernelRow = (kernel: Kernel): PackedKernel => {
    const { name, text, uniformWords, ...rest } = kernel;
    const said = called.has(flatData(kernel)) ? rest : { uniformWords, ...rest };
    return [
      name,
      text,
      ...unusual(said, { access: accessOf(artefact.texts[text]) }),
    ] as unknown as PackedKernel;
  };

  let before: readonly number[] = [];

  const program = (p: Program): Packed["programs"][number] => {
    const { kernels: own, entries, derived, ...rest } = p;
    const w: Writer = {
      kernelAt: own.map((k) => kernels.id(kernelRow(k))),
      before,
      calls: [],
      codes: [],
      site: new Coder(),
      place: [new Coder(), new Coder(), new Coder()],
      path: [new Coder(), new Coder()],
      slot: new Coder(),
    };
    const unit = (u: Program["derived"][number], i: number) => {
      const earlier = coded(u.derived.map((d) => i - d));
      return [u.name, paths(u.sources, w.path), ...block(u.body, u.slots, w), earlier] as const;
    };
    const units = derived.map(unit);
    const packed = { ...rest, derived: units, entries: entries.map((e) => entry(e, w)), calls: w.codes };
    before = w.calls;
    return packed;
  };

  const tensors = (list: readonly TensorSpec[], usual: TensorSpec["role"]): PackedTensor[] => {
    let end = 0;
    return list.map((spec) => {
      const { path, shape, init, ...rest } = spec;
      const bytes = shape.reduce((n, d) => n * d, 1) * bytesPer(spec.dtype);
      const usually = { aliases: [], dtype: "f32", offset: end, bytes, role: usual };
      end = Math.ceil((spec.offset + spec.bytes) / 256) * 256;
      return [path, shape, inits.id(init), ...unusual(rest, usually)] as unknown as PackedTensor;
    });
  };

  // Twice, because rows of loops are numbered from where those of all blocks end.
  artefact.programs.forEach(program);
  inLoops = exprs.rows.length + 2 * specs.length + places.rows.filter(isLiteral).length;
  for (const table of [calls, sites, places, heads]) table.clear();
  before = [];
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
    kernels: kernels.rows,
    calls: calls.rows.map(([kind, ...row]) => [kinds.code(kind), ...row]),
    sites: sites.rows,
    places: places.rows.map((p) => (p.length === 3 ? [p[0], p[1], offsets.code(p[2])] : p)),
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
