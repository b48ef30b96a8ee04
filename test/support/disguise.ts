// What tests would meet on another adapter, on the one that is here. In: MDL_TEST_DISGUISE=nvidia. Out: this process's GPU,
// whose adapters and devices say that they are that one and lack what it lacks. What is compiled and chosen for it is tried so;
// its driver is not. Processes that tests start are as they were.

interface Disguise {
  readonly info: Partial<GPUAdapterInfo>;
  readonly lacks: readonly string[];
}
const disguises: { readonly [name: string]: Disguise } = {
  // A discrete GPU by Dawn on Vulkan: subgroups of 32 (which cannot be played: none at all), no f16.
  nvidia: {
    info: { vendor: "nvidia", architecture: "", subgroupMinSize: 32, subgroupMaxSize: 32 },
    lacks: ["shader-f16", "subgroups", "subgroup-size-control"],
  },
};

const worn = new WeakSet<GPU>();

/** The GPU in the disguise that MDL_TEST_DISGUISE names; as it is without. */
export function disguised(gpu: GPU): GPU {
  const name = process.env["MDL_TEST_DISGUISE"];
  if (!name || worn.has(gpu)) return gpu;
  const disguise = disguises[name];
  if (!disguise) throw new Error(`no disguise ${name}: ${Object.keys(disguises).join(", ")}`);
  worn.add(gpu);
  const request = gpu.requestAdapter.bind(gpu);
  const show = (on: object, what: string, value: unknown): void =>
    void Object.defineProperty(on, what, { value, configurable: true });
  show(gpu, "requestAdapter", async (options?: GPURequestAdapterOptions) => {
    const adapter = await request(options);
    if (!adapter) return adapter;
    const info = {
      device: "",
      description: `disguised as ${name}`,
      isFallbackAdapter: false,
      ...disguise.info,
    };
    const features = new Set([...adapter.features].filter((f) => !disguise.lacks.includes(f)));
    const requestDevice = adapter.requestDevice.bind(adapter);
    show(adapter, "info", info);
    show(adapter, "features", features);
    show(adapter, "requestDevice", async (wanted: GPUDeviceDescriptor = {}) => {
      const missing = [...(wanted.requiredFeatures ?? [])].filter((f) => !features.has(f));
      if (missing.length > 0) throw new TypeError(`no feature ${missing.join(", ")}: ${info.description}`);
      const device = await requestDevice(wanted);
      show(device, "adapterInfo", info);
      return device;
    });
    return adapter;
  });
  return gpu;
}
