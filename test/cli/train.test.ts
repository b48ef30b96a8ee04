// `mdl train` and `mdl eval` before a GPU is asked for: what does not fit is said with the file, the record, or the option that
// would map it, and nothing is written.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { crc32c } from "../../compiler/cli/train/tensorboard.ts";
import { formatSafetensors } from "../../runtime/core/safetensors.ts";
import { BANDS } from "../support/bands.ts";
import { testCli } from "../support/cli.ts";
import { idx, mnistFiles } from "../support/data-files.ts";

const { folder, run } = testCli();
const put = (name: string, files: Readonly<Record<string, Uint8Array>>): void => {
  mkdirSync(join(folder, name), { recursive: true });
  for (const [file, data] of Object.entries(files)) writeFileSync(join(folder, name, file), data);
};
beforeAll(() => {
  writeFileSync(join(folder, "bands.mdl"), BANDS);
  writeFileSync(
    join(folder, "renamed.mdl"),
    BANDS.replaceAll("y: i32", "kind: i32")
      .replaceAll("y))", "kind))")
      .replaceAll(", y)", ", kind)")
      .replaceAll("== y", "== kind"),
  );
  const good = mnistFiles(20, 8, 8, 4);
  put("good", good);
  put("label", { ...good, "train-labels-idx1-ubyte": idx([20], [...new Array(17).fill(1), 9, 1, 1]) });
  put("large", mnistFiles(20, 8, 9, 4));
  writeFileSync(join(folder, "kept.safetensors"), "mine");
  writeFileSync(
    join(folder, "weights.safetensors"),
    formatSafetensors([{ path: "w", dtype: "f32", shape: [1], data: new Float32Array(1) }], {}),
  );
  writeFileSync(join(folder, "two.csv"), "a,b,y\n1,2,0\n");
});

const cases: readonly (readonly [string, string, number, string | RegExp])[] = [
  [
    "a label out of range",
    "train bands.mdl --data mnist:label --save kept.safetensors",
    1,
    "label/train-labels-idx1-ubyte: record 17 has 9 as y, expected 0 to 3 or -100 (cross_entropy of 4 classes)",
  ],
  [
    "another shape",
    "train bands.mdl --data mnist:large",
    1,
    /^fit_step takes x: f32\[N, 64\], which no column of the data fits by name, or alone by type: its inputs are x: f32\[N, 64\], y: i32\[N\]; a record of large\/train-images-idx3-ubyte has x: f32\[1, 9, 9\], y: i32\. Rename the input, or map it: --map x=x$/,
  ],
  [
    "a map of what is not there",
    "train bands.mdl --data mnist:good --map x=image",
    1,
    "--map x=image: good/train-images-idx3-ubyte has no image: a record of good/train-images-idx3-ubyte has x: f32[1, 8, 8], y: i32",
  ],
  [
    "a map that does not fit",
    "train bands.mdl --data mnist:good --map y=x",
    1,
    "--map y=x: x: f32[1, 8, 8] of each record does not fit y: i32[N]",
  ],
  [
    "a module",
    "train bands.js --data mnist:good",
    2,
    "mdl train takes the source, and bands.js is compiled: give the .mdl file, as in mdl train model.mdl",
  ],
  [
    "no data",
    "train bands.mdl",
    2,
    "--data says what to train on, as in --data mnist:DIR or --data csv:iris.csv?label=Species",
  ],
  ["no such data", "train bands.mdl --data mnist:nowhere", 1, "nowhere: no such file"],
  [
    "no such block",
    "train bands.mdl tune --data mnist:good",
    1,
    "Bands has no train block tune; its train blocks are fit",
  ],
  [
    "no schedule",
    "train bands.mdl --data mnist:good --schedule waves",
    2,
    /^--schedule waves: .*waves.*mdl ops lists schedules$/,
  ],
  [
    "no augmentation",
    "train bands.mdl --data mnist:good --augment spin",
    1,
    /^there is no augmentation spin: there are crop, flip/,
  ],
  [
    "no checkpoint",
    "train bands.mdl --data mnist:good --resume kept.safetensors",
    1,
    /^kept.safetensors is no checkpoint of mdl train: not a safetensors file/,
  ],
  [
    "weights as a checkpoint",
    "train bands.mdl --data mnist:good --resume weights.safetensors",
    1,
    "weights.safetensors is no checkpoint of mdl train: it holds weights alone, which --init takes",
  ],
  [
    "weights of another model",
    "train bands.mdl --data mnist:good --init weights.safetensors",
    1,
    "weights.safetensors has nothing of Bands: its tensors are w",
  ],
  [
    "weights that do not fit",
    "eval bands.mdl --data mnist:good --weights weights.safetensors",
    1,
    /^weights.safetensors: .*missing/s,
  ],
  [
    "a share",
    "train bands.mdl --data mnist:good --val 1.5",
    2,
    "--val takes a share of the data, as in 0.2, or data; given 1.5",
  ],
];

describe("mdl train and eval refuse", () => {
  it.each(cases)("%s", (_name, line, code, message) => {
    const ran = run(line.split(" "));
    const said = ran.err.replace(/^error: /, "").trimEnd();
    if (typeof message === "string") expect(said).toBe(message);
    else expect(said).toMatch(message);
    expect([ran.code, ran.out]).toEqual([code, ""]);
    expect(readFileSync(join(folder, "kept.safetensors"), "utf8")).toBe("mine");
    expect(existsSync(join(folder, "bands.ckpt"))).toBe(false);
  });
});

it("TensorBoard's checksum is Castagnoli's", () => {
  // Its check value, in every catalogue of checksums; and 32 zeros, of RFC 3720 (B.4).
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
});
