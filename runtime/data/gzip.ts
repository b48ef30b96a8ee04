// What is packed by gzip, unpacked: by the platform, which a browser and Node have alike.
import { DataError } from "./dataset.ts";

export const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

export async function gunzip(bytes: Uint8Array, file: string): Promise<Uint8Array> {
  try {
    const stream = new Blob([bytes as BlobPart]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (error) {
    throw new DataError(`${file} cannot be unpacked, it is cut off or damaged: ${(error as Error).message}`);
  }
}
