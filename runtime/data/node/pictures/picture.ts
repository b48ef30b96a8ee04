// A picture, whatever file it came from. In: nothing. Out: types, and bounds that hold for all formats.

/** Rows from the top, pixels from the left, channels together: grey, grey and alpha, red green blue, or these and alpha. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 2 | 3 | 4;
  readonly data: Uint8Array | Uint16Array;
  /** What full light is: 255 or 65535. */
  readonly most: number;
}

/** A file that is no picture that can be read; the message goes on from the file's name. */
export class PictureError extends Error {
  override name = "PictureError";
}

/** Pixels of a picture, at most. */
export const MOST_PIXELS = 2 ** 27;

export function checkSize(width: number, height: number): void {
  if (width < 1 || height < 1) throw new PictureError(`it says that it is ${width} by ${height} pixels`);
  if (width * height > MOST_PIXELS)
    throw new PictureError(
      `it says that it is ${width} by ${height} pixels, more than ${MOST_PIXELS / 2 ** 20} million`,
    );
}
