// Values of typed arrays in another order of axes. In: values, a shape, an order of its axes. Out: a new array.
export function permuted(data, shape, order) {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const to = order.map((i) => shape[i]);
  const by = order.map((i) => strides[i]);
  const out = new data.constructor(data.length);
  const at = to.map(() => 0);
  let from = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = data[from];
    for (let axis = to.length - 1; axis >= 0; axis--) {
      from += by[axis];
      if (++at[axis] < to[axis]) break;
      from -= by[axis] * to[axis];
      at[axis] = 0;
    }
  }
  return out;
}

export const NHWC = [0, 2, 3, 1];
const NCHW = [0, 3, 1, 2];
/** Images as others have them. */
export const channelsFirst = (data, [n, c, h, w]) => permuted(data, [n, h, w, c], NCHW);
