// An artefact with nothing shared: every index replaced by what it names, so that two artefacts that say the same are equal
// however their tables are numbered. In: an artefact. Out: plain data.
import type { Artefact, Block, Expr, Program, Range } from "../../runtime/core/program.ts";

export function spelled(artefact: Artefact): unknown {
  const { programs, texts, ...rest } = artefact;
  return { ...rest, programs: programs.map((p) => spelledProgram(p, texts)) };
}

function spelledProgram(program: Program, texts: readonly string[]): unknown {
  const { kernels, entries, derived, ...rest } = program;
  const row = (rows: readonly Expr[], id: number): unknown => {
    const e = rows[id];
    return typeof e === "object" ? [e[0], row(rows, e[1]), row(rows, e[2])] : e;
  };
  const block = ({ exprs, steps }: Block, outer: readonly Expr[]): unknown => {
    const rows = [...outer, ...exprs];
    const at = (id: number): unknown => row(rows, id);
    const range = ({ offset, bytes, ...where }: Range) => ({
      ...where,
      offset: at(offset),
      bytes: at(bytes),
    });
    return steps.map((s) => {
      if (s.kind === "loop") return { ...s, count: at(s.count), body: block(s.body, rows) };
      if (s.kind === "clear") return { ...s, range: range(s.range) };
      if (s.kind === "copy") return { ...s, from: range(s.from), to: range(s.to) };
      const { kernel, bind, uniforms, groups, cost } = s;
      return {
        ...s,
        kernel: { ...kernels[kernel], text: texts[kernels[kernel].text] },
        bind: bind.map(range),
        uniforms: uniforms.map(at),
        groups: at(groups),
        cost: cost === undefined ? undefined : at(cost),
      };
    });
  };
  return {
    ...rest,
    derived: derived.map((u) => ({
      ...u,
      slots: u.slots.map((id) => row(u.body.exprs, id)),
      body: block(u.body, []),
    })),
    entries: entries.map((e) => {
      const at = (id: number): unknown => row(e.body.exprs, id);
      const placed = <T extends { readonly range: Range }>({ range, ...port }: T) => ({
        ...port,
        range: { ...range, offset: at(range.offset), bytes: at(range.bytes) },
      });
      const port = (p: (typeof e.inputs)[number]) => ({
        ...placed(p),
        shape: p.shape.map(at),
        indexes: p.indexes?.map((x) => ({ ...x, extent: at(x.extent), part: x.part?.map((a) => a.map(at)) })),
      });
      return {
        ...e,
        solve: undefined,
        symbols: e.symbols.map(({ name, value }) => ({ name, value: row(e.solve, value) })),
        checks: e.checks.map((c) => ({ ...c, left: at(c.left), right: at(c.right) })),
        body: block(e.body, []),
        slots: e.slots.map(at),
        inputs: e.inputs.map(port),
        outputs: e.outputs.map(port),
        implicit: e.implicit.map(placed),
      };
    }),
  };
}
