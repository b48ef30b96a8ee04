// Kernels compared as data. In: kernel code, and how its buffers are bound. Out: a string that is equal for two kernels
// exactly where they differ in names only, and one for which words of the uniform block do not count either. Nothing is
// printed for them: names are numbers in order of declaration, buffers and words their places, everything else a code of its
// own, each with a fixed number of fields or with their count before them.
import type { DType } from "../ir/types.ts";
import { declaredWidth, type KernelCode, type MatrixPlace, type Stmt, type Width, type X } from "./code.ts";
import { functionNames } from "./functions.ts";

const numbered = (names: readonly string[]): ReadonlyMap<string, number> =>
  new Map(names.map((name, i) => [name, i]));
const DTYPES = numbered(["bool", "i32", "u32", "f32", "f16"]);
const FUNCTIONS = numbered([...functionNames, ...[...DTYPES.keys()].map((t) => `cast_${t}`)]);
const OPS = numbered(["+", "-", "*", "/", "%", "<", ">=", "&&", ">>"]);
const COMBINES = numbered(["add", "mul", "max", "min"]);
const EXPRESSIONS = numbered(
  "var lit uniform bin call splat vec part load shared element broadcast subgroup override subgroupId".split(
    " ",
  ),
);
const STATEMENTS = numbered(
  "let var array set for if store setShared run barrier return matrix multiply storeMatrix".split(" "),
);
const ROLES = numbered(["left", "right", "result"]);
const BITS = new DataView(new ArrayBuffer(8));

/** A kernel but for its words, and the number of the word at each place where there is one. */
export interface Shape {
  readonly text: string;
  readonly words: readonly number[];
}
const shapes = new WeakMap<KernelCode, Shape>();
/** Kernels share code, and what is found out about it. */
export function shapeOf(k: KernelCode): Shape {
  let own = shapes.get(k);
  if (!own) {
    own = makeShape(k);
    shapes.set(k, own);
  }
  return own;
}
export function kernelKey(k: KernelCode, access: readonly ("read" | "read_write")[]): string {
  const { text, words } = shapeOf(k);
  const bound = access.map((a) => (a === "read" ? "r" : "w")).join("");
  return `${k.uniforms.length} ${words.join()} ${bound} ${text}`;
}

function makeShape(k: KernelCode): Shape {
  const out: number[] = [];
  const words: number[] = [];
  const names = new Map<string, number>();
  const code = (table: ReadonlyMap<string, number>, word: string): void => {
    const n = table.get(word);
    if (n === undefined) throw new Error(`${word} is no word of kernel code`);
    out.push(n);
  };
  const type = (t: DType, w: Width): void => {
    out.push(((DTYPES.get(t) as number) << 3) | w);
  };
  const int = (n: number): void => {
    out.push((n >>> 16) & 0xffff, n & 0xffff);
  };
  /** A name by how many were met before it: where it is declared, and where a word that is the printer's is used first. */
  const name = (text: string): void => {
    let n = names.get(text);
    if (n === undefined) {
      n = names.size;
      names.set(text, n);
    }
    out.push(n);
  };
  const buffers = new Map(k.buffers.map((b, i) => [b, i]));
  const uniforms = new Map(k.uniforms.map((u, i) => [u, i]));
  const overrides = new Map(k.overrides.map((o, i) => [o, i]));
  const expr = (x: X): void => {
    code(EXPRESSIONS, x.k);
    type(x.dtype, x.width);
    switch (x.k) {
      case "var":
        name(x.name);
        return;
      case "lit":
        // A float has what an f32 holds of it.
        if (x.dtype === "f32" || x.dtype === "f16") BITS.setFloat32(0, x.value);
        else BITS.setInt32(0, x.value);
        int(BITS.getInt32(0));
        return;
      case "uniform":
        words.push(uniforms.get(x.slot) as number);
        out.push(x.bits ? 1 : 0);
        return;
      case "override":
        out.push(overrides.get(x.slot) as number);
        return;
      case "bin":
        code(OPS, x.op);
        expr(x.a);
        expr(x.b);
        return;
      case "call":
        if (x.fn.startsWith("fn:")) {
          out.push(FUNCTIONS.size);
          name(x.fn.slice(3));
        } else code(FUNCTIONS, x.fn);
        out.push(x.args.length);
        for (const a of x.args) expr(a);
        return;
      case "splat":
        expr(x.a);
        return;
      case "vec":
        out.push(x.parts.length);
        for (const p of x.parts) expr(p);
        return;
      case "part":
        out.push(x.i);
        expr(x.a);
        return;
      case "load":
        out.push(buffers.get(x.buffer) as number);
        expr(x.index);
        return;
      case "shared":
      case "element":
        name(x.name);
        expr(x.index);
        return;
      case "broadcast":
        out.push(x.lane);
        expr(x.a);
        return;
      case "subgroup":
        code(COMBINES, x.combine);
        expr(x.a);
        return;
      case "subgroupId":
        return;
    }
  };
  const place = ({ array, index, stride, along }: MatrixPlace): void => {
    name(array);
    expr(index);
    int(stride);
    out.push(along === "rows" ? 1 : 0);
  };
  const block = (list: readonly Stmt[]): void => {
    out.push(list.length);
    for (const s of list) stmt(s);
  };
  const stmt = (s: Stmt): void => {
    code(STATEMENTS, s.k);
    switch (s.k) {
      case "let":
      case "var":
      case "set":
        expr(s.x);
        name(s.name);
        return;
      case "array":
        out.push(s.parts.length);
        for (const p of s.parts) expr(p);
        name(s.name);
        return;
      case "for":
        name(s.name);
        expr(s.from);
        expr(s.below);
        expr(s.step);
        block(s.body);
        return;
      case "if":
        expr(s.cond);
        block(s.body);
        return;
      case "store":
        out.push(buffers.get(s.buffer) as number);
        expr(s.index);
        expr(s.x);
        return;
      case "setShared":
        name(s.name);
        expr(s.index);
        expr(s.x);
        return;
      case "run":
        name(s.fn);
        out.push(s.args.length);
        for (const a of s.args) expr(a);
        return;
      case "matrix":
        name(s.name);
        code(ROLES, s.type.role);
        type(s.type.dtype, 1);
        out.push(s.type.rows, s.type.cols, s.from ? 1 : 0);
        if (s.from) place(s.from);
        return;
      case "multiply":
        for (const m of [s.into, s.left, s.right]) name(m);
        return;
      case "storeMatrix":
        name(s.matrix);
        place(s.to);
        return;
      case "barrier":
      case "return":
        return;
    }
  };
  out.push(k.overrides.length, k.workgroup, k.subgroups ? 1 : 0, k.draws ? 1 : 0, k.buffers.length);
  for (const b of k.buffers) type(b.dtype, declaredWidth(b));
  out.push(k.shared.length);
  for (const s of k.shared) {
    name(s.name);
    type(s.dtype, s.width);
    int(s.size);
  }
  out.push(k.functions.length);
  for (const f of k.functions) {
    name(f.name);
    out.push(f.params.length);
    for (const p of f.params) {
      name(p.name);
      type(p.dtype, p.width);
    }
    block(f.body);
    out.push(f.result ? 1 : 0);
    if (f.result) expr(f.result);
  }
  block(k.body);
  // Every code is below 2 ** 16: a name's is, since the nodes of a graph are.
  let text = "";
  for (let i = 0; i < out.length; i += 4096) text += String.fromCharCode(...out.slice(i, i + 4096));
  return { text, words };
}
