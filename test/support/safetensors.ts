// Reads a .safetensors file for the tests: bytes in, tensors by name and the metadata out. It is apart from the runtime's
// own reader so that a test of that reader, or of what the runtime saved, has a second opinion.

export interface HostTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | BigInt64Array | Uint8Array;
}

export interface SafeTensors {
  readonly metadata: { readonly [key: string]: string };
  readonly tensors: ReadonlyMap<string, HostTensor>;
}

interface Entry {
  readonly dtype: string;
  readonly shape: number[];
  readonly data_offsets: [number, number];
}

export function readSafetensors(file: Uint8Array): SafeTensors {
  // Not the Buffer it may be: whose slice() is no copy.
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes))) as Record<
    string,
    Entry
  >;
  const { __metadata__: metadata, ...entries } = header;
  const tensors = new Map<string, HostTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(entries)) {
    // A copy: the offsets in the file need not be aligned for a typed array.
    const raw = bytes.slice(8 + headerBytes + data_offsets[0], 8 + headerBytes + data_offsets[1]);
    tensors.set(name, { dtype, shape, data: typed(dtype, raw.buffer, name) });
  }
  return { metadata: (metadata ?? {}) as unknown as Record<string, string>, tensors };
}

function typed(dtype: string, buffer: ArrayBuffer, name: string): HostTensor["data"] {
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer);
    case "I32":
      return new Int32Array(buffer);
    case "I64":
      return new BigInt64Array(buffer);
    case "U8":
    case "BOOL":
      return new Uint8Array(buffer);
    default:
      throw new Error(`${name}: the tests' safetensors reader does not know dtype ${dtype}`);
  }
}

/** The other way round: tensors as a file's bytes. */
export function writeSafetensors(
  tensors: ReadonlyMap<
    string,
    { readonly shape: readonly number[]; readonly data: Float32Array | Int32Array }
  >,
): Uint8Array {
  const header: Record<string, Entry> = {};
  let offset = 0;
  for (const [name, { shape, data }] of tensors) {
    const dtype = data instanceof Int32Array ? "I32" : "F32";
    header[name] = { dtype, shape: [...shape], data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const plain = JSON.stringify(header);
  const text = new TextEncoder().encode(plain + " ".repeat((8 - (plain.length % 8)) % 8));
  const out = new Uint8Array(8 + text.length + offset);
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
  out.set(text, 8);
  for (const [name, { data }] of tensors) {
    const start = 8 + text.length + header[name].data_offsets[0];
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
  }
  return out;
}
