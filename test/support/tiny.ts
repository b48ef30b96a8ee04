// A small artefact written by hand, for tests of the runtime and of module emission that need no compiler: one entry for
// each thing a Program can say. Sizes are few so that the expected numbers can be written down.
import {
  type Artefact,
  type Block,
  type BufferName,
  type Dispatch,
  type DType,
  type EntryPlan,
  type Expr,
  type ExprId,
  type Kernel,
  type Port,
  PROGRAM_VERSION,
  type Range,
  type Step,
} from "../../runtime/core/program.ts";

/** An expression table under construction. */
function table() {
  const exprs: Expr[] = [];
  const row = (e: Expr): ExprId => {
    exprs.push(e);
    return exprs.length - 1;
  };
  const id = (e: Expr | ExprIdOf): ExprId => (typeof e === "object" && "id" in e ? e.id : row(e));
  const op = (name: "+" | "*" | "/", a: Expr | ExprIdOf, b: Expr | ExprIdOf): ExprIdOf => ({
    id: row([name, id(a), id(b)]),
  });
  return {
    exprs,
    id,
    mul: (a: Expr | ExprIdOf, b: Expr | ExprIdOf) => op("*", a, b),
    add: (a: Expr | ExprIdOf, b: Expr | ExprIdOf) => op("+", a, b),
    /** ceil(a / b), for grids. */
    groups: (a: Expr | ExprIdOf, b: number) => op("/", op("+", a, b - 1), b),
    range: (buffer: BufferName, offset: Expr | ExprIdOf, bytes: Expr | ExprIdOf): Range => ({
      buffer,
      offset: id(offset),
      bytes: id(bytes),
    }),
  };
}
interface ExprIdOf {
  readonly id: ExprId;
}
type Table = ReturnType<typeof table>;

const texts: string[] = [];
const kernels: Kernel[] = [];

/** A kernel of one invocation an element; `words` are its uniform words after the number of groups. */
function kernel(
  name: string,
  bindings: readonly (readonly [string, "read" | "read_write", string])[],
  words: readonly string[],
  body: string,
  size = 64,
): number {
  const text = `
struct Uniforms { groups: u32, ${words.map((w) => `${w}: i32,`).join(" ")} first: u32 }
@group(0) @binding(0) var<uniform> u: Uniforms;
${bindings.map(([v, access, type], i) => `@group(0) @binding(${i + 1}) var<storage, ${access}> ${v}: array<${type}>;`).join("\n")}
${name === "draw" ? THREEFRY : ""}
@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = wg.x + wg.y * num.x + u.first;
  if (group >= u.groups) { return; }
  let i = i32(group * ${size}u + lane);
  ${body}
}`;
  kernels.push({
    name,
    text: texts.push(text) - 1,
    access: bindings.map((b) => b[1]),
    uniformWords: 2 + words.length,
  });
  return kernels.length - 1;
}

const THREEFRY = `
fn rotl(x: u32, r: u32) -> u32 { return (x << r) | (x >> (32u - r)); }
fn threefry(k: vec2u, c: vec2u) -> vec2u {
  var r1 = array(13u, 15u, 26u, 6u);
  var r2 = array(17u, 29u, 16u, 24u);
  var ks = array(k.x, k.y, k.x ^ k.y ^ 0x1bd11bdau);
  var x = c + k;
  for (var block = 0u; block < 5u; block++) {
    for (var i = 0u; i < 4u; i++) {
      x.x += x.y;
      x.y = rotl(x.y, select(r1[i], r2[i], block % 2u == 1u)) ^ x.x;
    }
    x.x += ks[(block + 1u) % 3u];
    x.y += ks[(block + 2u) % 3u] + block + 1u;
  }
  return x;
}`;

const ADD = kernel(
  "add",
  [
    ["a", "read_write", "f32"],
    ["b", "read_write", "f32"],
    ["out", "read_write", "f32"],
  ],
  ["n"],
  "if (i < u.n) { out[i] = a[i] + b[i]; }",
);
const SCALE = kernel(
  "scale_columns",
  [
    ["x", "read_write", "f32"],
    ["weight", "read", "f32"],
    ["out", "read_write", "f32"],
  ],
  ["n"],
  "if (i < u.n) { out[i] = x[i] * weight[i % 4]; }",
);
const SHIFT = kernel(
  "add_bias",
  [
    ["x", "read_write", "f32"],
    ["bias", "read", "f32"],
    ["out", "read_write", "f32"],
  ],
  ["n"],
  "if (i < u.n) { out[i] = x[i] + bias[i % 4]; }",
);
const ACCUMULATE = kernel(
  "accumulate_row",
  [
    ["x", "read_write", "f32"],
    ["sum", "read_write", "f32"],
  ],
  ["row"],
  "if (i < 4) { sum[i] = sum[i] + x[u.row * 4 + i]; }",
);
const DOUBLE = kernel(
  "double",
  [
    ["x", "read", "f32"],
    ["out", "read_write", "f32"],
  ],
  ["n"],
  "if (i < u.n) { out[i] = 2 * x[i]; }",
);
const STEP = kernel(
  "descend",
  [
    ["x", "read_write", "f32"],
    ["lr", "read_write", "f32"],
    ["weight", "read_write", "f32"],
    ["count", "read_write", "i32"],
    ["figures", "read_write", "f32"],
    ["flag", "read_write", "i32"],
  ],
  ["n"],
  `if (i > 0) { return; }
  var sum = 0.0;
  for (var k = 0; k < u.n; k++) { sum += x[k]; }
  let loss = sum / f32(u.n);
  // By bits: a compiler may assume that there is no NaN.
  let finite = (bitcast<u32>(loss) & 0x7f800000u) != 0x7f800000u;
  if (finite) { for (var k = 0; k < 4; k++) { weight[k] -= lr[0] * loss; } }
  else if (count[64] == 0) { count[64] = count[0] + 1; }
  count[0] += 1;
  figures[0] = loss;
  figures[64] = f32(count[0]);
  flag[0] = count[64];`,
  1,
);
const DRAW = kernel(
  "draw",
  [
    ["seed", "read_write", "u32"],
    ["out", "read_write", "u32"],
  ],
  ["n", "hash"],
  "if (i < u.n) { let key = threefry(vec2u(seed[0], seed[1]), vec2u(bitcast<u32>(u.hash), 0u)); out[i] = threefry(key, vec2u(u32(i), 0u)).x; }",
);
const PICK = kernel(
  "pick",
  [
    ["m", "read_write", "u32"],
    ["a", "read_write", "i32"],
    ["out", "read_write", "i32"],
    ["big", "read_write", "u32"],
  ],
  ["n"],
  "if (i < u.n) { out[i] = select(-1, a[i], m[i] != 0u); big[i] = select(0u, 1u, a[i] > 100); }",
);

interface InputSpec {
  readonly dtype: DType;
  readonly shape: readonly string[];
}

const ITEM = 4;
/** Slots of this many bytes are enough for what the tests call with; sizes that must scale have slots that do. */
const align = (t: Table, bytes: ExprIdOf): ExprIdOf => t.mul(t.groups(bytes, 256), 256);

function dispatch(
  t: Table,
  kernelIndex: number,
  bind: readonly Range[],
  uniforms: readonly (Expr | ExprIdOf)[],
  count: Expr | ExprIdOf,
  site: string,
  size = 64,
): Dispatch {
  return {
    kind: "dispatch",
    kernel: kernelIndex,
    bind,
    uniforms: uniforms.map((x) => t.id(x)),
    groups: t.groups(count, size).id,
    cost: t.id(count),
    site,
  };
}

function entry(
  name: string,
  symbols: Readonly<Record<string, string>>,
  t: Table,
  more: Partial<EntryPlan> & { readonly steps: readonly Step[]; readonly arena: ExprIdOf },
): EntryPlan {
  const solve: Expr[] = Object.values(symbols);
  const { steps, arena, ...rest } = more;
  return {
    name,
    symbols: Object.keys(symbols).map((s, value) => ({ name: s, value })),
    solve,
    checks: [],
    body: { exprs: t.exprs, steps },
    inputs: [],
    outputs: [],
    slots: [arena.id],
    implicit: [],
    derived: [],
    writesParams: [],
    writesState: [],
    ...rest,
  };
}

const port = (t: Table, name: string, spec: InputSpec, range: Range, doc?: string): Port => ({
  name,
  dtype: spec.dtype,
  shape: spec.shape.map((s) => t.id(/^\d+$/.test(s) ? Number(s) : s)),
  shapeText: spec.shape,
  range,
  doc,
});

function addEntry(): EntryPlan {
  const t = table();
  const bytes = t.mul("N", ITEM);
  const slot = align(t, bytes);
  const [a, b, out] = [0, 1, 2].map((k) => t.range("arena", t.mul(slot, k), bytes));
  const v: InputSpec = { dtype: "f32", shape: ["N"] };
  return entry("add", { N: "a.0" }, t, {
    doc: "Adds two vectors.\nNo more: */ `$` than that.",
    inputs: [port(t, "a", v, a, "the one"), port(t, "b", v, b)],
    outputs: [port(t, "sum", v, out)],
    checks: [
      { left: t.id("N"), relation: ">=", right: t.id(1), message: "add needs at least one element: N >= 1" },
    ],
    steps: [dispatch(t, ADD, [a, b, out], ["N"], "N", "tiny.mdl:3:5")],
    arena: t.mul(slot, 3),
  });
}

function chainEntry(): EntryPlan {
  const t = table();
  const bytes = t.mul("N", 4 * ITEM);
  const slot = align(t, bytes);
  const [x, hidden, y] = [0, 1, 2].map((k) => t.range("arena", t.mul(slot, k), bytes));
  const rows: InputSpec = { dtype: "f32", shape: ["N", "4"] };
  const count = t.mul("N", 4);
  return entry("chain", { N: "x.0" }, t, {
    inputs: [port(t, "x", rows, x)],
    outputs: [port(t, "hidden", rows, hidden), port(t, "y", rows, y)],
    steps: [
      dispatch(t, SCALE, [x, t.range("params", 0, 16), hidden], [count], count, "tiny.mdl:7:5"),
      dispatch(t, SHIFT, [hidden, t.range("params", 256, 16), y], [count], count, "tiny.mdl:8:5"),
    ],
    arena: t.mul(slot, 3),
  });
}

/** Sums rows one after the other; the copy between places of the arena is there to be tested. */
function scanEntry(): EntryPlan {
  const t = table();
  const bytes = t.mul("T", 4 * ITEM);
  const x = t.range("arena", 512, bytes);
  const sum = t.range("arena", 0, 16);
  const out = t.range("arena", 256, 16);
  const arena = t.add(512, align(t, bytes));
  const inputs = [port(t, "x", { dtype: "f32", shape: ["T", "4"] }, x)];
  const outputs = [port(t, "total", { dtype: "f32", shape: ["4"] }, out)];
  const count = t.id("T");
  // Rows of the body's table continue the parent's numbering, so the parent's is complete here.
  const row = t.exprs.length;
  const step: Step = {
    kind: "dispatch",
    kernel: ACCUMULATE,
    bind: [x, sum],
    uniforms: [row],
    groups: row + 1,
    cost: row + 1,
    site: "tiny.mdl:12:5",
  };
  return entry("scan", { T: "x.0" }, t, {
    inputs,
    outputs,
    steps: [
      { kind: "clear", range: sum, label: "zeros" },
      { kind: "loop", symbol: "i", count, body: { exprs: ["i", 1], steps: [step] }, label: "scan" },
      { kind: "copy", from: sum, to: out, label: "copy" },
    ],
    arena,
  });
}

/** x times the doubled scale, which is a derived weight. */
function derivedEntry(): EntryPlan {
  const t = table();
  const bytes = t.mul("N", 4 * ITEM);
  const slot = align(t, bytes);
  const [x, y] = [0, 1].map((k) => t.range("arena", t.mul(slot, k), bytes));
  const rows: InputSpec = { dtype: "f32", shape: ["N", "4"] };
  const count = t.mul("N", 4);
  return entry("doubled", { N: "x.0" }, t, {
    inputs: [port(t, "x", rows, x)],
    outputs: [port(t, "y", rows, y)],
    derived: [0],
    steps: [dispatch(t, SCALE, [x, t.range("derived", 0, 16), y], [count], count, "tiny.mdl:20:5")],
    arena: t.mul(slot, 2),
  });
}

function trainEntry(): EntryPlan {
  const t = table();
  const bytes = t.mul("N", ITEM);
  const slot = align(t, bytes);
  const at = (k: number): ExprIdOf => t.add(slot, 256 * k);
  const x = t.range("arena", 0, bytes);
  const lr = t.range("arena", at(0), 4);
  const figures = t.range("arena", at(1), 512);
  const flag = t.range("arena", at(3), 4);
  const scalar: InputSpec = { dtype: "f32", shape: [] };
  return entry("fit_step", { N: "x.0" }, t, {
    doc: "One step.",
    inputs: [port(t, "x", { dtype: "f32", shape: ["N"] }, x)],
    outputs: [
      port(t, "loss", scalar, t.range("arena", at(1), 4)),
      port(t, "steps_done", scalar, t.range("arena", at(2), 4)),
      port(t, "finite", { dtype: "i32", shape: [] }, flag),
    ],
    implicit: [
      {
        name: "lr",
        dtype: "f32",
        range: lr,
        // Linear decay over total_steps.
        value: ["*", 0.5, ["-", 1, ["/", "step", "total_steps"]]],
      },
    ],
    writesParams: ["scale"],
    writesState: ["count"],
    train: { block: "fit", loss: "loss", reports: ["steps_done"], flag: "finite" },
    steps: [
      dispatch(
        t,
        STEP,
        [x, lr, t.range("params", 0, 16), t.range("state", 0, 512), figures, flag],
        ["N"],
        1,
        "tiny.mdl:30:5",
        1,
      ),
    ],
    arena: at(4),
  });
}

function drawEntry(): EntryPlan {
  const t = table();
  const seed = t.range("arena", 0, 8);
  const out = t.range("arena", 256, 4 * 100);
  const arena = t.add(256, 512);
  return entry("draw", {}, t, {
    outputs: [port(t, "bits", { dtype: "u32", shape: ["100"] }, out)],
    implicit: [{ name: "seed", dtype: "u32", range: seed }],
    steps: [dispatch(t, DRAW, [seed, out], [100, DRAW_HASH | 0], 100, "tiny.mdl:40:5")],
    arena,
  });
}
export const DRAW_HASH = 0xdeadbeef;

function pickEntry(): EntryPlan {
  const t = table();
  const bytes = t.mul("N", ITEM);
  const slot = align(t, bytes);
  const [m, a, out, big] = [0, 1, 2, 3].map((k) => t.range("arena", t.mul(slot, k), bytes));
  return entry("pick", { N: "m.0" }, t, {
    inputs: [
      port(t, "m", { dtype: "bool", shape: ["N"] }, m),
      port(t, "a", { dtype: "i32", shape: ["N"] }, a),
    ],
    outputs: [
      port(t, "picked", { dtype: "i32", shape: ["N"] }, out),
      port(t, "big", { dtype: "bool", shape: ["N"] }, big),
    ],
    steps: [dispatch(t, PICK, [m, a, out, big], ["N"], "N", "tiny.mdl:50:5")],
    arena: t.mul(slot, 4),
  });
}

const doubled = table();
const unitBody: Block = {
  exprs: doubled.exprs,
  steps: [
    dispatch(
      doubled,
      DOUBLE,
      [doubled.range("params", 0, 16), doubled.range("derived", 0, 16)],
      [4],
      4,
      "double",
    ),
  ],
};

const entries = [
  addEntry(),
  chainEntry(),
  scanEntry(),
  derivedEntry(),
  trainEntry(),
  drawEntry(),
  pickEntry(),
];

export const tiny: Artefact = {
  version: PROGRAM_VERSION,
  name: "Tiny",
  doc: "Everything a program can say, in small.",
  params: [
    {
      path: "scale",
      aliases: ["tied.scale"],
      dtype: "f32",
      shape: [4],
      offset: 0,
      bytes: 16,
      init: { kind: "uniform", low: -1, high: 1 },
      role: "param",
    },
    {
      path: "bias",
      aliases: [],
      dtype: "f32",
      shape: [4],
      offset: 256,
      bytes: 16,
      init: { kind: "normal", mean: 1, std: 0.5 },
      role: "param",
      frozen: true,
    },
  ],
  paramBytes: 512,
  state: [
    {
      path: "count",
      aliases: [],
      dtype: "i32",
      shape: [],
      offset: 0,
      bytes: 4,
      init: { kind: "constant", value: 0 },
      role: "buffer",
    },
    {
      path: "bad_step",
      aliases: [],
      dtype: "i32",
      shape: [],
      offset: 256,
      bytes: 4,
      init: { kind: "constant", value: 0 },
      role: "internal",
    },
  ],
  stateBytes: 512,
  texts,
  programs: [
    {
      target: "baseline",
      requires: { features: [], limits: {} },
      kernels,
      entries,
      derived: [{ name: "doubled_scale", sources: ["scale"], body: unitBody, slots: [], derived: [] }],
      derivedBytes: 256,
      constantBytes: 0,
    },
  ],
};

/** The same model with one entry only: what a module looks like that does not train. */
export const adder: Artefact = {
  ...tiny,
  name: "Adder",
  params: [],
  paramBytes: 0,
  state: [],
  stateBytes: 0,
  programs: [
    { ...tiny.programs[0], kernels: [kernels[ADD]], entries: [entries[0]], derived: [], derivedBytes: 0 },
  ],
};
