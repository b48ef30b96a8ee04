// The last line of a test run: how many tests ran, on which adapter, how many were skipped and why.
// In: vitest's results, and in MDL_ADAPTER what scripts/test.mjs found (asked for here when vitest runs by itself).
import type { Reporter, TestModule } from "vitest/node";
import { probeAdapter } from "../../scripts/probe-adapter.mjs";

export class AdapterReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const ran: Record<string, number> = {};
    const skipped: Record<string, number> = {};
    let failed = 0;
    for (const module of modules) {
      if (module.state() === "failed" && module.children.size === 0) failed++;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "skipped") {
          const reason = result.note ?? "no reason given";
          skipped[reason] = (skipped[reason] ?? 0) + 1;
        } else {
          ran[module.project.name] = (ran[module.project.name] ?? 0) + 1;
          if (result.state === "failed") failed++;
        }
      }
    }
    console.log(`\n${summary(ran, skipped, failed, adapterName())}`);
  }
}

/** `ran` by project (`gpu` is the one with an adapter), `skipped` by reason. */
export function summary(
  ran: Record<string, number>,
  skipped: Record<string, number>,
  failed: number,
  adapter: string,
): string {
  const total = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0);
  const onGpu = ran["gpu"] ?? 0;
  const parts = [`${total(ran)} tests ran`, `${onGpu} of them on ${adapter}`];
  if (failed > 0) parts.push(`${failed} failed`);
  const reasons = Object.entries(skipped).map(([reason, count]) => `${count}: ${reason}`);
  parts.push(`${total(skipped)} skipped${reasons.length > 0 ? ` (${reasons.join("; ")})` : ""}`);
  return `mdl: ${parts.join(", ")}`;
}

function adapterName(): string {
  const given = process.env["MDL_ADAPTER"];
  const { adapter, reason } = given ? (JSON.parse(given) as ReturnType<typeof probeAdapter>) : probeAdapter();
  return adapter?.name ?? `no GPU: ${reason}`;
}
