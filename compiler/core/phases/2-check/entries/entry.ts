// Entries: a model's public fns as graphs. In: a fn and the model's instance. Out: a CheckedEntry; the inputs it binds are those
// a train block binds, too.
import { asConst, dim, print, sym, symbols } from "../../../dims/dim.ts";
import type { Attrs, Constraint, Graph, TensorType, Value } from "../../../ir/types.ts";
import type { CheckedEntry, PortInfo, Sight } from "../../../model.ts";
import { input as inputOp } from "../../../ops/source.ts";
import type * as ast from "../../../syntax/ast.ts";
import { finish, frame, tensorType } from "../interpret/call.ts";
import { evalBlock, evalExpr } from "../interpret/expr.ts";
import { dimText, isSymbolName } from "../names/symbols.ts";
import { checkSize, toTensor } from "../tensors/tensors.ts";
import {
  baseCtx,
  type Ctx,
  Failed,
  fail,
  LIMITS,
  note,
  type Shared,
  see,
  spendGraph,
  type Trace,
  withDims,
} from "../values/context.ts";
import { bindSymbol, declaredType, introduces, lineOf, openSymbols, shapeTexts } from "../values/types.ts";
import {
  type ArgVal,
  describe,
  type FnVal,
  type Instance,
  intVal,
  NONE,
  tensorVal,
  type Val,
} from "../values/values.ts";
import { type Solved, untilSolved } from "./solve.ts";
import { newTrace, seal } from "./trace.ts";

interface Traced {
  readonly graph: Graph;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly constraints: readonly Constraint[];
  readonly seen: readonly Sight[] | undefined;
}

export function checkEntry(shared: Shared, model: Instance, decl: ast.FnDecl): CheckedEntry {
  const traced = untilSolved(shared.table, (solved) => traceEntry(shared, model, decl, solved));
  return {
    name: decl.name.name,
    ...(decl.doc === undefined ? {} : { doc: decl.doc }),
    graph: traced.graph,
    inputs: traced.inputs,
    outputs: traced.outputs,
    ...(traced.seen ? { seen: traced.seen } : {}),
    span: decl.name.span,
  };
}

/** The inputs of a graph by their names. */
export type Ports = Map<string, PortInfo & { readonly value: Value }>;

/** Binds a model's fn to inputs of the graph. Inputs made before by the same name are the same. */
export function bindEntry(
  ctx: Ctx,
  trace: Trace,
  decl: ast.FnDecl,
  solved: Solved,
  ports: Ports,
  given: ReadonlyMap<string, ArgVal> = new Map(),
): void {
  const tensors: { p: ast.Param; type: ast.TensorType }[] = [];
  for (const p of decl.params) {
    const type = tensorType(p.type);
    if (!type) continue;
    if (p.type.kind === "optional_type" && p.default) {
      ctx.scope.names.set(p.name.name, { val: NONE, kind: "param", span: p.name.span });
      continue;
    }
    tensors.push({ p, type });
  }
  // Sizes may name what is static, wherever it stands among the parameters.
  for (const p of decl.params) {
    if (tensorType(p.type)) continue;
    if (ctx.scope.names.has(p.name.name)) fail(ctx, "E0202", `${p.name.name} is bound twice`, p.name.span);
    const val = bindStaticInput(ctx, trace, decl, p, solved, ports, given.get(p.name.name));
    ctx.scope.names.set(p.name.name, { val, kind: "param", span: p.name.span });
    note(ctx, p.name.span, val);
  }
  entrySymbols(ctx, trace, tensors, solved);
  if ([...ctx.scope.names.values()].filter((b) => b.kind === "symbol").length > LIMITS.symbols)
    fail(ctx, "E1010", `${decl.name.name} has more than ${LIMITS.symbols} symbols`, decl.name.span);
  for (const tensor of tensors) {
    const { p } = tensor;
    if (ctx.scope.names.has(p.name.name)) fail(ctx, "E0202", `${p.name.name} is bound twice`, p.name.span);
    const { type, boundary } = declaredType(ctx, tensor.type);
    const text = shapeTexts(tensor.type, type.shape);
    const before = ports.get(p.name.name);
    // A lower-case size has been told of; what it would be in another fn is not known.
    if (
      before &&
      [...before.type.shape, ...type.shape].some((d) =>
        [...symbols(d)].some((s) => !isSymbolName(s) && !ports.get(s)?.counts),
      )
    )
      throw new Failed("size");
    checkSize(ctx, type, p.type.span);
    if (type.shape.some((d) => (asConst(d) ?? 0) < 0))
      fail(ctx, "E0504", `${p.name.name} has a negative size`, p.type.span);
    if (
      before &&
      (before.type.dtype !== type.dtype ||
        before.type.shape.map(print).join() !== type.shape.map(print).join())
    )
      fail(
        ctx,
        "E0307",
        `${p.name.name} is ${type.dtype}[${text.join(", ")}] here and ${before.type.dtype}[${before.shapeText.join(", ")}] elsewhere in this block`,
        p.span,
        {
          secondary: [{ span: before.span, text: "elsewhere" }],
        },
      );
    let value = before?.value;
    if (!value) {
      value = inputOf(trace, p, type);
      ports.set(p.name.name, {
        name: p.name.name,
        type,
        ...(boundary ? { boundary } : {}),
        shapeText: text,
        span: p.span,
        value,
      });
    }
    ctx.scope.names.set(p.name.name, { val: tensorVal(value), kind: "param", span: p.name.span });
    note(ctx, p.name.span, tensorVal(value));
  }
}

/** A static parameter: what is given, its default, or an `int` that the call gives, which is a size. */
function bindStaticInput(
  ctx: Ctx,
  trace: Trace,
  decl: ast.FnDecl,
  p: ast.Param,
  solved: Solved,
  ports: Ports,
  arg: ArgVal | undefined,
): Val {
  const { name } = p.name;
  if (arg) return arg.val;
  if (p.default) return evalExpr(ctx, p.default);
  if (p.type.kind !== "static_type" || p.type.name.name !== "int")
    return fail(
      ctx,
      "E0601",
      `the entry ${decl.name.name} has a static parameter ${name} without default`,
      p.span,
      { help: "give it a default, or make the fn private" },
    );
  const before = ports.get(name);
  if (before && !before.counts)
    fail(ctx, "E0307", `${name} is an int here and a tensor elsewhere in this block`, p.span, {
      secondary: [{ span: before.span, text: "elsewhere" }],
    });
  if (!before) {
    const type: TensorType = { dtype: "i32", shape: [] };
    const value = inputOf(trace, p, type, { counts: true });
    ports.set(name, { name, type, counts: true, shapeText: [], span: p.span, value });
    trace.b.require({
      left: sym(name),
      relation: ">=",
      right: dim(0),
      message: `${name} is a count, given by the host: 0 or more`,
      span: p.span,
    });
  }
  return intVal(solved.get(name) ?? sym(name));
}

function inputOf(trace: Trace, p: ast.Param, type: TensorType, more: Attrs = {}): Value {
  const attrs = { name: p.name.name, dtype: type.dtype, shape: [...type.shape], ...more };
  const value = trace.b.at({ span: p.span, path: "", calls: [], derived: [] }, () =>
    trace.b.make(inputOp, [], attrs, p.name.name),
  );
  trace.inputs.push(value.node);
  return value;
}

/**
 * Symbols come into being in the sizes of an entry's inputs: by a size that is the symbol, or that is linear in one symbol
 * that nothing else binds. The call solves them the same way (8-plan).
 */
function entrySymbols(
  ctx: Ctx,
  trace: Trace,
  tensors: readonly { readonly p: ast.Param; readonly type: ast.TensorType }[],
  solved: Solved,
): void {
  const bind = (name: string, span: ast.Expr["span"]): void =>
    bindSymbol(ctx, name, solved.get(name) ?? sym(name), span);
  const sizes = tensors.flatMap(({ type }) => type.dims.filter((d) => d.kind !== "ellipsis"));
  for (const d of sizes) if (introduces(ctx, d) && !ctx.scope.names.has(d.name)) bind(d.name, d.span);
  for (let again = true; again; ) {
    again = false;
    for (const d of sizes) {
      const open = openSymbols(ctx, d);
      const line = open.length === 1 ? lineOf(ctx, d, open[0]) : undefined;
      const coef = line && asConst(line.coef);
      if (!line || !coef) continue;
      bind(open[0], d.span);
      again = true;
      // H + 5 of 3 elements is none.
      if (asConst(line.rest) !== 0 || coef < 0)
        trace.b.require({
          left: sym(open[0]),
          relation: ">=",
          right: dim(0),
          message: `${dimText(d)} leaves no size for ${open[0]}`,
          span: d.span,
        });
    }
  }
}

function traceEntry(shared: Shared, model: Instance, decl: ast.FnDecl, solved: Solved): Traced {
  const trace = newTrace(decl.name.name);
  const fn: FnVal = { kind: "fn", decl, module: model.module, self: model, pinned: false };
  const ctx: Ctx = { ...frame({ ...baseCtx(shared, model.module), trace, mode: "eval" }, fn) };
  const ports: Ports = new Map();
  shared.depth = 0;
  shared.iterations = 0;
  return spendGraph(shared, trace, () => {
    bindEntry(ctx, trace, decl, solved, ports);
    const val = finish(ctx, decl, evalBlock(ctx, decl.body));
    const results = withDims(ctx, decl.name.span, () => resultsOf(ctx, decl, val));
    for (const { name, value, port } of results) see(ctx, name, tensorVal(value), port.span);
    return {
      ...seal(ctx, trace, results),
      inputs: [...ports.values()].map(({ value: _, ...port }) => port),
      outputs: results.map((r) => r.port),
      seen: shared.watch && trace.seen,
    };
  });
}

interface Result {
  readonly name: string;
  readonly value: Value;
  readonly port: PortInfo;
}

/** What an entry gives: a record by its names, a single value by the entry's. */
function resultsOf(ctx: Ctx, decl: ast.FnDecl, val: Val): Result[] {
  const span = decl.body.result?.span ?? decl.name.span;
  const declared = (name: string): ast.TensorType | undefined => {
    const r = decl.result;
    if (r?.kind !== "record_type") return r?.kind === "tensor_type" ? r : undefined;
    const f = r.fields.find((x) => x.name.name === name);
    return f ? tensorType(f.type) : undefined;
  };
  const one = (name: string, v: Val): Result => {
    const value = toTensor(ctx, v, span);
    const type = declared(name);
    return {
      name,
      value,
      port: {
        name,
        type: value.type,
        shapeText: shapeTexts(type, value.type.shape),
        span: type?.span ?? span,
      },
    };
  };
  const { name } = decl.name;
  if (val.kind === "record") return [...val.fields].map(([k, v]) => one(k, v));
  if (val.kind === "tuple" || val.kind === "list")
    return fail(ctx, "E0303", `the entry ${name} gives ${describe(val)}, whose parts have no names`, span, {
      help: "give a record: (a = …, b = …)",
    });
  if (val.kind === "none") {
    // An entry may do nothing but store.
    if (ctx.trace && ctx.trace.state.written.size > 0) return [];
    return fail(ctx, "E0303", `the entry ${name} gives nothing`, decl.name.span);
  }
  return [one(name, val)];
}
