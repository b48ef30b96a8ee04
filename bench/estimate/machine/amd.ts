// AMD: Mesa's listing (LLVM's disassembler) of GCN and RDNA code. In: text. Out: instructions with what the estimate needs.
import type { Class, Kind, Listed } from "./listing.ts";

export interface AmdInstruction extends Listed {
  /** Of the quarter-rate unit. */
  readonly trans: boolean;
  readonly reads: readonly number[];
  readonly writes: readonly number[];
  /** Of a wait: how many of each may be outstanding. */
  readonly waits: { vmcnt?: number; lgkmcnt?: number; vscnt?: number };
}

const WIDTHS: Readonly<Record<string, number>> = {
  b8: 1,
  u8: 1,
  i8: 1,
  d16: 2,
  u16: 2,
  i16: 2,
  b16: 2,
  b32: 4,
  b64: 8,
  b96: 12,
  b128: 16,
  u32: 4,
  f32: 4,
  dword: 4,
  dwordx2: 8,
  dwordx3: 12,
  dwordx4: 16,
  byte: 1,
  short: 2,
  ubyte: 1,
  ushort: 2,
};
function bytesOf(op: string): number {
  const two = /_2addr(?:_stride64|st64)?_(b\d+)|(?:read2|write2)(?:st64)?_(b\d+)/.exec(op);
  if (two) return 2 * WIDTHS[two[1] ?? two[2]];
  const part = op.split("_").findLast((p) => WIDTHS[p]);
  return part === undefined ? 4 : WIDTHS[part];
}

const plain = (kind: Kind, valu = 0, fmas = 0): Class => ({
  kind,
  valu,
  fmas,
  bytes: 0,
  write: false,
  spill: false,
});
const TRANS = /^v_(exp|log|rcp|rsq|sqrt|sin|cos|rcp_iflag)_/;

function classify(op: string): Class {
  if (op.startsWith("v_dual_")) return plain("fma", 1);
  if (/^v_(cmp|cmpx)_|^v_cndmask/.test(op)) return plain("cmp", 1);
  if (/^v_(fma|fmac|fmaak|fmamk|mad|mac|madak|madmk)_(f32|f16|legacy|mix)/.test(op))
    return plain("fma", 1, 1);
  if (/^v_pk_fma_f(16|32)/.test(op) || /^v_dot2/.test(op)) return plain("fma", 1, 2);
  if (TRANS.test(op)) return plain("trans", 4);
  if (/^v_(mul_lo_u32|mul_lo_i32|mul_hi_[ui]32|mad_[ui]64_[ui]32)/.test(op)) return plain("int", 4);
  if (/_f64/.test(op)) return plain("float", 16);
  if (/^v_(mov|readfirstlane|readlane|writelane|accvgpr|swap|movrel|permlane)/.test(op))
    return plain("move", 1);
  if (/^v_.*_(f32|f16)(_|$)/.test(op) || /^v_(cvt|ldexp|frexp|fract|floor|ceil|trunc|rndne|div_)/.test(op))
    return plain("float", 1);
  if (op.startsWith("v_")) return plain("int", 1);
  if (op.startsWith("ds_"))
    return { ...plain("lds"), bytes: bytesOf(op), write: /^ds_(store|write)/.test(op) };
  if (/^(buffer|global|flat|scratch|tbuffer|image)_/.test(op)) {
    const write = /_(store|atomic)/.test(op);
    return { ...plain("vmem"), bytes: bytesOf(op), write, spill: op.startsWith("scratch_") };
  }
  if (/^s_(load|buffer_load|scratch_load|dcache|memtime)/.test(op)) return plain("smem");
  if (/^s_(branch|cbranch|setpc|swappc|call|endpgm)/.test(op)) return plain("branch");
  if (op.startsWith("s_barrier")) return plain("barrier");
  if (op.startsWith("s_wait")) return plain("wait");
  const nothing =
    /^s_(nop|delay_alu|clause|sendmsg|inst_prefetch|set_inst|code_end|sleep|setprio|ttrace|icache|version|round_mode|denorm_mode)/;
  return plain(op.startsWith("s_") && !nothing.test(op) ? "salu" : "nop");
}

/** Registers as numbers: vector ones from 0, scalar ones from 512, then the few with names. */
export const REGISTERS = 704;
const NAMED: Readonly<Record<string, number>> = { vcc: 700, exec: 701, src_scc: 702, scc: 702, m0: 703 };
const [VCC, EXEC, SCC] = [NAMED.vcc, NAMED.exec, NAMED.scc];
function registers(text: string): number[] {
  const out: number[] = [];
  const names = /\b([vs])\[(\d+):(\d+)\]|\b([vs])(\d+)\b|\b(vcc|exec|src_scc|m0)(?:_lo|_hi)?\b/g;
  for (const [, file, from, to, single, index, name] of text.matchAll(names)) {
    const base = (file ?? single) === "s" ? 512 : 0;
    if (file) for (let i = Number(from); i <= Number(to); i++) out.push(base + i);
    else out.push(single ? base + Number(index) : NAMED[name]);
  }
  return out;
}
/** The part before the first comma that is not in brackets, and the rest. */
function firstOperand(text: string): [string, string] {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if ("[(".includes(text[i])) depth++;
    if ("])".includes(text[i])) depth--;
    if (text[i] === "," && depth === 0) return [text.slice(0, i), text.slice(i + 1)];
  }
  return [text, ""];
}

function operands(op: string, args: string): { reads: number[]; writes: number[] } {
  const [one, rest] = firstOperand(args);
  const first = registers(one);
  const all = [...first, ...registers(rest)];
  if (/^(s_cmp|s_bitcmp)/.test(op)) return { writes: [SCC], reads: all };
  if (op.startsWith("v_cmpx")) return { writes: [EXEC], reads: all };
  if (op.startsWith("v_cmp")) return { writes: first, reads: registers(rest) };
  if (/^(ds_(store|write)|buffer_store|global_store|s_wait|s_barrier|s_nop|s_branch|s_endpgm)/.test(op))
    return { writes: [], reads: all };
  if (op.startsWith("s_cbranch_scc")) return { writes: [], reads: [SCC] };
  if (op.startsWith("s_cbranch_vcc")) return { writes: [], reads: [VCC] };
  if (op.startsWith("s_cbranch_exec")) return { writes: [], reads: [EXEC] };
  const writes = [...first];
  const reads = registers(rest);
  if (/^v_(fmac|mac)|^v_dual_fmac/.test(op)) reads.push(...first);
  if (/^s_(cselect|addc|subb|cmov)/.test(op)) reads.push(SCC);
  if (/^s_(add|sub|and|or|xor|not|lshl|lshr|ashr|bfe|abs|min|max|andn2|orn2|and_not1|or_not1)/.test(op))
    writes.push(SCC);
  if (op.includes("saveexec")) writes.push(EXEC);
  if (/^v_add_co|^v_sub_co|^v_addc|^v_div_scale/.test(op)) writes.push(VCC);
  if (op.startsWith("v_cndmask_b32_e32")) reads.push(VCC);
  return { writes, reads };
}

function waitsOf(op: string, args: string): AmdInstruction["waits"] {
  if (op === "s_waitcnt") {
    if (/^\s*(0|0x0)\s*$/.test(args)) return { vmcnt: 0, lgkmcnt: 0 };
    const found = [...args.matchAll(/(vmcnt|lgkmcnt|vscnt)\((\d+)\)/g)];
    return Object.fromEntries(found.map(([, name, n]) => [name, Number(n)]));
  }
  const last = Number(args.split(",").at(-1));
  if (op.startsWith("s_waitcnt_vscnt")) return { vscnt: last };
  if (/^s_wait_(load|bvh|sample)cnt/.test(op)) return { vmcnt: last };
  return /^s_wait_(ds|km)cnt/.test(op) ? { lgkmcnt: last } : {};
}

/** Both halves of a pair that RDNA3 issues together, as one instruction. */
function pairOf(op: string, args: string, second: string): Class & ReturnType<typeof operands> {
  const [, op2, args2] = /^(\S+)\s*(.*)$/.exec(second) ?? ["", "", ""];
  const [a, b] = [operands(op, args), operands(op2, args2)];
  const fmas = Number(/fma/.test(op)) + Number(/fma/.test(op2));
  const kind = fmas > 0 ? "fma" : /mov/.test(op) ? "move" : "float";
  return {
    ...plain(kind, 1, fmas),
    reads: [...a.reads, ...b.reads],
    writes: [...a.writes, ...b.writes],
  };
}

export function parseAmd(text: string): AmdInstruction[] {
  const lines: { readonly op: string; readonly args: string; readonly second: string }[] = [];
  const labels = new Map<string, number>();
  for (const raw of text.split("\n")) {
    const label = /^(BB\d+):/.exec(raw)?.[1];
    if (label !== undefined) labels.set(label, lines.length);
    const line = raw.replace(/;.*$/, "").trim();
    if (label !== undefined || !line || line.startsWith("(")) continue;
    const [one, second = ""] = line.split("::").map((x) => x.trim());
    const [, op, args] = /^(\S+)\s*(.*)$/.exec(one)!;
    lines.push({ op, args, second });
  }
  return lines.map(({ op, args, second }, at): AmdInstruction => {
    const what = op.startsWith("v_dual_")
      ? pairOf(op, args, second)
      : { ...classify(op), ...operands(op, args) };
    const to = what.kind === "branch" ? labels.get(/(BB\d+)/.exec(args)?.[1] ?? "") : undefined;
    return {
      ...what,
      at,
      op,
      trans: TRANS.test(op),
      always: op === "s_branch",
      target: to === undefined ? undefined : Math.min(to, lines.length - 1),
      waits: what.kind === "wait" ? waitsOf(op, args) : {},
    };
  });
}
