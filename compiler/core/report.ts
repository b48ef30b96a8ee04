// What was built, in numbers for people. In: what the pipeline kept. Out: a summary of each entry of each target.
import type { Artefact } from "../../runtime/core/program.ts";
import { evaluateAll, NOMINAL, print } from "./dims/dim.ts";
import { isGraph } from "./ir/build.ts";
import type { Graph } from "./ir/types.ts";
import type { Built } from "./pipeline.ts";

export interface EntrySummary {
  readonly name: string;
  readonly inputs: string;
  readonly outputs: string;
  readonly target: string;
  /** Nodes that compute something, before fusion. */
  readonly kernelsBefore: number;
  /** Dispatches of a call, without `prepare`, in its sizes (`3 * T + 26`), and their number at the nominal size. */
  readonly dispatches: string;
  readonly nominalDispatches: number;
  readonly prepare: number;
  /** Bytes of arena at the nominal size, and the least that any plan would need. */
  readonly peakBytes: number;
  readonly boundBytes: number;
  /** The same where the sizes that are open are 1, and where they are nominal. */
  readonly memory: readonly { readonly size: number; readonly bound: number; readonly peak: number }[];
}
export function summarise(built: Built): EntrySummary[] {
  return built.stages.map((s) => {
    const program = built.artefact.programs.find(
      (p) => p.target === s.target,
    ) as Artefact["programs"][number];
    const plan = program.entries.find(
      (e) => e.name === s.entry,
    ) as Artefact["programs"][number]["entries"][number];
    const count = (steps: typeof plan.body.steps): number =>
      steps.filter((x) => x.kind === "dispatch").length;
    const port = (p: (typeof plan.inputs)[number]): string =>
      `${p.name}: ${p.dtype}[${p.shapeText.join(", ")}]`;
    return {
      name: s.entry,
      inputs: plan.inputs.map(port).join(", "),
      outputs: plan.outputs.map(port).join(", "),
      target: s.target,
      kernelsBefore: computing(s.simplified),
      dispatches: print(s.dispatches),
      nominalDispatches: evaluateAll(s.dispatches, NOMINAL),
      prepare: plan.derived.reduce((n, u) => n + count(program.derived[u].body.steps), 0),
      // Most who compile do not ask.
      get peakBytes() {
        return s.memory(NOMINAL).peak;
      },
      get boundBytes() {
        return s.memory(NOMINAL).bound;
      },
      get memory() {
        return [1, NOMINAL].map(s.memory);
      },
    };
  });
}

/** Nodes that compute something, those of loop bodies once. */
function computing(graph: Graph): number {
  return graph.nodes.reduce((n, node) => {
    const own = (node.op.fuses === "map" || node.op.fuses === "fold") && node.inputs.length > 0 ? 1 : 0;
    return (
      n + own + Object.values(node.attrs).reduce<number>((m, a) => m + (isGraph(a) ? computing(a) : 0), 0)
    );
  }, 0);
}
