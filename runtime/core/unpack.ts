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
  type Port,
  type Range,
  type Step,
  type TensorSpec,
} from "./program.ts";
import { alignTo, itemBytes, sizeOf } from "./tensor.ts";

const rowOf = (row: number | string): Expr => {
  const [op, a, b] = typeof row === "string" ? row.split(" ") : [];
  return b === undefined ? row : ([op, Number(a), Number(b)] as unknown as Expr);
};

/** What was coded as differences. */
const sums = (coded: readonly number[]): number[] => {
  let sum = 0;
  return coded.map((d) => {
    sum += d;
    return sum;
  });
};

export function unpack(packed: Packed): Artefact {
  const { inits, exprs: rows, kernels: own, calls: coded, sites, places: others, heads, ...rest } = packed;
  const kernels = own.map(([name, text, access, uniformWords, more]) => ({
    name,
    text,
    access: [...access].map((a) => (a === "r" ? ("read" as const) : ("read_write" as const))),
    uniformWords,
    ...more,
  }));
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
  // Where each tensor lies is not said again: a row and a place each.
  const exprs: Expr[] = [...rows.map(rowOf), ...specs.map((s) => s.offset)];
  const places = [...specs.map((_, i) => [Number(i >= params.length), rows.length + i] as const), ...others];
  const zero = exprs.indexOf(0);
  const kinds = sums(coded.map(([kind]) => kind));
  const calls = coded.map(([, ...row], i) => [kinds[i], ...row] as const);
  const paths = (list: readonly PackedPath[]): string[] => {
    const at = sums(list.map((p) => (typeof p === "string" ? 0 : p)));
    return list.map((p, i) => (typeof p === "string" ? p : specs[at[i]].path));
  };

  /** Ranges of one list of places after the other. */
  const placer = (): ((code: PackedPlace, bytes: number) => Range) => {
    let at = 0;
    return (code, bytes) => {
      if (code >= 0) return { buffer: "arena", slot: code, offset: zero, bytes };
      at += code % 2 ? (-1 - code) / 2 : code / 2;
      const [buffer, offset, slot]: Packed["places"][number] = places[at];
      return { buffer: BUFFERS[buffer], offset, bytes, ...(slot === undefined ? {} : { slot }) };
    };
  };
  const block = (
    rows: readonly Expr[],
    steps: readonly PackedStep[],
    range: ReturnType<typeof placer>,
  ): Block => {
    const at = sums(steps.map(([call]) => call));
    const from = sums(steps.map(([, site]) => site));
    return {
      exprs: rows,
      steps: steps.map(([, , ...rest], i): Step => {
        const [kind, x, y, ...more] = calls[at[i]];
        const label = sites[from[i]];
        const codes = rest as PackedPlace[];
        if (kind === 0) return { kind: "copy", from: range(codes[0], x), to: range(codes[1], y), label };
        if (kind === 1) return { kind: "clear", range: range(codes[0], x), label };
        if (kind === 2) {
          const [symbol, own, nested] = rest as unknown as [string, (number | string)[], PackedStep[]];
          return { kind: "loop", symbol, count: x, body: block(own.map(rowOf), nested, range), label };
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
    };
  };

  return {
    ...rest,
    params,
    state,
    programs: packed.programs.map((program) => ({
      ...program,
      kernels,
      derived: program.derived.map(([name, sources, slots, steps, derived]) => {
        return { name, sources: paths(sources), body: block(exprs, steps, placer()), slots, derived };
      }),
      entries: program.entries.map(([id, slots, steps, ports, derived]): EntryPlan => {
        const { symbols, writes, ...head } = heads[id];
        const range = placer();
        const body = block(exprs, steps, range);
        let next = 0;
        const placed = <T extends { readonly bytes: number }>({ bytes, ...port }: T) => ({
          ...port,
          range: range(ports[next++], bytes),
        });
        return {
          ...head,
          symbols: symbols.map(([name, value]) => ({ name, value })),
          solve: exprs,
          body,
          slots,
          derived,
          inputs: head.inputs.map(placed) as Port[],
          outputs: head.outputs.map(placed) as Port[],
          implicit: head.implicit.map(placed) as EntryPlan["implicit"],
          writesParams: paths(writes[0]),
          writesState: paths(writes[1]),
        };
      }),
    })),
  };
}
