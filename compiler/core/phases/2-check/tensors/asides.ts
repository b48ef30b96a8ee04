// `print(x)` and `assert(cond, "why")`: what a program says beside what it computes. In: a statement. Out: nothing in the graph;
// where the model is checked for debugging, a note of the values. What they are handed is evaluated aside: in a builder of its
// own, or in the trace where it is to be seen, without random operations, stores or names of its own that anybody else counts.
import { createBuilder } from "../../../ir/build.ts";
import type * as ast from "../../../syntax/ast.ts";
import {
  type Ctx,
  evaluate,
  fail,
  newState,
  newStores,
  note,
  recoverVal,
  type Scope,
  type Trace,
  traceOf,
} from "../values/context.ts";
import { type ArgVal, describe, NONE, type Val } from "../values/values.ts";
import { isLiteral, isTensor, toTensor } from "./tensors.ts";

type Word = "print" | "assert";

/** True for a statement that is print or assert, unless the author has called something else so. */
export const isAside = (ctx: Ctx, e: ast.Expr): boolean => wordOf(ctx, e) !== undefined;

function wordOf({ scope, module }: { scope: Scope; module: Ctx["module"] }, e: ast.Expr): Word | undefined {
  const last = e.kind === "pipe" ? e.right : e;
  const callee = last.kind === "call" ? last.callee : e.kind === "pipe" ? last : undefined;
  if (callee?.kind !== "name") return undefined;
  const { name } = callee;
  if (name !== "print" && name !== "assert") return undefined;
  return scope.find(name) || module.names.has(name) ? undefined : name;
}

/** The value of a block's last expression; `otherwise` where it has none, or is a statement as the others. */
export function blockValue(ctx: Ctx, { result }: ast.Block, otherwise: Val): Val {
  if (!result) return otherwise;
  if (!isAside(ctx, result)) return evaluate(ctx, result);
  ctx.shared.interpreter.statement(ctx, { kind: "expr_stmt", value: result, span: result.span });
  return otherwise;
}

/** The statement's value is none, or false of an assertion that is false when the model is compiled. */
export function aside(ctx: Ctx, e: ast.Expr): Val {
  const word = wordOf(ctx, e) as Word;
  const trace = traceOf(ctx, e.span, word);
  const c: Ctx = { ...ctx, trace: beside(trace, ctx.shared.watch !== undefined), stores: newStores() };
  if (!trace.seen)
    fail(
      ctx,
      "E0506",
      `an op that has a gradient of its own sees one element: ${word} stands where it is called`,
      e.span,
    );
  const last = e.kind === "pipe" ? e.right : e;
  const args: ArgVal[] = [];
  if (e.kind === "pipe") args.push({ val: evaluate(c, e.left), span: e.left.span });
  if (last.kind === "call")
    for (const { name, value } of last.args) {
      if (name) fail(ctx, "E0603", `${word} has no parameter ${name.name}`, name.span);
      args.push({ val: evaluate(c, value), span: value.span });
    }
  if (word === "assert") return assert(c, trace, args, e);
  print(c, trace, args, e);
  return NONE;
}

/** A trace for what leaves nothing behind in this one but what is to be seen. */
function beside(trace: Trace, kept: boolean): Trace {
  const own = {
    ...trace,
    seen: trace.seen && [],
    gradients: [],
    state: newState(new Map(), trace.state),
    randoms: new Map(trace.randoms),
  };
  if (kept) return own;
  const before = trace.count();
  const b = createBuilder(trace.next());
  return {
    ...own,
    b,
    slices: new Map(trace.slices),
    next: () => b.next,
    count: () => before + b.count,
    constraints: () => b.constraints,
    indexings: () => b.indexings,
  };
}

function print(ctx: Ctx, trace: Trace, args: readonly ArgVal[], e: ast.Expr): void {
  const labelled = args[0]?.val.kind === "string";
  const text = labelled ? (args[0].val as Val & { kind: "string" }).value : undefined;
  const values = labelled ? args.slice(1) : args;
  if (args.length === 0) fail(ctx, "E0601", "print needs something to print", e.span);
  const add = (name: string, v: Val, { span }: ArgVal): void => {
    if (v.kind === "record") for (const [k, x] of v.fields) add(`${name}.${k}`, x, { val: x, span });
    else if (v.kind === "list" || v.kind === "tuple")
      for (const [i, x] of v.items.entries()) add(`${name}[${i}]`, x, { val: x, span });
    else if (isTensor(v) || isLiteral(v)) say(ctx, trace, "print", name, text, toTensor(ctx, v, span), span);
    else say(ctx, trace, "print", name, [text, describe(v)].filter(Boolean).join(" "), undefined, span);
  };
  for (const a of values) add("", a.val, a);
  if (values.length === 0) say(ctx, trace, "print", "", text, undefined, e.span);
}

function assert(ctx: Ctx, trace: Trace, args: readonly ArgVal[], e: ast.Expr): Val {
  const [condition, why, more] = args;
  if (!condition) fail(ctx, "E0601", "assert needs a condition", e.span);
  if (more) fail(ctx, "E0602", `assert takes a condition and a string, given ${args.length}`, more.span);
  if (why && why.val.kind !== "string")
    fail(ctx, "E0605", `assert says a string, not ${describe(why.val)}`, why.span);
  const text = why?.val.kind === "string" ? why.val.value : undefined;
  const { val, span } = condition;
  if (val.kind === "bool") {
    if (val.value) note(ctx, span, val);
    else recoverVal(() => fail(ctx, "E0611", text ?? "assertion failed", span, { label: "is false" }));
    return val;
  }
  const value = isTensor(val) ? toTensor(ctx, val, span) : undefined;
  if (value?.type.dtype !== "bool")
    fail(ctx, "E0605", `assert takes a condition, not ${describe(val)}`, span, {
      help: "a comparison, or a tensor of them: assert(x > 0)",
    });
  say(ctx, trace, "assert", "", text, value, span);
  return NONE;
}

function say(
  ctx: Ctx,
  trace: Trace,
  kind: Word,
  name: string,
  text: string | undefined,
  value: ReturnType<typeof toTensor> | undefined,
  span: ArgVal["span"],
): void {
  if (!ctx.shared.watch) return;
  const { path } = ctx;
  trace.seen?.push({ kind, name, ...(text === undefined ? {} : { text }), value, passes: 0, span, path });
}
