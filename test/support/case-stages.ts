// The steps that text cases can name, by room: one line makes a step testable by text. In: nothing. Out: functions from a
// graph and a case's options to a graph or a text.
import { print } from "../../compiler/core/dims/dim.ts";
import { typeText } from "../../compiler/core/ir/build.ts";
import type { Graph, Node, Value } from "../../compiler/core/ir/types.ts";
import { bufferName } from "../../compiler/core/kernel/emitter.ts";
import type { Step } from "../../compiler/core/kernel/launch.ts";
import { verifyKernel } from "../../compiler/core/kernel/verify.ts";
import { passes } from "../../compiler/core/phases/4-simplify/simplify.ts";
import { fuse, fuseSteps } from "../../compiler/core/phases/5-fuse/fuse.ts";
import type { FuseOptions } from "../../compiler/core/phases/5-fuse/partition.ts";
import { inPlaceWrites } from "../../compiler/core/phases/6-layout/in-place.ts";
import { layout, printLaid } from "../../compiler/core/phases/6-layout/layout.ts";
import {
  chooseLayouts,
  type Layouts,
  lyingText,
  seenAsBytes,
} from "../../compiler/core/phases/6-layout/layouts.ts";
import { packWeights } from "../../compiler/core/phases/6-layout/weights.ts";
import { lyingIn, runBeside } from "../../compiler/core/phases/7-schedule/beside.ts";
import {
  isClaimed,
  jobOf,
  offersFor,
  roomFor,
  scheduleGroup,
} from "../../compiler/core/phases/7-schedule/choose.ts";
import { panelsFor } from "../../compiler/core/phases/7-schedule/contraction/subgroup.ts";
import { filtersFor } from "../../compiler/core/phases/7-schedule/contraction/winograd.ts";
import { families } from "../../compiler/core/phases/7-schedule/families.ts";
import type { Launch, ScheduleContext } from "../../compiler/core/phases/7-schedule/family.ts";
import { type Fused, printRegions, type Region } from "../../compiler/core/regions/region.ts";
import { verifyRegions } from "../../compiler/core/regions/verify.ts";
import { emitStage, type Stage as Text } from "../../compiler/core/stages.ts";
import { limitOf, type Precision, rulesOf } from "../../compiler/core/targets.ts";
import type { CaseOptions, Change, Stage, Stages } from "./cases.ts";
import { buildGraphs } from "./graphs.ts";

// --- 4-simplify ------------------------------------------------------------------------------------------------------

/** What `pipeline.ts` gives the passes for the case's target; a case may say other numbers. */
const simplifyOptions = (o: CaseOptions) => ({
  inference: o.inference,
  claims: (node: Node) => isClaimed(node, o.target),
  bytes: o.number("bytes") ?? limitOf(o.target, "maxStorageBufferBindingSize"),
  operands: o.number("operands") ?? limitOf(o.target, "maxStorageBuffersPerShaderStage") - 1,
});
const passStages = passes.map((pass): [string, Stage] => [
  pass.name,
  { kind: "graph", run: (graph, options) => pass.run(graph, simplifyOptions(options)) },
]);

// --- 5-fuse ----------------------------------------------------------------------------------------------------------

const fuseOptions = (o: CaseOptions): FuseOptions => ({
  maxBindings: o.number("bindings") ?? limitOf(o.target, "maxStorageBuffersPerShaderStage"),
  derive: o.inference,
  claims: (node) => isClaimed(node, o.target),
  room: (node) => roomFor(node, o.target),
  often: o.number("often") === 1,
});
/** Regions before and after a step of fusion. */
const fuseStage = (step: string): Stage => ({
  kind: "change",
  run(graph, options) {
    let before: readonly string[] = [];
    let change: Change | undefined;
    fuse(graph, fuseOptions(options), (name, regions) => {
      verifyRegions(graph, regions(), name);
      const after = printRegions(graph, regions()).map((line) => line.trimEnd());
      if (name === step) change = { before, after };
      before = after;
    });
    if (!change) throw new Error(`fusion has no step ${step}`);
    return change;
  },
});

// --- 6-layout --------------------------------------------------------------------------------------------------------

const regionLines = (graph: Graph, regions: readonly Region[], layouts?: Layouts): readonly string[] =>
  printRegions(graph, regions, layouts && ((v) => lyingText(layouts, v)));

function layOut(graph: Graph, options: CaseOptions) {
  const fused = fuse(graph, fuseOptions(options));
  const fixed = seenAsBytes(fused);
  const layouts = chooseLayouts(fused, fixed, options.target);
  const chosen = regionLines(graph, fused.groups, layouts);
  const packing = packWeights(fused, layouts, fixed, {
    derive: options.inference,
    filterFor: options.inference ? filtersFor(options.target) : undefined,
    panelsIn: panelsFor(options.target),
    apart: options.target.apart,
  });
  const packed: Fused = { ...fused, groups: packing.groups, home: packing.home };
  return { fused, layouts, chosen, packing, packed };
}
/** What schedules are told of a graph. */
function scheduling(graph: Graph, options: CaseOptions): ScheduleContext {
  const { layouts, packing, packed: fused } = layOut(graph, options);
  const { target } = options;
  const half = target.precision === "f16";
  return { fused, layouts, target, packed: packing.packed, filters: packing.filters, half };
}
const layoutStages: Readonly<Record<string, Stage>> = {
  layouts: {
    kind: "change",
    run(graph, options) {
      const { fused, chosen } = layOut(graph, options);
      return { before: regionLines(graph, fused.groups), after: chosen };
    },
  },
  weights: {
    kind: "change",
    run(graph, options) {
      const { chosen, packed, layouts } = layOut(graph, options);
      return { before: chosen, after: regionLines(graph, packed.groups, layouts) };
    },
  },
  storage: {
    kind: "change",
    run(graph, options) {
      const fused = fuse(graph, fuseOptions(options));
      const derive = options.inference;
      const precision = options.number("activations") === 1 ? "f16" : "f16-weights";
      const [plain, narrow] = [undefined, precision as Precision].map((p) =>
        printLaid(layout(fused, { derive, maxBindings: fuseOptions(options).maxBindings, precision: p })),
      );
      return { before: plain, after: narrow };
    },
  },
  "in-place": {
    kind: "change",
    run(graph, options) {
      const { packed, layouts } = layOut(graph, options);
      const { sources, order } = inPlaceWrites(packed, layouts);
      const over = (v: Value): string => (sources.has(v) ? ` over ${sources.get(v)?.node.attrs.path}` : "");
      return {
        before: printRegions(graph, packed.groups),
        after: printRegions(graph, order, over),
      };
    },
  },
};

// --- 7-schedule ------------------------------------------------------------------------------------------------------

/** The regions that a family computes, in which ways it could, and the loop nests of the first. */
const familyStage = (family: string): Stage => ({
  kind: "change",
  run(graph, options) {
    const ctx = scheduling(graph, options);
    const { fused: packed, layouts } = ctx;
    const kernels = packed.groups.filter((g) => g.kind !== "control" && g.kind !== "pack");
    const lines = kernels.map((g) => {
      const [line] = regionLines(graph, [g], layouts);
      const offers = offersFor(jobOf(ctx, g));
      if (offers[0]?.family.name !== family) return { line, more: [] };
      const { list, temporaries } = scheduleGroup(ctx, g);
      const scratch = temporaries.map((v) => `temporary ${v.node.label}: ${typeText(v.type)}`);
      return { line, more: [...scratch, ...list.flatMap(launchLines)] };
    });
    return {
      before: lines.map(({ line }) => line),
      after: lines.flatMap(({ line, more }) => [line, ...more.map((l) => `  ${l}`)]),
    };
  },
});
const launchLines = ({ code, groups }: Launch): string[] => [
  `${code.name} (${code.family}, workgroup ${code.workgroup}) grid ${print(groups)}`,
  ...code.buffers.map((b) => `  ${b.name}: ${typeText(b.type)}`),
  ...code.nest.map((line) => `  ${line}`),
];

/** What runs for a graph, before and after small kernels are put side by side. */
const besideStage: Stage = {
  kind: "change",
  run(graph, options) {
    const ctx = scheduling(graph, options);
    const packed = ctx.fused;
    const steps = packed.groups.map((g): Step => {
      if (g.kind === "pack") {
        const offsets = g.anchor.attrs.offsets as readonly number[];
        const parts = g.anchor.inputs.map((value, i) => ({ value, offset: offsets[i] }));
        return { kind: "pack", whole: g.roots[0], parts };
      }
      const launches = scheduleGroup(ctx, g);
      return { kind: "launch", launches, about: { site: "", label: "" } };
    });
    const bound = ({ buffers }: Launch): string => buffers.map((b) => bufferName(b.value)).join(", ");
    const lines = (list: readonly Step[]): string[] =>
      list.flatMap((s) =>
        s.kind === "launch" ? s.launches.list.map((l) => `${launchLines(l)[0]} [${bound(l)}]`) : [],
      );
    const routine = { alias: packed.alias, inPlace: new Map() };
    const after = runBeside(steps, routine, options.target, lyingIn(steps, graph, packed.alias));
    for (const s of after)
      if (s.kind === "launch")
        for (const { code } of s.launches.list) verifyKernel(code, rulesOf(options.target));
    return { before: lines(steps), after: lines(after) };
  },
};

// --- 8-plan ----------------------------------------------------------------------------------------------------------

/** The whole way from a graph as it is checked, and the text of one stage of it, as `--emit` prints it. */
const emitted = (what: Exclude<Text, "ast">): Stage => ({
  kind: "text",
  run(graph, { target }) {
    const built = buildGraphs([graph], [target]);
    return emitStage(what, built, target.name);
  },
});

export const stages: Stages = {
  "4-simplify": Object.fromEntries(passStages),
  "5-fuse": Object.fromEntries(fuseSteps.map(({ name }) => [name, fuseStage(name)])),
  "6-layout": layoutStages,
  "7-schedule": {
    ...Object.fromEntries(families.map(({ name }) => [name, familyStage(name)])),
    beside: besideStage,
  },
  "8-plan": { plan: emitted("plan") },
};
