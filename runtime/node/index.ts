// What a Node program may want beside a module: the Dawn provider. A module finds the instance that is created here, so
// a program that runs modules from elsewhere (the `mdl` command) asks for it first, from where `webgpu` is installed.
export { isSoftwareAdapter, pollPolitely, requestGpu } from "../core/dawn.ts";
export { UnsupportedError } from "../core/errors.ts";
export { requestExactGpu } from "./exact.ts";
export { dropChatter, runAgainQuietly } from "./quiet.ts";
