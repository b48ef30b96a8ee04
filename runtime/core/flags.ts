// WebGPU's usage flags, spelled out because Node has no globals for them.
export const MAP_READ = 1;
export const COPY_SRC = 4;
export const COPY_DST = 8;
export const UNIFORM = 64;
export const STORAGE = 128;
export const QUERY_RESOLVE = 512;
