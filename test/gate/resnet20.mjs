// A user's program, in plain Node: the emitted ResNet-20 over CIFAR-10's images. It is started by resnet20.gpu.test.ts and
// must exit by itself. Arguments: the module, its weights, the images (binary layout, gz), the batch size. It prints JSON.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";

const [modulePath, weights, imagesPath, batchText] = process.argv.slice(2);
const batch = Number(batchText);
const mean = [0.485, 0.456, 0.406];
const std = [0.229, 0.224, 0.225];
const plane = 32 * 32;
const size = 3 * plane;

const bytes = gunzipSync(readFileSync(imagesPath));
const count = bytes.length / (1 + size);
const { load } = await import(pathToFileURL(modulePath).href);
const net = await load({ weights: new Uint8Array(readFileSync(weights)) });

let correct = 0;
for (let from = 0; from < count; from += batch) {
  const n = Math.min(batch, count - from);
  const x = new Float32Array(n * size);
  for (let i = 0; i < n; i++) {
    const pixels = (from + i) * (1 + size) + 1;
    for (let j = 0; j < size; j++) {
      const c = Math.floor(j / plane);
      x[i * size + j] = (bytes[pixels + j] / 255 - mean[c]) / std[c];
    }
  }
  const { logits } = await net.logits({ x });
  for (let i = 0; i < n; i++) {
    const row = logits.data.subarray(i * 10, i * 10 + 10);
    if (row.indexOf(Math.max(...row)) === bytes[(from + i) * (1 + size)]) correct++;
  }
}
net.dispose();
console.log(JSON.stringify({ count, correct }));
