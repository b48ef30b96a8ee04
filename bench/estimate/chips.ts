// The GPUs that kernels are compiled for. In: nothing. Out: what the estimate needs of each, from vendors' tables. Clocks are
// those that a card holds under load, as far as is published; DRAM is its peak rate.

interface Common {
  readonly name: string;
  readonly title: string;
  /** As WebGPU's adapters tell it. */
  readonly architecture: string;
  /** What workgroups are given to: work-group processors of RDNA, compute units of GCN, SMs of NVIDIA. */
  readonly units: number;
  readonly ghz: number;
  /** GB/s of the memory. */
  readonly dram: number;
}
export interface AmdChip extends Common {
  readonly vendor: "amd";
  /** Per unit. */
  readonly simds: number;
  /** Per SIMD. */
  readonly lanes: number;
  /** Bytes of workgroup memory per unit. */
  readonly lds: number;
  /** Waves per SIMD. */
  readonly slots: number;
  /** RDNA3 may run two operations of a wave of 64 at once. */
  readonly dual: boolean;
  readonly generation: number;
}
export interface NvidiaChip extends Common {
  readonly vendor: "nvidia";
  readonly sm: string;
  /** Lanes for f32 per partition, of which an SM has four. */
  readonly fma: number;
  /** Bytes of shared memory per SM. */
  readonly shared: number;
  /** Per SM. */
  readonly warps: number;
  readonly blocks: number;
}
export type Chip = AmdChip | NvidiaChip;

const amd = (
  name: string,
  title: string,
  rest: Omit<AmdChip, "vendor" | "name" | "title" | "simds">,
): AmdChip => ({ vendor: "amd", name, title, simds: 4, ...rest });
const rdna = { lanes: 32, lds: 131072, slots: 16 };
const gcn = { lanes: 16, lds: 65536, slots: 10, dual: false };
const nvidia = (
  name: string,
  title: string,
  rest: Omit<NvidiaChip, "vendor" | "name" | "title">,
): NvidiaChip => ({ vendor: "nvidia", name, title, ...rest });
const ampere = { sm: "sm_86", fma: 32, shared: 102400, warps: 48, blocks: 16 };

/** AMD's by the names that RADV knows them by. */
export const chips: readonly Chip[] = [
  amd("navi21", "RX 6900 XT (RDNA2)", {
    architecture: "rdna-2",
    ...rdna,
    units: 40,
    ghz: 2.25,
    dual: false,
    dram: 512,
    generation: 10.3,
  }),
  amd("navi31", "RX 7900 XTX (RDNA3)", {
    architecture: "rdna-3",
    ...rdna,
    units: 48,
    ghz: 2.3,
    dual: true,
    dram: 960,
    generation: 11,
  }),
  amd("navi33", "RX 7600 (RDNA3)", {
    architecture: "rdna-3",
    ...rdna,
    units: 16,
    ghz: 2.6,
    dual: true,
    dram: 288,
    generation: 11,
  }),
  amd("navi10", "RX 5700 XT (RDNA1)", {
    architecture: "rdna-1",
    ...rdna,
    slots: 20,
    units: 20,
    ghz: 1.9,
    dual: false,
    dram: 448,
    generation: 10,
  }),
  amd("vangogh", "Steam Deck (RDNA2)", {
    architecture: "rdna-2",
    ...rdna,
    units: 4,
    ghz: 1.6,
    dual: false,
    dram: 88,
    generation: 10.3,
  }),
  amd("rembrandt", "Radeon 680M (RDNA2)", {
    architecture: "rdna-2",
    ...rdna,
    units: 6,
    ghz: 2.4,
    dual: false,
    dram: 102,
    generation: 10.3,
  }),
  amd("vega20", "Radeon VII (GCN5)", {
    architecture: "gcn-5",
    ...gcn,
    units: 60,
    ghz: 1.75,
    dram: 1024,
    generation: 9,
  }),
  amd("polaris10", "RX 480 (GCN4)", {
    architecture: "gcn-4",
    ...gcn,
    units: 36,
    ghz: 1.27,
    dram: 256,
    generation: 8,
  }),
  nvidia("a6000", "RTX A6000 (GA102)", { architecture: "ampere", ...ampere, units: 84, ghz: 1.8, dram: 768 }),
  nvidia("rtx3070", "RTX 3070 (GA104)", {
    architecture: "ampere",
    ...ampere,
    units: 46,
    ghz: 1.73,
    dram: 448,
  }),
  nvidia("rtx4090", "RTX 4090 (AD102)", {
    architecture: "lovelace",
    ...ampere,
    sm: "sm_89",
    blocks: 24,
    units: 128,
    ghz: 2.52,
    dram: 1008,
  }),
  nvidia("h100", "H100 SXM", {
    architecture: "hopper",
    sm: "sm_90",
    units: 132,
    ghz: 1.755,
    fma: 32,
    shared: 233472,
    warps: 64,
    blocks: 32,
    dram: 3350,
  }),
  nvidia("a100", "A100 SXM", {
    architecture: "ampere",
    sm: "sm_80",
    units: 108,
    ghz: 1.41,
    fma: 16,
    shared: 167936,
    warps: 64,
    blocks: 32,
    dram: 1555,
  }),
  nvidia("rtx2080", "RTX 2080 (TU104)", {
    architecture: "turing",
    sm: "sm_75",
    units: 46,
    ghz: 1.71,
    fma: 16,
    shared: 65536,
    warps: 32,
    blocks: 16,
    dram: 448,
  }),
];

/** Lanes for f32 of a unit. */
export const lanesOf = (chip: Chip): number =>
  chip.vendor === "amd" ? chip.simds * chip.lanes : 4 * chip.fma;
/** TFLOP/s of f32, single issue. */
export const peakOf = (chip: Chip): number => (2 * lanesOf(chip) * chip.units * chip.ghz) / 1e3;
/** GCN issues for four cycles where RDNA does for one, and has no second compute unit beside. */
export const isGcn = (chip: AmdChip): boolean => chip.generation < 10;
