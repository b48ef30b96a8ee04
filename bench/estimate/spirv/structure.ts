// Structured control flow of SPIR-V, walked for a language with labelled blocks and loops. In: a module and a language. Out: a
// function's text. Both translations (cuda.ts, trace.ts) are of this shape; they differ in words.
import {
  BINARY,
  type Block,
  type Id,
  type Instruction,
  numberOf,
  Op,
  type SpirvFunction,
  type SpirvModule,
} from "./module.ts";

export interface Language {
  /** An operand. */
  value(id: Id): string;
  instruction(out: string[], x: Instruction, f: SpirvFunction): void;
  /** The head of a loop. `count` is about how far it counts, from the text alone; 0 where only the call says. */
  loop(out: string[], f: SpirvFunction, label: Id, count: number, merge: Id): void;
  /** At the end of a turn. */
  turn(out: string[]): void;
  /** Behind a loop. */
  left(out: string[], merge: Id): void;
  /** Around what is left by a jump to `label`. */
  open(out: string[], label: Id): void;
  close(out: string[], label: Id): void;
  leave(label: Id): string;
  unreachable(f: SpirvFunction): string;
}

/** The text of a function's body, and its phis: each has two variables, `v` and, for the way in, `p`. */
export function bodyOf(
  m: SpirvModule,
  f: SpirvFunction,
  lang: Language,
): { text: string; phis: Instruction[] } {
  const out: string[] = [];
  const phis = new Map<Id, Instruction[]>();
  for (const b of f.blocks.values()) {
    const own = b.list.filter((x) => x.op === Op.Phi);
    if (own.length > 0) phis.set(b.label, own);
  }
  // Labels that lie further on, each with the words that lead there; the last one is the nearest.
  const pending: { readonly label: Id; readonly how: string }[] = [];
  const open = new Set<Block>();

  const jump = (from: Id, to: Id, stop: Id | undefined): void => {
    for (const { id, args } of phis.get(to) ?? [])
      for (let i = 0; i < args.length; i += 2)
        if (args[i + 1] === from) out.push(`p${id} = ${lang.value(args[i])};`);
    if (to !== stop) go(to, stop);
  };
  const go = (to: Id, stop: Id | undefined): void => {
    const known = pending.findLast((p) => p.label === to);
    if (known) out.push(known.how);
    else write(to, stop);
  };

  const loop = (b: Block, merge: Id, next: Id, stop: Id | undefined): void => {
    open.add(b);
    lang.loop(out, f, b.label, countOf(m, f, b), merge);
    pending.push(
      { label: merge, how: lang.leave(merge) },
      { label: next, how: lang.leave(next) },
      { label: b.label, how: "continue;" },
    );
    lang.open(out, next);
    const depth = pending.length;
    write(b.label, next);
    pending.length = depth;
    lang.close(out, next);
    lang.turn(out);
    pending.splice(
      pending.findIndex((p) => p.label === next),
      1,
    );
    if (next !== b.label) write(next, b.label);
    out.push("}");
    pending.length = depth - 3;
    lang.left(out, merge);
    open.delete(b);
    if (merge !== stop) go(merge, stop);
  };

  const write = (label: Id, stop: Id | undefined): void => {
    const b = f.blocks.get(label)!;
    if (b.loop && !open.has(b)) {
      loop(b, b.loop.merge, b.loop.next, stop);
      return;
    }
    for (const { id } of phis.get(label) ?? []) out.push(`v${id} = p${id};`);
    for (const x of b.list) if (x.op !== Op.Phi) lang.instruction(out, x, f);
    const { op, args } = b.end;
    if (op === Op.Return) out.push("return;");
    else if (op === Op.ReturnValue) out.push(`return ${lang.value(args[0])};`);
    else if (op === Op.Unreachable || op === Op.Kill) out.push(lang.unreachable(f));
    else if (op === Op.Branch) jump(label, args[0], stop);
    else select(b, stop);
  };

  const select = (b: Block, stop: Id | undefined): void => {
    const merge = b.select !== undefined && !pending.some((p) => p.label === b.select) ? b.select : undefined;
    const wraps = merge !== undefined && merge !== stop;
    if (wraps) {
      pending.push({ label: merge, how: lang.leave(merge) });
      lang.open(out, merge);
    }
    const end = merge ?? stop;
    const { op, args } = b.end;
    if (op === Op.BranchConditional) {
      out.push(`if (${lang.value(args[0])}) {`);
      jump(b.label, args[1], end);
      out.push("} else {");
      jump(b.label, args[2], end);
      out.push("}");
    } else {
      const cases = new Map<Id, number[]>();
      for (let i = 2; i < args.length; i += 2)
        cases.set(args[i + 1], [...(cases.get(args[i + 1]) ?? []), args[i]]);
      cases.delete(args[1]);
      for (const [to, values] of cases) {
        out.push(`if (${values.map((v) => `${lang.value(args[0])} == ${v}`).join(" || ")}) {`);
        jump(b.label, to, end);
        out.push("} else ");
      }
      out.push("{");
      jump(b.label, args[1], end);
      out.push("}");
    }
    if (!wraps) return;
    lang.close(out, merge);
    pending.splice(
      pending.findLastIndex((p) => p.label === merge),
      1,
    );
    write(merge, stop);
  };

  write(f.first, undefined);
  return { text: out.join("\n"), phis: [...phis.values()].flat() };
}

/** Functions, callees first. */
export function calleesFirst(m: SpirvModule): SpirvFunction[] {
  const order = new Set<Id>();
  const visit = (id: Id): void => {
    if (order.has(id)) return;
    for (const b of m.functions.get(id)!.blocks.values())
      for (const x of b.list) if (x.op === Op.FunctionCall) visit(x.args[0]);
    order.add(id);
  };
  visit(m.entry);
  return [...order].map((id) => m.functions.get(id)!);
}

/**
 * How far a loop counts, roughly, where its bound is a constant and its variable only ever gets constants, or itself and a
 * constant; 0 for other loops.
 */
function countOf(m: SpirvModule, f: SpirvFunction, head: Block): number {
  const made = m.madeBy;
  const stores = [...f.blocks.values()].flatMap((b) => b.list.filter((x) => x.op === Op.Store));
  let condition: Id | undefined;
  let b: Block | undefined = head;
  for (let n = 0; n < 6 && b; n++) {
    if (
      b.end.op === Op.BranchConditional &&
      (b.end.args.includes(head.loop!.merge) || b.select !== undefined)
    ) {
      condition = b.end.args[0];
      break;
    }
    b = b.end.op === Op.Branch ? f.blocks.get(b.end.args[0]) : undefined;
  }
  let c = condition === undefined ? undefined : made.get(condition);
  while (c?.op === Op.LogicalNot) c = made.get(c.args[0]);
  if (!c || !BINARY[c.op] || c.args.length !== 2) return 0;
  const arithmetic = new Set<number>([Op.IAdd, Op.ISub, Op.IMul, 194, 195, 196]);
  /** The variable that only ever gets constants, or itself plus a constant. */
  const counts = (variable: Id): boolean =>
    made.get(variable)?.op === Op.Variable &&
    stores
      .filter((s) => s.args[0] === variable)
      .every(({ args: [, value] }) => {
        const x = made.get(value);
        if (m.constants.has(value) || x?.op === Op.Bitcast) return true;
        const own = (id: Id): boolean => {
          const y = made.get(id);
          return m.constants.has(id) || y?.op === Op.Bitcast || (y?.op === Op.Load && y.args[0] === variable);
        };
        return x !== undefined && arithmetic.has(x.op) && x.args.every(own);
      });
  const known = (id: Id, depth = 0): boolean => {
    if (m.constants.has(id)) return true;
    const x = made.get(id);
    if (!x || depth > 6) return false;
    if (x.op === Op.Load) return counts(x.args[0]);
    const through = x.op === Op.Bitcast || x.op === Op.IAdd || x.op === Op.ISub || x.op === Op.IMul;
    return through && x.args.every((id) => known(id, depth + 1));
  };
  return c.args.every((id) => known(id)) ? Math.max(1, ...c.args.map((id) => numberOf(m.constants, id))) : 0;
}
