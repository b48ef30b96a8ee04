// SPIR-V as Tint writes it, read into types, constants, variables and functions of blocks. In: words. Out: a module. Only what
// compute shaders of WGSL come to is known; what else there is, is passed over or refused where it is used.

/** Instructions by their numbers in the specification. */
export const Op = {
  Undef: 1,
  Name: 5,
  ExtInstImport: 11,
  ExtInst: 12,
  EntryPoint: 15,
  ExecutionMode: 16,
  TypeVoid: 19,
  TypeBool: 20,
  TypeInt: 21,
  TypeFloat: 22,
  TypeVector: 23,
  TypeMatrix: 24,
  TypeArray: 28,
  TypeRuntimeArray: 29,
  TypeStruct: 30,
  TypePointer: 32,
  TypeFunction: 33,
  ConstantTrue: 41,
  ConstantFalse: 42,
  Constant: 43,
  ConstantComposite: 44,
  ConstantNull: 46,
  SpecConstantTrue: 48,
  SpecConstantFalse: 49,
  SpecConstant: 50,
  SpecConstantComposite: 51,
  Function: 54,
  FunctionParameter: 55,
  FunctionEnd: 56,
  FunctionCall: 57,
  Variable: 59,
  Load: 61,
  Store: 62,
  AccessChain: 65,
  InBoundsAccessChain: 66,
  ArrayLength: 68,
  Decorate: 71,
  MemberDecorate: 72,
  VectorExtractDynamic: 77,
  VectorInsertDynamic: 78,
  VectorShuffle: 79,
  CompositeConstruct: 80,
  CompositeExtract: 81,
  CompositeInsert: 82,
  CopyObject: 83,
  ConvertFToU: 109,
  ConvertFToS: 110,
  ConvertSToF: 111,
  ConvertUToF: 112,
  UConvert: 113,
  SConvert: 114,
  FConvert: 115,
  Bitcast: 124,
  SNegate: 126,
  FNegate: 127,
  IAdd: 128,
  FAdd: 129,
  ISub: 130,
  FSub: 131,
  IMul: 132,
  FMul: 133,
  UDiv: 134,
  SDiv: 135,
  FDiv: 136,
  UMod: 137,
  SRem: 138,
  VectorTimesScalar: 142,
  Dot: 148,
  Any: 154,
  All: 155,
  IsNan: 156,
  IsInf: 157,
  LogicalNot: 168,
  Select: 169,
  ShiftRightLogical: 194,
  ShiftRightArithmetic: 195,
  ShiftLeftLogical: 196,
  Not: 200,
  BitCount: 205,
  ControlBarrier: 224,
  MemoryBarrier: 225,
  AtomicLoad: 227,
  AtomicStore: 228,
  AtomicIAdd: 234,
  Phi: 245,
  LoopMerge: 246,
  SelectionMerge: 247,
  Label: 248,
  Branch: 249,
  BranchConditional: 250,
  Switch: 251,
  Kill: 252,
  Return: 253,
  ReturnValue: 254,
  Unreachable: 255,
  SubgroupBroadcast: 337,
  SubgroupBroadcastFirst: 338,
  SubgroupShuffle: 345,
  SubgroupShuffleXor: 346,
  SubgroupIAdd: 349,
  SubgroupFAdd: 350,
  SubgroupSMin: 353,
  SubgroupUMin: 354,
  SubgroupFMin: 355,
  SubgroupSMax: 356,
  SubgroupUMax: 357,
  SubgroupFMax: 358,
  CopyLogical: 400,
} as const;

/** Operators of two operands, by what they are in WGSL. */
export const BINARY: Readonly<Record<number, string>> = {
  128: "+",
  129: "+",
  130: "-",
  131: "-",
  132: "*",
  133: "*",
  134: "/",
  135: "/",
  136: "/",
  137: "%",
  138: "%",
  139: "%",
  140: "%",
  141: "%",
  164: "==",
  165: "!=",
  166: "||",
  167: "&&",
  170: "==",
  171: "!=",
  172: ">",
  173: ">",
  174: ">=",
  175: ">=",
  176: "<",
  177: "<",
  178: "<=",
  179: "<=",
  180: "==",
  181: "==",
  182: "!=",
  183: "!=",
  184: "<",
  185: "<",
  186: ">",
  187: ">",
  188: "<=",
  189: "<=",
  190: ">=",
  191: ">=",
  194: ">>",
  195: ">>",
  196: "<<",
  197: "|",
  198: "^",
  199: "&",
};

/** Instructions of GLSL.std.450, by WGSL's names. */
export const GLSL: Readonly<Record<number, string>> = {
  1: "round",
  2: "round",
  3: "trunc",
  4: "abs",
  5: "abs",
  6: "sign",
  7: "sign",
  8: "floor",
  9: "ceil",
  10: "fract",
  13: "sin",
  14: "cos",
  15: "tan",
  16: "asin",
  17: "acos",
  18: "atan",
  19: "sinh",
  20: "cosh",
  21: "tanh",
  22: "asinh",
  23: "acosh",
  24: "atanh",
  25: "atan2",
  26: "pow",
  27: "exp",
  28: "log",
  29: "exp2",
  30: "log2",
  31: "sqrt",
  32: "inverseSqrt",
  37: "min",
  38: "min",
  39: "min",
  40: "max",
  41: "max",
  42: "max",
  43: "clamp",
  44: "clamp",
  45: "clamp",
  46: "mix",
  48: "step",
  50: "fma",
  53: "ldexp",
  79: "min",
  80: "max",
  81: "clamp",
};

/** What a shader is given, by the decoration's number. */
export const BUILTIN: Readonly<Record<number, string>> = {
  24: "num_workgroups",
  26: "workgroup_id",
  27: "local_invocation_id",
  28: "global_invocation_id",
  29: "local_invocation_index",
  36: "subgroup_size",
  38: "num_subgroups",
  40: "subgroup_id",
  41: "subgroup_invocation_id",
};

export const Storage = { Input: 1, Uniform: 2, Workgroup: 4, Private: 6, Function: 7, Buffer: 12 } as const;
export const Decoration = {
  ArrayStride: 6,
  BuiltIn: 11,
  NonWritable: 24,
  Binding: 33,
  Set: 34,
  Offset: 35,
} as const;

export type Id = number;
export type Type =
  | { readonly kind: "void" | "bool" | "i32" | "u32" | "f32" | "f16" | "function" }
  | { readonly kind: "vector" | "array"; readonly of: Id; readonly length: number }
  | { readonly kind: "runtime"; readonly of: Id }
  | { readonly kind: "struct"; readonly members: readonly Id[] }
  | { readonly kind: "pointer"; readonly of: Id; readonly storage: number };
export type Constant = { readonly type: Id } & (
  | { readonly value: number | boolean }
  | { readonly parts: readonly Id[] }
  | { readonly zero: true }
);
export interface Instruction {
  readonly op: number;
  /** Type and id of the result, where it has one. */
  readonly type: Id;
  readonly id: Id;
  readonly args: readonly number[];
}
export interface Block {
  readonly label: Id;
  readonly list: Instruction[];
  loop?: { readonly merge: Id; readonly next: Id };
  /** Where the two ways of a selection meet. */
  select?: Id;
  end: { readonly op: number; readonly args: readonly number[] };
}
export interface SpirvFunction {
  readonly id: Id;
  readonly result: Id;
  readonly params: { readonly type: Id; readonly id: Id }[];
  readonly blocks: Map<Id, Block>;
  first: Id;
}
export interface Variable {
  readonly type: Id;
  readonly id: Id;
  readonly storage: number;
  readonly init: Id | undefined;
}
type Decorations = Record<number, number>;
export interface SpirvModule {
  readonly types: ReadonlyMap<Id, Type>;
  readonly constants: ReadonlyMap<Id, Constant>;
  readonly decorations: ReadonlyMap<Id, Decorations>;
  /** By struct, then by member. */
  readonly members: ReadonlyMap<Id, readonly (Decorations | undefined)[]>;
  readonly variables: readonly Variable[];
  readonly functions: ReadonlyMap<Id, SpirvFunction>;
  readonly names: ReadonlyMap<Id, string>;
  readonly entry: Id;
  /** Of a workgroup. */
  readonly size: readonly [number, number, number];
  /** Types of all ids that have one. */
  readonly typeOf: ReadonlyMap<Id, Id>;
  /** Where an id is made. */
  readonly madeBy: ReadonlyMap<Id, Instruction>;
}

/** Instructions in functions that have no result. */
const WITHOUT_RESULT = new Set<number>([
  0,
  8,
  Op.Store,
  63,
  Op.ControlBarrier,
  Op.MemoryBarrier,
  Op.AtomicStore,
  317,
]);

function halfFrom(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + mantissa / 1024) : (sign * mantissa) / 2 ** 24;
}

export function parseSpirv(words: Uint32Array): SpirvModule {
  const types = new Map<Id, Type>();
  const constants = new Map<Id, Constant>();
  const decorations = new Map<Id, Decorations>();
  const members = new Map<Id, (Decorations | undefined)[]>();
  const variables: Variable[] = [];
  const functions = new Map<Id, SpirvFunction>();
  const names = new Map<Id, string>();
  const typeOf = new Map<Id, Id>();
  const madeBy = new Map<Id, Instruction>();
  let entry = 0;
  let size: [number, number, number] = [1, 1, 1];
  let inside: SpirvFunction | undefined;
  let block: Block | undefined;

  const text = (at: number): string =>
    Buffer.from(words.buffer, words.byteOffset + 4 * at)
      .toString("latin1", 0, 256)
      .split("\0")[0];
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  const fromWord = (type: Id, word: number): number => {
    const { kind } = types.get(type)!;
    if (kind === "f16") return halfFrom(word & 0xffff);
    if (kind === "i32") return word | 0;
    if (kind !== "f32") return word;
    bits[0] = word;
    return float[0];
  };

  for (let i = 5; i < words.length; i += words[i] >>> 16) {
    const op = words[i] & 0xffff;
    const a = [...words.subarray(i + 1, i + (words[i] >>> 16))];
    switch (op) {
      case Op.Name:
        names.set(a[0], text(i + 2));
        break;
      case Op.EntryPoint:
        entry = a[1];
        break;
      case Op.ExecutionMode:
        if (a[1] === 17) size = [a[2], a[3], a[4]];
        break;
      case Op.TypeVoid:
        types.set(a[0], { kind: "void" });
        break;
      case Op.TypeBool:
        types.set(a[0], { kind: "bool" });
        break;
      case Op.TypeInt:
        types.set(a[0], { kind: a[2] ? "i32" : "u32" });
        break;
      case Op.TypeFloat:
        types.set(a[0], { kind: a[1] === 16 ? "f16" : "f32" });
        break;
      case Op.TypeVector:
        types.set(a[0], { kind: "vector", of: a[1], length: a[2] });
        break;
      case Op.TypeMatrix:
        types.set(a[0], { kind: "array", of: a[1], length: a[2] });
        break;
      case Op.TypeArray:
        types.set(a[0], { kind: "array", of: a[1], length: numberOf(constants, a[2]) });
        break;
      case Op.TypeRuntimeArray:
        types.set(a[0], { kind: "runtime", of: a[1] });
        break;
      case Op.TypeStruct:
        types.set(a[0], { kind: "struct", members: a.slice(1) });
        break;
      case Op.TypePointer:
        types.set(a[0], { kind: "pointer", of: a[2], storage: a[1] });
        break;
      case Op.TypeFunction:
        types.set(a[0], { kind: "function" });
        break;
      case Op.ConstantTrue:
      case Op.SpecConstantTrue:
      case Op.ConstantFalse:
      case Op.SpecConstantFalse:
        constants.set(a[1], { type: a[0], value: op === Op.ConstantTrue || op === Op.SpecConstantTrue });
        break;
      case Op.Constant:
      case Op.SpecConstant:
        constants.set(a[1], { type: a[0], value: fromWord(a[0], a[2]) });
        break;
      case Op.ConstantComposite:
      case Op.SpecConstantComposite:
        constants.set(a[1], { type: a[0], parts: a.slice(2) });
        break;
      case Op.ConstantNull:
        constants.set(a[1], { type: a[0], zero: true });
        break;
      case Op.Decorate: {
        const of = decorations.get(a[0]) ?? {};
        of[a[1]] = a[2] ?? 1;
        decorations.set(a[0], of);
        break;
      }
      case Op.MemberDecorate: {
        const of = members.get(a[0]) ?? [];
        const member = of[a[1]] ?? {};
        member[a[2]] = a[3] ?? 1;
        of[a[1]] = member;
        members.set(a[0], of);
        break;
      }
      case Op.Function:
        inside = { id: a[1], result: a[0], params: [], blocks: new Map(), first: 0 };
        functions.set(inside.id, inside);
        break;
      case Op.FunctionParameter:
        inside?.params.push({ type: a[0], id: a[1] });
        typeOf.set(a[1], a[0]);
        break;
      case Op.FunctionEnd:
        inside = undefined;
        block = undefined;
        break;
      case Op.Label:
        block = { label: a[0], list: [], end: { op: Op.Unreachable, args: [] } };
        inside!.first ||= a[0];
        inside!.blocks.set(a[0], block);
        break;
      case Op.LoopMerge:
        block!.loop = { merge: a[0], next: a[1] };
        break;
      case Op.SelectionMerge:
        block!.select = a[0];
        break;
      default:
        if (op === Op.Undef && !block) constants.set(a[1], { type: a[0], zero: true });
        else if (op === Op.Variable && !inside)
          variables.push({ type: a[0], id: a[1], storage: a[2], init: a[3] });
        else if (block && op >= Op.Branch && op <= Op.Unreachable) block.end = { op, args: a };
        else if (block) {
          const made = WITHOUT_RESULT.has(op)
            ? { op, type: 0, id: 0, args: a }
            : { op, type: a[0], id: a[1], args: a.slice(2) };
          block.list.push(made);
          if (made.id) {
            typeOf.set(made.id, made.type);
            madeBy.set(made.id, made);
          }
        }
    }
  }
  for (const v of variables) typeOf.set(v.id, v.type);
  for (const [id, c] of constants) typeOf.set(id, c.type);
  return { types, constants, decorations, members, variables, functions, names, entry, size, typeOf, madeBy };
}

/** A constant's number. */
export function numberOf(constants: SpirvModule["constants"], id: Id): number {
  const c = constants.get(id);
  return c && "value" in c ? Number(c.value) : 0;
}

/** What a pointer points to. */
export function pointee(m: SpirvModule, type: Id): Id {
  const t = m.types.get(type)!;
  if (t.kind !== "pointer") throw new Error(`SPIR-V type ${type} is no pointer`);
  return t.of;
}

/** The type of a part of a value: of a struct the member, of anything else an element. */
export function partOf(m: SpirvModule, type: Id, index: number): Id {
  const t = m.types.get(type)!;
  if (t.kind === "struct") return t.members[index];
  if ("of" in t) return t.of;
  throw new Error(`SPIR-V type ${type} has no parts`);
}

/** Bytes of a value, laid out as WGSL has it but for structs, which are taken as packed. */
export function bytesOf(m: SpirvModule, type: Id): number {
  const t = m.types.get(type)!;
  if (t.kind === "f16") return 2;
  if (t.kind === "vector") return (t.length === 2 ? 2 : 4) * bytesOf(m, t.of);
  if (t.kind === "array") return t.length * bytesOf(m, t.of);
  if (t.kind === "runtime") return bytesOf(m, t.of);
  if (t.kind === "struct") return t.members.reduce((n, of) => n + bytesOf(m, of), 0);
  return 4;
}

/** Bytes of workgroup memory. */
export const workgroupBytes = (m: SpirvModule): number =>
  m.variables
    .filter((v) => v.storage === Storage.Workgroup)
    .reduce((n, v) => n + bytesOf(m, pointee(m, v.type)), 0);
