// What a module holds, as an artefact again. In: packed data (program.ts). Out: the artefact; what is shared there is one
// object here.
import {
  type Artefact,
  type Block,
  BUFFERS,
  type EntryPlan,
  type Expr,
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
import { unfold } from "./unfold.ts";

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

export function unpack(packed: Packed): Artefact {
  const {
    texts,
    inits,
    exprs: rows,
    accesses,
    kernels: own,
    calls: coded,
    sites,
    places: others,
    heads,
    ...rest
  } = packed;
  const kind = counter();
  const calls = coded.map(([k, ...row]) => [kind(k), ...row] as const);
  const kernels = own.map(([name, text, access, uniformWords, more]) => {
    return { name, text, access: accesses[access], uniformWords, ...more };
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
  const specs = [...params, ...state];
  const paths = (list: readonly PackedPath[], index = counter()): string[] =>
    list.map((p) => (typeof p === "string" ? p : specs[index(p)].path));

  const exprs = rowsOf(rows);
  const zero = exprs.indexOf(0);
  const literal = (n: number): number => exprs.push(n) - 1;
  type Place = Pick<Range, "buffer" | "offset" | "slot">;
  const places: Place[] = specs.map((s, i) => ({
    buffer: BUFFERS[+(i >= params.length)],
    offset: literal(s.offset),
  }));
  const offset = counter();
  for (const [buffer, at, slot] of others)
    places.push({
      buffer: BUFFERS[buffer],
      offset: slot === undefined ? literal(offset(at)) : at,
      ...(slot === undefined || slot < 0 ? {} : { slot }),
    });

  return {
    ...rest,
    texts: texts.map(unfold),
    params,
    state,
    programs: packed.programs.map((program) => {
      const [call, site, place, source, slot] = [counter(), counter(), counter(), counter(), counter()];
      const half = (code: number): number => (code % 2 ? (-1 - code) / 2 : code / 2);
      const range = (code: PackedPlace, bytes: number): Range =>
        code < 0
          ? { ...places[place(half(code))], bytes }
          : { buffer: "arena", slot: slot(half(-1 - code)), offset: zero, bytes };
      const block = (rows: readonly Expr[], steps: readonly PackedStep[], end = exprs.length): Block => ({
        exprs: rows,
        steps: steps.map(([a, b, ...rest]): Step => {
          const [kind, x, y, ...more] = calls[call(a)];
          const label = sites[site(b)];
          const codes = rest as PackedPlace[];
          if (kind === 0) return { kind: "copy", from: range(codes[0], x), to: range(codes[1], y), label };
          if (kind === 1) return { kind: "clear", range: range(codes[0], x), label };
          if (kind === 2) {
            const [symbol, own, nested] = rest as unknown as [string, (number | string)[], PackedStep[]];
            const body = block(rowsOf(own, end), nested, end + own.length);
            return { kind: "loop", symbol, count: x, body, label };
          }
          return {
            kind: "dispatch",
            kernel: kind - 3,
            bind: codes.map((code, i) => range(code, more[i])),
            uniforms: more.slice(codes.length),
            groups: x,
            ...(y < 0 ? {} : { cost: y }),
            site: label,
          };
        }),
      });
      return {
        ...program,
        kernels,
        derived: program.derived.map(([name, sources, slots, steps, derived]) => ({
          name,
          sources: paths(sources, source),
          body: block(exprs, steps),
          slots,
          derived: derived.map(counter()),
        })),
        entries: program.entries.map(([id, slots, steps, ports, derived]): EntryPlan => {
          const head = heads[id];
          const body = block(exprs, steps);
          let next = 0;
          const placed = <T extends { readonly bytes: number }>({ bytes, ...port }: T) => ({
            ...port,
            range: range(ports[next++], bytes),
          });
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
    }),
  };
}
