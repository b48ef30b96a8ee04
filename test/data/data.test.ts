// mdlc/data: what readers make of files, what they refuse and how they say it; orders, splits and batches.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { revive } from "../../runtime/data/dataset.ts";
import {
  type Batch,
  batchCount,
  batches,
  characterWindows,
  type Dataset,
  fromArrays,
  gunzip,
  IGNORED,
  lines,
  ofClasses,
  split,
  table,
} from "../../runtime/data/index.ts";
import { Loader, openData } from "../../runtime/data/node/index.ts";
import { encodePng } from "../../runtime/data/node/pictures/png.ts";
import { formatZip } from "../../runtime/data/node/zip.ts";
import { formatNpy } from "../../runtime/data/npy.ts";
import { idx, mnistFiles } from "../support/data-files.ts";
import { sharedData } from "../support/shared-data.ts";

const root = mkdtempSync(join(tmpdir(), "mdl-data-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A folder with these files; its path. */
function folder(name: string, files: Readonly<Record<string, Uint8Array | string>>): string {
  const path = join(root, name);
  for (const [file, data] of Object.entries(files)) {
    mkdirSync(join(path, file, ".."), { recursive: true });
    writeFileSync(join(path, file), data);
  }
  return path;
}
const file = (name: string, data: Uint8Array | string): string => join(folder(".", { [name]: data }), name);

/** All records of a column. */
function column(data: Dataset, name: string): number[] {
  const { dtype, shape, read } = data.columns[name];
  const count = shape.reduce((a, b) => a * b, 1);
  const out = dtype === "f32" ? new Float32Array(data.size * count) : new Int32Array(data.size * count);
  for (let i = 0; i < data.size; i++) read(i, out, i * count);
  return [...out];
}
const labels = (all: Iterable<Batch>): number[] => [...all].flatMap((b) => [...b["y"].data]);

describe("readers", () => {
  it("MNIST's idx, packed or not, with its test part", () => {
    const path = folder("mnist", mnistFiles(7, 3, 4, 2));
    const { train, test } = openData(`mnist:${path}`);
    expect([train.size, test?.size]).toEqual([7, 3]);
    expect(train.columns["x"]).toMatchObject({ dtype: "f32", shape: [1, 4, 4] });
    const raw = mnistFiles(7, 3, 4, 2);
    expect(column(train, "y")).toEqual([...raw["train-labels-idx1-ubyte"].subarray(8)]);
    const pixels = [...raw["train-images-idx3-ubyte"].subarray(16)];
    expect(column(train, "x")).toEqual(pixels.map((p) => Math.fround(p / 255)));
    expect(openData(path).train.size).toBe(7);
  });
  it("CIFAR-10 and -100, several files as one", () => {
    const record = (label: number[], value: number): number[] => [...label, ...new Array(3072).fill(value)];
    const path = folder("cifar", {
      "data_batch_1.bin": Uint8Array.from([...record([3], 255), ...record([9], 51)]),
      "data_batch_2.bin.gz": gzipSync(Uint8Array.from(record([0], 0))),
      "test_batch.bin": Uint8Array.from(record([1], 102)),
    });
    const { train, test } = openData(`cifar10:${path}`);
    expect([column(train, "y"), train.columns["x"].shape]).toEqual([
      [3, 9, 0],
      [3, 32, 32],
    ]);
    expect(column(train, "x")[3072]).toBe(Math.fround(51 / 255));
    expect(test && column(test, "y")).toEqual([1]);
    const hundred = file("train.bin", Uint8Array.from(record([7, 99], 1)));
    expect(column(openData(`cifar100:${hundred}`).train, "y")).toEqual([99]);
  });
  it("tables: classes of words in order, headings, columns left out", () => {
    const text = "id,a,b,kind\n7,1.5,-2,frog\n8,0,4,ant\n\n9,3,1e1,frog\n";
    const data = table(text, "t.csv", { drop: ["id"] });
    expect([data.classes, column(data, "y"), column(data, "x")]).toEqual([
      ["ant", "frog"],
      [1, 0, 1],
      [1.5, -2, 0, 4, 3, 10],
    ]);
    expect(data.place(2, "x")).toBe("t.csv: line 5");
    const whole = table("1;2\n3;4\n", "t.csv", { label: "0", over: 2 });
    expect([column(whole, "y"), column(whole, "x"), whole.columns["y"].dtype]).toEqual([
      [1, 3],
      [1, 2],
      "i32",
    ]);
    expect(table("1,2\n", "t.csv", { target: "value" }).columns["y"].dtype).toBe("f32");
  });
  it(".npz and .npy, with bytes of pictures as floats", () => {
    const x = formatNpy("f32", [3, 2], Float32Array.of(1, 2, 3, 4, 5, 6));
    const y = formatNpy("i32", [3], Int32Array.of(2, 1, 0));
    const npz = file(
      "d.npz",
      formatZip([
        { name: "x.npy", data: x },
        { name: "y.npy", data: y },
      ]),
    );
    const both = `npy:x=${file("x.npy", x)},y=${file("y.npy", y)}`;
    for (const data of [openData(`npz:${npz}`).train, openData(npz).train, openData(both).train])
      expect([column(data, "x"), column(data, "y")]).toEqual([
        [1, 2, 3, 4, 5, 6],
        [2, 1, 0],
      ]);
    const bytes = fromArrays({
      x: { data: Uint8Array.of(255, 0), shape: [2, 1, 1, 1] },
      y: Uint8Array.of(0, 9),
    });
    expect([bytes.columns["x"].dtype, column(bytes, "x"), bytes.columns["y"].dtype]).toEqual([
      "f32",
      [1, 0],
      "i32",
    ]);
  });
  it("folders of pictures by class", () => {
    const picture = (v: number, w = 2): Uint8Array => encodePng(w, 2, 1, new Uint8Array(2 * w).fill(v));
    const path = folder("pictures", {
      "cat/1.png": picture(255),
      "cat/2.png": picture(0),
      "dog/1.png": picture(51),
    });
    const { train } = openData(`images:${path}?channels=1`);
    expect([train.classes, column(train, "y"), train.columns["x"].shape]).toEqual([
      ["cat", "dog"],
      [0, 0, 1],
      [1, 2, 2],
    ]);
    expect(column(train, "x").slice(8)).toEqual(new Array(4).fill(Math.fround(0.2)));
    const scaled = openData(`images:${path}?size=4x3`).train;
    expect(scaled.columns["x"].shape).toEqual([3, 4, 3]);
    const parts = folder("parts", { "train/a/1.png": picture(1), "val/a/1.png": picture(2) });
    expect(openData(parts).test?.size).toBe(1);
  });
  it("of some classes, which are counted anew", () => {
    const data = table("1,2,frog\n3,4,ant\n5,6,bee\n7,8,frog\n", "t.csv");
    const some = ofClasses(data, ["frog", "ant"]);
    for (const set of [some, revive(some.plain)])
      expect([set.classes, column(set, "y"), column(set, "x")]).toEqual([
        ["frog", "ant"],
        [0, 1, 0],
        [1, 2, 3, 4, 7, 8],
      ]);
    expect(some.place(2, "x")).toBe("t.csv: line 4");
    const numbers = openData(`csv:${file("n.csv", "0,7\n1,3\n2,7\n3,5\n")}?classes=5,7`).train;
    expect([numbers.classes, column(numbers, "y")]).toEqual([
      ["5", "7"],
      [1, 1, 0],
    ]);
    expect(() => ofClasses(data, ["cat"])).toThrow("t.csv has no class cat: they are ant, bee, frog");
    expect(() => ofClasses(data, [3])).toThrow("has no class 3");
    expect(() => ofClasses(data, ["ant", 0])).toThrow("class 0 is asked for twice");
    expect(() => ofClasses(fromArrays({ y: Float32Array.of(1) }), [1])).toThrow("there is no column y");
    expect(ofClasses(data, ["frog"]).size).toBe(2);
  });
  it("text: windows of characters and of bytes, lines", () => {
    const data = characterWindows("abcabca", "t", { length: 3 });
    expect([data.size, data.classes, column(data, "ids"), column(data, "next")]).toEqual([
      2,
      ["a", "b", "c"],
      [0, 1, 2, 0, 1, 2],
      [1, 2, 0, 1, 2, 0],
    ]);
    expect(characterWindows("abcabca", "t", { length: 3, stride: 1 }).size).toBe(4);
    expect(column(openData(`bytes:${file("b", "AB\n")}?length=2`).train, "next")).toEqual([66, 10]);
    const names = lines("ab\nb\n", "t");
    expect([names.classes, column(names, "ids"), column(names, "next")]).toEqual([
      ["\n", "a", "b"],
      [0, 1, 2, 0, 2, 0],
      [1, 2, 0, 2, 0, IGNORED],
    ]);
  });
  it("the data sets beside the project", (context) => {
    const { train, test } = openData(`mnist:${sharedData(context, "datasets", "mnist")}`);
    expect([train.size, test?.size, column(train, "y").slice(0, 5)]).toEqual([60000, 10000, [5, 0, 4, 1, 9]]);
    const cifar = openData(`cifar10:${sharedData(context, "datasets", "cifar10")}`).train;
    expect([cifar.size, cifar.classes?.length]).toEqual([4000, 10]);
    const iris = openData(
      `csv:${sharedData(context, "datasets", "iris", "Iris.csv")}?label=Species&drop=Id`,
    ).train;
    expect([iris.size, iris.columns["x"].shape, iris.classes?.[2]]).toEqual([150, [4], "Iris-virginica"]);
    const names = openData(`lines:${sharedData(context, "datasets", "names", "names.txt")}`).train;
    expect([names.size, names.classes?.length]).toEqual([32032 + 1, 27]);
  });
});

describe("bad data is refused with the file and the record", () => {
  const said = (spec: string): string => {
    try {
      const { train } = openData(spec);
      for (const name of Object.keys(train.columns)) column(train, name);
    } catch (error) {
      expect((error as Error).name).toBe("DataError");
      return (error as Error).message.replaceAll(root, "").replaceAll("/./", "/");
    }
    return "nothing";
  };
  const mnist = (name: string, change: Readonly<Record<string, Uint8Array>>): string =>
    `mnist:${folder(name, { ...mnistFiles(7, 3, 4, 2), ...change })}`;
  const full = mnistFiles(7, 3, 4, 2)["train-images-idx3-ubyte"];
  const cases: readonly (readonly [string, () => string, string])[] = [
    [
      "cut off",
      () => mnist("cut", { "train-images-idx3-ubyte": full.subarray(0, 100) }),
      "/cut/train-images-idx3-ubyte: its header says [7, 4, 4] unsigned bytes, 112 bytes, and 84 follow: it is cut off in record 5",
    ],
    [
      "packed and cut off",
      () => mnist("gz", { "t10k-images-idx3-ubyte.gz": gzipSync(full).subarray(0, 60) }),
      "/gz/t10k-images-idx3-ubyte.gz cannot be unpacked, it is cut off or damaged: unexpected end of file",
    ],
    [
      "another format",
      () => mnist("other", { "train-images-idx3-ubyte": new Uint8Array(50).fill(7) }),
      "/other/train-images-idx3-ubyte is no idx file (MNIST's format): it does not begin as one",
    ],
    [
      "another shape",
      () => mnist("flat", { "train-images-idx3-ubyte": idx([7], new Uint8Array(7)) }),
      "/flat/train-images-idx3-ubyte: images have three sizes (how many, height, width), it has [7]",
    ],
    [
      "too few labels",
      () => mnist("few", { "train-labels-idx1-ubyte": idx([6], new Uint8Array(6)) }),
      "/few/train-labels-idx1-ubyte has 6 labels, /few/train-images-idx3-ubyte has 7 images",
    ],
    [
      "an empty folder",
      () => `mnist:${folder("empty", { ".x": "" })}`,
      "/empty has no train-images-idx3-ubyte (.gz or not)",
    ],
    ["no folder", () => `mnist:${join(root, "nowhere")}`, "/nowhere: no such file"],
    [
      "CIFAR, cut off",
      () => `cifar10:${file("c.bin", new Uint8Array(5000))}`,
      "/c.bin: records of CIFAR-10 are 3073 bytes, and it has 5000: it is cut off in record 1",
    ],
    [
      "CIFAR, a label",
      () => `cifar10:${file("l.bin", new Uint8Array(3073).fill(12, 0, 1))}`,
      "/l.bin: record 0 has the label 12, expected 0 to 9",
    ],
    [
      "a cell",
      () => `csv:${file("t.csv", "a,b\n1,2\nx,4\n")}`,
      '/t.csv: line 3, a: expected a number, found "x"; a column that is no feature is left out with drop=a',
    ],
    ["a short line", () => `csv:${file("s.csv", "1,2\n3\n")}`, "/s.csv: line 2 has 1 cells, line 1 has 2"],
    [
      "no column",
      () => `csv:${file("n.csv", "a,b\n1,2\n")}?label=c`,
      "/n.csv has no column c: they are a, b",
    ],
    [
      "no classes",
      () => `images:${folder("none", { "a.txt": "" })}`,
      "/none has no folders in it: pictures lie in one folder a class, as in /none/cat/1.png",
    ],
    [
      "an empty class",
      () => `images:${folder("bare", { "cat/a.txt": "" })}`,
      "/bare/cat has no pictures (.png, .jpg) in it",
    ],
    [
      "a damaged picture",
      () =>
        `images:${folder("bad", { "cat/1.png": encodePng(1, 1, 1, new Uint8Array(1)), "cat/2.png": encodePng(1, 1, 1, new Uint8Array(1)).subarray(0, 40) })}`,
      "/bad/cat/2.png is no picture that can be read: it ends too early",
    ],
    [
      "another size",
      () =>
        `images:${folder("sizes", { "cat/1.png": encodePng(1, 1, 1, new Uint8Array(1)), "cat/2.png": encodePng(2, 1, 1, new Uint8Array(2)) })}`,
      "/sizes/cat/2.png is 2 by 1 pixels (width by height), /sizes/cat/1.png 1 by 1; size=1x1 scales them",
    ],
    [
      "a short text",
      () => `text:${file("t.txt", "ab")}?length=2`,
      "/t.txt has 2 tokens, and a record of 2 and the next one wants 3",
    ],
    [
      "an option",
      () => "mnist:x?size=3",
      "mnist has no option size=3: its options are classes, as in mnist:DIR",
    ],
  ];
  it.each(cases)("%s", (_name, spec, message) => {
    expect(said(spec())).toBe(message);
  });
  it("a kind that does not show", () => {
    expect(said(file("what.dat", "x"))).toMatch(/what.dat is does not show: write mnist:DIR, cifar10:DIR/);
  });
});

describe("batches", () => {
  const data = fromArrays({
    x: { data: Float32Array.from({ length: 22 }, (_, i) => i), shape: [11, 2] },
    y: Int32Array.from({ length: 11 }, (_, i) => i),
  });
  it("hold each record once an epoch, in another order each time, the same for the same seed", () => {
    const one = labels(batches(data, { batch: 4, seed: 3 }));
    expect([...one].sort((a, b) => a - b)).toEqual([...Array(11).keys()]);
    expect(labels(batches(data, { batch: 4, seed: 3 }))).toEqual(one);
    expect(labels(batches(data, { batch: 4, seed: 3, epoch: 1 }))).not.toEqual(one);
    expect(labels(batches(data, { batch: 4, seed: 4 }))).not.toEqual(one);
    expect(labels(batches(data, { batch: 4, shuffle: false }))).toEqual([...Array(11).keys()]);
    for (const { x, y } of batches(data, { batch: 4 }))
      expect([...x.data]).toEqual([...y.data].flatMap((n) => [2 * n, 2 * n + 1]));
  });
  it("keep a last partial one, or not; go on within an epoch", () => {
    const sizes = (last: "keep" | "drop"): number[] =>
      [...batches(data, { batch: 4, last })].map((b) => b["y"].shape[0]);
    expect([sizes("keep"), sizes("drop")]).toEqual([
      [4, 4, 3],
      [4, 4],
    ]);
    expect([batchCount(data, { batch: 4 }), batchCount(data, { batch: 4, last: "drop" })]).toEqual([3, 2]);
    const all = labels(batches(data, { batch: 4, seed: 3 }));
    expect(labels(batches(data, { batch: 4, seed: 3, from: 1 }))).toEqual(all.slice(4));
  });
  it("are laid out as inputs want them", () => {
    const inputs = { image: { column: "x", shape: [1, 2] }, y: { column: "y", oneHot: 11 } };
    const [{ image, y }] = batches(data, { batch: 2, shuffle: false, inputs });
    expect([image.shape, y.shape, [...y.data].indexOf(1, 11)]).toEqual([[2, 1, 2], [2, 11], 12]);
    expect(() => [
      ...batches(data, { batch: 2, inputs: { y: { column: "y", oneHot: 3 } }, shuffle: false }),
    ]).toThrow("arrays: record 3 has the class 3, expected 0 to 2");
    expect(() => [...batches(data, { batch: 2, inputs: { z: "q" } })]).toThrow(
      "arrays has no q: it has x, y",
    );
  });
  it("have noise where it is asked for, each record its own", () => {
    const inputs = { y: "y", z: { draw: "normal", shape: [2, 3] } } as const;
    const noise = (seed: number, batch: number): Map<number, number[]> => {
      const all = [...batches(data, { batch, seed, inputs })];
      expect(all[0]["z"].shape).toEqual([batch, 2, 3]);
      return new Map(
        all.flatMap(({ y, z }) =>
          [...y.data].map((record, i) => [record, [...z.data.subarray(6 * i, 6 * i + 6)]] as const),
        ),
      );
    };
    expect([...noise(1, 4)].sort()).toEqual([...noise(1, 3)].sort());
    expect(noise(1, 4).get(3)).not.toEqual(noise(2, 4).get(3));
    expect(noise(1, 4).get(3)).not.toEqual(noise(1, 4).get(4));
  });
  it("of a split share no record, and a fifth is a fifth", () => {
    const { train, val } = split(data, 0.2, { seed: 1 });
    expect([train.size, val.size]).toEqual([9, 2]);
    expect([...column(train, "y"), ...column(val, "y")].sort((a, b) => a - b)).toEqual([...Array(11).keys()]);
    expect(column(split(data, 0.2, { by: "end" }).val, "y")).toEqual([9, 10]);
  });
  it("of a Loader are the same", async () => {
    const loader = new Loader(data, { batch: 4, seed: 3 });
    const got: Batch[] = [];
    for await (const batch of loader.epoch(1)) got.push(batch);
    expect(got).toEqual([...batches(data, { batch: 4, seed: 3, epoch: 1 })]);
    await loader.close();
  });
});

it("gunzip is the platform's", async () => {
  expect([...(await gunzip(gzipSync(Uint8Array.of(1, 2)), "f"))]).toEqual([1, 2]);
  await expect(gunzip(gzipSync(new Uint8Array(99)).subarray(0, 20), "f")).rejects.toThrow(
    /^f cannot be unpacked/,
  );
});
