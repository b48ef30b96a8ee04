// The excerpts in docs/architecture.md: what the compiler prints for the model that stands in the page. In: the page. Out:
// the page with every excerpt as it is now. `npm run docs` (scripts/docs.mjs) writes that back; test/docs/architecture.test.ts
// fails where the page differs from it.
//
// In the page a fence belongs to the marker above it: `<!-- model -->` is the source, `<!-- excerpt: NAME -->` one of the
// texts below. They are cut by rules that look at kinds of lines and not at numbers; "…" stands for what was left out.
import { type Compiled, compile, emitModule } from "../compiler/core/index.ts";
import { printGraph } from "../compiler/core/ir/print.ts";
import type { Node as GraphNode } from "../compiler/core/ir/types.ts";
import { dumpAst } from "../compiler/core/phases/1-parse/dump.ts";
import { parse } from "../compiler/core/phases/1-parse/parse.ts";

const FILE = "tiny.mdl";
const WIDTH = 150;

const clip = (line: string, width = WIDTH): string =>
  line.length <= width ? line : `${line.slice(0, width - 2).trimEnd()} …`;
const clipAll = (text: string, width = WIDTH): string =>
  text
    .trimEnd()
    .split("\n")
    .map((l) => clip(l, width))
    .join("\n");
const indentOf = (line: string): string => /^ */.exec(line)?.[0] ?? "";

/** Keeps the lines that match; each run of others becomes one "…". */
function keep(text: string, wanted: RegExp): string {
  const out: string[] = [];
  for (const line of text.trimEnd().split("\n")) {
    if (wanted.test(line)) out.push(line);
    else if (line.trim() !== "" && out.at(-1)?.trim() !== "…") out.push(`${indentOf(line)}…`);
  }
  return out.join("\n");
}
/** Of each run of lines that match, the first `head` and the last `tail`; "…" for what is between. */
function thin(text: string, alike: RegExp, head: number, tail = 0): string {
  const out: string[] = [];
  let run: string[] = [];
  const flush = (): void => {
    if (run.length > head + tail + 1)
      out.push(...run.slice(0, head), `${indentOf(run[head])}…`, ...run.slice(run.length - tail));
    else out.push(...run);
    run = [];
  };
  for (const line of text.split("\n")) {
    if (alike.test(line)) run.push(line);
    else {
      flush();
      out.push(line);
    }
  }
  flush();
  return out.join("\n");
}
/** The part of a text from the line that matches up to the next empty line, or to one that matches `end`. */
function section(text: string, begin: RegExp, end = /^$/): string {
  const lines = text.split("\n");
  const from = lines.findIndex((l) => begin.test(l));
  if (from < 0) throw new Error(`the compiler prints nothing like ${begin}`);
  const length = lines.slice(from + 1).findIndex((l) => end.test(l));
  return lines.slice(from, length < 0 ? undefined : from + 1 + length).join("\n");
}

/** `7:38`, as the compiler says places of this file. */
const placeIn =
  (source: string) =>
  ({ origin: { span } }: GraphNode): string => {
    if (!span || span.file !== FILE) return span?.file ?? "";
    const before = source.slice(0, span.start).split("\n");
    return `${FILE}:${before.length}:${(before.at(-1) as string).length + 1}`;
  };

/** Lines of a graph that are neither movement nor leaves. */
const COMPUTES = /^graph|= (input|conv2d|sub|mul|neg|add|rsqrt|relu|max_pool2d|dot)\(|return|^}/;

/** The texts by name. Each is what `mdl compile --emit` prints, or what the library gives where there is no stage for it. */
const excerpts: Readonly<Record<string, (c: Compiled, source: string) => string>> = {
  /** The syntax tree of the fn that is piped through, as a tree. */
  tree(_c, source) {
    const all = dumpAst(parse(source, FILE).ast).trimEnd().split("\n");
    const from = all.findIndex((l) => /^ *fn "?forward|^ *fn @/.test(l));
    const inner = indentOf(all[from]).length;
    const length = all.slice(from + 1).findIndex((l) => indentOf(l).length <= inner);
    const own = all.slice(from, length < 0 ? undefined : from + 1 + length);
    return thin(own.map((l) => l.slice(inner)).join("\n"), /dim|tensor_type|param|ident/, 4);
  },
  /** The graph as it was checked, composites and all. */
  checked: (c, source) => clipAll(keep(printGraph(c.model.entries[0].graph, placeIn(source)), COMPUTES)),
  /** The same, simplified. */
  graph: (c) => clipAll(keep(section(c.emit("graph"), /^graph logits/, /^graph fit_step/), COMPUTES)),
  /** The gradient and the update of the training step. */
  step(c) {
    const whole = section(c.emit("graph"), /^graph fit_step/, /^graph /);
    const wanted =
      /^graph|= input|gradient of (max_pool2d|conv2d)|= pack|\$params|is_finite|= hyper|momentum|%\d+: f32\[64, 64\]|write|return|^}/;
    return clipAll(keep(whole, wanted), 140);
  },
  /** Groups: what is one kernel. */
  fused: (c) => clipAll(section(c.emit("fused"), /^entry logits/), 190),
  "fused-step": (c) =>
    clipAll(
      keep(
        section(c.emit("fused"), /^entry fit_step/),
        /^entry|contraction|max_pool2d_grad|pack|hyper|is_finite|f32\[64, 64\]/,
      ),
      190,
    ),
  /** The loop nest of the convolution. */
  kernels: (c) => section(c.emit("kernels"), /^kernel conv2d_add_relu_max_pool2d/),
  /** The same for the target with workgroup-memory tiles. */
  "kernels-gpu": (c) => section(c.emit("kernels", "gpu"), /^kernel conv2d_add_relu_max_pool2d/),
  /** Its WGSL. */
  wgsl(c) {
    let text = section(
      c.emit("wgsl"),
      /^\/\/ conv2d_add_relu_max_pool2d/,
      /^\/\/ \w+: (map|rows|contraction|attention)/,
    );
    text = thin(text, /^ +var c/, 2);
    text = thin(text, /^ +c\w* \+?= /, 2);
    text = thin(text, /^ +let /, 5, 2);
    return clipAll(text, 140);
  },
  /** The order, grids and places. */
  plan: (c) => clipAll(section(c.emit("plan"), /^entry logits/), 190),
  "plan-step": (c) =>
    clipAll(
      keep(
        section(c.emit("plan"), /^entry fit_step/),
        /^entry|^clear|^dispatch conv2d|packing|is_finite|add_where|^copy|^peak/,
      ),
      120,
    ),
  /** The convolution's dispatch as data. */
  program(c) {
    const [program] = c.artefact.programs;
    const [entry] = program.entries;
    const [step] = entry.body.steps;
    if (step.kind !== "dispatch") throw new Error("the first step is no dispatch");
    const said = (name: string, value: unknown): string =>
      clip(`${name}: ${JSON.stringify(value).replaceAll(",", ", ").replaceAll('":', '": ')}`);
    const { kernel, bind, uniforms, groups, site } = step;
    return [
      said(`kernels[${kernel}]`, program.kernels[kernel]),
      said("body.steps[0]", { kind: "dispatch", kernel, groups, uniforms, site }),
      ...bind.map((range, i) => said(`  bind[${i}]`, range)),
      said("slots", entry.slots),
      said("body.exprs", entry.body.exprs),
      said("solve", entry.solve),
    ].join("\n");
  },
  /** What a user's TypeScript sees. */
  types(c) {
    const { dts } = emitModule(c.artefact, { runtime: "inline", source: FILE });
    const own = section(dts, /^export interface Entries/, /^ {2}train_step|^}/);
    return `${clipAll(own.slice(0, own.lastIndexOf("  /**")))}\n  …`;
  },
};
export const excerptNames: readonly string[] = Object.keys(excerpts);

const MODEL = /<!-- model -->\n```mdl\n([\s\S]*?)```/;
const MARKED = /(<!-- excerpt: ([\w-]+) -->\n```\w*\n)[\s\S]*?(```\n)/g;

/** The source in a page. */
export function modelOf(page: string): string {
  const source = MODEL.exec(page)?.[1];
  if (source === undefined) throw new Error("the page has no <!-- model -->");
  return source;
}

/** The page with its excerpts as the compiler prints them. */
export function refresh(page: string): string {
  const source = modelOf(page);
  const compiled = compile(source, FILE, { verify: true });
  return page.replace(MARKED, (_whole, head: string, name: string, tail: string) => {
    const make = excerpts[name];
    if (!make) throw new Error(`there is no excerpt ${name}: there are ${excerptNames.join(", ")}`);
    return `${head}${make(compiled, source).trimEnd()}\n${tail}`;
  });
}
