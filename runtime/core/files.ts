// Where weights come from and go to. In: a URL, path, Blob, Response or bytes. Out: bytes; or a file written whole or not at
// all. Separate because it alone knows that Node reads paths: its modules are asked for by a name that bundlers for the
// browser do not follow.
import { WeightsError } from "./errors.ts";

interface NodeFiles {
  readFile(path: string | URL): Promise<Uint8Array>;
  writeFile(path: string, data: Uint8Array): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  rm(path: string, options: { force: boolean }): Promise<void>;
}

const node = (
  globalThis as {
    readonly process?: { readonly versions?: { readonly node?: string }; readonly pid: number };
  }
).process;

async function nodeModule<T>(name: string): Promise<T> {
  return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as T;
}

const isUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]+:/i.test(text);

/** The bytes of `source`; undefined where it is none of what a file may be. */
export async function readBytes(source: unknown): Promise<Uint8Array | undefined> {
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  const tag = Object.prototype.toString.call(source);
  if (tag === "[object ArrayBuffer]" || tag === "[object SharedArrayBuffer]")
    return new Uint8Array(source as ArrayBuffer);
  if (typeof source === "object" && source !== null) {
    if ("arrayBuffer" in source && typeof source.arrayBuffer === "function") {
      if ("ok" in source && !source.ok) throw fetchError("url" in source ? source.url : "", source);
      return new Uint8Array(await source.arrayBuffer());
    }
    if ("href" in source && typeof source.href === "string") return readPlace(source.href);
    return undefined;
  }
  return typeof source === "string" ? readPlace(source) : undefined;
}

const fetchError = (place: unknown, response: object): WeightsError =>
  new WeightsError("weights-source", `weights: fetching ${place} gave ${(response as Response).status}`);

async function readPlace(place: string): Promise<Uint8Array> {
  try {
    if (node?.versions?.node && (place.startsWith("file:") || !isUrl(place))) {
      const { readFile } = await nodeModule<NodeFiles>("node:fs/promises");
      return await readFile(place.startsWith("file:") ? new URL(place) : place);
    }
    const response = await fetch(place);
    if (!response.ok) throw fetchError(place, response);
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    if (cause instanceof WeightsError) throw cause;
    throw new WeightsError(
      "weights-source",
      `weights: cannot read ${place}: ${(cause as Error).message}`,
      {},
      cause,
    );
  }
}

/** Writes a file by way of a temporary one beside it, so that a crash leaves the old or the new one. */
export async function writeFile(place: string, bytes: Uint8Array): Promise<void> {
  if (!node?.versions?.node || (isUrl(place) && !place.startsWith("file:"))) {
    throw new WeightsError(
      "weights-source",
      `cannot write ${place}: call save() without a path for the bytes`,
    );
  }
  const files = await nodeModule<NodeFiles>("node:fs/promises");
  const { fileURLToPath } = await nodeModule<{ fileURLToPath(url: string): string }>("node:url");
  const path = place.startsWith("file:") ? fileURLToPath(place) : place;
  const temporary = `${path}.${node.pid}.tmp`;
  try {
    await files.writeFile(temporary, bytes);
    await files.rename(temporary, path);
  } catch (cause) {
    await files.rm(temporary, { force: true }).catch(() => undefined);
    throw new WeightsError("weights-source", `cannot write ${path}: ${(cause as Error).message}`, {}, cause);
  }
}
