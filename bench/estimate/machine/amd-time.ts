// A timing model: a listing's own path on one unit (a work-group processor of RDNA or a compute unit of GCN) with as many
// workgroups as fit. In-order waves, issue ports, register latencies, s_waitcnt's counters, barriers, pipes of workgroup memory
// and cache. Not modelled: instruction cache, contention for DRAM and L2 between units, clocks under load, register banks.
import { type AmdChip, isGcn } from "../chips.ts";
import { type AmdInstruction, REGISTERS } from "./amd.ts";

/** In cycles; from ACO's own cost model and published measurements. */
const LATENCY = {
  valu: 5,
  quad: 8,
  trans: 10,
  salu: 2,
  lds: 58,
  memory: 380,
  scalar: 60,
  taken: 8,
  barrier: 6,
};
const CYCLES_MOST = 5e7;

/** What is simulated: workgroups of so many waves on one unit. */
export interface Run {
  readonly wave: number;
  readonly waves: number;
  readonly groups: number;
  /** Waves of 64 of RDNA3 are taken to issue two at once. */
  readonly dual?: boolean;
}
export interface Simulated {
  readonly cycles: number;
  /** Share of the time that the vector units issue. */
  readonly busy: number;
}

interface Workgroup {
  waiting: Wave[];
}
interface Wave {
  pc: number;
  ready: number;
  readonly registers: Float64Array;
  readonly lgkm: number[];
  readonly loads: number[];
  readonly stores: number[];
  readonly group: Workgroup;
}

/** Puts when an access is done into its counter's queue, which goes in order. */
function enqueue(queue: number[], time: number): void {
  queue.push(queue.length > 0 ? Math.max(queue[queue.length - 1], time) : time);
  if (queue.length > 64) queue.shift();
}
/** When at most `most` of a queue are outstanding. */
const drained = (queue: readonly number[], most: number | undefined): number =>
  most !== undefined && queue.length > most ? queue[queue.length - 1 - most] : 0;

/** Cycles until every wave of the workgroups is through the path. */
export function simulateAmd(
  list: readonly AmdInstruction[],
  path: readonly number[],
  chip: AmdChip,
  { wave, waves, groups, dual }: Run,
): Simulated {
  const gcn = isGcn(chip);
  const cus = gcn ? 1 : 2;
  const passes = gcn ? wave / 16 : wave / 32;
  const simds = Array.from({ length: chip.simds }, () => ({ waves: [] as Wave[], valu: 0, trans: 0 }));
  const lds = new Array<number>(cus).fill(0);
  const cache = new Array<number>(cus).fill(0);
  let l2 = 0;
  let live = 0;
  for (let g = 0; g < groups; g++) {
    const group: Workgroup = { waiting: [] };
    for (let w = 0; w < waves; w++) {
      const registers = new Float64Array(REGISTERS);
      const ready = g * 40 + w;
      simds[live++ % simds.length].waves.push({
        pc: 0,
        ready,
        registers,
        lgkm: [],
        loads: [],
        stores: [],
        group,
      });
    }
  }
  let time = 0;
  let busy = 0;
  while (live > 0) {
    let next = Number.POSITIVE_INFINITY;
    for (let s = 0; s < simds.length; s++) {
      const simd = simds[s];
      if (gcn && time % 4 !== s) {
        next = Math.min(next, time + 1);
        continue;
      }
      const unit = gcn ? 0 : s >> 1;
      // Each kind of instruction is issued once a cycle, from any of the waves.
      let [usedValu, usedScalar, usedLds, usedMemory, usedBranch] = [false, false, false, false, false];
      for (const w of simd.waves) {
        if (w.pc >= path.length) continue;
        if (w.ready > time) {
          if (w.ready < next) next = w.ready;
          continue;
        }
        const x = list[path[w.pc]];
        // Operands; those that are loaded are covered by the waits.
        let need = 0;
        for (const r of x.reads) if (w.registers[r] > need) need = w.registers[r];
        if (need > time) {
          w.ready = need;
          if (need < next) next = need;
          continue;
        }
        let issued = true;
        if (x.valu > 0) {
          if (usedValu || simd.valu > time || (x.trans && simd.trans > time)) issued = false;
          else {
            usedValu = true;
            const once = dual && wave === 64 && x.kind === "fma" ? 1 : passes;
            const cycles = x.trans ? passes : x.valu * once;
            simd.valu = time + cycles;
            busy += cycles;
            if (x.trans) simd.trans = time + 4 * passes;
            const latency = x.valu === 1 ? LATENCY.valu : x.trans ? LATENCY.trans : LATENCY.quad;
            const there = time + Math.max(gcn ? 4 : latency, cycles);
            for (const r of x.writes) w.registers[r] = there;
          }
        } else
          switch (x.kind) {
            case "salu":
            case "smem":
              if (usedScalar) issued = false;
              else {
                usedScalar = true;
                if (x.kind === "smem") enqueue(w.lgkm, time + LATENCY.scalar);
                else for (const r of x.writes) w.registers[r] = time + LATENCY.salu;
              }
              break;
            case "lds":
              if (usedLds) issued = false;
              else {
                usedLds = true;
                lds[unit] =
                  Math.max(time, lds[unit]) + (wave / 32) * Math.max(1, x.bytes / 4) * (x.conflict ?? 1);
                enqueue(w.lgkm, lds[unit] + LATENCY.lds);
              }
              break;
            case "vmem":
              if (usedMemory) issued = false;
              else {
                usedMemory = true;
                const begin = Math.max(time, cache[unit]);
                const ends = begin + (wave / 32) * Math.max(x.bytes / 4, x.lines ?? 1) * (gcn ? 2 : 1);
                cache[unit] = ends;
                l2 = Math.max(ends, l2) + ((wave / 32) * (x.sectors ?? x.bytes) * 32) / (64 * cus);
                enqueue(
                  x.write && !gcn ? w.stores : w.loads,
                  (x.write ? begin : Math.max(l2, ends)) + LATENCY.memory,
                );
              }
              break;
            case "wait":
              w.pc++;
              w.ready = Math.max(
                time + 1,
                drained(w.lgkm, x.waits.lgkmcnt),
                drained(w.loads, x.waits.vmcnt),
                drained(w.stores, x.waits.vscnt),
              );
              if (w.ready < next) next = w.ready;
              if (w.pc >= path.length) live--;
              continue;
            case "barrier":
              w.pc++;
              w.group.waiting.push(w);
              w.ready = Number.POSITIVE_INFINITY;
              if (w.group.waiting.length === waves) {
                for (const o of w.group.waiting) o.ready = time + LATENCY.barrier;
                w.group.waiting = [];
                next = Math.min(next, time + LATENCY.barrier);
              }
              if (w.pc >= path.length) live--;
              continue;
            case "branch":
              if (usedBranch) issued = false;
              else usedBranch = true;
              break;
            default:
          }
        if (!issued) {
          next = Math.min(next, time + 1);
          continue;
        }
        const from = path[w.pc];
        w.pc++;
        if (w.pc >= path.length) {
          live--;
          continue;
        }
        w.ready = time + (x.kind === "branch" && path[w.pc] !== from + 1 ? LATENCY.taken : 1);
        if (w.ready < next) next = w.ready;
      }
    }
    if (live === 0) break;
    time = Number.isFinite(next) ? Math.max(time + 1, next) : time + 1;
    if (time > CYCLES_MOST) throw new Error("the estimate does not end");
  }
  return { cycles: time, busy: busy / (time * simds.length) };
}
