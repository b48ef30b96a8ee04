// Step: what is a kernel, or a trick of storage, by itself: loops, packs, and what a kernel family takes whole (composites, algorithms).
import { InternalError } from "../../diagnostics/index.ts";
import type { Partition } from "./partition.ts";

export function claim(p: Partition): void {
  for (const n of p.nodes) {
    const { fuses } = n.op;
    const whole = fuses === "composite" || fuses === "algorithm";
    if (fuses === "control" || fuses === "pack" || (whole && p.options.claims?.(n))) {
      const g = p.create(whole ? "claimed" : fuses, n);
      // A claimed operator reads its operands many times, as a contraction does.
      if (g.kind === "claimed") p.anchors.add(n);
      g.roots = [...n.outs];
      for (const r of g.roots) p.home.set(r, g);
    } else if (whole) throw new InternalError("fuse", `${n.op.name} was not expanded`);
  }
}
