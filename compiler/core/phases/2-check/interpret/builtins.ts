// Functions of the language itself: list and number functions, tensors of one value, initialisers, `.eval()`.
// In: evaluated arguments. Out: a value. What is an operator on tensors is not here, but where a name is both
// (sqrt, max, floor) the static meaning is, and tensors go on to the operator.

import type { Span } from "../../../diagnostics/report.ts";
import { asConst, type Dim, dim, max as maxDim, min as minDim } from "../../../dims/dim.ts";
import type { DType } from "../../../ir/types.ts";
import { exposedOps, opNamed } from "../../../ops/index.ts";
import { full } from "../../../ops/source.ts";
import type * as ast from "../../../syntax/ast.ts";
import { INITIALIZERS } from "../instances/init.ts";
import { INIT } from "../names/modules.ts";
import { applyOperator, notNegative } from "../tensors/apply.ts";
import { isTensor } from "../tensors/tensors.ts";
import { matchArgs } from "../values/arguments.ts";
import { type Ctx, fail, failName, hold, originOf, spend } from "../values/context.ts";
import { checkRange } from "../values/ranges.ts";
import { DTYPES } from "../values/types.ts";
import {
  type ArgVal,
  asNumber,
  describe,
  floatVal,
  intVal,
  numberText,
  parts,
  tensorVal,
  type Val,
} from "../values/values.ts";
import { hostFunction } from "./schedules.ts";

type Fn = (ctx: Ctx, args: readonly ArgVal[], site: ast.Expr, name: string) => Val;

function one(
  ctx: Ctx,
  name: string,
  params: readonly string[],
  args: readonly ArgVal[],
  site: ast.Expr,
): ArgVal[] {
  const got = matchArgs(ctx, name, params, args, site.span);
  return got.map((a, i) => a ?? fail(ctx, "E0601", `${name} needs ${params[i]}`, site.span));
}
const castHelp = (v: Val, dtype: string): { help?: string } =>
  isTensor(v) ? { help: `cast a tensor by its dtype: ${dtype}(x)` } : {};
function listOf(ctx: Ctx, name: string, arg: ArgVal): readonly Val[] {
  const items = arg.val.kind === "record" ? undefined : parts(arg.val);
  // What is made of a list is at most as long.
  hold(ctx, arg.span, items?.length ?? 0);
  return items ?? fail(ctx, "E0605", `${name} takes a list, not ${describe(arg.val)}`, arg.span);
}

/** A number function on statics; sizes where `onDim` says how; tensors go to the operator of the name. */
const numeric =
  (f: (x: number) => number, integer: boolean): Fn =>
  (ctx, args, site, name) => {
    if (args.some((a) => isTensor(a.val))) return operatorCall(ctx, name, args, site);
    const [a] = one(ctx, name, ["x"], args, site);
    if (a.val.kind === "host") return hostFunction(ctx, name, [a], site);
    if (integer && a.val.kind === "int") return name === "abs" ? absolute(ctx, a) : a.val;
    const n = asNumber(a.val);
    if (n === undefined) {
      if (a.val.kind === "int")
        return fail(ctx, "E0506", `${name} of ${describe(a.val)}, which is known at the call only`, a.span, {
          help: `as a tensor: ${name}(f32(…))`,
        });
      return fail(ctx, "E0605", `${name} takes a number, not ${describe(a.val)}`, a.span);
    }
    const y = f(n);
    if (!Number.isFinite(y) && Number.isFinite(n))
      fail(ctx, "E0608", `${name}(${n}) is not finite`, site.span);
    return integer && Number.isSafeInteger(y) && name !== "abs" ? intVal(y) : floatVal(y);
  };
function absolute(ctx: Ctx, a: ArgVal): Val {
  const n = asNumber(a.val);
  return n === undefined ? fail(ctx, "E0506", `abs of ${describe(a.val)}`, a.span) : intVal(Math.abs(n));
}

/** max and min: of numbers and sizes; of two tensors element by element; of one over axes. */
const extremum =
  (elementwise: string, ofDims: (a: Dim, b: Dim) => Dim, f: (a: number, b: number) => number): Fn =>
  (ctx, args, site, name) => {
    const places = args.filter((a) => a.name === undefined).length;
    if (args.some((a) => isTensor(a.val)))
      return operatorCall(ctx, places === 2 && args.length === 2 ? elementwise : name, args, site);
    if (places !== args.length)
      fail(ctx, "E0603", `${name} of numbers takes no ${args.find((a) => a.name)?.name}`, site.span);
    const values =
      args.length === 1 ? listOf(ctx, name, args[0]).map((val) => ({ val, span: args[0].span })) : args;
    if (values.length === 0) return fail(ctx, "E0601", `${name} needs numbers`, site.span);
    return values.slice(1).reduce<Val>((acc, a) => {
      if (acc.kind === "int" && a.val.kind === "int") return intVal(ofDims(acc.dim, a.val.dim));
      if (acc.kind === "host" || a.val.kind === "host")
        return hostFunction(ctx, name, [{ val: acc, span: a.span }, a], site);
      const [x, y] = [asNumber(acc), asNumber(a.val)];
      if (x === undefined || y === undefined)
        return fail(ctx, "E0605", `${name} takes numbers, not ${describe(a.val)}`, a.span);
      return floatVal(f(x, y));
    }, values[0].val);
  };

/** An operator of the language, and not one that only the compiler writes. */
function isOperator(name: string): boolean {
  const def = opNamed(name);
  return def !== undefined && def.exposed !== false;
}

function operatorCall(ctx: Ctx, name: string, args: readonly ArgVal[], site: ast.Expr): Val {
  const def = opNamed(name);
  if (!def) return fail(ctx, "E0204", `${name} is not for tensors`, site.span);
  return applyOperator(ctx, { kind: "op", def }, args, site);
}

/** zeros(B, h), ones([n]), full([n], 0.5): tensors in a fn, initialisers in a declaration. */
const filled =
  (value: number | undefined): Fn =>
  (ctx, args, site, name) => {
    if (!ctx.trace) return initializer(ctx, name, args, site);
    const dtypeArg = args.find((a) => a.name === "dtype");
    const named = args.find(
      (a) => a.name !== undefined && a.name !== "dtype" && a.name !== "value" && a.name !== "shape",
    );
    if (named)
      fail(ctx, "E0603", `${name} has no parameter ${named.name}`, named.span, {
        help: "its parameters are the sizes and dtype",
      });
    const rest = args.filter((a) => a.name !== "dtype");
    let n = value;
    let sizes = rest;
    let kind: DType = "f32";
    if (n === undefined) {
      const last = rest.find((a) => a.name === "value") ?? rest.at(-1);
      if (!last || rest.length < 2) return fail(ctx, "E0601", "full needs a shape and a value", site.span);
      const v = last.val.kind === "bool" ? Number(last.val.value) : asNumber(last.val);
      if (v === undefined)
        return fail(ctx, "E0605", `full takes a number, not ${describe(last.val)}`, last.span);
      if (last.val.kind === "bool") kind = "bool";
      n = v;
      sizes = rest.filter((a) => a !== last);
    }
    if (dtypeArg) {
      if (dtypeArg.val.kind !== "dtype")
        fail(ctx, "E0605", `dtype is a dtype, given ${describe(dtypeArg.val)}`, dtypeArg.span);
      kind = dtypeArg.val.dtype;
    }
    if (!Number.isInteger(n) && (kind === "i32" || kind === "u32"))
      fail(ctx, "E0402", `the float ${numberText(n)} does not adapt to ${kind}`, site.span);
    checkRange(ctx, n, kind, (rest.find((a) => !sizes.includes(a)) ?? { span: site.span }).span);
    const flat =
      sizes.length === 1 && (sizes[0].val.kind === "list" || sizes[0].val.kind === "tuple")
        ? sizes[0].val.items.map((val) => ({ val, span: sizes[0].span }))
        : sizes;
    const shape = flat.map((a) => {
      if (a.val.kind !== "int") return fail(ctx, "E0505", `a size is an int, not ${describe(a.val)}`, a.span);
      if ((asConst(a.val.dim) ?? 0) < 0) fail(ctx, "E0504", `a size of ${asConst(a.val.dim)}`, a.span);
      return a.val.dim;
    });
    const { b } = ctx.trace;
    notNegative(ctx.trace, shape, `${name}: a size`, site.span);
    return tensorVal(
      b.at(originOf(ctx, site.span), () => b.make(full, [], { value: n, dtype: kind, shape })),
    );
  };

function initializer(ctx: Ctx, name: string, args: readonly ArgVal[], site: ast.Expr): Val {
  const init = INITIALIZERS[name];
  const got = matchArgs(
    ctx,
    name,
    init.params.map((p) => p.name),
    args,
    site.span,
  );
  const values = new Map(
    init.params.map((p, i) => {
      const arg = got[i];
      if (!arg) return [p.name, p.default ?? fail(ctx, "E0601", `${name} needs ${p.name}`, site.span)];
      if (p.among) {
        const word = arg.val.kind === "string" ? arg.val.value : undefined;
        if (word === undefined || !p.among.includes(word))
          failName(
            ctx,
            "E0605",
            `${name}: ${p.name} is no ${describe(arg.val)}`,
            word ?? "",
            p.among,
            arg.span,
          );
        return [p.name, word as string];
      }
      const n = asNumber(arg.val);
      return [
        p.name,
        n ?? fail(ctx, "E0605", `${name}: ${p.name} is a number, given ${describe(arg.val)}`, arg.span),
      ];
    }),
  );
  const number = (p: string): number => Number(values.get(p));
  const given = Object.assign(number, { word: (p: string) => String(values.get(p)) });
  return { kind: "init", make: (shape) => init.make(shape, given) };
}

/** print and assert are statements (tensors/asides.ts). */
const alone = (ctx: Ctx, site: ast.Expr, name: string): never =>
  fail(ctx, "E0506", `${name} has no value`, site.span, { help: "let it stand on a line of its own" });

const table: Readonly<Record<string, Fn>> = {
  identity: (ctx, args, site) => one(ctx, "identity", ["x"], args, site)[0].val,
  checkpoint: (ctx, args, site) => ({
    kind: "checkpoint",
    fn: one(ctx, "checkpoint", ["f"], args, site)[0].val,
  }),
  eval: (ctx, args, site) => {
    const v = one(ctx, "eval", ["layer"], args, site)[0].val;
    return v.kind === "instance" ? { ...v, pinned: true } : v;
  },
  /** `ntuple(3, 2)` is [3, 3], and `ntuple([3, 5], 2)` what it is given: sizes of layers, one for all axes or one for each. */
  ntuple: (ctx, args, site) => {
    if (args.length === 1) {
      const [{ val }] = args;
      return val.kind === "list" || val.kind === "tuple" ? val : { kind: "list", items: [val] };
    }
    const [x, n] = one(ctx, "ntuple", ["x", "n"], args, site);
    const count = asNumber(n.val);
    if (n.val.kind !== "int" || count === undefined || count < 0)
      return fail(ctx, "E0605", `ntuple takes a number of items, not ${describe(n.val)}`, n.span);
    if (x.val.kind !== "list" && x.val.kind !== "tuple") {
      spend(ctx, count, site);
      hold(ctx, site.span, count);
      return { kind: "list", items: Array.from({ length: count }, () => x.val) };
    }
    if (x.val.items.length !== count)
      return fail(ctx, "E0605", `${count} values are needed here, given ${x.val.items.length}`, x.span);
    return { kind: "list", items: x.val.items };
  },
  len: (ctx, args, site) => intVal(listOf(ctx, "len", one(ctx, "len", ["list"], args, site)[0]).length),
  reversed: (ctx, args, site) => ({
    kind: "list",
    items: [...listOf(ctx, "reversed", one(ctx, "reversed", ["list"], args, site)[0])].reverse(),
  }),
  enumerate: (ctx, args, site) => ({
    kind: "list",
    items: listOf(ctx, "enumerate", one(ctx, "enumerate", ["list"], args, site)[0]).map((v, i) => ({
      kind: "tuple",
      items: [intVal(i), v],
    })),
  }),
  zip: (ctx, args, site) => {
    const lists = args.map((a) => listOf(ctx, "zip", a));
    const n = lists[0]?.length ?? 0;
    lists.forEach((l, i) => {
      if (l.length !== n)
        fail(
          ctx,
          "E0605",
          `zip takes lists of one length, given ${lists.map((m) => m.length).join(" and ")}`,
          args[i].span,
        );
    });
    spend(ctx, n, site);
    hold(ctx, site.span, n * lists.length);
    return {
      kind: "list",
      items: Array.from({ length: n }, (_, i): Val => ({ kind: "tuple", items: lists.map((l) => l[i]) })),
    };
  },
  range: (ctx, args, site) => {
    const ns = args.map(
      (a) => asNumber(a.val) ?? fail(ctx, "E0506", `range takes static ints, not ${describe(a.val)}`, a.span),
    );
    if (ns.length === 0 || ns.length > 3 || ns[2] === 0)
      fail(ctx, "E0601", "range takes a stop, or a start, a stop and a step other than 0", site.span);
    const [start, stop, step] = ns.length === 1 ? [0, ns[0], 1] : [ns[0], ns[1], ns[2] ?? 1];
    const n = Math.max(0, Math.ceil((stop - start) / step));
    spend(ctx, n, site);
    hold(ctx, site.span, n);
    return { kind: "list", items: Array.from({ length: n }, (_, i) => intVal(start + i * step)) };
  },
  floor: numeric(Math.floor, true),
  ceil: numeric(Math.ceil, true),
  round: numeric((x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)), true),
  abs: numeric(Math.abs, true),
  sqrt: numeric(Math.sqrt, false),
  exp: numeric(Math.exp, false),
  log: numeric(Math.log, false),
  log2: numeric(Math.log2, false),
  sin: numeric(Math.sin, false),
  cos: numeric(Math.cos, false),
  max: extremum("maximum", maxDim, Math.max),
  min: extremum("minimum", minDim, Math.min),
  /** Of a list: its items added up, numbers or tensors, as Python's; of a tensor: over axes. */
  sum: (ctx, args, site) => {
    if (args.length !== 1 || args[0].val.kind !== "list") return operatorCall(ctx, "sum", args, site);
    const [{ span }] = args;
    const items = listOf(ctx, "sum", args[0]);
    // A sum of numbers begins with 0; one of tensors with the first of them.
    const [begin, rest] = items.some(isTensor) ? [items[0], items.slice(1)] : [intVal(0), items];
    return rest.reduce<Val>((acc, v) => {
      if (isTensor(acc) || isTensor(v))
        return operatorCall(
          ctx,
          "add",
          [acc, v].map((val) => ({ val, span })),
          site,
        );
      const [x, y] = [asNumber(acc), asNumber(v)];
      if (x === undefined || y === undefined)
        return fail(ctx, "E0605", `sum of a list takes numbers and tensors, not ${describe(v)}`, span);
      return acc.kind === "int" && v.kind === "int" ? intVal(x + y) : floatVal(x + y);
    }, begin);
  },
  /** A static number as an int or a float. */
  int: (ctx, args, site) => {
    const [a] = one(ctx, "int", ["x"], args, site);
    if (a.val.kind === "int") return a.val;
    const n = asNumber(a.val);
    return n === undefined
      ? fail(
          ctx,
          "E0605",
          `int takes a static number, not ${describe(a.val)}`,
          a.span,
          castHelp(a.val, "i32"),
        )
      : Number.isSafeInteger(Math.trunc(n))
        ? intVal(dim(Math.trunc(n)))
        : fail(ctx, "E0608", `int(${numberText(n)}) is beyond 2^53`, a.span);
  },
  float: (ctx, args, site) => {
    const [a] = one(ctx, "float", ["x"], args, site);
    const n = asNumber(a.val);
    return n === undefined
      ? fail(
          ctx,
          "E0605",
          `float takes a static number, not ${describe(a.val)}`,
          a.span,
          castHelp(a.val, "f32"),
        )
      : floatVal(n);
  },
  zeros: filled(0),
  ones: filled(1),
  full: filled(undefined),
  print: (ctx, _args, site, name) => alone(ctx, site, name),
  assert: (ctx, _args, site, name) => alone(ctx, site, name),
  grad: (ctx, _args, site) => fail(ctx, "E1102", "grad is called as grad(f, wrt = x)", site.span),
};

/** Names that the operators' list has as well and that mean an initialiser in a declaration. */
const initialisers = Object.keys(INITIALIZERS);
/** What draws as an initialiser of that name does, at each call. */
const DRAWN: ReadonlyMap<string, string> = new Map([
  ["uniform", "write rand([n, d]), which is between 0 and 1"],
  ["normal", "write randn([n, d])"],
]);

/** Numbers that no literal spells. */
export const CONSTANTS: ReadonlyMap<string, number> = new Map([
  ["inf", Number.POSITIVE_INFINITY],
  ["nan", Number.NaN],
]);

export const BUILTINS: ReadonlySet<string> = new Set([...Object.keys(table), ...initialisers]);

export function callBuiltin(ctx: Ctx, name: string, args: readonly ArgVal[], site: ast.Expr, at: Span): Val {
  const fn = Object.hasOwn(table, name) ? table[name] : undefined;
  if (fn) return fn(ctx, args, site, name);
  if (Object.hasOwn(INITIALIZERS, name)) {
    if (!ctx.trace) return initializer(ctx, name, args, site);
    if (isOperator(name)) return operatorCall(ctx, name, args, site);
    const help = DRAWN.get(name) ?? `write param w: f32[n, d] = ${name}(…) among the members`;
    return fail(ctx, "E0204", `${name} is an initialiser of params and buffers`, at, { help });
  }
  return hostFunction(ctx, name, args, site);
}

export function builtinValue(name: string): Val | undefined {
  const number = CONSTANTS.get(name);
  if (number !== undefined) return floatVal(number);
  if (BUILTINS.has(name)) return { kind: "builtin", name };
  const dtype = DTYPES.find((d) => d === name);
  if (dtype) return { kind: "dtype", dtype };
  const def = opNamed(name);
  return def && def.exposed !== false ? { kind: "op", def } : undefined;
}

/** Every name that is there without being declared. */
export function* builtinNames(): Iterable<string> {
  yield* BUILTINS;
  yield* CONSTANTS.keys();
  yield* DTYPES;
  yield "none";
  yield "training";
  for (const def of exposedOps) yield def.name;
}
/** The modules of the standard library that no file declares. */
export const builtinModule = (path: string): readonly string[] | undefined =>
  path === INIT ? initialisers : undefined;
export const isBuiltinName = (name: string): boolean =>
  name === "none" || name === "training" || builtinValue(name) !== undefined;
