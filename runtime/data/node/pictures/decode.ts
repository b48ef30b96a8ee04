// Pictures of the formats that are read, told apart by their first bytes. In: a file's bytes. Out: a picture, or a PictureError.
import { decodeJpeg, isJpeg } from "./jpeg.ts";
import type { Picture } from "./picture.ts";
import { decodePng, isPng } from "./png.ts";

export const isPicture = (bytes: Uint8Array): boolean => isPng(bytes) || isJpeg(bytes);

export const decodePicture = (bytes: Uint8Array): Picture =>
  isJpeg(bytes) ? decodeJpeg(bytes) : decodePng(bytes);
