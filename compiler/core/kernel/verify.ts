// What must hold of every kernel, whatever schedule made it. In: kernel code, and what its target's backend asks. Out:
// nothing, or an InternalError that names the kernel and the rule. Runs where `verify` is asked for (tests), after
// scheduling: what is wrong here would else be a text that some device refuses, or one that it takes and runs wrongly.
import { InternalError } from "../diagnostics/index.ts";
import type { DType } from "../ir/types.ts";
import {
  type CodeFunction,
  declaredWidth,
  type KernelCode,
  literalOf,
  type MatrixPlace,
  type MatrixType,
  partsOf,
  type SharedArray,
  type Stmt,
  type Width,
  type X,
} from "./code.ts";
import { functionArity } from "./functions.ts";
import type { Words } from "./names.ts";

/** Limits of a kernel, by their names in WebGPU; `maxUniformWords` counts the two that say which workgroups run, too. */
export type KernelLimit =
  | "maxStorageBuffersPerShaderStage"
  | "maxStorageBufferBindingSize"
  | "maxUniformBufferBindingSize"
  | "maxUniformWords"
  | "maxComputeWorkgroupStorageSize"
  | "maxComputeInvocationsPerWorkgroup";

/** What a kernel is held to. */
export interface KernelRules {
  readonly limit: (name: KernelLimit) => number;
  readonly words: Words;
  /** Bytes of one number in memory that a workgroup shares. */
  readonly bytesOf: (dtype: DType) => number;
}

const INTEGERS: Partial<Record<DType, readonly [number, number]>> = {
  i32: [-2147483648, 2147483647],
  u32: [0, 4294967295],
  bool: [0, 1],
};
const LARGEST: Partial<Record<DType, number>> = { f32: 3.4028234663852886e38, f16: 65504 };

interface Known {
  readonly what: "buffer" | "shared" | "function" | "let" | "var" | "array" | "loop" | "override" | "matrix";
  readonly dtype?: DType;
  readonly width?: Width;
  /** Elements of an array. */
  readonly size?: number;
  readonly matrix?: MatrixType;
}
/** Bytes that where a matrix begins, and each of its lines, is a multiple of. */
const MATRIX_ALIGNMENT = 16;
const LANE: Known = { what: "let", dtype: "i32", width: 1 };

/** The same for all threads of a workgroup, by its spelling: the number of the workgroup, words and literals. */
const alike = (x: X): boolean =>
  x.k === "var"
    ? x.name === "group"
    : (x.k === "uniform" || x.k === "override" || x.k === "lit" || x.k === "bin") && partsOf(x).every(alike);

/** What arrays take of a workgroup's memory. */
export const sharedBytes = (
  arrays: readonly Pick<SharedArray, "dtype" | "width" | "size">[],
  bytesOf: KernelRules["bytesOf"],
): number => arrays.reduce((sum, a) => sum + Math.ceil((a.size * a.width * bytesOf(a.dtype)) / 16) * 16, 0);

export function verifyKernel(k: KernelCode, { limit, words, bytesOf }: KernelRules): void {
  const fail = (rule: string): never => {
    throw new InternalError("schedule", `kernel ${k.name} (${k.family}): ${rule}`);
  };
  const most = (what: string, has: number, name: KernelLimit): void => {
    if (has > limit(name)) fail(`${what}: ${has}, and ${name} is ${limit(name)}`);
  };
  const legal = (name: string): void => {
    if (!/^(?!__)[A-Za-z_]\w*$/.test(name) || name === "_") fail(`${name} is no identifier`);
    if (words.reserved.has(name)) fail(`${name} is a word of the language or of its printer`);
  };

  // --- limits
  most("storage buffers", k.buffers.length, "maxStorageBuffersPerShaderStage");
  const uniforms = 2 + k.uniforms.length;
  most("bytes of uniforms", 4 * uniforms, "maxUniformBufferBindingSize");
  most("uniform words", uniforms, "maxUniformWords");
  most("bytes of workgroup memory", sharedBytes(k.shared, bytesOf), "maxComputeWorkgroupStorageSize");
  most("threads", k.workgroup, "maxComputeInvocationsPerWorkgroup");

  // --- names
  const names = new Set<string>();
  const declare = (scope: Map<string, Known>, name: string, known: Known): void => {
    legal(name);
    if (names.has(name)) fail(`${name} is declared twice`);
    names.add(name);
    scope.set(name, known);
  };
  const members = new Set<string>(["groups"]);
  for (const u of k.uniforms) {
    legal(u.name);
    if (members.has(u.name)) fail(`the uniform word ${u.name} is there twice`);
    members.add(u.name);
  }
  const module = new Map<string, Known>();
  for (const o of k.overrides) declare(module, o.name, { what: "override" });
  // What workgroups count in has a name of the printer's.
  for (const b of k.buffers) if (b !== k.draws) declare(module, b.name, { what: "buffer", dtype: b.dtype });
  for (const s of k.shared) {
    declare(module, s.name, { what: "shared", dtype: s.dtype, width: s.width, size: s.size });
  }
  const functions = new Map<string, CodeFunction>();

  // --- expressions and statements
  type Scope = readonly Map<string, Known>[];
  const find = (scope: Scope, name: string): Known => {
    for (let i = scope.length - 1; i >= 0; i--) {
      const known = scope[i].get(name);
      if (known) return known;
    }
    return fail(`${name} is used and not declared there`);
  };
  const same = (x: X, dtype: DType | undefined, width: Width | undefined, where: string): void => {
    if (x.dtype !== dtype || x.width !== width)
      fail(`${where} is ${x.dtype} of ${x.width}, not ${dtype} of ${width}`);
  };
  const seen = new Map<Map<string, Known>, Set<X>>();
  const expr = (x: X, scope: Scope): void => {
    const here = scope[scope.length - 1];
    const done = seen.get(here) ?? new Set<X>();
    seen.set(here, done);
    if (done.has(x)) return;
    done.add(x);
    for (const part of partsOf(x)) expr(part, scope);
    if (x.width === 2 && x.k !== "load" && x.k !== "var") fail(`${x.k} of a pair`);
    switch (x.k) {
      case "var": {
        const known = find(scope, x.name);
        if (!["let", "var", "loop"].includes(known.what)) fail(`${x.name} is no variable`);
        same(x, known.dtype, known.width, x.name);
        return;
      }
      case "lit": {
        const range = INTEGERS[x.dtype];
        if (range ? !Number.isInteger(x.value) : !Number.isFinite(x.value))
          fail(`${x.value} is no literal of ${x.dtype}`);
        const [low, high] = range ?? [-(LARGEST[x.dtype] as number), LARGEST[x.dtype] as number];
        if (x.value < low || x.value > high) fail(`${x.value} is beyond ${x.dtype}`);
        return;
      }
      case "uniform":
        if (!k.uniforms.includes(x.slot)) fail(`the uniform word ${x.slot.name} is not one of the kernel's`);
        return;
      case "override":
        if (!k.overrides.includes(x.slot)) fail(`the override ${x.slot.name} is not one of the kernel's`);
        same(x, "i32", 1, x.slot.name);
        return;
      case "bin":
        if (x.op === ">>") {
          if (literalOf(x.b) === undefined) fail(">> by what is no literal");
          return;
        }
        // Arithmetic takes a number beside a vector, comparisons do not.
        if (
          x.a.dtype !== x.b.dtype ||
          (x.a.width !== x.b.width && !"+-*/%".includes(x.op)) ||
          x.width < Math.max(x.a.width, x.b.width)
        )
          fail(`${x.a.dtype} of ${x.a.width} ${x.op} ${x.b.dtype} of ${x.b.width}`);
        if (x.op === "&&" && x.a.dtype !== "bool") fail(`&& of ${x.a.dtype}`);
        return;
      case "splat":
        same(x.a, x.dtype, 1, "what is spread");
        return;
      case "vec":
        if (x.parts.length !== 4) fail(`a vector of ${x.parts.length}`);
        for (const p of x.parts) same(p, x.dtype, 1, "a part of a vector");
        return;
      case "part":
        if (x.i < 0 || x.i >= Math.max(x.a.width, 2)) fail(`part ${x.i} of a vector`);
        same(x.a, x.dtype, x.a.width === 2 ? 2 : 4, "what a part is of");
        return;
      case "load":
        if (!k.buffers.includes(x.buffer)) fail(`${x.buffer.name} is read and not bound`);
        if (x.width === 4 && declaredWidth(x.buffer) === 1)
          fail(`${x.buffer.name} is read four wide and not declared so`);
        if (x.width === 2 && !x.buffer.pairs) fail(`${x.buffer.name} is read two wide and not declared so`);
        if (x.dtype !== x.buffer.dtype) fail(`${x.buffer.name} is read as ${x.dtype}`);
        same(x.index, "i32", 1, `an index into ${x.buffer.name}`);
        return;
      case "shared":
      case "element": {
        const known = find(scope, x.name);
        if (known.what !== (x.k === "shared" ? "shared" : "array"))
          fail(`${x.name} is no array of that kind`);
        same(x.index, "i32", 1, `an index into ${x.name}`);
        same(x, known.dtype, known.width, `an element of ${x.name}`);
        return;
      }
      case "call": {
        const own = x.fn.startsWith("fn:") ? x.fn.slice(3) : undefined;
        if (own !== undefined) run(own, x.args, x);
        else if (x.args.length !== functionArity(x.fn)) fail(`${x.fn} of ${x.args.length} operands`);
        return;
      }
      default:
        return;
    }
  };
  const run = (fn: string, args: readonly X[], result: X | undefined): void => {
    const f = functions.get(fn) ?? fail(`${fn} is called and not declared`);
    if (args.length !== f.params.length) fail(`${fn} is called with ${args.length} operands`);
    args.forEach((a, i) => {
      same(a, f.params[i].dtype, f.params[i].width, `${f.params[i].name} of ${fn}`);
    });
    if (result) same(result, f.result?.dtype, f.result?.width, `what ${fn} gives`);
  };
  const matrixAt = (scope: Scope, name: string, role: MatrixType["role"]): MatrixType => {
    const { matrix } = find(scope, name);
    if (matrix?.role !== role) return fail(`${name} is no ${role} matrix`);
    return matrix;
  };
  /** Numbers of the matrix's own type, side by side in lines that begin where a device can read them, all in the array. */
  const inArray = (scope: Scope, place: MatrixPlace, m: MatrixType): void => {
    const { array, index, stride, along } = place;
    const { what, dtype, width, size = 0 } = find(scope, array);
    if (what !== "shared" || dtype !== m.dtype || width !== 1)
      fail(`a matrix of ${m.dtype} does not lie in ${array}`);
    expr(index, scope);
    same(index, "i32", 1, `where a matrix lies in ${array}`);
    const [lines, long] = along === "rows" ? [m.rows, m.cols] : [m.cols, m.rows];
    if (stride < long) fail(`lines of ${long} in ${array} are ${stride} apart`);
    if ((stride * bytesOf(m.dtype)) % MATRIX_ALIGNMENT !== 0)
      fail(`lines of a matrix in ${array} are ${stride} apart, no multiple of ${MATRIX_ALIGNMENT} bytes`);
    if ((literalOf(index) ?? 0) + (lines - 1) * stride + long > size)
      fail(`a matrix of ${m.rows} by ${m.cols}, ${stride} apart, is larger than ${array}`);
  };
  const block = (list: readonly Stmt[], outer: Scope, inIf: boolean, loop?: string): void => {
    const own = new Map<string, Known>();
    const scope = [...outer, own];
    if (loop !== undefined) declare(own, loop, { what: "loop", dtype: "i32", width: 1 });
    for (const s of list) {
      switch (s.k) {
        case "let":
        case "var":
          expr(s.x, scope);
          declare(own, s.name, { what: s.k, dtype: s.x.dtype, width: s.x.width });
          break;
        case "array":
          for (const p of s.parts) {
            expr(p, scope);
            same(p, s.parts[0].dtype, s.parts[0].width, `a part of ${s.name}`);
          }
          declare(own, s.name, { what: "array", dtype: s.parts[0].dtype, width: s.parts[0].width });
          break;
        case "set": {
          expr(s.x, scope);
          const known = find(scope, s.name);
          if (known.what !== "var") fail(`${s.name} is set and no var`);
          same(s.x, known.dtype, known.width, `what ${s.name} is set to`);
          break;
        }
        case "for":
          for (const x of [s.from, s.below, s.step]) {
            expr(x, scope);
            same(x, "i32", 1, `a bound of ${s.name}`);
          }
          block(s.body, scope, inIf, s.name);
          break;
        case "if":
          expr(s.cond, scope);
          same(s.cond, "bool", 1, "a condition");
          block(s.body, scope, inIf || !alike(s.cond));
          break;
        case "store":
          expr(s.index, scope);
          expr(s.x, scope);
          if (!k.buffers.includes(s.buffer)) fail(`${s.buffer.name} is written and not bound`);
          if (s.buffer.access !== "read_write") fail(`${s.buffer.name} is written and bound for reading`);
          if (s.x.width === 4 && declaredWidth(s.buffer) === 1)
            fail(`${s.buffer.name} is written four wide and not declared so`);
          same(s.index, "i32", 1, `an index into ${s.buffer.name}`);
          same(s.x, s.buffer.dtype, s.x.width, `what ${s.buffer.name} gets`);
          break;
        case "setShared": {
          expr(s.index, scope);
          expr(s.x, scope);
          const known = find(scope, s.name);
          if (known.what !== "shared") fail(`${s.name} is no array in workgroup memory`);
          same(s.index, "i32", 1, `an index into ${s.name}`);
          same(s.x, known.dtype, known.width, `what ${s.name} gets`);
          break;
        }
        case "run":
          for (const a of s.args) expr(a, scope);
          run(s.fn, s.args, undefined);
          break;
        case "matrix":
          if (inIf) fail("a matrix that some lanes may not come to");
          if ((s.from === undefined) !== (s.type.role === "result"))
            fail(`${s.name} is a ${s.type.role} matrix${s.from ? "" : " of nothing"}`);
          if (s.from) inArray(scope, s.from, s.type);
          declare(own, s.name, { what: "matrix", matrix: s.type });
          break;
        case "multiply": {
          if (inIf) fail("a matrix that some lanes may not come to");
          const [into, left, right] = [
            matrixAt(scope, s.into, "result"),
            matrixAt(scope, s.left, "left"),
            matrixAt(scope, s.right, "right"),
          ];
          if (
            left.cols !== right.rows ||
            left.rows !== into.rows ||
            right.cols !== into.cols ||
            left.dtype !== right.dtype
          )
            fail(`${s.into} is not of the size of ${s.left} by ${s.right}`);
          break;
        }
        case "storeMatrix":
          if (inIf) fail("a matrix that some lanes may not come to");
          inArray(scope, s.to, matrixAt(scope, s.matrix, "result"));
          break;
        case "barrier":
          // Every thread has to come to it.
          if (inIf) fail("a barrier that some threads may not come to");
          break;
        case "return":
          break;
      }
    }
  };
  for (const f of k.functions) {
    const params = new Map<string, Known>();
    for (const q of f.params) declare(params, q.name, { what: "let", dtype: q.dtype, width: q.width });
    // The result is computed where the body ends.
    const result: readonly Stmt[] = f.result ? [{ k: "let", name: `result_of_${f.name}`, x: f.result }] : [];
    block([...f.body, ...result], [module, params], false);
    declare(module, f.name, { what: "function" });
    functions.set(f.name, f);
  }
  block(
    k.body,
    [
      module,
      new Map([
        ["group", LANE],
        ["lane", LANE],
      ]),
    ],
    false,
  );
}
