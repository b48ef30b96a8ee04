// The text form of each stage, for `mdl compile --emit`. In: what the pipeline kept. Out: text.

import type { Block, EntryPlan, Expr, Program, Range } from "../../runtime/core/program.ts";
import { InternalError } from "./diagnostics/index.ts";
import { NOMINAL, print } from "./dims/dim.ts";
import { typeText } from "./ir/build.ts";
import { printGraph } from "./ir/print.ts";
import { printLaid } from "./phases/6-layout/layout.ts";
import type { Built, StageReport } from "./pipeline.ts";

export const STAGES = ["ast", "graph", "fused", "kernels", "wgsl", "plan"] as const;
export type Stage = (typeof STAGES)[number];

export function emitStage(stage: Exclude<Stage, "ast">, built: Built, target: string): string {
  const mine = built.stages.filter((s) => s.target === target);
  const program = built.artefact.programs.find((p) => p.target === target);
  if (!program) throw new InternalError("emit", `no program for ${target}`);
  switch (stage) {
    case "graph":
      return mine.map((s) => printGraph(s.simplified)).join("\n\n");
    case "fused":
      return mine.map(fusedText).join("\n\n");
    case "kernels": {
      const table = built.kernels.get(target);
      if (!table) return "";
      return Array.from({ length: table.count }, (_, k) => {
        const c = table.code(k);
        const like = table.like(k);
        const head = `kernel ${table.name(k)} (${c.family}, workgroup ${c.workgroup})`;
        const constants = table.constants(k);
        if (like) return `${head}\n  ${like} with ${constants}`;
        const buffers = c.buffers.map((b, n) => `${table.access(k)[n]} ${b.name}: ${typeText(b.type)}`);
        return [
          head,
          ...(constants ? [`  constants ${constants}`] : []),
          ...buffers.map((b) => `  ${b}`),
          ...c.nest.map((n) => `  ${n}`),
        ].join("\n");
      }).join("\n\n");
    }
    case "wgsl":
      return [...new Set(program.kernels.map((k) => k.text))].map((t) => built.artefact.texts[t]).join("\n");
    case "plan":
      return planText(program, mine);
  }
}

function fusedText(s: StageReport): string {
  const lines = [`entry ${s.entry} (${s.target})`];
  const block = (b: StageReport["laid"], indent: string): void => {
    printLaid(b.own).forEach((line, i) => {
      lines.push(indent + line);
      const body = b.bodies.get(b.own.order[i].anchor);
      if (body) block(body, `${indent}  `);
    });
  };
  block(s.laid, "  ");
  return lines.join("\n");
}

/** The value of a row as text. */
function rowText(rows: readonly Expr[], id: number): string {
  const e = rows[id];
  if (e === undefined) return "?";
  if (!Array.isArray(e)) return String(e);
  const [op, a, b] = e as readonly [string, number, number];
  const x = rowText(rows, a);
  const y = rowText(rows, b);
  if (op === "/") return `floor((${x}) / (${y}))`;
  if (op === "min" || op === "max") return `${op}(${x}, ${y})`;
  const wrap = (t: string): string => (/ [+-] /.test(t) && op !== "+" ? `(${t})` : t);
  return `${wrap(x)} ${op} ${wrap(y)}`;
}

function planText(program: Program, stages: readonly StageReport[]): string {
  const lines: string[] = [];
  const block = (b: Block, outer: readonly Expr[], word: string): void => {
    const rows = [...outer, ...b.exprs];
    const range = ({ buffer, slot, offset }: Range): string =>
      slot === undefined
        ? `${buffer}+${rowText(rows, offset)}`
        : `${buffer}[${slot}]${rows[offset] === 0 ? "" : `+${rowText(rows, offset)}`}`;
    for (const s of b.steps) {
      if (s.kind === "dispatch") {
        const k = program.kernels[s.kernel];
        const buffers = s.bind.map((r, j) => `${k.access[j] === "read" ? "r" : "rw"} ${range(r)}`);
        lines.push(
          `${word} ${`${k.name} ${s.site}`.trim()} grid ${rowText(rows, s.groups)} [${buffers.join(", ")}]`,
        );
      } else if (s.kind === "copy") lines.push(`copy ${range(s.from)} -> ${range(s.to)} ${s.label}`);
      else if (s.kind === "clear") lines.push(`clear ${range(s.range)} ${s.label}`);
      else {
        lines.push(`loop ${s.symbol} below ${rowText(rows, s.count)} ${s.label}`);
        block(s.body, rows, word);
        lines.push(`end loop ${s.symbol}`);
      }
    }
  };
  for (const e of program.entries) {
    const s = stages.find((x) => x.entry === e.name);
    lines.push(`entry ${e.name} (${program.target}): ${signature(e)}`);
    for (const u of e.derived) block(program.derived[u].body, [], "prepare");
    block(e.body, [], "dispatch");
    if (s) lines.push(`${print(s.dispatches)} dispatches`);
    const nominal = s?.memory(NOMINAL);
    if (nominal) lines.push(`peak ${nominal.peak} bytes (bound ${nominal.bound}) at nominal sizes`);
    lines.push("");
  }
  return lines.join("\n");
}
const signature = (e: EntryPlan): string => {
  const port = (p: EntryPlan["inputs"][number]): string => `${p.name}: ${p.dtype}[${p.shapeText.join(", ")}]`;
  return `(${e.inputs.map(port).join(", ")}) -> (${e.outputs.map(port).join(", ")})`;
};
