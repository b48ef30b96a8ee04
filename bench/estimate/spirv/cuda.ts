// SPIR-V to CUDA C++, operation by operation: buffers become restrict pointers, functions lambdas of the kernel. In: a module.
// Out: text for NVRTC, behind native/prelude.cu. Guards of integer division, bounds checks of buffers and zeroed workgroup
// memory are left out, so the code is a little better than a WebGPU driver's; clamps of workgroup arrays stay in.
import {
  BINARY,
  BUILTIN,
  Decoration,
  GLSL,
  type Id,
  type Instruction,
  numberOf,
  Op,
  partOf,
  pointee,
  type SpirvFunction,
  type SpirvModule,
  Storage,
} from "./module.ts";
import { bodyOf, calleesFirst, type Language } from "./structure.ts";

/** Short loops of constant length unroll fully, as Mesa has it. */
const UNROLL_MOST = 32;

const NAMES: Readonly<Record<string, string>> = {
  "+": "add",
  "-": "sub",
  "*": "mul",
  "/": "quo",
  "%": "irem",
  "|": "bor",
  "^": "bxor",
  "&": "band",
  "==": "eq",
  "!=": "ne",
  "<": "lt",
  ">": "gt",
  "<=": "le",
  ">=": "ge",
  "||": "lor",
  "&&": "land",
  "<<": "shl",
};
const ARITHMETIC = new Set(["add", "sub", "mul", "quo", "irem", "bor", "bxor", "band", "shl", "shr", "sar"]);

export function toCuda(m: SpirvModule): string {
  const structs = new Map<Id, string>();
  const typeName = (id: Id): string => {
    const t = m.types.get(id)!;
    switch (t.kind) {
      case "vector":
        return `V<${typeName(t.of)}, ${t.length}>`;
      case "array":
        return `A<${typeName(t.of)}, ${t.length}>`;
      case "runtime":
        return `A<${typeName(t.of)}, 1>`;
      case "struct":
        if (!structs.has(id)) {
          const fields = t.members.map((of, i) => `${typeName(of)} m${i};`).join(" ");
          structs.set(id, `struct S${id} { ${fields} };`);
        }
        return `S${id}`;
      default:
        if (t.kind === "pointer" || t.kind === "f16") throw new Error(`no CUDA C++ for ${t.kind}`);
        return t.kind;
    }
  };
  const typeOf = (id: Id): Id => m.typeOf.get(id)!;
  /** What pointers are in C. */
  const places = new Map<Id, string>();
  const inputs = new Map<Id, string>();
  /** Buffers that are one array: their pointer is to its elements. */
  const arrays = new Set<Id>();
  let locals: string[] = [];

  const value = (id: Id): string => {
    const c = m.constants.get(id);
    if (!c) return `v${id}`;
    const t = m.types.get(c.type)!;
    if ("parts" in c) {
      const parts = c.parts.map(value).join(", ");
      return t.kind === "struct" ? `${typeName(c.type)}{${parts}}` : `${typeName(c.type)}{{${parts}}}`;
    }
    const v = "zero" in c ? 0 : c.value;
    if (t.kind === "bool") return String(Boolean(v));
    if (t.kind === "u32") return `${v}u`;
    if (t.kind === "i32") return v === -2147483648 ? "(-2147483647 - 1)" : String(v);
    if (t.kind !== "f32") return `${typeName(c.type)}{}`;
    if (Number.isNaN(v)) return "__int_as_float(0x7fffffff)";
    if (!Number.isFinite(v)) return `__int_as_float(${Number(v) > 0 ? "0x7f800000" : "0xff800000"})`;
    return `${/[.e]/.test(String(v)) ? v : `${v}.0`}f`;
  };
  const part = (text: string, type: Id, index: number): [string, Id] => {
    const struct = m.types.get(type)!.kind === "struct";
    return [`${text}${struct ? `.m${index}` : `.e[${index}]`}`, partOf(m, type, index)];
  };

  /** Tint divides by select(b, 1, b == 0 || overflow): the guard goes, else NVRTC clones every loop for it. */
  const unguarded = (op: number, divisor: Id): Id => {
    const integer = op === Op.UDiv || op === Op.SDiv || op === Op.UMod || op === Op.SRem;
    const d = m.madeBy.get(divisor);
    if (!integer || d?.op !== Op.Select) return divisor;
    const one = (id: Id): boolean => {
      const c = m.constants.get(id);
      if (!c || "zero" in c) return false;
      return "parts" in c ? c.parts.every((p) => numberOf(m.constants, p) === 1) : c.value === 1;
    };
    if (one(d.args[1])) return d.args[2];
    return one(d.args[2]) ? d.args[1] : divisor;
  };

  const binary = (x: Instruction): string => {
    const { op, args } = x;
    const b = unguarded(op, args[1]);
    const name = NAMES[BINARY[op]] ?? (op === Op.ShiftRightLogical ? "shr" : "sar");
    // Integer operands may differ in sign: the first one's type (or the result's) goes.
    const shift = name === "shl" || name === "shr" || name === "sar";
    const first = typeOf(args[0]);
    const second = first !== typeOf(b) && !shift ? `cast<${typeName(first)}>(${value(b)})` : value(b);
    const text = `${name}(${value(args[0])}, ${second})`;
    return ARITHMETIC.has(name) && first !== x.type ? `cast<${typeName(x.type)}>(${text})` : text;
  };

  const place = (x: Instruction): string => {
    let type = pointee(m, typeOf(x.args[0]));
    let text = places.get(x.args[0])!;
    const array = arrays.has(x.args[0]);
    x.args.slice(1).forEach((id, i) => {
      if (m.types.get(type)!.kind === "struct") {
        const n = numberOf(m.constants, id);
        if (!(array && i === 0)) text += `.m${n}`;
        type = partOf(m, type, n);
      } else {
        text += array && i === 1 ? `[${value(id)}]` : `.e[${value(id)}]`;
        type = partOf(m, type, 0);
      }
    });
    return text;
  };

  const isPointer = (type: Id): boolean => m.types.get(type)!.kind === "pointer";
  const lengthOf = (id: Id): number => {
    const t = m.types.get(typeOf(id))!;
    return "length" in t ? t.length : 1;
  };

  /** The expression of a result; the few that are statements push them. */
  const expression = (x: Instruction, out: string[]): string | undefined => {
    const { op, args: a } = x;
    if (BINARY[op]) return binary(x);
    const [first, second, third] = a;
    switch (op) {
      case Op.Load:
        return inputs.get(first) ?? places.get(first);
      case Op.ArrayLength:
        return `len_${first}`;
      case Op.Undef:
        return `${typeName(x.type)}{}`;
      case Op.ExtInst:
        if (!GLSL[second]) throw new Error(`no CUDA C++ for GLSL.std.450 ${second}`);
        return `${GLSL[second]}_(${a.slice(2).map(value).join(", ")})`;
      case Op.FunctionCall: {
        const { params } = m.functions.get(first)!;
        const given = a
          .slice(1)
          .map((id, i) => (isPointer(params[i].type) ? `&(${places.get(id)})` : value(id)));
        return `F${first}(${given.join(", ")})`;
      }
      case Op.VectorExtractDynamic:
        return `${value(first)}.e[${value(second)}]`;
      case Op.VectorShuffle: {
        const n = lengthOf(first);
        const from = (i: number): string =>
          i < n ? `${value(first)}.e[${i}]` : `${value(second)}.e[${i - n}]`;
        return `${typeName(x.type)}{{${a.slice(2).map(from).join(", ")}}}`;
      }
      case Op.CompositeConstruct: {
        const { kind } = m.types.get(x.type)!;
        if (kind === "struct") return `${typeName(x.type)}{${a.map(value).join(", ")}}`;
        const parts = a.flatMap((id) =>
          kind === "vector" && m.types.get(typeOf(id))!.kind === "vector"
            ? Array.from({ length: lengthOf(id) }, (_, i) => `${value(id)}.e[${i}]`)
            : [value(id)],
        );
        return `${typeName(x.type)}{{${parts.join(", ")}}}`;
      }
      case Op.CompositeExtract: {
        let [text, type] = [m.constants.has(first) ? `(${value(first)})` : value(first), typeOf(first)];
        for (const i of a.slice(1)) [text, type] = part(text, type, i);
        return text;
      }
      case Op.CopyObject:
        return value(first);
      case Op.CopyLogical:
      case Op.Bitcast:
        return `cast<${typeName(x.type)}>(${value(first)})`;
      case Op.ConvertFToU:
      case Op.ConvertFToS:
      case Op.ConvertSToF:
      case Op.ConvertUToF:
      case Op.UConvert:
      case Op.SConvert:
      case Op.FConvert:
        return `conv<${typeName(x.type)}>(${value(first)})`;
      case Op.SNegate:
      case Op.FNegate:
        return `neg(${value(first)})`;
      case Op.VectorTimesScalar:
        return `scale(${value(first)}, ${value(second)})`;
      case Op.Dot:
        return `dot(${value(first)}, ${value(second)})`;
      case Op.Any:
        return `any(${value(first)})`;
      case Op.All:
        return `all(${value(first)})`;
      case Op.IsNan:
        return `(${value(first)} != ${value(first)})`;
      case Op.LogicalNot:
        return `lnot(${value(first)})`;
      case Op.Select:
        return `sel(${a.map(value).join(", ")})`;
      case Op.Not:
        return `bnot(${value(first)})`;
      case Op.BitCount:
        return `${typeName(x.type)}(__popc(${value(first)}))`;
      case Op.AtomicLoad:
        return places.get(first);
      case Op.AtomicIAdd:
        return `atomicAdd(&(${places.get(first)}), ${value(a[3])})`;
      case Op.SubgroupBroadcast:
      case Op.SubgroupShuffle:
        return `sg_shuffle(${value(second)}, ${value(third)})`;
      case Op.SubgroupBroadcastFirst:
        return `sg_shuffle(${value(second)}, 0u)`;
      case Op.SubgroupShuffleXor:
        return `sg_xor(${value(second)}, ${value(third)})`;
      case Op.SubgroupIAdd:
      case Op.SubgroupFAdd:
        return `sg_add(${value(third)})`;
      case Op.SubgroupSMin:
      case Op.SubgroupUMin:
      case Op.SubgroupFMin:
        return `sg_min(${value(third)})`;
      case Op.SubgroupSMax:
      case Op.SubgroupUMax:
      case Op.SubgroupFMax:
        return `sg_max(${value(third)})`;
      case Op.Store:
        out.push(`${places.get(first)} = ${value(second)};`);
        return undefined;
      case Op.AtomicStore:
        out.push(`${places.get(first)} = ${value(a[3])};`);
        return undefined;
      case Op.ControlBarrier:
        out.push("__syncthreads();");
        return undefined;
      case Op.MemoryBarrier:
        out.push("__threadfence_block();");
        return undefined;
      default:
        throw new Error(`no CUDA C++ for SPIR-V operation ${op}`);
    }
  };

  const lang: Language = {
    value,
    instruction(out, x) {
      const { op, args: a } = x;
      const declare = (type: Id): void => {
        locals.push(`${typeName(type)} v${x.id};`);
      };
      if (op === Op.Variable) {
        declare(pointee(m, x.type));
        places.set(x.id, `v${x.id}`);
        if (a[1] !== undefined) out.push(`v${x.id} = ${value(a[1])};`);
      } else if (op === Op.AccessChain || op === Op.InBoundsAccessChain) places.set(x.id, place(x));
      else if (op === Op.VectorInsertDynamic) {
        declare(x.type);
        out.push(`v${x.id} = ${value(a[0])};`, `v${x.id}.e[${value(a[2])}] = ${value(a[1])};`);
      } else if (op === Op.CompositeInsert) {
        declare(x.type);
        let [text, type]: [string, Id] = [`v${x.id}`, x.type];
        for (const i of a.slice(2)) [text, type] = part(text, type, i);
        out.push(`v${x.id} = ${value(a[1])};`, `${text} = ${value(a[0])};`);
      } else {
        const text = expression(x, out);
        if (text === undefined) return;
        if (m.types.get(x.type)!.kind === "void") out.push(`${text};`);
        else {
          declare(x.type);
          out.push(`v${x.id} = ${text};`);
        }
      }
    },
    loop(out, _f, _label, count) {
      const unroll = count === 0 ? "#pragma unroll 1" : count <= UNROLL_MOST ? "#pragma unroll" : "";
      out.push(`\n${unroll}\nwhile (true) {`);
    },
    turn() {},
    left(out, merge) {
      out.push(`L${merge}:;`);
    },
    open() {},
    close(out, label) {
      out.push(`L${label}:;`);
    },
    leave: (label) => `goto L${label};`,
    unreachable: (f) => (m.types.get(f.result)!.kind === "void" ? "return;" : "__builtin_unreachable();"),
  };

  const [sx, sy, sz] = m.size;
  const lane =
    sy * sz === 1 ? "threadIdx.x" : `(threadIdx.x + ${sx}u * (threadIdx.y + ${sy}u * threadIdx.z))`;
  const given: Readonly<Record<string, string>> = {
    workgroup_id: "V<u32, 3>{{blockIdx.x, blockIdx.y, blockIdx.z}}",
    num_workgroups: "V<u32, 3>{{gridDim.x, gridDim.y, gridDim.z}}",
    local_invocation_id: "V<u32, 3>{{threadIdx.x, threadIdx.y, threadIdx.z}}",
    global_invocation_id: `V<u32, 3>{{blockIdx.x * ${sx}u + threadIdx.x, blockIdx.y * ${sy}u + threadIdx.y, blockIdx.z * ${sz}u + threadIdx.z}}`,
    local_invocation_index: `u32(${lane})`,
    subgroup_size: "32u",
    subgroup_invocation_id: `u32(${lane} & 31u)`,
    subgroup_id: `u32(${lane} >> 5)`,
    num_subgroups: `${Math.ceil((sx * sy * sz) / 32)}u`,
  };
  const params: string[] = [];
  const top: string[] = [];
  for (const v of m.variables) {
    const of = pointee(m, v.type);
    const own = m.decorations.get(v.id);
    places.set(v.id, `v${v.id}`);
    if (v.storage === Storage.Input) inputs.set(v.id, given[BUILTIN[own?.[Decoration.BuiltIn] ?? -1]]);
    else if (v.storage === Storage.Uniform) params.push(`const __grid_constant__ ${typeName(of)} v${v.id}`);
    else if (v.storage === Storage.Workgroup) top.push(`__shared__ ${typeName(of)} v${v.id};`);
    else if (v.storage === Storage.Private)
      top.push(`${typeName(of)} v${v.id}${v.init ? ` = ${value(v.init)}` : ""};`);
    else if (v.storage === Storage.Buffer) {
      const t = m.types.get(of)!;
      const readonly =
        own?.[Decoration.NonWritable] || m.members.get(of)?.some((d) => d?.[Decoration.NonWritable]);
      const only = t.kind === "struct" && t.members.length === 1 ? m.types.get(t.members[0])! : undefined;
      const element = only?.kind === "runtime" ? only.of : undefined;
      if (element === undefined) places.set(v.id, `(*v${v.id})`);
      else arrays.add(v.id);
      params.push(
        `${readonly ? "const " : ""}${typeName(element ?? of)}* __restrict__ v${v.id}`,
        `const u32 len_${v.id}`,
      );
    }
  }

  const functionText = (f: SpirvFunction): string => {
    locals = [];
    for (const p of f.params) if (isPointer(p.type)) places.set(p.id, `(*v${p.id})`);
    const { text, phis } = bodyOf(m, f, lang);
    for (const x of phis) locals.push(`${typeName(x.type)} v${x.id}, p${x.id};`);
    const body = `${locals.join("\n")}\n${text}`;
    if (f.id === m.entry) return body;
    const list = f.params.map((p) =>
      isPointer(p.type) ? `${typeName(pointee(m, p.type))}* v${p.id}` : `${typeName(p.type)} v${p.id}`,
    );
    return `auto F${f.id} = [&](${list.join(", ")}) -> ${typeName(f.result)} {\n${body}\n};`;
  };
  const functions = calleesFirst(m).map(functionText);
  const head = `extern "C" __global__ void __launch_bounds__(${sx * sy * sz}) kernel_main(${params.join(", ")}) {`;
  return [...structs.values(), head, ...top, ...functions, "}\n"].join("\n");
}
