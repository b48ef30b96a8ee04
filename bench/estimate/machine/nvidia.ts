// NVIDIA: nvdisasm's listing with encodings, of Volta and later. In: text. Out: instructions with the control bits that ptxas put
// into the code (stall counts, scoreboards).
import type { Class, Kind, Listed } from "./listing.ts";

export type Pipe = "fma" | "alu" | "xu" | "mio" | "uniform" | "none";
export interface NvidiaInstruction extends Listed {
  readonly pipe: Pipe;
  /** Cycles until the warp's next instruction. */
  stall: number;
  /** Scoreboards set when the result is there, and when the operands were read; 7: none. */
  writeBarrier: number;
  readBarrier: number;
  /** Scoreboards waited for, as bits. */
  waits: number;
}

function classify(op: string): Class & { readonly pipe: Pipe } {
  const make = (kind: Kind, valu: number, pipe: Pipe, fmas = 0) => ({
    kind,
    valu,
    pipe,
    fmas,
    bytes: 0,
    write: false,
    spill: false,
  });
  const [base] = op.split(".");
  const bytes = /\.128/.test(op)
    ? 16
    : /\.64/.test(op)
      ? 8
      : /\.(U8|S8)/.test(op)
        ? 1
        : /\.(U16|S16)/.test(op)
          ? 2
          : 4;
  const memory = (kind: "lds" | "vmem", write: boolean, spill = false) => ({
    ...make(kind, 0, "mio"),
    bytes,
    write,
    spill,
  });
  if (base === "FFMA" || base === "FFMA32I") return make("fma", 1, "fma", 1);
  if (base === "HFMA2") return make("fma", 1, "fma", /\.MMA|\.F32/.test(op) ? 1 : 2);
  if (base === "FFMA2") return make("fma", 1, "fma", 2);
  if (/^(FADD|FMUL|FADD32I|FMUL32I|FADD2|FMUL2)$/.test(base)) return make("float", 1, "fma");
  if (/^(FMNMX|FSEL|FSET|FSETP|FCHK|FSWZADD|FMNMX3|HADD2|HMUL2|HSETP2|HSET2|HMNMX2)$/.test(base))
    return make(base.includes("SET") || base === "FSEL" ? "cmp" : "float", 1, "alu");
  if (base === "MUFU" || /^(I2F|F2I|F2F|I2I|FRND|I2FP|F2FP|POPC|FLO)/.test(base))
    return make("trans", 1, "xu");
  if (base.startsWith("IMAD")) return make(/\.MOV|\.SHL/.test(op) ? "move" : "int", 1, "fma");
  if (/^(MOV|CS2R|S2R|S2UR|R2UR|P2R|R2P|MOV32I|SHFL|PRMT)$/.test(base))
    return make("move", 1, base.startsWith("S2") ? "mio" : "alu");
  if (/^(ISETP|PLOP3|SEL|ICMP|VOTE|VOTEU)$/.test(base)) return make("cmp", 1, "alu");
  if (/^(LDS|STS|LDSM|ATOMS)$/.test(base)) return memory("lds", base !== "LDS" && base !== "LDSM");
  if (/^(LDG|STG|LD|ST|ATOMG|RED|ATOM|LDGSTS)$/.test(base)) return memory("vmem", !base.startsWith("LD"));
  if (/^(LDL|STL)$/.test(base)) return memory("vmem", base === "STL", true);
  if (/^(LDC|LDCU|ULDC)$/.test(base)) return make("smem", 0, "uniform");
  if (/^(BAR|BARRIER)/.test(base)) return make("barrier", 0, "none");
  if (/^(BRA|BRX|JMP|EXIT|RET|CALL|BREAK|WARPSYNC|BSSY|BSYNC|BMOV|KILL|YIELD|NANOSLEEP)$/.test(base))
    return make("branch", 0, "none");
  if (/^(NOP|DEPBAR|LDGDEPBAR|MEMBAR|ERRBAR|CCTL|ENDCOLLECTIVE|PREEXIT|ACQBULK)$/.test(base))
    return make(base === "NOP" ? "nop" : "wait", 0, "none");
  return base.startsWith("U") ? make("salu", 0, "uniform") : make("int", 1, "alu");
}

export function parseNvidia(text: string): NvidiaInstruction[] {
  const found: (NvidiaInstruction & { readonly to: string | undefined })[] = [];
  const labels = new Map<string, number>();
  let body = false;
  for (const line of text.split("\n")) {
    if (line.startsWith(".text.")) body = true;
    if (/^\s*\.section\b/.test(line) && !line.includes(".text.")) body = false;
    if (!body) continue;
    const label = /^(\.L_\w+):/.exec(line)?.[1];
    if (label !== undefined) {
      labels.set(label, found.length);
      continue;
    }
    const m =
      /^\s+\/\*[0-9a-f]+\*\/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?);?\s*(?:\(\*.*\*\))?\s*\/\* 0x([0-9a-f]{16}) \*\//.exec(
        line,
      );
    if (m) {
      const [, predicate, op, args] = m;
      found.push({
        ...classify(op),
        at: found.length,
        op,
        always: op.startsWith("BRA") && predicate === undefined,
        target: undefined,
        to: op.startsWith("BSSY") ? undefined : /(\.L_\w+)/.exec(args)?.[1],
        stall: 1,
        writeBarrier: 7,
        readBarrier: 7,
        waits: 0,
      });
      continue;
    }
    const second = /^\s+\/\* 0x([0-9a-f]{16}) \*\//.exec(line)?.[1];
    const last = found.at(-1);
    if (second === undefined || !last) continue;
    const bits = BigInt(`0x${second}`) >> 41n;
    last.stall = Math.max(1, Number(bits & 15n));
    last.writeBarrier = Number((bits >> 5n) & 7n);
    last.readBarrier = Number((bits >> 8n) & 7n);
    last.waits = Number((bits >> 11n) & 63n);
  }
  // The code ends at the last exit: a branch to itself and padding follow.
  const exit = found.findLastIndex((x) => x.op === "EXIT");
  const end = exit < 0 ? found.length - 1 : exit;
  return found.slice(0, end + 1).map(({ to, ...x }) => {
    const target = to === undefined ? undefined : labels.get(to);
    return { ...x, target: target === undefined || target > end ? undefined : target };
  });
}
