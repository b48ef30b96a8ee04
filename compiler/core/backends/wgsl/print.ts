// Spells kernel code as WGSL. In: KernelCode. Out: text that reads as a person would have written it, or a short one
// (short.ts), and the prelude functions it needs (functions.ts).
import type { DType } from "../../ir/types.ts";
import {
  type BufferSlot,
  type CodeFunction,
  declaredWidth,
  hasMatrices,
  type KernelCode,
  literalOf,
  type MatrixPlace,
  type MatrixType,
  type Stmt,
  type Width,
  type X,
} from "../../kernel/code.ts";
import type { PrintedKernel, PrintOptions } from "../backend.ts";
import { type FunctionWidth, wgslFunction } from "./functions.ts";
import { type ShortNames, shortNames, squeezed } from "./short.ts";

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
export const typeName = (t: DType, width: Width): string => (width === 1 ? t : `vec${width}<${t}>`);
type Quotient = Extract<X, { k: "bin" }> & { readonly op: "/" | "%"; readonly dtype: "i32" };
const isUnsigned = (x: X): x is Quotient =>
  x.k === "bin" && x.dtype === "i32" && (x.op === "/" || x.op === "%");
const matrixType = ({ role, dtype, rows, cols }: MatrixType): string =>
  `subgroup_matrix_${role}<${dtype}, ${cols}, ${rows}>`;
const matrixOrder = ({ along }: MatrixPlace): string => (along === "rows" ? "row_major" : "col_major");
/** bool has no storage form; it is u32 there. */
const stored = (t: DType): DType => (t === "bool" ? "u32" : t);

/** The names as they are. */
const ASIS: ShortNames = {
  of: (name) => name,
  field: (slot) => slot.name,
  groups: "groups",
  first: "group0",
  block: "Params",
};

/**
 * The kernel as a person would have written it, `notes` being comment lines above; or, minified, the same program with
 * short names and nothing that only people need.
 */
export function printKernel(
  k: KernelCode,
  { access, notes = [], minify = false }: PrintOptions,
): PrintedKernel {
  const { of: name, field, groups, first, block } = minify ? shortNames(k) : ASIS;
  const preludes = new Map<string, string>();
  const types = new Set<DType>();
  /** `bare`: what is beside it, or what it goes into, says the type of a literal. */
  const expr = (x: X, bare = false): string => {
    types.add(x.dtype);
    switch (x.k) {
      case "var":
        return name(x.name);
      case "lit":
        return literal(x.value, x.dtype, minify && bare);
      case "uniform":
        return x.bits ? `bitcast<f32>(p.${field(x.slot)})` : `p.${field(x.slot)}`;
      case "override":
        return `i32(${name(x.slot.name)})`;
      case "bin":
        if (x.op === ">>") {
          const by = `${literalOf(x.b)}u`;
          return `${operand(x.a, "*", true)} >> ${x.width === 1 ? by : `${typeName("u32", 4)}(${by})`}`;
        }
        if (isUnsigned(x)) return `${typeName("i32", x.width)}(${unsigned(x)})`;
        return `${operand(x.a, x.op, false, x.b.k !== "lit")} ${x.op} ${operand(x.b, x.op, true, x.a.k !== "lit")}`;
      case "splat":
        return `${typeName(x.dtype, 4)}(${expr(x.a, true)})`;
      case "vec":
        return `${typeName(x.dtype, 4)}(${x.parts.map((q) => expr(q, true)).join(", ")})`;
      case "part":
        // A number is what `fold` counts on with (9-emit/fold.ts).
        return `${operand(x.a, "*", true)}${minify ? `[${x.i}]` : `.${"xyzw"[x.i]}`}`;
      case "load": {
        const at = element(x.buffer, x.index, x.width);
        return x.dtype === "bool" ? (x.width === 4 ? `(${at} != vec4<u32>())` : `(${at} != 0u)`) : at;
      }
      case "shared":
      case "element":
        return `${name(x.name)}[${expr(x.index)}]`;
      case "broadcast":
        // A broadcast is guarded against a subgroup that has no such lane; on a software adapter this is one instruction.
        return `subgroupShuffle(${expr(x.a)}, ${x.lane}u)`;
      case "subgroup":
        return `${{ add: "subgroupAdd", mul: "subgroupMul", max: "subgroupMax", min: "subgroupMin" }[x.combine]}(${expr(x.a)})`;
      case "subgroupId":
        return `i32(${name("subgroup_id")})`;
      case "call": {
        if (x.fn.startsWith("fn:"))
          return `${name(x.fn.slice(3))}(${x.args.map((q) => expr(q, true)).join(", ")})`;
        const typed = (a: X): boolean => x.args.some((b) => b.k !== "lit" && b.dtype === a.dtype);
        const args = x.args.map((a) => expr(a, typed(a)));
        const spelled = wgslFunction(x.fn, args, x.args[0].dtype, x.width as FunctionWidth);
        for (const [name, text] of spelled.preludes ?? []) preludes.set(name, text);
        return spelled.text;
      }
    }
  };
  /** The quotient or remainder of two indices as an u32: signed ones take several times as long, and these are not negative. */
  const unsigned = (x: X): string => {
    if (x.k === "splat") return `${typeName("u32", 4)}(${unsigned(x.a)})`;
    if (x.k === "lit") return `${x.value}u`;
    if (x.k === "override") return name(x.slot.name);
    if (!isUnsigned(x)) return `${typeName("u32", x.width)}(${expr(x)})`;
    types.add(x.dtype);
    return `${unsigned(x.a)} ${x.op} ${isUnsigned(x.b) ? `(${unsigned(x.b)})` : unsigned(x.b)}`;
  };
  const operand = (x: X, op: string, right: boolean, bare = false): string => {
    const text = expr(x, bare);
    if (isUnsigned(x)) return text;
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
    const declared = declaredWidth(b);
    if (width === declared) return `${name(b.name)}[${expr(index)}]`;
    const i = operand(index, "*", true);
    if (width === 4) {
      const [first, second] = halves(b, index);
      return `${typeName(stored(b.dtype), 4)}(${first}, ${second})`;
    }
    return `${name(b.name)}[${i} >> ${declared / 2}u][${i} & ${declared - 1}]`;
  };
  /** Four elements of what is declared of two. */
  const halves = (b: BufferSlot, index: X): readonly [string, string] => {
    const i = operand(index, "*", true);
    return [`${name(b.name)}[${i} << 1u]`, `${name(b.name)}[(${i} << 1u) + 1]`];
  };
  const toStore = (x: X): string =>
    x.dtype === "bool"
      ? x.width === 4
        ? `select(vec4<u32>(), vec4<u32>(1u), ${expr(x)})`
        : `select(0u, 1u, ${expr(x)})`
      : expr(x, true);
  const lines: string[] = [];
  const stmt = (s: Stmt, pad: string): void => {
    switch (s.k) {
      case "let":
        lines.push(`${pad}let ${name(s.name)} = ${expr(s.x)};`);
        return;
      case "var":
        lines.push(
          `${pad}var ${name(s.name)}${minify ? "" : `: ${typeName(s.x.dtype, s.x.width)}`} = ${expr(s.x)};`,
        );
        return;
      case "array": {
        const of = typeName(s.parts[0].dtype, s.parts[0].width);
        const parts = s.parts.map((q) => expr(q, true)).join(", ");
        lines.push(`${pad}var ${name(s.name)} = array<${of}, ${s.parts.length}>(${parts});`);
        return;
      }
      case "set":
        if (s.x.k === "bin" && s.x.op === "+" && s.x.a.k === "var" && s.x.a.name === s.name)
          lines.push(`${pad}${name(s.name)} += ${expr(s.x.b, true)};`);
        else lines.push(`${pad}${name(s.name)} = ${expr(s.x, true)};`);
        return;
      case "for": {
        const i = name(s.name);
        const step = minify && s.step.k === "lit" && s.step.value === 1 ? "++" : ` += ${expr(s.step)}`;
        lines.push(`${pad}for (var ${i} = ${expr(s.from)}; ${i} < ${expr(s.below)}; ${i}${step}) {`);
        for (const b of s.body) stmt(b, `${pad}  `);
        lines.push(`${pad}}`);
        return;
      }
      case "if":
        lines.push(`${pad}if (${expr(s.cond)}) {`);
        for (const b of s.body) stmt(b, `${pad}  `);
        lines.push(`${pad}}`);
        return;
      case "store":
        if (s.x.width === 4 && declaredWidth(s.buffer) === 2) {
          const [first, second] = halves(s.buffer, s.index);
          lines.push(`${pad}{ let fours = ${toStore(s.x)}; ${first} = fours.xy; ${second} = fours.zw; }`);
          return;
        }
        lines.push(`${pad}${element(s.buffer, s.index, s.x.width)} = ${toStore(s.x)};`);
        return;
      case "setShared":
        lines.push(`${pad}${name(s.name)}[${expr(s.index)}] = ${expr(s.x, true)};`);
        return;
      case "run":
        lines.push(`${pad}${name(s.fn)}(${s.args.map((q) => expr(q, true)).join(", ")});`);
        return;
      case "matrix": {
        const of = matrixType(s.type);
        if (!s.from) lines.push(`${pad}var ${name(s.name)} = ${of}();`);
        else
          lines.push(
            `${pad}let ${name(s.name)} = subgroupMatrixLoad<${of}, ${matrixOrder(s.from)}>(&${name(s.from.array)}, ${expr(s.from.index)}, ${s.from.stride});`,
          );
        return;
      }
      case "multiply": {
        const [into, left, right] = [s.into, s.left, s.right].map(name);
        lines.push(`${pad}${into} = subgroupMatrixMultiplyAccumulate(${left}, ${right}, ${into});`);
        return;
      }
      case "storeMatrix":
        lines.push(
          `${pad}subgroupMatrixStore<${matrixOrder(s.to)}>(&${name(s.to.array)}, ${expr(s.to.index)}, ${name(s.matrix)}, ${s.to.stride});`,
        );
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
    const params = f.params.map((q) => `${name(q.name)}: ${typeName(q.dtype, q.width)}`).join(", ");
    lines.push(
      `fn ${name(f.name)}(${params})${f.result ? ` -> ${typeName(f.result.dtype, f.result.width)}` : ""} {`,
    );
    for (const b of f.body) stmt(b, "  ");
    if (f.result) lines.push(`  return ${expr(f.result)};`);
    lines.push("}", "");
  };
  for (const f of k.functions) fn(f);
  const matrices = hasMatrices(k.body);
  const subgroup = matrices ? `, @builtin(subgroup_id) ${name("subgroup_id")}: u32` : "";
  lines.push(`@compute @workgroup_size(${k.workgroup})`);
  lines.push(
    `fn main(@builtin(workgroup_id) ${name("wid")}: vec3<u32>, @builtin(num_workgroups) ${name("nwg")}: vec3<u32>, @builtin(local_invocation_index) ${name("lid")}: u32${subgroup}) {`,
  );
  const [group, lid] = [name("group"), name("lid")];
  if (k.draws) {
    // A number past the last ends the loop; the very last of these counts from 0 again.
    const drawn = name(k.draws.name);
    lines.push(
      `  let ${name("lane")} = i32(${lid});`,
      "  loop {",
      "    var mine = 0u;",
      `    if (${lid} == 0u) { mine = atomicAdd(&${drawn}, 1u); }`,
      `    let ${group} = i32(subgroupBroadcastFirst(mine)) + p.${first};`,
      `    if (${group} >= p.${groups}) {`,
      `      if (${lid} == 0u && ${group} == p.${groups} + i32(${name("nwg")}.x) - 1) { atomicStore(&${drawn}, 0u); }`,
      "      break;",
      "    }",
    );
    for (const b of k.body) stmt(b, "    ");
    lines.push("  }");
  } else {
    lines.push(
      `  let ${group} = i32(${name("wid")}.x + ${name("wid")}.y * ${name("nwg")}.x) + p.${first};`,
      `  if (${group} >= p.${groups}) { return; }`,
      `  let ${name("lane")} = i32(${lid});`,
    );
    for (const b of k.body) stmt(b, "  ");
  }
  lines.push("}");

  for (const b of k.buffers) types.add(b.dtype);
  const head: string[] = (minify ? [] : notes).map(
    (n) => `// ${n.replace(/[\r\n\u2028\u2029\u0085\v\f]/g, " ")}`,
  );
  for (const sh of k.shared) types.add(sh.dtype);
  const features: string[] = [];
  if (types.has("f16")) {
    head.push("enable f16;");
    features.push("shader-f16");
  }
  if (k.subgroups || matrices) {
    head.push("enable subgroups;");
    features.push("subgroups");
    // What one thread draws is the same for all of a subgroup, which the language cannot know.
    if (k.draws) head.push("diagnostic(off, subgroup_uniformity);");
  }
  if (matrices) {
    head.push("enable chromium_experimental_subgroup_matrix;");
    features.push("chromium-experimental-subgroup-matrix");
  }
  head.push(
    "",
    `struct ${block} { ${[groups, ...k.uniforms.map(field), first].map((n) => `${n}: i32`).join(", ")} }`,
  );
  head.push(`@group(0) @binding(0) var<uniform> p: ${block};`);
  k.buffers.forEach((b, i) => {
    const type = b === k.draws ? "atomic<u32>" : `array<${typeName(stored(b.dtype), declaredWidth(b))}>`;
    head.push(`@group(0) @binding(${i + 1}) var<storage, ${access[i]}> ${name(b.name)}: ${type};`);
  });
  for (const o of k.overrides) head.push(`override ${name(o.name)}: u32;`);
  for (const sh of k.shared)
    head.push(`var<workgroup> ${name(sh.name)}: array<${typeName(sh.dtype, sh.width)}, ${sh.size}>;`);
  head.push("");
  const prelude = [...preludes.values()];
  const text = [...head, ...prelude, ...(prelude.length ? [""] : []), ...lines, ""].join("\n");
  return { text: minify ? squeezed(text) : text, features, overrides: k.overrides.map((o) => name(o.name)) };
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
/** A literal of the given type, `bare` without saying which. Floats keep all the bits of an f32. */
export function literal(value: number, dtype: DType, bare = false): string {
  if (dtype === "bool") return value ? "true" : "false";
  if (dtype === "i32") return value === -2147483648 ? "(-2147483647 - 1)" : String(value);
  if (dtype === "u32") return `${value >>> 0}${bare ? "" : "u"}`;
  const suffix = bare ? "" : dtype === "f16" ? "h" : "f";
  const f = Math.fround(value);
  // The shortest decimal that reads back as the same f32; WGSL refuses one above the largest, though it reads back as that.
  for (let digits = 6; digits <= 9; digits++) {
    const t = f.toPrecision(digits);
    if (Math.fround(Number(t)) === f && Math.abs(Number(t)) <= LARGEST_F32)
      return `${String(Number(t))}${suffix}`;
  }
  return `${f}${suffix}`;
}
