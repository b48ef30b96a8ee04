// What a module holds, as an artefact again. In: packed data (program.ts). Out: the artefact; what is shared there is one
// object here.
import {
  type Artefact,
  type Block,
  BUFFERS,
  type EntryPlan,
  type Expr,
  type ExprId,
  type Packed,
  type PackedPath,
  type PackedPlace,
  type PackedStep,
  type PackedTensor,
  type Range,
  type Step,
  type TensorSpec,
} from "./program.ts";
import { alignTo, itemBytes, sizeOf } from "./tensor.ts";
import { accessOf, unfold } from "./unfold.ts";

/** `from` is the id of the first. */
const rowsOf = (rows: readonly (number | string)[], from = 0): Expr[] =>
  rows.map((row, i) => {
    const [, a, op, b] = /^(-?\d+)(\D+?)(-?\d+)$/.exec(row as string) ?? [];
    const id = (n: string): number => +n + (+n < 0 ? from + i : 0);
    return b ? ([op, id(a), id(b)] as unknown as Expr) : row;
  });

/** Counts up by what was coded as differences. */
const counter = (): ((d: number) => number) => {
  let n = 0;
  return (d) => {
    n += d;
    return n;
  };
};

const half = (code: number): number => (code % 2 ? (-1 - code) / 2 : code / 2);

export function unpack(packed: Packed): Artefact {
  const {
    texts: folded,
    inits,
    exprs: rows,
    kernels: own,
    calls: coded,
    sites,
    places: others,
    heads,
    ...rest
  } = packed;
  const kind = counter();
  const texts = folded.map(unfold);
  const words: number[] = [];
  const calls = coded.map(([k, ...row]) => {
    const what = kind(k);
    words[what - 3] = row.length;
    return [what, ...row] as const;
  });
  const kernels = own.map(([name, text, more], i) => {
    return { name, text, access: accessOf(texts[text]), uniformWords: words[i], ...more };
  });

  const tensors = (list: readonly PackedTensor[], role: TensorSpec["role"]): TensorSpec[] => {
    let end = 0;
    return list.map(([path, shape, init, more]) => {
      const usual = { path, aliases: [], dtype: "f32" as const, shape, offset: end, init: inits[init], role };
      const spec = { ...usual, bytes: sizeOf(shape) * itemBytes(more?.dtype ?? "f32"), ...more };
      end = alignTo(spec.offset + spec.bytes, 256);
      return spec;
    });
  };
  const params = tensors(packed.params, "param");
  const state = tensors(packed.state, "buffer");
  const paths = (list: readonly PackedPath[], index = [counter(), counter()]): string[] =>
    list.map((p) => (typeof p === "string" ? p : [params, state][p % 2][index[p % 2](half(p >> 1))].path));

  const exprs = rowsOf(rows);
  const zero = exprs.indexOf(0);
  const literal = (n: number): number => exprs.push(n) - 1;
  const places = [params, state].map((specs, i) =>
    specs.map((s): Range => ({ buffer: BUFFERS[i], offset: literal(s.offset), bytes: literal(s.bytes) })),
  );
  const offset = counter();
  places.push(
    others.map(([buffer, bytes, at, slot]) => ({
      buffer: BUFFERS[buffer],
      offset: slot === undefined ? literal(offset(at)) : at,
      bytes,
      ...(slot === undefined || slot < 0 ? {} : { slot }),
    })),
  );
  let before: number[] = [];

  return {
    ...rest,
    texts,
    params,
    state,
    programs: packed.programs.map(({ calls: codes, ...program }) => {
      const [site, slot, ...place] = [counter(), counter(), counter(), counter(), counter()];
      const source = [counter(), counter()];
      const range = (code: PackedPlace, slots: readonly ExprId[]): Range => {
        const of = (-1 - code) % 3;
        if (code < 0) return places[of][place[of](half((-1 - code - of) / 3))];
        const i = slot(half(code));
        return { buffer: "arena", slot: i, offset: zero, bytes: slots[i] };
      };
      const ids: number[] = [];
      const block = (
        slots: readonly ExprId[],
        steps: readonly PackedStep[],
        rows: readonly Expr[] = exprs,
        end = exprs.length,
      ): Block => ({
        exprs: rows,
        steps: steps.map(([a, ...rest]): Step => {
          const by = codes[ids.length];
          const id = by === 0 ? before[ids.length] : (ids.at(-1) ?? 0) + by - +(by > 0);
          ids.push(id);
          const [kind, x, y, ...uniforms] = calls[id];
          const label = sites[site(a)];
          if (kind === 2) {
            const [symbol, own, nested] = rest as unknown as [string, (number | string)[], PackedStep[]];
            const body = block(slots, nested, rowsOf(own, end), end + own.length);
            return { kind: "loop", symbol, count: x, body, label };
          }
          const bind = (rest as PackedPlace[]).map((place) => range(place, slots));
          if (kind === 0) return { kind: "copy", from: bind[0], to: bind[1], label };
          if (kind === 1) return { kind: "clear", range: bind[0], label };
          return {
            kind: "dispatch",
            kernel: kind - 3,
            bind,
            uniforms,
            groups: x,
            ...(y < 0 ? {} : { cost: y }),
            site: label,
          };
        }),
      });
      const unpacked = {
        ...program,
        kernels,
        derived: program.derived.map(([name, sources, slots, steps, derived], i) => ({
          name,
          sources: paths(sources, source),
          body: block(slots, steps),
          slots,
          derived: derived.map(counter()).map((back) => i - back),
        })),
        entries: program.entries.map(([id, slots, steps, ports, derived]): EntryPlan => {
          const head = heads[id];
          const body = block(slots, steps);
          let next = 0;
          const placed = <T>(port: T) => ({ ...port, range: range(ports[next++], slots) });
          return {
            ...head,
            solve: exprs,
            body,
            slots,
            derived: derived.map(counter()),
            inputs: head.inputs.map(placed),
            outputs: head.outputs.map(placed),
            implicit: head.implicit.map(placed),
            writesParams: paths(head.writesParams),
            writesState: paths(head.writesState),
          };
        }),
      };
      before = ids;
      return unpacked;
    }),
  };
}
