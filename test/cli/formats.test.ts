// Files that commands take beside .npy: archives, tables, pictures; what is broken in them is told with the file's name.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync, deflateSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { InputFailure } from "../../compiler/cli/failure.ts";
import { readInputs } from "../../compiler/cli/inputs.ts";
import { checkOutputs, parseOutput, writeResults } from "../../compiler/cli/outputs.ts";
import type { PictureOptions } from "../../compiler/cli/pictures/tensor.ts";
import { compile } from "../../compiler/core/index.ts";
import type { EntryPlan } from "../../runtime/core/program.ts";
import { formatCsv, parseCsv } from "../../runtime/data/csv.ts";
import { decodeJpeg } from "../../runtime/data/node/pictures/jpeg.ts";
import type { Picture } from "../../runtime/data/node/pictures/picture.ts";
import { decodePng, encodePng } from "../../runtime/data/node/pictures/png.ts";
import { cropped, resized } from "../../runtime/data/node/pictures/resize.ts";
import { crc32, formatZip, readZip } from "../../runtime/data/node/zip.ts";
import { formatNpy } from "../../runtime/data/npy.ts";
import { projectRoot } from "../support/files.ts";

const pictures = JSON.parse(readFileSync(join(projectRoot, "test/figures/pictures.golden.json"), "utf8"));
const folder = mkdtempSync(join(tmpdir(), "mdl-formats-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, data: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, data);
  return path;
};
const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));

const { artefact } = compile(
  `model M {
    fn colour(x: f32[N, 3, 4, 6]) -> f32[N, 3, 4, 6] { x }
    fn grey(x: f32[1, H, W]) -> f32[1, H, W] { x }
    fn whole(x: i32[H, W]) -> i32[H, W] { x }
    fn table(x: f32[N, 2]) -> f32[N, 2] { x }
    fn long(x: f32[N]) -> f32[N] { x }
    fn deep(x: f32[N, 1, 2, 2]) -> f32[N, 1, 2, 2] { x }
  }`,
  "m.mdl",
  { targets: ["gpu"] },
);
const entry = (name: string): EntryPlan =>
  artefact.programs[0].entries.find((e) => e.name === name) as EntryPlan;
function read(name: string, value: string, options?: PictureOptions): { shape: number[]; data: number[] } {
  const e = entry(name);
  const { given } = readInputs(e, [{ name: "x", value }], options);
  const [source] = given.sources;
  const { shape } = e.inputs[0];
  return {
    shape: shape.map((_, k) => given.names.get(`x.${k}`) as number),
    data: [...(source as { data: Float32Array }).data],
  };
}
const refuses = (body: () => unknown, message: string | RegExp): void => {
  expect(body).toThrow(InputFailure);
  expect(body).toThrow(message);
};

describe(".npz", () => {
  const array = (...values: number[]): Uint8Array =>
    formatNpy("f32", [values.length], Float32Array.from(values));
  const two = formatZip([
    { name: "x.npy", data: array(1, 2) },
    { name: "other.npy", data: array(3) },
  ]);

  it("is read by name, or where there is no doubt, packed or not", () => {
    const path = file("two.npz", two);
    expect(read("long", path).data).toEqual([1, 2]);
    expect(read("long", `${path}:other`).data).toEqual([3]);
    expect(read("long", file("one.npz", formatZip([{ name: "a.npy", data: array(7) }]))).data).toEqual([7]);
    // As numpy.savez_compressed writes it: sizes in the local header may be anything.
    expect(read("long", file("numpy.npz", bytes(pictures.npz))).data).toEqual([0.5, -1, 2]);
    const packed = deflated("x.npy", array(4, 5), array(4, 5).length);
    expect(read("long", file("packed.npz", packed)).data).toEqual([4, 5]);
  });

  /** An archive of one entry, whose directory says what it is told to. */
  function deflated(name: string, data: Uint8Array, size: number, sum = crc32(data)): Uint8Array {
    const packed = deflateRawSync(data);
    const zip = Buffer.from(formatZip([{ name, data: packed }]));
    const central = zip.indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
    zip.writeUInt16LE(8, central + 10);
    zip.writeUInt32LE(sum, central + 16);
    zip.writeUInt32LE(size, central + 24);
    return zip;
  }

  it("is refused where it is broken, lies or is cut off", () => {
    const bad = (name: string, data: Uint8Array, message: string | RegExp): void =>
      refuses(() => read("long", file(name, data)), message);
    refuses(
      () => read("long", `${file("two.npz", two)}:third`),
      /two\.npz has no array third: it has x, other/,
    );
    refuses(() => read("table", file("two.npz", two)), /expected x: f32\[N, 2\]/);
    bad("none.npz", formatZip([]), /has no arrays: say which one/);
    bad(
      "cut.npz",
      two.subarray(0, two.length - 30),
      /cut\.npz is no \.npz file that can be read: it has no directory/,
    );
    bad("empty.npz", new Uint8Array(), "has no directory");
    const data = array(1, 2, 3);
    bad("more.npz", deflated("x.npy", data, data.length - 8), /cannot be unpacked/);
    bad("fewer.npz", deflated("x.npy", data, 1_000_000), /its directory says 1000000/);
    bad("huge.npz", deflated("x.npy", data, 0xfffffff0), /more than \d+ are not read/);
    bad("sum.npz", deflated("x.npy", data, data.length, 1), /its checksum is wrong/);
    // Ten megabytes of zeros in ten kilobytes are not unpacked further than the directory says.
    bad("bomb.npz", deflated("x.npy", new Uint8Array(10_000_000), 100), /cannot be unpacked/);
    fc.assert(
      fc.property(fc.nat(two.length - 1), fc.nat(255), (at, value) => {
        const changed = two.slice();
        changed[at] = value;
        try {
          for (const e of readZip(changed)) e.read(1e6);
        } catch (error) {
          expect((error as Error).name).toBe("ZipError");
        }
      }),
    );
  });

  it("holds all results", async () => {
    const path = join(folder, "out.npz");
    const results = {
      a: { dtype: "f32", shape: [2], data: Float32Array.of(1, 2) },
      b: { dtype: "i32", shape: [], data: Int32Array.of(3) },
    } as const;
    expect(await writeResults(results, [{ path }])).toEqual([path]);
    const back = readZip(readFileSync(path));
    expect(back.map((e) => e.name)).toEqual(["a.npy", "b.npy"]);
    expect(read("long", `${path}:a`).data).toEqual([1, 2]);
    expect(() => parseOutput("c=out.npy", ["a", "b"])).toThrow("there is no result c: the results are a, b");
    const one = await writeResults(results, [parseOutput(`b=${join(folder, "b.csv")}`, ["a", "b"])]);
    expect(readFileSync(one[0], "utf8")).toBe("3\n");
  });
});

describe(".csv", () => {
  it("is rows of numbers, with or without a heading", () => {
    expect(read("table", file("a.csv", "1,2\n3,4\n"))).toEqual({ shape: [2, 2], data: [1, 2, 3, 4] });
    expect(read("table", file("b.csv", '\ufeffheight;width\r\n"1.5";-2e1\r\n\r\nnan;-inf\r\n')).data).toEqual(
      [1.5, -20, Number.NaN, Number.NEGATIVE_INFINITY],
    );
    expect(read("long", file("c.csv", "1\n2\n3\n")).data).toEqual([1, 2, 3]);
    expect(read("deep", file("d.csv", "1,2,3,4\n5,6,7,8"))).toEqual({
      shape: [2, 1, 2, 2],
      data: [1, 2, 3, 4, 5, 6, 7, 8],
    });
    const values = [0, -1.5, 1e-7, 123456];
    expect(parseCsv(formatCsv([2, 2], (i) => String(values[i])))).toEqual({
      rows: 2,
      columns: 2,
      data: values,
    });
  });

  it("is refused with the line", () => {
    refuses(
      () => read("table", file("e.csv", "1,2\n3\n")),
      /e\.csv is no table of numbers: line 2 has 1 cells, the first has 2/,
    );
    refuses(() => read("table", file("f.csv", "1,2\n3,x\n")), /line 2, cell 2: expected a number, found "x"/);
    refuses(() => read("table", file("g.csv", "1,2,3\n")), /expected x: f32\[N, 2\]/);
    refuses(() => read("long", file("h.csv", "1,2\n3,4\n")), "2 rows of 2 numbers");
    refuses(() => read("table", file("i.csv", Uint8Array.of(0xff, 0xfe))), "no table: it is not UTF-8");
  });
});

describe("pictures", () => {
  const sum = (data: ArrayLike<number>): number[] => Array.from(data);

  it("of every kind of .png are what Pillow reads", () => {
    for (const { name, png, width, height, channels, data } of pictures.png) {
      const p = decodePng(bytes(png));
      expect([p.width, p.height, p.channels], name).toEqual([width, height, channels]);
      expect(sum(p.data), name).toEqual(data);
    }
  });

  it("that are .jpg are what Pillow reads, but for rounding (and how it smooths halved colours)", () => {
    const p = decodeJpeg(bytes(pictures.jpg.jpg));
    expect([p.width, p.height, p.channels]).toEqual([pictures.jpg.width, pictures.jpg.height, 3]);
    p.data.forEach((v, i) => void expect(Math.abs(v - pictures.jpg.data[i])).toBeLessThanOrEqual(4));
  });

  it("are scaled as Pillow scales them, and cut in the middle", () => {
    const { source, sizes } = pictures.resize;
    const from: Picture = { ...source, channels: 3, data: Uint8Array.from(source.data), most: 255 };
    for (const { width, height, data } of sizes) {
      const to = resized(from, width, height);
      // Pillow weighs in fixed point.
      to.data.forEach((v, i) => void expect(Math.abs(v - data[i])).toBeLessThanOrEqual(1));
    }
    expect(
      sum(
        cropped(
          { width: 3, height: 3, channels: 1, data: Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8), most: 255 },
          1,
          1,
        ).data,
      ),
    ).toEqual([4]);
  });

  it("come back as they were written", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom(1, 3, 4),
        fc.nat(),
        (w, h, c, seed) => {
          const data = Uint8Array.from(
            { length: w * h * c },
            (_, i) => Math.imul(i + seed, 2654435761) >>> 24,
          );
          const back = decodePng(encodePng(w, h, c as 1 | 3 | 4, data));
          expect([back.width, back.height, back.channels]).toEqual([w, h, c]);
          expect(sum(back.data)).toEqual([...data]);
        },
      ),
    );
  });

  const red = encodePng(
    6,
    4,
    3,
    Uint8Array.from({ length: 72 }, (_, i) => (i % 3 === 0 ? 255 : 51)),
  );

  it("fill what is declared: channels first, 0 to 1 or to 255, normalised where that is asked for", () => {
    const path = file("red.png", red);
    const colour = read("colour", path);
    expect(colour.shape).toEqual([1, 3, 4, 6]);
    expect(colour.data.map((v) => v.toFixed(2))).toEqual(
      Array.from({ length: 72 }, (_, i) => (i < 24 ? "1.00" : "0.20")),
    );
    const normal = read("colour", path, { mean: [0.5, 0.2, 0.1], std: [0.5] }).data;
    expect([normal[0], normal[24], normal[48]].map((v) => v.toFixed(2))).toEqual(["1.00", "0.00", "0.20"]);
    // 0.299 * 255 + 0.701 * 51 = 112
    expect(read("grey", path)).toMatchObject({ shape: [1, 4, 6] });
    expect(read("whole", path)).toEqual({ shape: [4, 6], data: Array.from({ length: 24 }, () => 112) });
    expect(
      read("colour", file("other.png", encodePng(2, 2, 1, Uint8Array.of(9, 9, 9, 9))), { resize: "stretch" })
        .shape,
    ).toEqual([1, 3, 4, 6]);
    expect(
      read("colour", file("wide.png", encodePng(12, 4, 1, new Uint8Array(48).fill(7))), { resize: "crop" })
        .shape,
    ).toEqual([1, 3, 4, 6]);
  });

  it("of another size are refused with what to do", () => {
    const small = file("small.png", encodePng(2, 3, 1, new Uint8Array(6)));
    refuses(
      () => read("colour", small),
      /small\.png is 2 by 3 pixels \(width by height\), and x: f32\[N, 3, 4, 6\] takes 6 by 4; --resize scales it/,
    );
    refuses(() => read("long", small), /is a picture, which fills \[N, C, H, W\]/);
    refuses(
      () => read("colour", small, { resize: "stretch", mean: [1, 2] }),
      /3 channels here, and --mean 2 numbers/,
    );
  });

  /** A part of a .png with a checksum that is right. */
  const chunk = (name: string, body: Uint8Array): Uint8Array => {
    const out = Buffer.alloc(body.length + 12);
    out.writeUInt32BE(body.length, 0);
    out.write(name, 4);
    out.set(body, 8);
    out.writeUInt32BE(crc32(out.subarray(4, 8 + body.length)), 8 + body.length);
    return out;
  };
  const png = (width: number, height: number, pixels: Uint8Array): Uint8Array => {
    const head = Buffer.alloc(13);
    head.writeUInt32BE(width, 0);
    head.writeUInt32BE(height, 4);
    head[8] = 8;
    return Buffer.concat([
      red.subarray(0, 8),
      chunk("IHDR", head),
      chunk("IDAT", pixels),
      chunk("IEND", new Uint8Array()),
    ]);
  };

  it("that are broken, cut off, huge or lie are refused with their name", () => {
    const bad = (name: string, data: Uint8Array, message: string | RegExp): void =>
      refuses(() => read("colour", file(name, data)), message);
    bad("cut.png", red.subarray(0, 50), /cut\.png is no picture that can be read: it ends too early/);
    bad("text.png", new TextEncoder().encode("hello"), "does not begin as a .png file does");
    bad("empty.jpg", new Uint8Array(), "does not begin");
    bad(
      "sum.png",
      Uint8Array.from(red, (b, i) => (i === 20 ? b ^ 1 : b)),
      /checksum of its part IHDR is wrong/,
    );
    bad(
      "huge.png",
      png(0x7fffffff, 0x7fffffff, deflateSync(new Uint8Array(10))),
      /2147483647 by 2147483647 pixels, more than/,
    );
    bad("none.png", png(0, 4, deflateSync(new Uint8Array(10))), "0 by 4 pixels");
    bad("few.png", png(1000, 1000, deflateSync(new Uint8Array(10))), "fewer pixels than its header says");
    bad("bomb.png", png(2, 2, deflateSync(new Uint8Array(50_000_000))), /cannot be unpacked/);
    bad("filter.png", png(2, 1, deflateSync(Uint8Array.of(9, 1, 2))), "unknown filter");
    const jpg = bytes(pictures.jpg.jpg);
    bad("cut.jpg", jpg.subarray(0, 120), /cut\.jpg is no picture that can be read/);
    const wide = Buffer.from(jpg);
    const frame = wide.indexOf(Buffer.from([0xff, 0xc0]));
    wide.writeUInt16BE(0xffff, frame + 5);
    wide.writeUInt16BE(0xffff, frame + 7);
    bad("huge.jpg", wide, /is no picture that can be read/);
    for (const [original, decode] of [
      [red, decodePng],
      [jpg, decodeJpeg],
    ] as const)
      fc.assert(
        fc.property(fc.nat(original.length - 1), fc.nat(255), fc.boolean(), (at, value, cut) => {
          const changed = cut ? original.slice(0, at) : original.slice();
          if (!cut) changed[at] = value;
          try {
            decode(changed);
          } catch (error) {
            expect((error as Error).name).toBe("PictureError");
          }
        }),
        { numRuns: 60 },
      );
  });

  it("are results too", async () => {
    const path = join(folder, "y.png");
    const data = Float32Array.from({ length: 2 * 3 * 2 * 2 }, (_, i) => i / 23);
    const paths = await writeResults({ y: { dtype: "f32", shape: [2, 3, 2, 2], data } }, [{ path }]);
    expect(paths.map((p) => p.slice(folder.length + 1))).toEqual(["y.0.png", "y.1.png"]);
    const p = decodePng(readFileSync(paths[1]));
    expect([p.width, p.height, p.channels, p.data[0], p.data[11]]).toEqual([
      2,
      2,
      3,
      Math.round((12 / 23) * 255),
      255,
    ]);
    const [grid] = await writeResults(
      { y: { dtype: "u32", shape: [3, 1, 1, 2], data: Uint32Array.of(1, 2, 3, 4, 5, 6) } },
      [{ path }],
      { grid: 2 },
    );
    const g = decodePng(readFileSync(grid));
    expect([g.width, g.height]).toEqual([2 * 4 + 2, 2 * 3 + 2]);
    const rows = Array.from({ length: g.height }, (_, y) => sum(g.data.subarray(y * 10, y * 10 + 10)));
    const none = new Array(10).fill(0);
    expect(rows).toEqual([
      none,
      none,
      [0, 0, 1, 2, 0, 0, 3, 4, 0, 0],
      none,
      none,
      [0, 0, 5, 6, 0, 0, 0, 0, 0, 0],
      none,
      none,
    ]);
    expect(() => checkOutputs(["y.npy"], { grid: 2 })).toThrow("no --output ends in that");
    const clipped = { dtype: "f32", shape: [1, 3], data: Float32Array.of(-1, 2, Number.NaN) } as const;
    const [one] = await writeResults({ y: clipped }, [{ path }]);
    expect(sum(decodePng(readFileSync(one)).data)).toEqual([0, 255, 0]);
    await expect(
      writeResults({ y: { dtype: "f32", shape: [5], data: new Float32Array(5) } }, [{ path }]),
    ).rejects.toThrow("y is f32[5], which is no picture");
  });
});
