// What kind of adapter there is. In: what it says of itself. Out: whether it computes on the CPU.

/** Whether the adapter computes on the CPU (lavapipe, SwiftShader, WARP). */
export function isSoftwareAdapter(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter || /^(software|swiftshader|warp)$/.test(info.architecture);
}
