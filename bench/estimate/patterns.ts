// What the memory makes of addresses. In: what 32 lanes touch at a time. Out: passes over the banks of workgroup memory, and
// sectors and lines of storage.

/** Places of the text that touch memory. */
export interface Site {
  readonly name: string;
  readonly space: "workgroup" | "storage";
  readonly bytes: number;
  readonly write: boolean;
  /** The loop around it. */
  readonly loop: number | undefined;
  /** Of one lane. */
  readonly calls: number;
  /** Elements touched, in units of `bytes`: for some of the calls, by lane. */
  readonly seen: readonly (readonly (number | undefined)[])[];
}
export interface Pattern {
  /** Passes over the banks for each that there would be without conflicts. */
  readonly conflict: number;
  /** Of 32 bytes, for 32 lanes. */
  readonly sectors: number;
  /** Of 128 bytes, for 32 lanes. */
  readonly lines: number;
  /** Different bytes, for 32 lanes. */
  readonly bytesPer32: number;
}

/** With `width`, as if each access were that wide: compilers merge neighbours. */
export function patternOf(site: Site, lanes: number, width = site.bytes): Pattern {
  const words = Math.max(1, width / 4);
  // Wide accesses go in parts: 8 lanes of 16 bytes, 16 of 8, 32 of 4, each over 32 banks.
  const part = Math.max(1, Math.floor(32 / words));
  let [passes, ideal, sectors, lines, bytes, n] = [0, 0, 0, 0, 0, 0];
  for (const list of site.seen) {
    for (let half = 0; half < lanes; half += 32) {
      const at: number[] = [];
      for (let lane = half; lane < Math.min(half + 32, lanes); lane++) {
        const element = list[lane];
        if (element !== undefined && Number.isFinite(element))
          at.push(Math.floor((element * site.bytes) / width) * width);
      }
      if (at.length === 0) continue;
      n++;
      for (let from = 0; from < at.length; from += part) {
        const banks = new Map<number, Set<number>>();
        for (const a of at.slice(from, from + part))
          for (let w = 0; w < words; w++) {
            const word = Math.floor(a / 4) + w;
            const bank = ((word % 32) + 32) % 32;
            banks.set(bank, (banks.get(bank) ?? new Set()).add(word));
          }
        passes += Math.max(...[...banks.values()].map((b) => b.size));
        ideal += 1;
      }
      sectors += new Set(at.flatMap((a) => [Math.floor(a / 32), Math.floor((a + width - 1) / 32)])).size;
      lines += new Set(at.map((a) => Math.floor(a / 128))).size;
      bytes += new Set(at).size * width;
    }
  }
  const mean = (sum: number): number => (n ? sum / n : 0);
  return {
    conflict: ideal ? passes / ideal : 1,
    sectors: mean(sectors),
    lines: mean(lines),
    bytesPer32: mean(bytes),
  };
}
