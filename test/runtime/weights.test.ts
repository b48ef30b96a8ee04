// Weights that come in, and files that go out: which files are read is held against the safetensors library's own verdicts;
// everything else is refused with a typed error and leaves nothing half done.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { deflateRawSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import type { Weights, WeightsOptions } from "../../runtime/core/api.ts";
import { WeightsError } from "../../runtime/core/errors.ts";
import { writeFile } from "../../runtime/core/files.ts";
import { stageFile } from "../../runtime/core/node.ts";
import { formatSafetensors, type NamedTensor, parseSafetensors } from "../../runtime/core/safetensors.ts";
import { placesOf, readWeights } from "../../runtime/core/store.ts";
import { fnv1a } from "../../runtime/core/threefry.ts";
import { projectFile, projectRoot } from "../support/files.ts";
import { tiny } from "../support/tiny.ts";

const folder = mkdtempSync(join(tmpdir(), "mdl-weights-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const places = placesOf(tiny);
const SCALE = Float32Array.of(1, 2, 3, 4);
const BIAS = Float32Array.of(5, 6, 7, 8);
const tensor = (path: string, data: NamedTensor["data"], shape = [data.length]): NamedTensor => ({
  path,
  dtype: data instanceof Int32Array ? "i32" : "f32",
  shape,
  data,
});
const ALL = [tensor("scale", SCALE), tensor("bias", BIAS), tensor("count", Int32Array.of(9), [])];
const fileOf = (...tensors: NamedTensor[]): Uint8Array => formatSafetensors(tensors, {});
const whole = fileOf(...ALL);

const read = (weights: unknown, options?: WeightsOptions): ReturnType<typeof readWeights> =>
  readWeights(places, weights as Weights, options);
/** The elements by path. */
async function values(weights: unknown, options?: WeightsOptions): Promise<Record<string, number[]>> {
  const { tensors } = await read(weights, options);
  return Object.fromEntries(tensors.map(({ place, data }) => [place.spec.path, [...data]]));
}
const WHOLE = { scale: [...SCALE], bias: [...BIAS], count: [9] };

/** A place in the tree, so that packages are found; on a clean checkout nothing has made it yet. */
function cache(): string {
  const at = join(projectRoot, "node_modules", ".cache");
  mkdirSync(at, { recursive: true });
  return at;
}

describe("a safetensors file", () => {
  interface Case {
    readonly name: string;
    readonly file: string;
    readonly zeros?: number;
    readonly refused: string | null;
  }
  const { cases } = JSON.parse(projectFile("test/figures/safetensors.json")) as { readonly cases: Case[] };

  it("is read where the library reads it, and refused where the library does", () => {
    expect(cases.length).toBeGreaterThan(120);
    const wrong = cases.flatMap(({ name, file, zeros = 0, refused }) => {
      const head = Buffer.from(file, "base64");
      const bytes = new Uint8Array(head.length + zeros);
      bytes.set(head);
      try {
        parseSafetensors(bytes);
        return refused === null ? [] : [`${name}: read, but the library says ${refused}`];
      } catch (error) {
        expect(error).toBeInstanceOf(WeightsError);
        return refused === null ? [`${name}: ${(error as Error).message}`] : [];
      }
    });
    expect(wrong).toEqual([]);
  });

  it("may not hold two tensors of one name", () => {
    const [size, header] = [8 + Number(new DataView(whole.buffer).getBigUint64(0, true)), "latin1"] as const;
    const text = Buffer.from(whole.subarray(0, size)).toString(header).replace('"bias"', '"scal\\u0065"');
    const twice = Buffer.from(text.replace(/ {5}|(?<=}) +$/, ""), header);
    const bytes = Buffer.concat([twice, whole.subarray(size)]);
    bytes.writeBigUInt64LE(BigInt(twice.length - 8));
    expect(() => parseSafetensors(bytes)).toThrow(/its header says scale twice/);
  });

  it("is not written where it could not be read", () => {
    expect(() => fileOf(tensor("__metadata__", SCALE))).toThrow(WeightsError);
  });

  it("whose header's length is one off is refused", async () => {
    for (const by of [-1, 1, 8]) {
      const shifted = whole.slice();
      shifted[0] += by;
      await expect(read(shifted)).rejects.toMatchObject({ name: "WeightsError", code: "weights-format" });
    }
  });

  it("that was damaged is read whole or not at all, 3,000 times", async () => {
    const damage = fc.array(
      fc.oneof(
        fc.record({ at: fc.nat(whole.length - 1), to: fc.nat(255) }),
        fc.record({ at: fc.nat(whole.length - 1), bit: fc.nat(7) }),
        fc.record({ cut: fc.nat(whole.length) }),
        fc.record({ from: fc.nat(whole.length - 1), drop: fc.integer({ min: 1, max: 9 }) }),
        fc.record({ more: fc.uint8Array({ minLength: 1, maxLength: 9 }) }),
      ),
      { minLength: 1, maxLength: 3 },
    );
    await fc.assert(
      fc.asyncProperty(damage, async (steps) => {
        let bytes = Buffer.from(whole);
        for (const step of steps) {
          if ("to" in step) bytes[step.at % Math.max(1, bytes.length)] = step.to;
          else if ("bit" in step) bytes[step.at % Math.max(1, bytes.length)] ^= 1 << step.bit;
          else if ("cut" in step) bytes = bytes.subarray(0, step.cut);
          else if ("drop" in step)
            bytes = Buffer.concat([bytes.subarray(0, step.from), bytes.subarray(step.from + step.drop)]);
          else bytes = Buffer.concat([bytes, step.more]);
        }
        try {
          const { tensors } = await read(bytes);
          expect(tensors.map(({ place }) => place.spec.path).sort()).toEqual(["bias", "count", "scale"]);
          for (const { place, data } of tensors) expect(data.length).toBe(place.spec.shape[0] ?? 1);
        } catch (error) {
          expect(error).toMatchObject({ name: "WeightsError" });
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("that is something else is called what it is, with the way out", async () => {
    const text = (s: string): Uint8Array => new TextEncoder().encode(s);
    /** A local file header of a zip archive and its contents. */
    const zip = (name: string): Uint8Array => {
      const head = Buffer.alloc(30);
      head.write("PK\x03\x04", "latin1");
      head.writeUInt16LE(name.length, 26);
      return Buffer.concat([head, text(name), deflateRawSync("x".repeat(100))]);
    };
    const known: [Uint8Array, RegExp][] = [
      [zip("archive/data.pkl"), /PyTorch checkpoint \(\.pth, \.pt\).*safetensors\.torch\.save_file/],
      [Uint8Array.of(0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20), /PyTorch checkpoint/],
      [zip("arr_0.npy"), /NumPy's \.npz/],
      [zip("word/document.xml"), /a zip archive/],
      [text("\x93NUMPY\x01\x00v\x00").slice(1), /NumPy's \.npy/],
      [gzipSync(whole), /compressed by gzip/],
      [Buffer.from("\x89HDF\r\n\x1a\n\0\0", "latin1"), /HDF5/],
      [text("GGUF\x03\0\0\0\0\0"), /GGUF/],
      [Buffer.from("\x08\x08\x12\x07pytorch\x1a\x052.4.0", "latin1"), /ONNX/],
      [text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), /Git LFS/],
      [text("<!doctype html><title>404</title>"), /HTML/],
      [text("\r\n <html><body>"), /HTML/],
      [text('{"metadata": {"total_size": 1}, "weight_map": {}}'), /JSON/],
    ];
    known[4][0] = Buffer.from("\x93NUMPY\x01\x00v\x00{'descr'", "latin1");
    for (const [bytes, message] of known) {
      await expect(read(bytes)).rejects.toMatchObject({ code: "weights-format" });
      await expect(read(bytes)).rejects.toThrow(message);
    }
    // A file of the right kind that was cut stays one, whatever its first bytes are.
    await expect(read(whole.subarray(0, 60))).rejects.toThrow(/its header is longer than the file/);
  });
});

describe("weights", () => {
  it("come from memory of every kind, copied at the call", async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(whole.length));
    shared.set(whole);
    const Resizable = ArrayBuffer as unknown as new (size: number, options: object) => ArrayBuffer;
    const resizable = new Resizable(whole.length, { maxByteLength: 2 * whole.length });
    new Uint8Array(resizable).set(whole);
    const path = join(folder, "w.safetensors");
    writeFileSync(path, whole);
    const sources = [
      whole,
      whole.slice().buffer,
      new DataView(whole.slice().buffer),
      shared,
      shared.buffer,
      resizable,
      new Uint8Array(resizable),
      new Blob([whole.slice()]),
      new File([whole.slice()], "w"),
      new Response(whole.slice()),
      path,
      pathToFileURL(path),
      pathToFileURL(path).href,
      { scale: SCALE, bias: [5, 6, 7, 8], count: 9 },
      { scale: { data: SCALE, shape: [4] }, bias: BIAS, count: Int32Array.of(9) },
      new Map<string, unknown>([
        ["scale", SCALE],
        ["bias", BIAS],
        ["count", 9],
      ]),
    ];
    for (const source of sources) expect(await values(source)).toEqual(WHOLE);

    const bytes = whole.slice();
    const record = { scale: SCALE.slice(), bias: BIAS, count: 9 };
    const [first, second] = [values(bytes), values(record)];
    bytes.fill(0);
    record.scale.fill(0);
    record.count = 0;
    expect([await first, await second]).toEqual([WHOLE, WHOLE]);
  });

  it("of no kind are refused with a typed error", async () => {
    const gone = whole.slice();
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    const used = new Response(whole.slice());
    await used.arrayBuffer();
    const sources = [
      5,
      true,
      null,
      undefined,
      Symbol("w"),
      () => whole,
      [whole],
      Promise.resolve(whole),
      new Date(),
      gone,
      gone.buffer,
      used,
      new Response("no", { status: 404 }),
      "",
      "\0",
      "none.safetensors",
      folder,
      "/dev/zero",
      "file:///none",
      "nonsense://x",
      "data:,x",
      new URL("nonsense://x"),
      { href: "nonsense://x" },
      { arrayBuffer: async () => "x" },
      {
        arrayBuffer: async () => {
          throw new Error("no");
        },
      },
      { scale: [1, 2], bias: BIAS, count: 9 },
      { scale: SCALE, bias: BIAS, count: 9.5 },
      { scale: SCALE, bias: Float64Array.from(BIAS), count: 9 },
      {
        get scale() {
          throw new Error("no");
        },
      },
      new Proxy(
        {},
        {
          ownKeys() {
            throw new Error("no");
          },
        },
      ),
    ];
    for (const source of sources) {
      const error = await read(source).then(
        () => undefined,
        (e: unknown) => e,
      );
      expect(error, Object.prototype.toString.call(source)).toBeInstanceOf(WeightsError);
    }
  });

  it("and options of any kind are taken, or refused with a typed error", async () => {
    const every = {
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withObjectString: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
    };
    const value = fc.oneof(fc.constantFrom(SCALE, [1, 2, 3, 4], 9, true), fc.anything(every));
    const record = fc.record({ scale: value, bias: value, count: value, other: value }, { requiredKeys: [] });
    const weights = fc.oneof(record, fc.anything(every), fc.uint8Array({ maxLength: 40 }));
    await fc.assert(
      fc.asyncProperty(weights, fc.option(fc.anything(every), { nil: undefined }), async (given, options) => {
        try {
          const { tensors } = await read(given, options as WeightsOptions);
          for (const { place, data } of tensors) expect(data.length).toBe(place.spec.shape[0] ?? 1);
        } catch (error) {
          expect(["WeightsError", "InputError"]).toContain((error as Error).name);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("that are missing or unexpected are told, and passed over where that is asked for", async () => {
    const some = fileOf(tensor("scale", SCALE), tensor("head.weight", BIAS));
    await expect(read(some)).rejects.toMatchObject({
      code: "weights-mismatch",
      missing: ["bias", "count"],
      unexpected: ["head.weight"],
      misshapen: [],
    });
    await expect(read(some, { partial: true })).rejects.toThrow(/unexpected head.weight$/);
    const loose = await read(some, { strict: false });
    expect(loose.ignored).toEqual({ missing: ["bias", "count"], unexpected: ["head.weight"] });
    expect(await values(some, { strict: false })).toEqual({ scale: [...SCALE] });
    expect((await read({ bias: BIAS }, { partial: true })).ignored).toEqual({
      missing: ["scale", "count"],
      unexpected: [],
    });
    expect((await read(whole)).ignored).toEqual({ missing: [], unexpected: [] });
    // As PyTorch's load_state_dict(strict=False): a shape that is wrong is an error all the same.
    const misshapen = fileOf(tensor("scale", SCALE, [2, 2]));
    await expect(read(misshapen, { strict: false })).rejects.toMatchObject({
      misshapen: ["scale: expected f32[4], the file has F32[2, 2]"],
    });
    for (const options of [{ strict: "no" }, { partial: 1 }, { strict: null }])
      await expect(read(whole, options as object)).rejects.toMatchObject({ name: "InputError" });
  });

  it("cannot write what an optimiser keeps", async () => {
    const moments = fileOf(...ALL, tensor("bad_step", Int32Array.of(1), []));
    await expect(read(moments)).rejects.toThrow(/unexpected bad_step/);
    expect((await read(moments, { strict: false })).ignored.unexpected).toEqual(["bad_step"]);
    expect(await values(moments, { strict: false })).toEqual(WHOLE);
    await expect(read({ ...WHOLE, bad_step: 1 })).rejects.toThrow(/unexpected bad_step/);
  });

  it("whose names all begin alike get a hint", async () => {
    const wrapped = (prefix: string): Uint8Array =>
      fileOf(...ALL.map((t) => ({ ...t, path: `${prefix}${t.path}` })));
    await expect(read(wrapped("module."))).rejects.toThrow(
      /all begin with module\., .*save model\.module\.state_dict\(\)/,
    );
    await expect(read(wrapped("net."))).rejects.toThrow(/all begin with net\., .*take it off/);
    await expect(read(fileOf(tensor("a.b", SCALE)))).rejects.not.toThrow(/all begin/);
  });

  it("have names that cannot reach the terminal", async () => {
    const name = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\u2066\n\u2028\u0085\ud83d\ude00";
    for (const source of [
      fileOf(tensor(name, SCALE)),
      { [name]: SCALE },
      fileOf(tensor(`x${name}`.repeat(99), SCALE)),
    ]) {
      const error = (await read(source).catch((e: unknown) => e)) as WeightsError;
      expect(error.message).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
      expect(error.message).toContain("\\u{1b}]0;owned\\u{7}");
      expect(error.message.length).toBeLessThan(1000);
      expect(error.unexpected[0]).toContain(name);
    }
    const place = `${folder}/\x1b[31mred`;
    await expect(read(place)).rejects.toThrow(/cannot read .*\\u\{1b\}\[31mred/);
    await expect(read(place)).rejects.not.toThrow("\x1b");
  });

  it("in a file of more than 4 GiB are read where they lie", async () => {
    const far = 2 ** 32 + 4096;
    const header = JSON.stringify({
      padding: { dtype: "U8", shape: [far], data_offsets: [0, far] },
      scale: { dtype: "F32", shape: [4], data_offsets: [far, far + 16] },
      bias: { dtype: "F32", shape: [4], data_offsets: [far + 16, far + 32] },
      count: { dtype: "I64", shape: [], data_offsets: [far + 32, far + 40] },
    });
    const path = join(folder, "large.safetensors");
    const file = openSync(path, "w");
    onTestFinished(() => rmSync(path));
    const start = 8 + header.length;
    ftruncateSync(file, start + far + 40); // sparse: the padding takes no room
    const length = Buffer.alloc(8);
    length.writeUInt32LE(header.length);
    writeSync(file, length, 0, 8, 0);
    writeSync(file, header, 8);
    writeSync(file, new Uint8Array(SCALE.buffer), 0, 16, start + far);
    writeSync(file, new Uint8Array(BIAS.buffer), 0, 16, start + far + 16);
    writeSync(file, BigInt64Array.of(9n), 0, 8, start + far + 32);
    closeSync(file);
    expect(await values(path, { strict: false })).toEqual(WHOLE);
    await expect(read(path)).rejects.toThrow(/unexpected padding/);
  });
});

describe("a file that is written", () => {
  const here = (): string => mkdtempSync(join(folder, "out-"));
  const bytes = (x: number, count = 100_000): Uint8Array => new Uint8Array(count).fill(x);

  it("is whole, however many write it at once", async () => {
    const path = join(here(), "w");
    const saves = Array.from({ length: 24 }, (_, i) => writeFile(path, bytes(i, 300_000 + i)));
    const seen = new Set<number>();
    for (const save of saves) {
      await save;
      const now = readFileSync(path);
      expect(now.length).toBe(300_000 + now[0]);
      expect(now.equals(bytes(now[0], now.length))).toBe(true);
      seen.add(now[0]);
    }
    expect(seen.size).toBeGreaterThan(0);
    expect(readdirSync(join(path, ".."))).toEqual(["w"]);
  });

  it("keeps permissions and links, also one that names nothing yet", async () => {
    const at = here();
    const [target, link, dangling] = ["target", "link", "dangling"].map((name) => join(at, name));
    writeFileSync(target, "old");
    chmodSync(target, 0o600);
    symlinkSync("target", link);
    mkdirSync(join(at, "below"));
    symlinkSync(join("below", "new"), dangling);
    await writeFile(link, bytes(1));
    await writeFile(dangling, bytes(2));
    expect(readlinkSync(link)).toBe("target");
    // As long as a name may be.
    const long = join(at, "below", "ü".repeat(127));
    await writeFile(long, bytes(4));
    expect(readFileSync(long)[0]).toBe(4);
    expect(readFileSync(target)[0]).toBe(1);
    expect(statSync(target).mode & 0o777).toBe(0o600);
    expect(readlinkSync(dangling)).toBe(join("below", "new"));
    expect(readFileSync(join(at, "below", "new"))[0]).toBe(2);
    const fresh = join(at, "fresh");
    await writeFile(fresh, bytes(3));
    expect(statSync(fresh).mode & 0o777).toBe(0o666 & ~process.umask());
    expect(readdirSync(at).sort()).toEqual(["below", "dangling", "fresh", "link", "target"]);
  });

  it("follows nothing that was planted under its temporary name, which nobody can know", async () => {
    const at = here();
    const staged = [await stageFile(join(at, "w"), "1"), await stageFile(join(at, "w"), "2")];
    const [one, two] = readdirSync(at);
    expect(one).not.toBe(two);
    // 128 random bits, and the same pid.
    expect(one.split(".").at(-2)!.length).toBeGreaterThan(20);
    expect(statSync(join(at, one)).mode & 0o077 & process.umask()).toBe(0);
    for (const file of staged) await file.discard();
    expect(readdirSync(at)).toEqual([]);
  });

  it("leaves nothing behind where it fails, and takes away what a killed process left", async () => {
    const at = here();
    const path = join(at, "w");
    mkdirSync(path);
    await expect(writeFile(path, bytes(1))).rejects.toMatchObject({ code: "weights-source" });
    await expect(writeFile(join(at, "no", "where"), bytes(1))).rejects.toThrow(/cannot write/);
    expect(readdirSync(at)).toEqual(["w"]);
    rmSync(path, { recursive: true });
    // As a process of this machine that is gone would have named it, of one that runs, of another machine's, and others.
    const gone = spawnSync(process.execPath, ["-e", "0"]).pid;
    const mark = fnv1a(hostname()).toString(36);
    const stay = [
      `.w.${mark}.${process.pid}.abc.tmp`,
      `.w.other.${gone}.abc.tmp`,
      ".w.tmp",
      `.v.${mark}.${gone}.a.tmp`,
    ];
    for (const name of [...stay, `.w.${mark}.${gone}.abc.tmp`]) writeFileSync(join(at, name), "");
    await writeFile(path, bytes(1));
    expect(readdirSync(at).sort()).toEqual([...stay, "w"].sort());
  });

  it("is left whole by a process that is killed while it saves, and the next save tidies up", async () => {
    const path = join(here(), "w");
    await writeFile(path, bytes(7));
    const program = `
      import { stageFile } from "../../../runtime/core/node.ts";
      await stageFile(${JSON.stringify(path)}, new Uint8Array(1000));
      process.kill(process.pid, "SIGKILL");`;
    const script = join(mkdtempSync(join(cache(), "killed-")), "killed.mjs");
    onTestFinished(() => rmSync(join(script, ".."), { recursive: true }));
    writeFileSync(script, program);
    const { signal, stderr } = spawnSync(
      process.execPath,
      ["scripts/run-ts.mjs", relative(projectRoot, script)],
      { cwd: projectRoot, encoding: "utf8" },
    );
    expect(stderr).toBe("");
    expect(signal === "SIGKILL" || readdirSync(join(path, "..")).length === 2).toBe(true);
    expect(readFileSync(path).equals(bytes(7))).toBe(true);
    await writeFile(path, bytes(8));
    expect(readdirSync(join(path, ".."))).toEqual(["w"]);
  });

  it.skipIf(process.platform === "win32")(
    "stays the old one where there is no room for the new",
    async () => {
      const path = join(here(), "w");
      await writeFile(path, bytes(7));
      const script = join(mkdtempSync(join(cache(), "full-")), "full.mjs");
      onTestFinished(() => rmSync(join(script, ".."), { recursive: true }));
      writeFileSync(
        script,
        `import { writeFile } from "../../../runtime/core/files.ts";
      await writeFile(${JSON.stringify(path)}, new Uint8Array(5e6)).catch((error) => console.log(error.name, error.message));`,
      );
      // The shell counts in blocks of 512 or 1,024 bytes: 2 MB or less, where the bundle of the script still fits.
      const { stdout } = spawnSync(
        "sh",
        [
          "-c",
          `trap '' XFSZ; ulimit -f 2000; exec "$0" scripts/run-ts.mjs "$1"`,
          process.execPath,
          relative(projectRoot, script),
        ],
        { cwd: projectRoot, encoding: "utf8" },
      );
      expect(stdout).toMatch(/^WeightsError cannot write .*(EFBIG|file too large)/);
      expect(readFileSync(path).equals(bytes(7))).toBe(true);
      expect(readdirSync(join(path, ".."))).toEqual(["w"]);
    },
  );

  it("may be a device", async () => {
    await writeFile("/dev/null", bytes(1));
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });
});
