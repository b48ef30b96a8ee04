// The command line's pure parts: .npy files, tensors as text, colours, names of modules, what an error ends with.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { EXIT, explain, InputFailure, UsageError } from "../../compiler/cli/failure.ts";
import { SourceFiles, writeFiles } from "../../compiler/cli/files.ts";
import { type Argument, readInputs } from "../../compiler/cli/inputs.ts";
import { modelsOf, parseBind, parseSet } from "../../compiler/cli/models.ts";
import { jsonText } from "../../compiler/cli/outputs.ts";
import { topText } from "../../compiler/cli/print-tensor.ts";
import { bytesText, wantsColor } from "../../compiler/cli/style.ts";
import { InternalError, plain } from "../../compiler/core/diagnostics/index.ts";
import { compile } from "../../compiler/core/index.ts";
import { GpuError, InputError, UnsupportedError } from "../../runtime/core/errors.ts";
import { tensorText } from "../../runtime/core/print.ts";
import type { EntryPlan } from "../../runtime/core/program.ts";
import { formatNpy, parseNpy } from "../../runtime/data/npy.ts";

const folder = mkdtempSync(join(tmpdir(), "mdl-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, data: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, data);
  return path;
};

/** A .npy file as NumPy writes it. */
function npy(header: string, body: ArrayBufferView, version = 1): Uint8Array {
  const text = new TextEncoder().encode(`${header}\n`);
  const lead = [0x93, ...new TextEncoder().encode("NUMPY"), version, 0, text.length & 255, text.length >> 8];
  if (version > 1) lead.push(0, 0);
  return Buffer.concat([
    Uint8Array.from(lead),
    text,
    new Uint8Array(body.buffer, body.byteOffset, body.byteLength),
  ]);
}
const header = (descr: string, shape: string, fortran = "False"): string =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;

describe(".npy", () => {
  it("comes back as it was written", () => {
    const sizes = fc.array(fc.nat(4), { maxLength: 4 });
    fc.assert(
      fc.property(sizes, fc.infiniteStream(fc.float()), (shape, values) => {
        const n = shape.reduce((a, b) => a * b, 1);
        const data = Float32Array.from({ length: n }, () => values.next().value as number);
        const back = parseNpy(formatNpy("f32", shape, data));
        expect(back.dtype).toBe("float32");
        expect(back.shape).toEqual(shape);
        expect([...(back.data as Float32Array)]).toEqual([...data]);
      }),
    );
  });

  it("begins its elements at a multiple of 64, as NumPy does", () => {
    const bytes = formatNpy("i32", [3], Int32Array.of(1, 2, 3));
    expect(bytes.length - 12).toBe(64 * Math.round((bytes.length - 12) / 64));
    expect(new TextDecoder("latin1").decode(bytes.subarray(10, 80))).toContain("'shape': (3,)");
  });

  it("takes other widths, byte orders, versions and column-major files", () => {
    const wide = parseNpy(npy(header("<f8", "(2,)"), Float64Array.of(0.1, -2), 2));
    expect([wide.dtype, ...(wide.data as Float64Array)]).toEqual(["float64", 0.1, -2]);
    const swapped = new DataView(new ArrayBuffer(8));
    swapped.setInt32(0, 258, false);
    swapped.setInt32(4, -7, false);
    expect([...(parseNpy(npy(header(">i4", "(2,)"), swapped)).data as Int32Array)]).toEqual([258, -7]);
    const longs = parseNpy(npy(header("<i8", "(1,)"), BigInt64Array.of(-5n), 3));
    expect([longs.dtype, ...(longs.data as BigInt64Array)]).toEqual(["int64", -5n]);
    expect([...(parseNpy(npy(header("|b1", "(3,)"), Uint8Array.of(0, 2, 1))).data as Uint8Array)]).toEqual([
      0, 1, 1,
    ]);
    expect((parseNpy(npy(header("<f2", "()"), Uint16Array.of(0x3e00))).data as Float32Array)[0]).toBe(1.5);
    // [[1, 2, 3], [4, 5, 6]] by columns.
    const columns = npy(header("<f4", "(2, 3)", "True"), Float32Array.of(1, 4, 2, 5, 3, 6));
    expect([...(parseNpy(columns).data as Float32Array)]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it.each([
    ["not one", new TextEncoder().encode("hello, this is text"), "does not begin"],
    [
      "cut in its header",
      npy(header("<f4", "(1,)"), Float32Array.of(1)).subarray(0, 20),
      "ends within its header",
    ],
    ["cut in its data", npy(header("<f4", "(4,)"), Float32Array.of(1)), "is 16 bytes, the file has 4"],
    ["of objects", npy(header("|O", "(1,)"), Uint8Array.of(0)), "|O is not taken"],
    [
      "structured",
      npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", Float32Array.of(1)),
      "structured",
    ],
    [
      "of an absurd size",
      npy(header("<f4", "(99999999, 99999999, 99999999)"), Float32Array.of(1)),
      "too large",
    ],
    ["of a version to come", npy(header("<f4", "(1,)"), Float32Array.of(1), 9), "version 9"],
  ])("refuses a file that is %s", (_, bytes, message) => {
    expect(() => parseNpy(bytes)).toThrow(message);
  });
});

describe("inputs", () => {
  const { artefact } = compile(
    `model M {
      fn f(x: f32[N, 2], y: i32[N], on: bool[N], at: i32) -> f32[N, 2] { where(on[:, new], x, x * f32(at)) + f32(y)[:, new] }
    }`,
    "m.mdl",
  );
  const entry = artefact.programs[0].entries[0] as EntryPlan;
  const args = (given: Record<string, string>): Argument[] =>
    Object.entries({ x: "[[1, 2]]", y: "[1]", on: "[true]", at: "3", ...given }).map(([name, value]) => ({
      name,
      value,
    }));
  const read = (given: Record<string, string>): ReturnType<typeof readInputs> =>
    readInputs(entry, args(given));
  const data = (value: unknown): number[] => [
    ...((value as { data?: Float32Array }).data ?? (value as Float32Array)),
  ];

  it("come from literals, .npy, .json and raw files", () => {
    const x = file("x.npy", formatNpy("f32", [2, 2], Float32Array.of(1, 2, 3, 4)));
    const y = file("y.npy", npy(header("<i8", "(2,)"), BigInt64Array.of(7n, 8n)));
    const fromNpy = read({ x, y, on: "[true, false]" });
    expect(data(fromNpy.values["x"])).toEqual([1, 2, 3, 4]);
    expect(data(fromNpy.values["y"])).toEqual([7, 8]);
    expect(fromNpy.given.names.get("N")).toBe(2);
    expect(data(fromNpy.values["on"])).toEqual([1, 0]);
    expect(data(fromNpy.values["at"])).toEqual([3]);
    const json = file("x.json", '{"x": [[1, "NaN"], [3, "-Infinity"], [5, 6]]}');
    const fromJson = read({ x: json, y: "[1, 2, 3]", on: "[1, 0, 1]" });
    expect(data(fromJson.values["x"])).toEqual([1, Number.NaN, 3, Number.NEGATIVE_INFINITY, 5, 6]);
    const raw = file("x.bin", new Uint8Array(Float32Array.of(9, 8, 7, 6).buffer));
    const fromRaw = read({ x: raw, y: "[1, 2]", on: "[true, true]" });
    expect(data(fromRaw.values["x"])).toEqual([9, 8, 7, 6]);
    expect(fromRaw.given.names.get("x.0")).toBe(2);
  });

  it.each([
    [
      "a missing one",
      () => readInputs(entry, []),
      "f needs x: f32[N, 2], y: i32[N], on: bool[N], at: i32, which are missing; give --input x=x.npy",
    ],
    ["an unknown one", () => read({ z: "1" }), "f has no input z: its inputs are x: f32[N, 2]"],
    ["a file that is not there", () => read({ x: "nowhere.npy" }), "nowhere.npy: no such file"],
    ["a folder", () => read({ x: folder }), "is a folder"],
    [
      "an unknown kind of file",
      () => read({ x: file("x.txt", "1 2") }),
      "expected a file that ends in .npy, .npz, .json, .csv, .png, .jpg or .bin",
    ],
    [
      "a dtype of another kind",
      () => read({ x: file("u8.npy", npy(header("|u1", "(1, 2)"), Uint8Array.of(1, 2))) }),
      "expected x: f32[N, 2], the file has uint8(1, 2); convert it, as in x.astype(np.float32)",
    ],
    [
      "an integer out of range",
      () => read({ y: file("big.npy", npy(header("<i8", "(1,)"), BigInt64Array.of(2n ** 40n))) }),
      "1099511627776 at 0 is no i32",
    ],
    ["a fraction for an integer", () => read({ y: "[0.5]" }), "0.5 at 0 is no i32"],
    [
      "another shape",
      () => read({ x: file("wide.npy", formatNpy("f32", [1, 3], Float32Array.of(1, 2, 3))) }),
      /expected x: f32\[N, 2\], given f32\[1, 3\].*wide\.npy/,
    ],
    ["sizes that differ", () => read({ y: "[1, 2]" }), "N is 1 in x (axis 0) and 2 in y (axis 0)"],
    ["malformed JSON", () => read({ x: file("bad.json", "[[1, 2") }), "bad.json is no JSON"],
    ["ragged JSON", () => read({ x: "[[1, 2], [3]]" }), "not of one length"],
    ["text in JSON", () => read({ x: '[["a", 2]]' }), 'given "a" at 0'],
    [
      "a malformed .npy",
      () => read({ x: file("bad.npy", "hello") }),
      "bad.npy is no .npy file that can be read",
    ],
    [
      "half an element",
      () => read({ x: file("half.bin", new Uint8Array(7)) }),
      "raw elements of 4 bytes, the file has 7 bytes",
    ],
  ])("refuse %s, naming what was expected", (_, body, message) => {
    expect(body).toThrow(InputFailure);
    expect(body).toThrow(message);
  });

  it("refuse a command line that says a thing twice", () => {
    expect(() => readInputs(entry, [...args({}), { name: "x", value: "1" }])).toThrow(UsageError);
  });
});

describe("tensors as text", () => {
  const f32 = (
    shape: number[],
    ...values: number[]
  ): { dtype: "f32"; shape: number[]; data: Float32Array } => ({
    dtype: "f32",
    shape,
    data: Float32Array.from(values),
  });
  // What PyTorch prints, without its "tensor(" and ")".
  it("look as PyTorch's do", () => {
    expect(tensorText(f32([2, 2], 1, -2.5, 3, 4))).toBe("[[ 1.0000, -2.5000],\n [ 3.0000,  4.0000]]");
    expect(tensorText(f32([3], 1, 2, 3))).toBe("[1., 2., 3.]");
    expect(tensorText(f32([2], 1e-5, 1))).toBe("[1.0000e-05, 1.0000e+00]");
    expect(tensorText(f32([2], Number.NaN, Number.NEGATIVE_INFINITY))).toBe("[ nan, -inf]");
    expect(tensorText(f32([], 0.5))).toBe("0.5000");
    expect(tensorText(f32([0, 3]))).toBe("[]");
    expect(tensorText({ dtype: "i32", shape: [2, 1, 2], data: Int32Array.of(1, 20, 3, 4) })).toBe(
      "[[[ 1, 20]],\n\n [[ 3,  4]]]",
    );
    expect(tensorText({ dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) })).toBe("[ true, false]");
  });

  it("leave the middle of large axes out", () => {
    const lines = tensorText(f32([100, 100], ...Array.from({ length: 10000 }, (_, i) => i))).split("\n");
    expect(lines).toHaveLength(7);
    expect(lines[0]).toBe("[[   0.,    1.,    2., ...,   97.,   98.,   99.],");
    expect(lines[3]).toBe(" ...,");
    expect(lines[6]).toMatch(/9999\.\]\]$/);
  });

  it("list the classes of the largest values, NaN last", () => {
    const text = topText(f32([2, 3], 0.1, 0.7, 0.2, Number.NaN, 1, 2), 2);
    expect(text.split("\n").map((l) => l.trim())).toEqual([
      "row 0",
      "1  0.7000",
      "2  0.2000",
      "row 1",
      "2  2.0000",
      "1  1.0000",
    ]);
  });

  it("are JSON that says the same float32", () => {
    const values = [0.1, 1 / 3, 1e-30, 16777217, -0.5].map(Math.fround);
    expect(jsonText(f32([5], ...values))).toBe("[0.1, 0.33333334, 1e-30, 16777216, -0.5]");
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (x) => {
        expect(Math.fround(JSON.parse(jsonText(f32([], x))))).toBe(
          x === 0 ? JSON.parse(jsonText(f32([], x))) : x,
        );
      }),
    );
  });
});

describe("files", () => {
  it("are written all or none", async () => {
    const kept = file("kept.js", "old");
    const both = writeFiles([
      { path: kept, data: "new" },
      { path: join(kept, "below"), data: "" },
    ]);
    await expect(both).rejects.toThrow(InputFailure);
    expect(readFileSync(kept, "utf8")).toBe("old");
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    await writeFiles([{ path: kept, data: "new" }]);
    expect(readFileSync(kept, "utf8")).toBe("new");
  });
});

describe.skipIf(process.platform === "win32")("writing beside others", () => {
  const own = (name: string): string => {
    const path = join(folder, name);
    mkdirSync(path);
    return path;
  };

  it("keeps the mode of a file that is there", async () => {
    const path = join(own("mode"), "w.bin");
    writeFileSync(path, "old");
    chmodSync(path, 0o600);
    await writeFiles([{ path, data: "new" }]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).toBe("new");
  });

  it("writes through a link, which stays one, also where it leads to nothing yet", async () => {
    const inside = own("links");
    writeFileSync(join(inside, "real.bin"), "old");
    symlinkSync("real.bin", join(inside, "link.bin"));
    symlinkSync("later.bin", join(inside, "dangling.bin"));
    await writeFiles([
      { path: join(inside, "link.bin"), data: "one" },
      { path: join(inside, "dangling.bin"), data: "two" },
    ]);
    expect(readlinkSync(join(inside, "link.bin"))).toBe("real.bin");
    expect(readFileSync(join(inside, "real.bin"), "utf8")).toBe("one");
    expect(readlinkSync(join(inside, "dangling.bin"))).toBe("later.bin");
    expect(readFileSync(join(inside, "later.bin"), "utf8")).toBe("two");
    symlinkSync("round.bin", join(inside, "round.bin"));
    await expect(writeFiles([{ path: join(inside, "round.bin"), data: "" }])).rejects.toThrow(InputFailure);
  });

  it("does not follow a link that somebody planted under a name it might use", async () => {
    const inside = own("planted");
    const victim = file("victim", "untouched");
    for (const name of [`w.bin.${process.pid}.tmp`, `.w.bin.${process.pid}.tmp`])
      symlinkSync(victim, join(inside, name));
    await writeFiles([{ path: join(inside, "w.bin"), data: "new" }]);
    expect(readFileSync(victim, "utf8")).toBe("untouched");
    expect(readFileSync(join(inside, "w.bin"), "utf8")).toBe("new");
  });

  it("ends at once where nothing can be made, and with what is no file", async () => {
    if (existsSync("/proc/self"))
      await expect(writeFiles([{ path: "/proc/nowhere/below/w.bin", data: "" }])).rejects.toThrow(
        InputFailure,
      );
    await expect(writeFiles([{ path: "/dev/null", data: "" }])).rejects.toThrow(/it is a device, not a file/);
    expect(() => new SourceFiles("/dev/zero")).toThrow(/is a device, expected a file/);
    const pipe = join(own("pipes"), "pipe.mdl");
    if (spawnSync("mkfifo", [pipe]).status === 0)
      expect(() => new SourceFiles(pipe)).toThrow(/is a pipe, expected a file/);
  });
});

describe("names", () => {
  const models = (name: string, text: string): ReturnType<typeof modelsOf> =>
    modelsOf(new SourceFiles(file(name, text)));
  it("of a module are the file's, or the model's where there are several", () => {
    const one = models("net.mdl", "model Whatever { }");
    expect([one.main, one.moduleName("Whatever")]).toEqual(["Whatever", "net"]);
    const own = models("conv-net.mdl", "model Other { }\nmodel ConvNet { }");
    expect([own.main, own.moduleName("ConvNet"), own.moduleName("Other")]).toEqual([
      "ConvNet",
      "conv-net",
      "Other",
    ]);
    const two = models("zoo.mdl", "model A { }\nmodel B { }");
    expect([two.main, two.moduleName("A"), two.moduleName("B")]).toEqual(["A", "A", "B"]);
  });

  it("and values of options are told apart", () => {
    expect(parseSet("p=0.5", parseSet("flag=true"))).toEqual({ flag: true, p: 0.5 });
    expect(parseSet("kind=a=b")).toEqual({ kind: "a=b" });
    expect(parseBind("N=8")).toEqual({ N: 8 });
    for (const wrong of ["N", "N=x", "N=-1", "N=", "=3"]) expect(() => parseBind(wrong)).toThrow(UsageError);
  });
});

describe("ends", () => {
  const code = (error: unknown): number => explain(error, plain, "run").code;
  it("with the code that the fault asks for", () => {
    expect(code(new InputFailure("x"))).toBe(EXIT.input);
    expect(code(new InputError("input-shape", "x"))).toBe(EXIT.input);
    expect(code(new UsageError("x"))).toBe(EXIT.usage);
    expect(code(new UnsupportedError("no-webgpu", "x"))).toBe(EXIT.machine);
    expect(code(new GpuError("gpu", "x"))).toBe(EXIT.machine);
    expect(code(new InternalError("fuse", "x"))).toBe(EXIT.bug);
    expect(code(new TypeError("x"))).toBe(EXIT.bug);
  });

  it("in words that say whose bug an internal error is, and in which pass", () => {
    const { text } = explain(new InternalError("fuse", "a group has no root"), plain, "compile");
    expect(text).toMatch(/^internal error in fuse: a group has no root; this is a bug in mdl/);
    const stray = new TypeError("x is undefined");
    stray.stack =
      "TypeError: x is undefined\n    at f (file:///a/compiler/core/phases/7-schedule/rows.js:1:1)";
    expect(explain(stray, plain, "compile").text).toMatch(
      /^internal error in schedule: x is undefined; this is a bug in mdl/,
    );
  });

  it("in colours on a terminal only", () => {
    expect(wantsColor({ isTTY: true }, {})).toBe(true);
    expect(wantsColor({ isTTY: true }, { TERM: "dumb" })).toBe(false);
    expect(wantsColor({ isTTY: true }, { NO_COLOR: "1" })).toBe(false);
    expect(wantsColor({ isTTY: false }, { CI: "true" })).toBe(false);
    expect(wantsColor({ isTTY: false }, { FORCE_COLOR: "1" })).toBe(true);
    expect(wantsColor({ isTTY: true }, { FORCE_COLOR: "0" })).toBe(false);
  });

  it("with sizes that read well", () => {
    expect([0, 999, 1000, 99_949, 99_960, 12_345_678].map(bytesText)).toEqual([
      "0 B",
      "999 B",
      "1.0 kB",
      "99.9 kB",
      "100 kB",
      "12.3 MB",
    ]);
  });
});
