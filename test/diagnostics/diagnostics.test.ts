/** Diagnostics: how they read, what tools get, and how names are guessed. */
import { describe, expect, it } from "vitest";
import {
  closest,
  codes,
  Diagnostics,
  diagnostic,
  InternalError,
  LineMap,
  MdlError,
  type Painter,
  plain,
  render,
  renderAll,
  type Span,
  toJSON,
} from "../../compiler/core/diagnostics/index.ts";

const source = [
  "layer ConvBlock(cin: int, cout: int) {",
  "  param weight: f32[64, 16, 3, 3] = he_normal()",
  "",
  "  fn forward(x: f32[N, cin, H, W]) {",
  "    conv2d(x, weight, bias, padding = 1)",
  "  }",
  "}",
].join("\n");
const sources = (file: string): string | undefined => (file === "convnet.mdl" ? source : undefined);

/** The place of a text in the source. */
function at(text: string, file = "convnet.mdl", whole = source): Span {
  const start = whole.indexOf(text);
  return { file, start, end: start + text.length };
}

const mismatch = diagnostic("E0302", "conv2d: input has 32 channels, weight expects 16", at("x, weight"), {
  label: "f32[N, 32, 14, 14]",
  path: "trunk.block2",
  secondary: [{ span: at("f32[64, 16, 3, 3]"), text: "f32[out = 64, in = 16, 3, 3]" }],
  help: "make the weight f32[64, 32, 3, 3], or set groups = 2",
});

describe("rendering", () => {
  it("shows all places with their lines", () => {
    expect(render(mismatch, sources)).toBe(
      [
        "error[E0302]: conv2d: input has 32 channels, weight expects 16",
        "  ┌─ convnet.mdl:5:12",
        "2 │   param weight: f32[64, 16, 3, 3] = he_normal()",
        "  │                 ----------------- f32[out = 64, in = 16, 3, 3]",
        "  ⋮",
        "5 │     conv2d(x, weight, bias, padding = 1)",
        "  │            ^^^^^^^^^ f32[N, 32, 14, 14], in trunk.block2",
        "  = help: make the weight f32[64, 32, 3, 3], or set groups = 2",
        "",
      ].join("\n"),
    );
  });

  it("shows places in other files, calls and notes", () => {
    const other = "fn f() {\n  g(1)\n}";
    const d = diagnostic("E0601", "g: no argument for y", at("g(1)", "b.mdl", other), {
      secondary: [{ span: at("cin: int"), text: "declared here" }],
      calls: [at("f()", "b.mdl", other)],
      notes: ["one thing", "another"],
    });
    expect(render(d, (f) => (f === "b.mdl" ? other : sources(f)))).toBe(
      [
        "error[E0601]: g: no argument for y",
        "  ┌─ b.mdl:2:3",
        "2 │   g(1)",
        "  │   ^^^^",
        "  ┌─ convnet.mdl:1:17",
        "1 │ layer ConvBlock(cin: int, cout: int) {",
        "  │                 -------- declared here",
        "  = called at b.mdl:1:4",
        "  = note: one thing",
        "  = note: another",
        "",
      ].join("\n"),
    );
  });

  it("goes on where the text is gone", () => {
    expect(render({ ...mismatch, secondary: [] }, () => undefined)).toBe(
      [
        "error[E0302]: conv2d: input has 32 channels, weight expects 16",
        "  ┌─ convnet.mdl",
        "  │ f32[N, 32, 14, 14], in trunk.block2",
        "  = help: make the weight f32[64, 32, 3, 3], or set groups = 2",
        "",
      ].join("\n"),
    );
  });

  it("lines carets up behind tabs and wide characters, and shows no control characters", () => {
    const text = 'x =\t"字" + \u001b[31my';
    const d = diagnostic("E0201", "unknown name y\u0007", {
      file: "t",
      start: text.length - 1,
      end: text.length,
    });
    expect(render(d, () => text)).toBe(
      [
        "error[E0201]: unknown name y\ufffd",
        `  ┌─ t:1:${text.length}`,
        '1 │ x =    "字" + \ufffd[31my',
        `  │ ${" ".repeat(19)}^`,
        "",
      ].join("\n"),
    );
  });

  it("cuts long lines around the place", () => {
    const text = `x = ${"a + ".repeat(10_000)}§`;
    const lines = render(
      diagnostic("E0102", "what", { file: "t", start: text.length - 1, end: text.length }),
      () => text,
    );
    expect(Math.max(...lines.split("\n").map((l) => l.length))).toBeLessThan(140);
    const [, , line, carets] = lines.split("\n");
    expect(line[carets.indexOf("^")]).toBe("§");
  });

  it("marks the first line of a place of many", () => {
    const d = diagnostic("E0303", "wrong result", {
      file: "convnet.mdl",
      start: source.indexOf("fn"),
      end: source.length,
    });
    expect(render(d, sources)).toContain(
      "4 │   fn forward(x: f32[N, cin, H, W]) {\n  │   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ …\n",
    );
  });

  it("paints with the painter it is given", () => {
    const painter: Painter = {
      ...plain,
      error: (t) => `<${t}>`,
      secondary: (t) => `{${t}}`,
      help: (t) => `*${t}*`,
    };
    const text = render(mismatch, sources, painter);
    expect(text).toContain("<error[E0302]>: conv2d");
    expect(text).toContain("<^^^^^^^^^ f32[N, 32, 14, 14], in trunk.block2>");
    expect(text).toContain("{----------------- f32[out = 64, in = 16, 3, 3]}");
    expect(text).toContain("*help:*");
  });

  it("separates several by a blank line", () => {
    expect(renderAll([mismatch, mismatch], sources).split("\n\n")).toHaveLength(2);
  });
});

describe("json", () => {
  it("has places for tools", () => {
    expect(toJSON([mismatch], sources)).toEqual([
      {
        code: "E0302",
        severity: "error",
        message: "conv2d: input has 32 channels, weight expects 16",
        ...{ file: "convnet.mdl", line: 5, column: 12, endLine: 5, endColumn: 21 },
        labels: [
          {
            ...{ file: "convnet.mdl", line: 5, column: 12, endLine: 5, endColumn: 21 },
            ...{ text: "f32[N, 32, 14, 14]", primary: true },
          },
          {
            ...{ file: "convnet.mdl", line: 2, column: 17, endLine: 2, endColumn: 34 },
            ...{ text: "f32[out = 64, in = 16, 3, 3]", primary: false },
          },
        ],
        notes: [],
        help: "make the weight f32[64, 32, 3, 3], or set groups = 2",
        path: "trunk.block2",
        calls: [],
      },
    ]);
  });
});

describe("the sink", () => {
  it("says each thing once, in the order of the text", () => {
    const out = new Diagnostics();
    out.report("E0201", "second", at("weight"));
    out.report("W0201", "first", at("cin"));
    out.report("E0201", "second", at("weight"), { path: "another.instance" });
    expect(out.list().map((d) => d.message)).toEqual(["first", "second"]);
    expect(out.hasErrors).toBe(true);
    expect(() => out.throwIfErrors()).toThrow(MdlError);
  });

  it("does not throw for warnings", () => {
    const out = new Diagnostics();
    out.report("W0201", "unused", at("cin"));
    expect(out.hasErrors).toBe(false);
    expect(() => out.throwIfErrors()).not.toThrow();
  });

  it("stops at its limit and says so", () => {
    const out = new Diagnostics(3);
    for (let i = 0; i < 10; i++) out.report("E0201", `error ${i}`, { file: "t", start: i, end: i + 1 });
    expect(out.list().map((d) => d.code)).toEqual(["E0201", "E0201", "E0201", "E1007"]);
    expect(out.list().at(-1)?.message).toBe("7 more errors are not shown");
  });

  it("is an error with its diagnostics", () => {
    const error = new MdlError([mismatch, mismatch]);
    expect(error.message).toBe("E0302: conv2d: input has 32 channels, weight expects 16 (and 1 more)");
    expect(error.diagnostics).toHaveLength(2);
  });

  it("keeps our own mistakes apart", () => {
    const error = new InternalError("fuse", "no group for node 3");
    expect(error).not.toBeInstanceOf(MdlError);
    expect(error.message).toBe(
      "internal error in fuse: no group for node 3; this is a bug in mdl, not in your model",
    );
    expect(error.pass).toBe("fuse");
  });
});

describe("lines", () => {
  it.each(["a\nb\nc", "a\r\nb\r\nc", "a\rb\rc"])("of %j", (text) => {
    const map = new LineMap(text);
    expect(map.position(text.indexOf("c"))).toEqual({ line: 3, column: 1 });
    expect(map.position(text.length)).toEqual({ line: 3, column: 2 });
    expect([1, 2, 3, 4].map((n) => map.line(n))).toEqual(["a", "b", "c", ""]);
  });
});

describe("the nearest spelling", () => {
  const names = ["relu", "gelu", "max_pool2d", "avg_pool2d", "softmax", "log_softmax"];
  it.each([
    ["rleu", "relu"],
    ["maxpool2d", "max_pool2d"],
    ["MaxPool2D", "max_pool2d"],
    ["sofmax", "softmax"],
    ["logsoftmax", "log_softmax"],
    ["attention", undefined],
    ["xy", undefined],
    ["relu", "gelu"],
  ])("of %s is %s", (name, expected) => {
    expect(closest(name, names)).toBe(expected);
  });
});

describe("the table", () => {
  it("is written as the house writes", () => {
    for (const [code, info] of Object.entries(codes)) {
      expect(code).toMatch(/^[EW]\d{4}$/);
      expect(info.severity).toBe(code.startsWith("E") ? "error" : "warning");
      expect(info.title, code).toMatch(/^[a-z](?!.*\.$)/);
      expect(info.doc, code).toMatch(/\.$/);
    }
  });
});
