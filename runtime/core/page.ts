// In the place of node.ts, for a module that was made for pages: there are no paths, and a GPU that is not the browser's is
// handed in.
import { bug, UnsupportedError } from "./errors.ts";
import type * as node from "./node.ts";

export const isPath: typeof node.isPath = () => false;

export const pollPolitely: typeof node.pollPolitely = (promise) => promise;

export const startDawn: typeof node.startDawn = async () => {
  throw new UnsupportedError(
    "no-webgpu",
    "this module was made for pages: pass options.gpu or options.device",
  );
};

// Nothing is a path.
const never = async (): Promise<never> => {
  throw bug("a page has no files");
};
export const openPath: typeof node.openPath = never;
export const writePath: typeof node.writePath = never;
