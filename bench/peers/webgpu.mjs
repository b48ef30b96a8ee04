// WebGPU for peers that look for it where browsers have it: Dawn, the process's one instance, as navigator.gpu. While a
// promise of the device is pending on a software adapter the event loop sleeps as it does for mdl (`politely`, handed in).
// In: Dawn and its classes. Out: a changed process.
export function install(gpu, globals, politely) {
  Object.assign(globalThis, globals);
  const navigator = {
    gpu,
    // What libraries read of a browser.
    userAgent: "Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0.0.0",
    hardwareConcurrency: 1,
    platform: "Linux x86_64",
    vendor: "node",
    language: "en",
    languages: ["en"],
  };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true, writable: true });
  for (const [name, method] of [
    ["GPUBuffer", "mapAsync"],
    ["GPUQueue", "onSubmittedWorkDone"],
  ]) {
    const { prototype } = globals[name];
    const original = prototype[method];
    prototype[method] = function (...args) {
      return politely(original.apply(this, args));
    };
  }
}
