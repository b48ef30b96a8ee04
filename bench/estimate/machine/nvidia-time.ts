// A timing model: a listing's own path on one SM of four partitions with as many workgroups as fit, by the control bits in the
// code (stall counts, scoreboards). Not modelled: instruction cache, contention for DRAM and L2 between SMs, clocks under load,
// register banks.
import type { NvidiaChip } from "../chips.ts";
import type { Run, Simulated } from "./amd-time.ts";
import type { NvidiaInstruction } from "./nvidia.ts";

/** In cycles; from published measurements. */
const LATENCY = { shared: 23, memory: 330, mufu: 18, constant: 30, barrier: 12, taken: 4, special: 20 };
const CYCLES_MOST = 5e7;

interface Workgroup {
  waiting: Warp[];
}
interface Warp {
  pc: number;
  ready: number;
  /** When the result or operand that a scoreboard stands for is there. */
  readonly boards: Float64Array;
  readonly group: Workgroup;
}
interface Partition {
  readonly warps: Warp[];
  fma: number;
  alu: number;
  xu: number;
  last: Warp | undefined;
}

/** Cycles until every warp of the workgroups is through the path. */
export function simulateNvidia(
  list: readonly NvidiaInstruction[],
  path: readonly number[],
  chip: NvidiaChip,
  { waves, groups }: Run,
): Simulated {
  const parts: Partition[] = Array.from({ length: 4 }, () => ({
    warps: [],
    fma: 0,
    alu: 0,
    xu: 0,
    last: undefined,
  }));
  let live = 0;
  for (let g = 0; g < groups; g++) {
    const group: Workgroup = { waiting: [] };
    for (let w = 0; w < waves; w++)
      parts[live++ % 4].warps.push({ pc: 0, ready: g * 30, boards: new Float64Array(8), group });
  }
  const fmaCycles = 32 / chip.fma;
  let [shared, l1, l2, time, issued] = [0, 0, 0, 0, 0];
  while (live > 0) {
    let next = Number.POSITIVE_INFINITY;
    for (const part of parts) {
      let done = false;
      // Greedy, then oldest.
      const order = part.last ? [part.last, ...part.warps] : part.warps;
      for (const w of order) {
        if (w.pc >= path.length) continue;
        if (done) {
          next = Math.min(next, Math.max(time + 1, w.ready));
          continue;
        }
        if (w.ready > time) {
          next = Math.min(next, w.ready);
          continue;
        }
        const x = list[path[w.pc]];
        let until = 0;
        for (let b = 0; b < 6; b++) if (x.waits & (1 << b) && w.boards[b] > until) until = w.boards[b];
        if (until > time) {
          w.ready = until;
          next = Math.min(next, until);
          continue;
        }
        const pipe = x.pipe === "fma" || x.pipe === "alu" || x.pipe === "xu" ? x.pipe : undefined;
        if (pipe && part[pipe] > time) {
          next = Math.min(next, part[pipe]);
          continue;
        }
        done = true;
        issued++;
        part.last = w;
        if (pipe === "fma") part.fma = time + (x.kind === "fma" || x.kind === "float" ? fmaCycles : 2);
        else if (pipe === "alu") part.alu = time + 2;
        else if (pipe === "xu") part.xu = time + 8;
        let there = time + LATENCY.special;
        let read = time + 8;
        if (x.kind === "lds") {
          shared = Math.max(time, shared) + Math.max(1, x.bytes / 4) * (x.conflict ?? 1);
          there = shared + LATENCY.shared;
          read = shared + 8;
        } else if (x.kind === "vmem") {
          const begin = Math.max(time, l1);
          const sectors = x.sectors ?? x.bytes;
          l1 = begin + Math.max(x.bytes / 4, sectors / 4, x.lines ?? 1);
          l2 = Math.max(begin, l2) + (sectors * 32) / 64;
          there = Math.max(l1, l2) + LATENCY.memory;
          read = l1 + 20;
        } else if (x.kind === "trans") there = time + LATENCY.mufu;
        else if (x.kind === "smem") there = time + LATENCY.constant;
        if (x.writeBarrier < 7) w.boards[x.writeBarrier] = Math.max(w.boards[x.writeBarrier], there);
        if (x.readBarrier < 7) w.boards[x.readBarrier] = Math.max(w.boards[x.readBarrier], read);
        const from = path[w.pc];
        w.pc++;
        if (w.pc >= path.length) {
          live--;
          part.last = undefined;
          continue;
        }
        if (x.kind === "barrier") {
          w.group.waiting.push(w);
          w.ready = Number.POSITIVE_INFINITY;
          part.last = undefined;
          if (w.group.waiting.length === waves) {
            for (const o of w.group.waiting) o.ready = time + LATENCY.barrier;
            w.group.waiting = [];
            next = Math.min(next, time + LATENCY.barrier);
          }
          continue;
        }
        w.ready = time + x.stall + (x.kind === "branch" && path[w.pc] !== from + 1 ? LATENCY.taken : 0);
        next = Math.min(next, w.ready);
      }
    }
    if (live === 0) break;
    time = Number.isFinite(next) ? Math.max(time + 1, next) : time + 1;
    if (time > CYCLES_MOST) throw new Error("the estimate does not end");
  }
  return { cycles: time, busy: issued / (time * 4) };
}
