// JPEG, by jpeg-js, which is loaded when the first one is read. In: a file's bytes. Out: a picture.
import { createRequire } from "node:module";
import { checkSize, MOST_PIXELS, type Picture, PictureError } from "./picture.ts";

export const isJpeg = (bytes: Uint8Array): boolean =>
  bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;

/** What is used of it. */
interface JpegJs {
  decode(
    file: Uint8Array,
    options: Readonly<Record<string, boolean | number>>,
  ): { readonly width: number; readonly height: number; readonly data: Uint8Array };
}

export function decodeJpeg(file: Uint8Array): Picture {
  if (!isJpeg(file)) throw new PictureError("it does not begin as a .jpg file does");
  let jpeg: JpegJs;
  try {
    jpeg = createRequire(import.meta.url)("jpeg-js") as JpegJs;
  } catch {
    throw new PictureError("the package jpeg-js, which reads .jpg files, is not there: npm install jpeg-js");
  }
  try {
    const { width, height, data } = jpeg.decode(file, {
      useTArray: true,
      formatAsRGBA: false,
      tolerantDecoding: false,
      maxResolutionInMP: MOST_PIXELS / 1e6,
      maxMemoryUsageInMB: 1024,
    });
    checkSize(width, height);
    if (data.length !== width * height * 3)
      throw new PictureError("its colours are of a kind that is not read");
    return { width, height, channels: 3, data, most: 255 };
  } catch (error) {
    throw error instanceof PictureError ? error : new PictureError((error as Error).message);
  }
}
