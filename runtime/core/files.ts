// Where weights come from and go to. In: a URL, path, Blob, Response or bytes. Out: bytes to read from, as a whole or in
// parts; or a file written whole or not at all.
import { MdlRuntimeError, reason, shown, WeightsError } from "./errors.ts";
import { type ByteSource, isPath, openPath, writePath } from "./node.ts";

/** The bytes of `source`; undefined where it is none of what a file may be. Memory of the caller's is copied at once. */
export function openBytes(source: unknown): Promise<ByteSource> | undefined {
  if (typeof source === "string") return attempt(source, () => openPlace(source));
  if (typeof source !== "object" || source === null) return undefined;
  const tag = Object.prototype.toString.call(source);
  if (ArrayBuffer.isView(source) || tag === "[object ArrayBuffer]" || tag === "[object SharedArrayBuffer]")
    return attempt("the bytes given", async () => inMemory(copyBytes(source as ArrayBuffer)));
  if ("arrayBuffer" in source && typeof source.arrayBuffer === "function") {
    const file = source as Blob | Response;
    const place = "url" in file && file.url ? file.url : `the ${tag.slice(8, -1)} given`;
    return attempt(place, () => openBody(place, file));
  }
  if ("href" in source && typeof source.href === "string") return openBytes(source.href);
  return undefined;
}

/** A copy of memory that may be shared, resizable, or gone. */
export function copyBytes(source: ArrayBuffer | ArrayBufferView): Uint8Array {
  if (!ArrayBuffer.isView(source)) return new Uint8Array(source).slice();
  return new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice();
}

const inMemory = (bytes: Uint8Array): ByteSource => ({
  size: bytes.byteLength,
  read: async (at, count) => bytes.subarray(at, at + count),
  close: async () => undefined,
});

/** What goes wrong while reading weights, as a WeightsError. */
export async function attempt<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof MdlRuntimeError) throw cause;
    throw new WeightsError(
      "weights-source",
      `weights: cannot read ${shown(place)}: ${reason(cause)}`,
      {},
      cause,
    );
  }
}

async function openBody(place: string, file: Blob | Response): Promise<ByteSource> {
  if ("ok" in file && !file.ok)
    throw new WeightsError("weights-source", `weights: fetching ${shown(place)} gave ${file.status}`);
  if (!("size" in file && "slice" in file)) return inMemory(new Uint8Array(await file.arrayBuffer()));
  return {
    size: file.size,
    read: (at, count) =>
      attempt(place, async () => new Uint8Array(await file.slice(at, at + count).arrayBuffer())),
    close: async () => undefined,
  };
}

async function openPlace(place: string): Promise<ByteSource> {
  if (!isPath(place)) return openBody(place, await fetch(place));
  const file = await openPath(place);
  return { ...file, read: (at, count) => attempt(place, () => file.read(at, count)) };
}

/** Writes a file whole or not at all. */
export async function writeFile(place: string, bytes: Uint8Array): Promise<void> {
  if (!isPath(place)) {
    throw new WeightsError(
      "weights-source",
      `cannot write ${shown(place)}: call save() without a path for the bytes`,
    );
  }
  try {
    await writePath(place, bytes);
  } catch (cause) {
    throw new WeightsError("weights-source", `cannot write ${shown(place)}: ${reason(cause)}`, {}, cause);
  }
}
