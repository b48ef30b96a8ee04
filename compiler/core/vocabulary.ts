// Every name that a program can use without declaring it, but for the operators (ops/index.ts has those): layers and fns of
// the standard library, initialisers, static functions, optimisers, schedules, penalties. In: the tables that define them
// and the library's sources. Out: names, parameters and a sentence each, for hosts (`mdl ops`, editors).
import { type DocumentedFile, documented } from "./document.ts";
import { stdSources } from "./generated/std.ts";
import { INITIALIZERS } from "./phases/2-check/instances/init.ts";
import { BUILTINS } from "./phases/2-check/interpret/builtins.ts";
import { SCHEDULES } from "./phases/2-check/interpret/schedules.ts";
import { INIT } from "./phases/2-check/names/modules.ts";

export interface Word {
  readonly name: string;
  readonly kind: "layer" | "fn" | "initialiser" | "function" | "optimiser" | "schedule" | "penalty";
  /** As it is called: `cosine(peak, warmup = 0, final = 0)`. */
  readonly signature: string;
  readonly doc: string;
  /** The module it is imported from, for layers and fns of the standard library. */
  readonly module?: string;
  /** What stands in the module, for these. */
  readonly source?: string;
}

/** Functions of the static world; `test/2-check/vocabulary.test.ts` holds that none is missing. */
const FUNCTIONS: Readonly<Record<string, readonly [signature: string, doc: string]>> = {
  identity: ["identity(x)", "x itself; as a layer, one that does nothing (PyTorch's nn.Identity)."],
  checkpoint: ["checkpoint(f)", "f, whose insides the backward pass computes again and nobody keeps."],
  eval: ["layer.eval()", "The layer in eval mode, whatever the mode around it."],
  ntuple: [
    "ntuple(x, n = 1)",
    "A list of n as it is, any other value n times: ntuple(3, 2) is [3, 3]. Without n a list of any length.",
  ],
  len: ["len(list)", "How many items a list or tuple has."],
  reversed: ["reversed(list)", "The list from its end."],
  enumerate: ["enumerate(list)", "Pairs of index and item."],
  zip: ["zip(list, …)", "Tuples of the items of lists of one length."],
  range: ["range(stop), range(start, stop, step = 1)", "A list of static ints; stop is not in it."],
  floor: ["floor(x)", "Of a static number or a size; of a tensor, the operator."],
  ceil: ["ceil(x)", "Of a static number or a size; of a tensor, the operator."],
  round: ["round(x)", "To the nearest, ties to even; of a tensor, the operator."],
  abs: ["abs(x)", "Of a static number; of a tensor, the operator."],
  sqrt: ["sqrt(x)", "Of a static number; of a tensor, the operator."],
  exp: ["exp(x)", "Of a static number; of a tensor, the operator."],
  log: ["log(x)", "Of a static number; of a tensor, the operator."],
  log2: ["log2(x)", "Of a static number; of a tensor, the operator."],
  sin: ["sin(x)", "Of a static number; of a tensor, the operator."],
  cos: ["cos(x)", "Of a static number; of a tensor, the operator."],
  max: ["max(a, b, …), max(list)", "Of static numbers and sizes; of tensors, the operators."],
  min: ["min(a, b, …), min(list)", "Of static numbers and sizes; of tensors, the operators."],
  sum: ["sum(list)", "Of a list of static numbers; of a tensor, the operator."],
  int: ["int(x)", "A static number, cut to an integer."],
  float: ["float(x)", "A static number as a float."],
  zeros: ["zeros(sizes…, dtype = f32)", "In a fn: a tensor of zeros. In a declaration: the initialiser."],
  ones: ["ones(sizes…, dtype = f32)", "In a fn: a tensor of ones. In a declaration: the initialiser."],
  full: [
    "full(sizes…, value, dtype = f32)",
    "In a fn: a tensor of one value. In a declaration: the initialiser.",
  ],
  print: [
    'print(x, …), print("label", x, …)',
    "Shows tensors where a debug build runs (mdl debug, mdl run --watch); in any other build it is not there.",
  ],
  assert: [
    'assert(condition, "why")',
    "Of a static condition, an error where it is false. Of a tensor: ends a call of a debug build (mdl debug, mdl run --watch) where an element is false; in any other build it is not there.",
  ],
  grad: [
    "grad(f, wrt = x)",
    "The gradient of f, whose result has no axes, as a function of f's arguments; nests.",
  ],
};

const SETTINGS =
  'What is a schedule takes numbers, too; with weight_decay there is no_decay, a list of patterns of parameters that do not decay, as in no_decay = ["*.bias"].';

const PENALTIES: readonly Word[] = (["l1", "l2"] as const).map((name) => ({
  name,
  kind: "penalty",
  signature: `${name}(pattern, weight)`,
  doc: `In minimize: weight times the sum of ${name === "l1" ? "absolute values" : "squares"} of the parameters that the pattern matches, as in ${name}(head.*, 1e-5).`,
}));

type Params = readonly { readonly name: string; readonly default?: number | string }[];
const call = (name: string, params: Params): string =>
  `${name}(${params
    .map((p) =>
      p.default === undefined
        ? p.name
        : Number.isNaN(p.default)
          ? `${p.name}?`
          : `${p.name} = ${JSON.stringify(p.default)}`,
    )
    .join(", ")})`;

/** Layers, fns and optimisers of the standard library, from its sources. */
const library = (): Word[] =>
  Object.entries(stdSources).flatMap(([module, text]) =>
    documented(text, module).items.flatMap(({ kind, name, signature, doc = "", span }): Word[] => {
      const source = text.slice(span.start, span.end);
      const says = doc.replace(/\s+/g, " ").trim();
      if (kind === "optimizer") {
        // As it is called: names and defaults.
        const plain = signature.replace(/(\w+): [^=]+ = /g, "$1 = ").replace(/= \[(\d[^\]]*)\]/g, "= ($1)");
        const called = plain.includes("weight_decay") ? plain.replace(/\)$/, ", no_decay = [])") : plain;
        return [{ name, kind: "optimiser", signature: called, doc: `${says} ${SETTINGS}`, source }];
      }
      // What optimisers are made of is theirs.
      if ((kind !== "layer" && kind !== "fn") || module === "std/optim") return [];
      return [{ name, kind, signature, doc: says, module, source }];
    }),
  );

/** The modules of the standard library by their paths: those that files declare, and the initialisers. */
export function libraryModules(): readonly (readonly [path: string, file: DocumentedFile])[] {
  const span = { file: INIT, start: 0, end: 0 };
  const init: DocumentedFile = {
    doc: 'Initial values of params and buffers, by the names (without the `_`) and formulas of torch.nn.init, as in `param weight: f32[cout, cin] = kaiming_uniform(nonlinearity = "relu")`. They need no import. Fan-in is the number of inputs of one output: axis 1 times the axes behind it; fan-out axis 0 times these. A model draws them from the seed of `load` and the path of each parameter: the same numbers on every machine, and not those that PyTorch draws.',
    items: Object.entries(INITIALIZERS).map(([name, { params, doc }]) => {
      return { kind: "initialiser", name, signature: call(name, params), doc, span, members: [] };
    }),
  };
  const files = Object.entries(stdSources).map(([path, text]) => [path, documented(text, path)] as const);
  return [[INIT, init], ...files];
}

/** All of them, in the order they are listed. Computed when asked for: parsing the library takes milliseconds. */
export function vocabulary(): readonly Word[] {
  return [
    ...library(),
    ...Object.entries(INITIALIZERS).map(
      ([name, init]): Word => ({
        name,
        kind: "initialiser",
        signature: call(name, init.params),
        doc: init.doc,
      }),
    ),
    ...[...BUILTINS]
      .filter((name) => Object.hasOwn(FUNCTIONS, name))
      .map(
        (name): Word => ({ name, kind: "function", signature: FUNCTIONS[name][0], doc: FUNCTIONS[name][1] }),
      ),
    ...Object.entries(SCHEDULES).map(
      ([name, schedule]): Word => ({
        name,
        kind: "schedule",
        signature: call(name, schedule.params),
        doc: schedule.doc,
      }),
    ),
    ...PENALTIES,
  ];
}
