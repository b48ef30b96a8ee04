// Spells kernel code as WGSL. In: KernelCode. Out: text that reads as a person would have written it, and the prelude
// functions it needs (functions.ts).
import type { DType } from "../../ir/types.ts";
import type { BufferSlot, CodeFunction, KernelCode, Stmt, Width, X } from "../../kernel/code.ts";
import type { PrintedKernel, PrintOptions } from "../backend.ts";
import { wgslFunction } from "./functions.ts";

const PRECEDENCE: Record<string, number> = {
  "*": 5,
  "/": 5,
  "%": 5,
  "+": 4,
  "-": 4,
  "<": 3,
  ">=": 3,
  "&&": 2,
};

/** A type as WGSL names it: f32, vec4<f32>. */
export const typeName = (t: DType, width: Width): string => (width === 1 ? t : `vec4<${t}>`);
/** bool has no storage form; it is u32 there. */
const stored = (t: DType): DType => (t === "bool" ? "u32" : t);

/** The kernel as a person would have written it; `notes` are comment lines above. */
export function printKernel(k: KernelCode, { access, notes = [] }: PrintOptions): PrintedKernel {
  const preludes = new Map<string, string>();
  const types = new Set<DType>();
  const expr = (x: X): string => {
    types.add(x.dtype);
    switch (x.k) {
      case "var":
        return x.name;
      case "lit":
        return literal(x.value, x.dtype);
      case "uniform":
        return x.bits ? `bitcast<f32>(p.${x.slot.name})` : `p.${x.slot.name}`;
      case "bin":
        if (x.op === ">>" && x.b.k === "lit") return `${operand(x.a, "*", true)} >> ${x.b.value}u`;
        return `${operand(x.a, x.op, false)} ${x.op} ${operand(x.b, x.op, true)}`;
      case "splat":
        return `${typeName(x.dtype, 4)}(${expr(x.a)})`;
      case "vec":
        return `${typeName(x.dtype, 4)}(${x.parts.map(expr).join(", ")})`;
      case "part":
        return `${operand(x.a, "*", true)}.${"xyzw"[x.i]}`;
      case "load": {
        const at = element(x.buffer, x.index, x.width);
        return x.dtype === "bool" ? (x.width === 4 ? `(${at} != vec4<u32>())` : `(${at} != 0u)`) : at;
      }
      case "shared":
      case "element":
        return `${x.name}[${expr(x.index)}]`;
      case "broadcast":
        return `subgroupBroadcast(${expr(x.a)}, ${x.lane}u)`;
      case "subgroup":
        return `${{ add: "subgroupAdd", mul: "subgroupMul", max: "subgroupMax", min: "subgroupMin" }[x.combine]}(${expr(x.a)})`;
      case "call": {
        if (x.fn.startsWith("fn:")) return `${x.fn.slice(3)}(${x.args.map(expr).join(", ")})`;
        const spelled = wgslFunction(x.fn, x.args.map(expr), x.args[0].dtype, x.width);
        for (const [name, text] of spelled.preludes ?? []) preludes.set(name, text);
        return spelled.text;
      }
    }
  };
  const operand = (x: X, op: string, right: boolean): string => {
    const text = expr(x);
    if (x.k === "call" && /^[\w.]+\(/.test(text) && balanced(text)) return text;
    if (x.k === "bin") {
      const mine = PRECEDENCE[x.op];
      const outer = PRECEDENCE[op];
      // Comparison and && do not mix without parentheses in WGSL.
      if (mine > outer || (mine === outer && !right && op !== "<" && op !== ">=" && op !== "%")) return text;
      return `(${text})`;
    }
    return x.k === "call" || (x.k === "lit" && x.value < 0) ? `(${text})` : text;
  };
  const element = (b: BufferSlot, index: X, width: Width): string => {
    if (width === 4) return `${b.name}[${expr(index)}]`;
    if (!b.wide) return `${b.name}[${expr(index)}]`;
    const i = operand(index, "*", true);
    return `${b.name}[${i} >> 2u][${i} & 3]`;
  };
  const toStore = (x: X): string =>
    x.dtype === "bool"
      ? x.width === 4
        ? `select(vec4<u32>(), vec4<u32>(1u), ${expr(x)})`
        : `select(0u, 1u, ${expr(x)})`
      : expr(x);
  const lines: string[] = [];
  const stmt = (s: Stmt, pad: string): void => {
    switch (s.k) {
      case "let":
        lines.push(`${pad}let ${s.name} = ${expr(s.x)};`);
        return;
      case "var":
        lines.push(`${pad}var ${s.name}: ${typeName(s.x.dtype, s.x.width)} = ${expr(s.x)};`);
        return;
      case "array": {
        const of = typeName(s.parts[0].dtype, s.parts[0].width);
        lines.push(`${pad}var ${s.name} = array<${of}, ${s.parts.length}>(${s.parts.map(expr).join(", ")});`);
        return;
      }
      case "set":
        if (s.x.k === "bin" && s.x.op === "+" && s.x.a.k === "var" && s.x.a.name === s.name)
          lines.push(`${pad}${s.name} += ${expr(s.x.b)};`);
        else lines.push(`${pad}${s.name} = ${expr(s.x)};`);
        return;
      case "for":
        lines.push(
          `${pad}for (var ${s.name} = ${expr(s.from)}; ${s.name} < ${expr(s.below)}; ${s.name} += ${expr(s.step)}) {`,
        );
        for (const b of s.body) stmt(b, `${pad}  `);
        lines.push(`${pad}}`);
        return;
      case "if":
        lines.push(`${pad}if (${expr(s.cond)}) {`);
        for (const b of s.body) stmt(b, `${pad}  `);
        lines.push(`${pad}}`);
        return;
      case "store":
        lines.push(`${pad}${element(s.buffer, s.index, s.x.width)} = ${toStore(s.x)};`);
        return;
      case "setShared":
        lines.push(`${pad}${s.name}[${expr(s.index)}] = ${expr(s.x)};`);
        return;
      case "run":
        lines.push(`${pad}${s.fn}(${s.args.map(expr).join(", ")});`);
        return;
      case "barrier":
        lines.push(`${pad}workgroupBarrier();`);
        return;
      case "return":
        lines.push(`${pad}return;`);
        return;
    }
  };
  const fn = (f: CodeFunction): void => {
    for (const q of f.params) types.add(q.dtype);
    const params = f.params.map((q) => `${q.name}: ${typeName(q.dtype, q.width)}`).join(", ");
    lines.push(
      `fn ${f.name}(${params})${f.result ? ` -> ${typeName(f.result.dtype, f.result.width)}` : ""} {`,
    );
    for (const b of f.body) stmt(b, "  ");
    if (f.result) lines.push(`  return ${expr(f.result)};`);
    lines.push("}", "");
  };
  for (const f of k.functions) fn(f);
  lines.push(`@compute @workgroup_size(${k.workgroup})`);
  lines.push(
    "fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {",
  );
  lines.push(
    "  let group = i32(wid.x + wid.y * nwg.x);",
    "  if (group >= p.groups) { return; }",
    "  let lane = i32(lid);",
  );
  for (const b of k.body) stmt(b, "  ");
  lines.push("}");

  for (const b of k.buffers) types.add(b.value.type.dtype);
  const head: string[] = notes.map((n) => `// ${n.replace(/[\r\n\u2028\u2029\u0085\v\f]/g, " ")}`);
  for (const sh of k.shared) types.add(sh.dtype);
  const features: string[] = [];
  if (types.has("f16")) {
    head.push("enable f16;");
    features.push("shader-f16");
  }
  if (k.subgroups) {
    head.push("enable subgroups;");
    features.push("subgroups");
  }
  head.push(
    "",
    `struct Params { ${["groups", ...k.uniforms.map((u) => u.name)].map((n) => `${n}: i32`).join(", ")} }`,
  );
  head.push("@group(0) @binding(0) var<uniform> p: Params;");
  k.buffers.forEach((b, i) => {
    head.push(
      `@group(0) @binding(${i + 1}) var<storage, ${access[i]}> ${b.name}: array<${typeName(stored(b.value.type.dtype), b.wide ? 4 : 1)}>;`,
    );
  });
  for (const sh of k.shared)
    head.push(`var<workgroup> ${sh.name}: array<${typeName(sh.dtype, sh.width)}, ${sh.size}>;`);
  head.push("");
  const prelude = [...preludes.values()];
  return { text: [...head, ...prelude, ...(prelude.length ? [""] : []), ...lines, ""].join("\n"), features };
}

function balanced(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") depth++;
    else if (text[i] === ")" && --depth === 0) return i === text.length - 1;
  }
  return false;
}

const LARGEST_F32 = 3.4028234663852886e38;
/** A literal of the given type. Floats keep all the bits of an f32. */
export function literal(value: number, dtype: DType): string {
  if (dtype === "bool") return value ? "true" : "false";
  if (dtype === "i32") return value === -2147483648 ? "(-2147483647 - 1)" : String(value);
  if (dtype === "u32") return `${value >>> 0}u`;
  const suffix = dtype === "f16" ? "h" : "f";
  const f = Math.fround(value);
  // The shortest decimal that reads back as the same f32; WGSL refuses one above the largest, though it reads back as that.
  for (let digits = 6; digits <= 9; digits++) {
    const t = f.toPrecision(digits);
    if (Math.fround(Number(t)) === f && Math.abs(Number(t)) <= LARGEST_F32)
      return `${String(Number(t))}${suffix}`;
  }
  return `${f}${suffix}`;
}

/** The text with every name the kernel declares replaced in order of appearance: equal for kernels that differ in names only. */
export function canonicalText(text: string): string {
  const declared = new Set<string>();
  for (const m of text.matchAll(/\b(?:let|var(?:<[^>]*>)?|fn) ([A-Za-z_]\w*)/g))
    if (!m[1].startsWith("mdl_")) declared.add(m[1]);
  for (const m of text.matchAll(/fn \w+\(([^)]*)\)/g))
    for (const q of m[1].matchAll(/(\w+):/g)) declared.add(q[1]);
  declared.delete("main");
  const renamed = new Map<string, string>();
  // Words of the uniform block by their place.
  const fields =
    /struct Params \{([^}]*)\}/
      .exec(text)?.[1]
      .split(",")
      .map((f) => f.split(":")[0].trim()) ?? [];
  return text
    .replace(/struct Params \{[^}]*\}/, `struct Params { ${fields.length} }`)
    .replace(/\bp\.(\w+)/g, (_m, f: string) => `p.${fields.indexOf(f)}`)
    .replace(/\/\/[^\n]*\n/g, "")
    .replace(/(?<![.\w])[A-Za-z_]\w*/g, (w) => {
      if (!declared.has(w)) return w;
      let to = renamed.get(w);
      if (!to) {
        to = `_${renamed.size}`;
        renamed.set(w, to);
      }
      return to;
    });
}
