// The steps that text cases can name, by room: one line makes a step testable by text. In: nothing. Out: functions from a
// graph and a case's options to a graph or a text.

import type { Node } from "../../compiler/core/ir/types.ts";
import { parse } from "../../compiler/core/phases/1-parse/parse.ts";
import { passes } from "../../compiler/core/phases/4-simplify/simplify.ts";
import { isClaimed } from "../../compiler/core/phases/7-schedule/choose.ts";
import { emitStage, type Stage as Text } from "../../compiler/core/stages.ts";
import { limitOf } from "../../compiler/core/targets.ts";
import type { CaseOptions, Stage, Stages } from "./cases.ts";
import { buildGraphs, modelOfGraphs } from "./graphs.ts";

/** What `pipeline.ts` gives the passes for the case's target; a case may say other numbers. */
const simplifyOptions = (o: CaseOptions) => ({
  inference: o.inference,
  claims: (node: Node) => isClaimed(node, o.target),
  busyRows: o.number("busyRows") ?? o.target.busyRows,
  operands: o.number("operands") ?? limitOf(o.target, "maxStorageBuffersPerShaderStage") - 1,
});

/** The whole way from a graph as it is checked, and the text of one stage of it, as `--emit` prints it. */
const emitted = (what: Text): Stage => ({
  kind: "text",
  run(graph, { target }) {
    const built = buildGraphs([graph], [target]);
    const model = modelOfGraphs([graph]);
    return emitStage(what, { source: "", file: "", parse, model, built, target: target.name });
  },
});

export const stages: Stages = {
  "4-simplify": Object.fromEntries(
    passes.map((pass): [string, Stage] => [
      pass.name,
      { kind: "graph", run: (graph, options) => pass.run(graph, simplifyOptions(options)) },
    ]),
  ),
  "5-fuse": { fused: emitted("fused") },
  "7-schedule": { kernels: emitted("kernels"), wgsl: emitted("wgsl") },
  "8-plan": { plan: emitted("plan") },
};
